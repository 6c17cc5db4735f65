//go:build integration

package integration

import (
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/caddy-sso/caddy-sso/gateway/pages"
)

var shots = flag.String("shots", "", "a directory for pictures of all pages")

// A gallery shows pages of ours under a name each, as the gateway does.
type gallery struct {
	*httptest.Server
	t testing.TB
	// held keeps the pages that go on by themselves from doing so.
	held  bool
	pages map[string]any
}

func newGallery(t testing.TB, shown map[string]any) *gallery {
	t.Helper()
	rd, err := pages.New(pages.Options{})
	if err != nil {
		t.Fatal(err)
	}
	g := &gallery{t: t, pages: shown, held: true}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimPrefix(r.URL.Path, "/page/")
		asset, isAsset := strings.CutPrefix(r.URL.Path, "/.sso/assets/")
		switch page, ok := g.pages[name]; {
		case isAsset && asset == "post.js" && g.held:
			w.Header().Set("Content-Type", "text/javascript")
		case isAsset:
			rd.Asset(w, r, branded.Brand, asset)
		case ok:
			rd.Page(w, r, http.StatusOK, page)
		case r.URL.Path == "/leave" && g.held:
			w.WriteHeader(http.StatusNoContent) // the browser stays where it is
		default: // where forms and links lead
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = fmt.Fprintf(w, "<!doctype html><html lang=en><title>led</title><p id=led>%s %s", r.Method, r.URL.Path)
		}
	}))
	t.Cleanup(g.Close)
	for name, page := range shown {
		switch page := page.(type) {
		case pages.Form:
			page.Action = g.origin("idp.test") + "/sso"
			shown[name] = page
		case pages.Leave:
			page.URL = g.origin("pages.test") + "/leave"
			shown[name] = page
		}
	}
	return g
}

func (g *gallery) origin(host string) string {
	_, port, _ := strings.Cut(g.Listener.Addr().String(), ":")
	return "http://" + host + ":" + port
}

// address is where a page is, under a name that no page may leave.
func (g *gallery) address(name string) string { return g.origin("pages.test") + "/page/" + name }

// A look is how a page is looked at.
type look struct {
	name   string
	width  int64
	scheme string // of colours
	forced bool   // forced colours, and no motion
}

var looks = []look{
	{"narrow-light", 320, "light", false},
	{"narrow-dark", 320, "dark", false},
	{"wide-light", 1280, "light", false},
	{"wide-dark", 1280, "dark", false},
	{"narrow-forced", 320, "dark", true},
}

// wear makes the tab look so from now on.
func (b *tab) wear(l look) {
	b.t.Helper()
	features := []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: l.scheme}}
	if l.forced {
		features = append(features, &emulation.MediaFeature{Name: "forced-colors", Value: "active"}, &emulation.MediaFeature{Name: "prefers-reduced-motion", Value: "reduce"})
	}
	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: features})
	if err != nil {
		b.t.Fatal(err)
	}
	b.do("setting the width", chromedp.EmulateViewport(l.width, 720))
}

// shoot takes a picture, if pictures were asked for.
func (b *tab) shoot(name string) {
	b.t.Helper()
	if *shots == "" {
		return
	}
	png, err := run(b, chromedp.FullScreenshot(100))
	if err == nil {
		err = os.WriteFile(filepath.Join(*shots, name+".png"), png, 0o644)
	}
	if err != nil {
		b.t.Error(err)
	}
}

// A violation is a rule of axe-core's that a page breaks.
type violation struct {
	ID    string
	Help  string
	Nodes []struct {
		HTML           string
		FailureSummary string
	}
}

func (v violation) String() string {
	text := v.ID + ": " + v.Help
	for _, n := range v.Nodes {
		text += "\n\t" + n.HTML + "\n\t" + n.FailureSummary
	}
	return text
}

var axeScript = sync.OnceValues(func() (string, error) {
	path, err := output("axe/prepare")
	if err != nil {
		return "", fmt.Errorf("preparing axe-core: %w", err)
	}
	script, err := os.ReadFile(strings.TrimSpace(path))
	return string(script), err
})

// axe has axe-core judge the page by all of its rules, as it is when nothing
// moves: colours between two schemes are nobody's.
func (b *tab) axe() []violation {
	b.t.Helper()
	script, err := axeScript()
	if err != nil {
		b.t.Fatal(err)
	}
	b.do("ending transitions", chromedp.Evaluate[chromedp.Void](`document.getAnimations().forEach(a => a.finish()); undefined`))
	if there, err := run(b, chromedp.Evaluate[bool](`!!window.axe`)); err != nil || !there {
		b.do("loading axe-core", chromedp.Evaluate[chromedp.Void](script+"; undefined"))
	}
	found, err := run(b, chromedp.Evaluate[[]violation](`axe.run(document, {resultTypes: ["violations"]}).then(r => {
		if (r.passes.length < 10) throw new Error("only " + r.passes.length + " rules were applied");
		return r.violations.map(v => ({ID: v.id, Help: v.help, Nodes: v.nodes.map(n => ({HTML: n.html, FailureSummary: n.failureSummary}))}));
	})`, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("running axe-core: %v", err)
	}
	return found
}
