package caddymodule_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-sso/caddy-sso/caddymodule"
)

var partLine = regexp.MustCompile("`((?:nested|prefix|callback_path|app)[^`]*)`")

// TestPartsAreMended writes the lines that the messages ask for, where an sso guards a
// part of a site. Then the configuration starts.
func TestPartsAreMended(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_DATA_HOME", dir)
	const sso = "sso oidc https://id.example.com app secret {\n\t\trole User *\n# %d\n%s}\nreverse_proxy localhost:1\n"
	block := func(n int, lines string) string { return fmt.Sprintf(sso, n, lines) }
	for name, sites := range map[string]string{
		"handle":                     "http://app.localhost {\nhandle /a/* {\n" + block(1, "") + "}\n}\n",
		"handle_path":                "http://app.localhost {\nhandle_path /a/* {\n" + block(1, "") + "}\n}\n",
		"nested already":             "http://app.localhost {\nhandle_path /a/* {\n" + block(1, "nested\n") + "}\n}\n",
		"a callback elsewhere":       "http://app.localhost {\nhandle /a/* {\n" + block(1, "nested\ncallback_path /callback\n") + "}\n}\n",
		"a callback elsewhere alone": "http://app.localhost {\nhandle /a/* {\n" + block(1, "nested\nprefix /a/auth\ncallback_path /callback\n") + "}\n}\n",
		"no path":                    "http://app.localhost {\n@get method GET POST\nhandle @get {\n" + block(1, "") + "}\n}\n",
		"route":                      "http://app.localhost {\nroute {\n" + block(1, "") + "}\n}\n",
		"two parts":                  "http://app.localhost {\nhandle /a/* {\n" + block(1, "") + "}\nhandle {\n" + block(2, "") + "}\n}\n",
		"two paths":                  "http://app.localhost {\nhandle /aa/* {\n" + block(1, "") + "}\nhandle /b/* {\n" + block(2, "") + "}\n}\n",
		"two paths, nested already":  "http://app.localhost {\nhandle /aa/* {\n" + block(1, "nested\n") + "}\nhandle_path /b* {\n" + block(2, "nested\n") + "}\n}\n",
		"a site with a path":         "http://app.localhost/a/* {\n" + block(1, "") + "}\nhttp://app.localhost {\n" + block(2, "app rest\n") + "}\n",
		"what is left":               "http://app.localhost {\nroute {\nrespond /open open\nreverse_proxy /b/* localhost:2\n" + block(1, "") + "}\n}\n",
		"SAML":                       "http://app.localhost {\nhandle /a/* {\n" + strings.Replace(block(1, ""), "oidc https://id.example.com app secret", "saml https://id.example.com/metadata", 1) + "}\n}\n",
		"taken before":               "http://app.localhost {\nhandle /.sso/* {\nreverse_proxy localhost:2\n}\nhandle {\n" + block(1, "nested\n") + "}\n}\n",
		"a callback taken before":    "http://app.localhost {\nhandle /.sso/login {\nfile_server\n}\n@c path /.sso/* /callback\nhandle @c {\nrespond no\n}\nhandle {\n" + block(1, "nested\ncallback_path /callback\n") + "}\n}\n",
		"taken by a site":            "http://app.localhost/.sso/* {\nroute {\nrespond no\n}\n}\nhttp://app.localhost {\nroute {\n" + block(1, "nested\n") + "}\n}\n",
		"a prefix cut off":           "http://app.localhost {\nroute /a/* {\nuri strip_prefix /a\n" + block(1, "") + "}\n}\n",
		"a prefix cut off twice":     "http://app.localhost {\nhandle_path /a/* {\nroute /b/* {\nuri strip_prefix /b\nhandle /c/* {\n" + block(1, "") + "}\n}\n}\n}\n",
		"a part within a part":       "http://app.localhost {\nhandle_path /a/* {\nhandle /b/* {\n" + block(1, "") + "}\n}\n}\n",
	} {
		t.Run(name, func(t *testing.T) {
			msg := loadAlone(t, dir, sites)
			if msg == starts {
				t.Fatal("it starts without")
			}
			mended := sites
			for i, fault := range strings.Split(msg, "\n") {
				mended = mend(mended, i+1, fault[strings.LastIndex(fault, "write `"):])
			}
			if got := loadAlone(t, dir, mended); got != starts {
				t.Errorf("it said:\n%s\nso this was written:\n%s\nand it says:\n%s", msg, mended, got)
			}
		})
	}
}

