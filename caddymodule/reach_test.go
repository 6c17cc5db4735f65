package caddymodule_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
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

// TestTakenBefore has a route before the part that takes some of the part's own addresses,
// or perhaps not all requests for them. It starts, and the log says so.
func TestTakenBefore(t *testing.T) {
	const sso = "PROVIDER\n\t\trole User *\n\t\tnested\n\t}\n\trespond ok\n"
	const proxy = "{\n\treverse_proxy localhost:1\n}\n"
	for name, tt := range map[string]struct {
		before, part string
		warns        bool
	}{
		"one of them":                {"handle /.sso/oidc/callback " + proxy, "handle", true},
		"some methods":               {"@m {\nmethod POST\npath /.sso/*\n}\nhandle @m " + proxy, "handle", true},
		"some below":                 {"handle /.sso/* {\nhandle /.sso/a* " + proxy + "}\n", "route", true},
		"one of two hosts":           {"@m {\nhost a.localhost\npath /.sso/*\n}\nhandle @m " + proxy, "handle", true},
		"by a placeholder":           {"@m path /{env.SSO_TEST_NONE}.sso/* /.sso/saml/*\nhandle @m " + proxy, "handle", false},
		"what is left of the group":  {"handle /.sso/* {\nheader X y\n}\n@m path /.sso/l* /.sso/o*\nhandle @m " + proxy, "route", true},
		"who is asked":               {"handle /.sso/* {\nreverse_proxy localhost:1 {\n@ok status 2xx\nhandle_response @ok {\nheader X y\n}\n}\n}\n", "route", true},
		"stripped":                   {"handle /.sso/* {\nsso_strip\nreverse_proxy localhost:1\n}\n", "handle", true},
		"another answers":            {"handle /.sso/* {\n" + sso + "}\n", "handle", false},
		"others":                     {"@m path /.sso/assets/* /sso/*\nhandle @m " + proxy, "handle", false},
		"others, all but ours":       {"@m not path /.sso/*\nhandle @m " + proxy, "handle", false},
		"a redirect":                 {"redir /.sso/* https://login.example.com{uri}\n", "handle", false},
		"another host":               {"@m {\nhost b.localhost\npath /.sso/*\n}\nhandle @m " + proxy, "@a host a.localhost\nhandle @a", false},
		"another path, by a rewrite": {"rewrite /.sso/* /a{uri}\nhandle /.sso/* " + proxy, "route", false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.mustLoad(w.global("") + "http://a.localhost:PORT, http://b.localhost:PORT {\nroute {\n" + tt.before + tt.part + " {\n" + sso + "}\n}\n}\n")
			if warned := strings.Contains(w.logs(), "takes requests for the addresses of that 'sso'"); warned != tt.warns {
				t.Errorf("warned: %t", warned)
			}
		})
	}
}

// TestAssetsReach has a part whose matchers take some of its own addresses. The pages
// need style and scripts, too. If nobody answers there, the log says so.
func TestAssetsReach(t *testing.T) {
	const sso = "PROVIDER\n\t\trole User *\n\t\tnested\n\t}\n\trespond ok\n}\n"
	for name, tt := range map[string]struct {
		paths, rest string
		warns       bool
	}{
		"by name":                     {"/.sso/login /.sso/oidc/callback", "", true},
		"by name, with the assets":    {"/.sso/login /.sso/oidc/callback /.sso/assets/*", "", false},
		"all":                         {"/.sso/*", "", false},
		"another answers":             {"/.sso/login /.sso/oidc/callback", "handle {\n" + sso, false},
		"another, by another address": {"/.sso/login /.sso/oidc/callback", "handle {\n" + strings.Replace(sso, "nested", "nested\n\t\tapp rest\n\t\tprefix /rest", 1), true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.mustLoad(w.global("") + "ORIGIN {\n@a path /admin/* " + tt.paths + "\nhandle @a {\n" + sso + tt.rest + "}\n")
			if warned := strings.Contains(w.logs(), "the style and the scripts of its own pages"); warned != tt.warns {
				t.Errorf("warned: %t", warned)
			}
		})
	}
}
