//go:build integration

package integration

import (
	"bytes"
	"flag"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

var demoAddress = regexp.MustCompile(`Open\s+(http://localhost:\d+)\s`)

var update = flag.Bool("update", false, "take the picture in the README anew")

// picture is that of the README. `go test -tags integration ./integration -run TestBrowserDemo
// -update` takes it.
const picture = "../docs/demo.png"

// TestBrowserDemo plays the demonstration in Chromium and judges the pages that
// it brings itself as those of the gateway are.
func TestBrowserDemo(t *testing.T) {
	t.Parallel()
	out := &syncBuffer{}
	cmd := exec.Command(shipped(t), "demo", "--port", "0")
	cmd.Dir, cmd.Env = scratch, []string{"HOME=" + scratch, "TMPDIR=" + scratch, "PATH=" + os.Getenv("PATH")}
	cmd.Stdout, cmd.Stderr = out, out
	proc, err := start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := proc.end(time.Minute); err != nil {
			t.Error(err)
		}
	})
	eventually(t, "the demo prints its address", 60*time.Second, func() bool { return proc.ended() || demoAddress.MatchString(out.String()) })
	found := demoAddress.FindStringSubmatch(out.String())
	if found == nil {
		t.Fatalf("the demo ended:\n%s", out)
	}
	t.Run("the picture in the README", func(t *testing.T) {
		if *update {
			takePicture(t, found[1])
		}
		file, err := os.ReadFile(picture)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := png.DecodeConfig(bytes.NewReader(file)); err != nil || len(file) > 60_000 {
			t.Errorf("it has %d bytes, want at most 60 kB, %v", len(file), err)
		}
	})
	for _, provider := range []string{"openid", "saml"} {
		for person, want := range map[string]string{"alice": "verified", "carol": "access_denied"} {
			t.Run(person+" by "+provider, func(t *testing.T) {
				b := newBrowser(t)
				b.navigate(found[1] + "/")
				b.click(`main .button[href*="provider=` + provider + `"]`)
				b.awaitText("Who are you?")
				if person == "alice" {
					b.judge("demo-login-" + provider)
				}
				b.click(`button[value="` + person + `"]`)
				b.awaitText(want)
				b.judge("demo-" + person + "-" + provider)
				if person == "alice" {
					b.logOut(found[1])
				}
				b.navigate(found[1] + "/.sso/login")
				first, err := run(b, chromedp.Evaluate[string](`document.querySelector("main .button").outerHTML`))
				// carol was never signed in here.
				if err != nil || strings.Contains(first, "Last used") != (person == "alice") || person == "alice" && !strings.Contains(first, "provider="+provider) {
					t.Errorf("the chooser begins with %s, %v", first, err)
				}
			})
		}
	}
}

// takePicture takes the picture of the README: the chooser, and beside it the app
// that comes after it.
func takePicture(t *testing.T, app string) {
	t.Helper()
	const height, narrow, wide = 620, 420, 760
	b := newBrowser(t)
	b.wear(look{scheme: "light"})
	whole := image.NewRGBA(image.Rect(0, 0, narrow+wide, height))
	for _, part := range []struct {
		at, width int
		steps     func()
	}{
		{0, narrow, func() { b.navigate(app) }},
		{narrow, wide, func() {
			b.click(`main .button[href*="provider=openid"]`)
			b.awaitText("Who are you?")
			b.click(`button[value="alice"]`)
			b.awaitText("verified")
		}},
	} {
		part.steps()
		b.do("setting the width", chromedp.EmulateViewport(int64(part.width), height))
		// It has many colours.
		b.do("taking the shadow away", chromedp.Evaluate[chromedp.Void](`document.querySelector(".card").style.boxShadow = "none"; undefined`))
		shot, err := run(b, chromedp.CaptureScreenshot())
		if err != nil {
			t.Fatal(err)
		}
		img, err := png.Decode(bytes.NewReader(shot))
		if err != nil {
			t.Fatal(err)
		}
		draw.Draw(whole, image.Rect(part.at, 0, part.at+part.width, height), img, image.Point{}, draw.Src)
	}
	var file bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&file, fewColours(whole)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(picture, file.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// fewColours returns a picture with its 256 most common colours alone: a third of
// the bytes, and the same to the eye.
func fewColours(img *image.RGBA) *image.Paletted {
	count := map[color.RGBA]int{}
	for i := 0; i < len(img.Pix); i += 4 {
		count[color.RGBA{img.Pix[i], img.Pix[i+1], img.Pix[i+2], img.Pix[i+3]}]++
	}
	var palette color.Palette
	for _, c := range slices.SortedFunc(maps.Keys(count), func(a, b color.RGBA) int { return count[b] - count[a] }) {
		palette = append(palette, c)
	}
	few := image.NewPaletted(img.Bounds(), palette[:min(len(palette), 256)])
	draw.Draw(few, few.Bounds(), img, image.Point{}, draw.Src)
	return few
}

// judge judges the page that the tab shows, in all looks.
func (b *tab) judge(name string) {
	b.t.Helper()
	for _, l := range looks {
		b.wear(l)
		b.shoot(name + "-" + l.name)
		for _, v := range b.axe() {
			b.t.Errorf("%s, %s: %s", name, l.name, v)
		}
		b.measure(l)
	}
	b.wear(looks[0])
}