// mend writes the lines of a fix into the block of a number, instead of older ones of
// the same words.
func mend(sites string, number int, fix string) string {
	before, rest, _ := strings.Cut(sites, fmt.Sprintf("# %d\n", number))
	own, after, _ := strings.Cut(rest, "}\n")
	for _, line := range partLine.FindAllStringSubmatch(fix, -1) {
		word, _, _ := strings.Cut(line[1], " ")
		own = regexp.MustCompile("(?m)^"+word+"( .*)?\n").ReplaceAllString(own, "")
		own += strings.Replace(line[1], "<id>", fmt.Sprint("part", number), 1) + "\n"
	}
	return before + own + "}\n" + after
}

// TestAnotherAppAnswers has two parts with one prefix, whose addresses come to the
// second. Nobody can sign in at the first if that is another app, unless the sign-in
// begins at the second, too. Then the log says so.
func TestAnotherAppAnswers(t *testing.T) {
	for name, tt := range map[string]struct {
		part, rest string
		warns      bool
	}{
		"one app":                        {"", "", false},
		"another app":                    {"", "app rest", true},
		"another app, and its addresses": {"prefix /a/.sso", "app rest", false},
		"another app, by the chooser":    {"autologin off", "app rest", false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			part := func(route, lines, body string) string {
				return route + " {\n\t\tPROVIDER\n\t\trole User *\n\t\tnested\n\t\t" + lines + "\n\t\t}\n\t\trespond " + body + "\n\t}\n"
			}
			w.mustLoad(w.global("") + "ORIGIN {\n\t" + part("handle /a/*", tt.part, "part") + part("handle", tt.rest, "rest") + "}\n")
			if warned := strings.Contains(w.logs(), "comes back to another one of the host"); warned != tt.warns {
				t.Errorf("warned: %t", warned)
			}
			status, body := newBrowser(t).get(w.origin() + "/a/x")
			if signedIn := body == "part"; signedIn == tt.warns && tt.part != "autologin off" {
				t.Errorf("signed in: %d %q", status, body)
			}
		})
	}
}

// TestManyParts counts the routes through which requests are followed. They may grow with
// the square of the parts of a site, but not faster.
func TestManyParts(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	const part = "sso oidc https://id.example.com app secret {\nrole User g%d\nnested\napp a%[1]d\n%s\n}\nrespond ok\n}\n"
	var many strings.Builder
	for i := range 30 {
		fmt.Fprintf(&many, "not {\nheader X-%d *\nheader Y-%[1]d *\n}\n", i)
	}
	for name, tt := range map[string]struct{ before, lines string }{
		"many matchers":              {"@m%d {\n" + many.String() + "}\nrewrite @m%[1]d /p%[1]d{uri}\nhandle /p%[1]d/* {\n", "prefix /p%d/.sso"},
		"a prefix for each":          {"handle /p%d/* {\n", "prefix /p%d/.sso"},
		"one prefix":                 {"handle /p%d/* {\n", "# %d"},
		"one prefix, other requests": {"@m%d header X-%[1]d *\nhandle @m%[1]d {\n", "# %d"},
		"rewrites that may be":       {"@m%d header X-%[1]d *\nrewrite @m%[1]d /p%[1]d{uri}\nhandle /p%[1]d/* {\n", "prefix /p%d/.sso"},
		"routes that may be passed":  {"@m%d header X-%[1]d *\nhandle @m%[1]d {\nheader X y\n}\nhandle /p%[1]d/* {\n", "prefix /p%d/.sso"},
	} {
		followed := func(parts int) int {
			var site strings.Builder
			for i := range parts {
				fmt.Fprintf(&site, tt.before+part, i, fmt.Sprintf(tt.lines, i))
			}
			var cfg caddy.Config
			if err := json.Unmarshal(mustAdapt(t, withOptions("http://app.localhost {\n"+site.String()+"handle {\n"+fmt.Sprintf(part, parts, "")+"}\n", "")), &cfg); err != nil {
				t.Fatal(err)
			}
			ctx, err := caddy.ProvisionContext(&cfg)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			app, err := ctx.App("sso")
			if err != nil {
				t.Fatal(err)
			}
			steps, err := caddymodule.FollowedRoutes(app.(*caddymodule.App))
			if err != nil {
				t.Fatal(err)
			}
			return steps
		}
		if some, more := followed(16), followed(32); more > 5*some {
			t.Errorf("%s: through %d routes with 16 parts, and through %d with 32", name, some, more)
		}
	}
}
