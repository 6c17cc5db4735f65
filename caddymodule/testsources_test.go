package caddymodule_test

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// testSources returns the lines of all tests of the module that are no comments,
// by file.
func testSources(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir("..", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || d.Name() == ".git") {
			return fs.SkipDir
		}
		name = filepath.ToSlash(name)
		if !strings.HasSuffix(name, "_test.go") && (path.Ext(name) != ".go" || !strings.HasSuffix(path.Dir(name), "test")) {
			return nil
		}
		text, err := os.ReadFile(name)
		var code strings.Builder
		for line := range strings.Lines(string(text)) {
			if !strings.HasPrefix(strings.TrimLeft(line, "\t"), "// ") {
				code.WriteString(line)
			}
		}
		all[strings.TrimPrefix(name, "../")] = code.String()
		return err
	})
	if err != nil || len(all) < 150 {
		t.Fatalf("only %d files found: the test looks at the wrong tree; %v", len(all), err)
	}
	return all
}

// readsTestdata are the files that may name testdata without gatewaytest.Captured.
var readsTestdata = map[string]string{
	"caddymodule/environment_test.go":          "variables of our own with what becomes of them; the certificate is never judged",
	"caddymodule/faults_test.go":               "lines of the log, with everything in them that has a date replaced",
	"caddymodule/golden_test.go":               "Caddyfiles of our own with what becomes of them; nothing in them has a date",
	"caddymodule/mistakes_test.go":             "Caddyfiles of our own with what becomes of them; nothing in them has a date",
	"caddymodule/testsources_test.go":          "this rule",
	"gateway/gatewaytest/captured.go":          "this is Captured",
	"gateway/pages/pages_test.go":              "pages, which are rendered in a bubble",
	"gateway/redisstore/fault_test.go":         "what is said of faults; nothing in it has a date",
	"gateway/signing/verify/verifiers_test.go": "programs, which get the clock with each question",
	"integration/runner/runner_test.go":        "names of files that it makes",
}

var (
	// readsCaptured are the calls that bring a document together with its clock.
	readsCaptured = regexp.MustCompile(`gatewaytest\.(Captured|CapturedNames|Corpus)\(.*`)
	namesTestdata = regexp.MustCompile("[\"`][^\"`\n]*testdata|//go:embed.*testdata")
	// captured is what nobody writes by hand: certificates and signed tokens.
	captured = regexp.MustCompile(`MII[A-Za-z0-9+/]{60}|eyJ[\w-]{20,}\.eyJ[\w-]{20,}\.[\w-]{20}`)
)

// TestCapturedDocumentsComeWithTheirClock holds that captured documents are read only by
// gatewaytest.Captured, which has a test run at the time of the capture.
func TestCapturedDocumentsComeWithTheirClock(t *testing.T) {
	t.Parallel()
	for name, text := range testSources(t) {
		found := ""
		for line := range strings.Lines(text) {
			if strings.Contains(line, "testdata") && found == "" {
				found = namesTestdata.FindString(readsCaptured.ReplaceAllString(line, ""))
			}
		}
		if readsTestdata[name] != "" {
			if found == "" {
				t.Errorf("%s is an exception that nothing needs", name)
			}
			continue
		}
		if found != "" {
			t.Errorf("%s: %s: testdata is read without its clock: use gatewaytest.Captured", name, found)
		}
		if (strings.Contains(text, "MII") || strings.Contains(text, "eyJ")) && captured.MatchString(text) {
			t.Errorf("%s: a captured document has no clock: put it into testdata, use gatewaytest.Captured", name)
		}
	}
}

// globals are what tests must not share, with the reason.
var globals = map[string]string{
	"http.DefaultTransport": sharedTransport, "http.DefaultClient": sharedTransport,
	"http.Get": sharedTransport, "http.Head": sharedTransport, "http.Post": sharedTransport, "http.PostForm": sharedTransport,
	"httputil.NewSingleHostReverseProxy": sharedTransport, "new(http.Client)": sharedTransport, "new(httputil.ReverseProxy)": sharedTransport,
	"http.DefaultServeMux": "all tests would share its routes", "http.Handle": "all tests would share its routes", "http.HandleFunc": "all tests would share its routes",
	"os.Setenv": "use t.Setenv, which is undone", "os.Unsetenv": "use t.Setenv, which is undone", "os.Chdir": "use t.Chdir, which is undone",
	"log.SetOutput": sharedLog, "log.SetFlags": sharedLog, "log.SetPrefix": sharedLog, "log.Default": sharedLog,
	"log.Print": sharedLog, "log.Printf": sharedLog, "log.Println": sharedLog, "slog.SetDefault": sharedLog, "slog.Default": sharedLog,
	"zap.ReplaceGlobals": sharedLog, "zap.L": sharedLog, "zap.S": sharedLog,
	"rand.Seed": "all tests would share it", "otel.SetTracerProvider": "all tests would share it", "otel.SetTextMapPropagator": "all tests would share it",
	"saml.TimeNow": "all tests would share it",
}

const (
	sharedTransport = "another test's server that closes cuts the connections of the default transport: use gatewaytest.Transport"
	sharedLog       = "all tests would share the log: give the code a logger of its own"
)

// sharesGlobals are the files that may use a global.
var sharesGlobals = map[string]string{
	"gateway/samlsp/bench_test.go": "crewjam/saml has no clock but TimeNow; benchmarks run alone, and it is put back",
}

// TestTestsShareNoGlobals finds tests that change a variable of another package. Such tests
// fail when the machine is busy, far from the cause. Within a package, the race detector
// finds them.
func TestTestsShareNoGlobals(t *testing.T) {
	t.Parallel()
	for name, text := range testSources(t) {
		found := false
		for global, why := range globals {
			if len(uses(text, global)) == 0 {
				continue
			}
			if found = true; sharesGlobals[name] == "" {
				t.Errorf("%s: %s: %s", name, global, why)
			}
		}
		if sharesGlobals[name] != "" && !found {
			t.Errorf("%s is an exception that nothing needs", name)
		}
		for _, typ := range []string{"http.Client{", "httputil.ReverseProxy{"} {
			for _, value := range uses(text, typ) {
				if !strings.Contains(literal(value), "Transport:") {
					t.Errorf("%s: %s}: it has no Transport: %s", name, typ, sharedTransport)
				}
			}
		}
	}
}

// uses returns what follows each use of a name of another package.
func uses(text, name string) (after []string) {
	for i := strings.Index(text, name); i > 0; i = strings.Index(text, name) {
		before := text[i-1]
		text = text[i+len(name):]
		longer := !strings.HasSuffix(name, "{") && isWord(text[0])
		if !longer && !isWord(before) && !strings.ContainsRune(".*\"", rune(before)) {
			after = append(after, text)
		}
	}
	return after
}

func isWord(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
}

// literal returns text up to the brace that closes a literal.
func literal(text string) string {
	depth := 1
	for i, c := range text {
		switch c {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return text[:i]
			}
		}
	}
	return text
}
