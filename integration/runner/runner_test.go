package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The events are what go test -json of Go 1.26 wrote, without times.
func TestEvents(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		events           string
		pass, fail, skip string
		output           string // of the first failure
	}{
		"subtests count": {
			events: `{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"run","Package":"p","Test":"TestA/x"}
{"Action":"pass","Package":"p","Test":"TestA/x"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"pass","Package":"p"}`,
			pass: "p.TestA p.TestA/x",
		},
		"a skip": {
			events: `{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"--- SKIP: TestA (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"TestA"}
{"Action":"pass","Package":"p"}`,
			skip: "p.TestA",
		},
		"a package without tests counts nothing": {
			events: `{"Action":"start","Package":"p"}
{"Action":"output","Package":"p","Output":"?   \tp\t[no test files]\n"}
{"Action":"skip","Package":"p"}`,
		},
		"a failure keeps its output": {
			events: `{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"a_test.go:4: no\n"}
{"Action":"fail","Package":"p","Test":"TestA"}
{"Action":"fail","Package":"p"}`,
			fail: "p.TestA", output: "a_test.go:4: no\n",
		},
		"a build failure is one failure": {
			events: `{"ImportPath":"p [p.test]","Action":"build-output","Output":"./a.go:9:1: undefined: x\n"}
{"ImportPath":"p [p.test]","Action":"build-fail"}
{"Action":"start","Package":"p"}
{"Action":"output","Package":"p","Output":"FAIL\tp [build failed]\n"}
{"Action":"fail","Package":"p","FailedBuild":"p [p.test]"}`,
			fail: "p.", output: "FAIL\tp [build failed]\n./a.go:9:1: undefined: x\n",
		},
		"a package that fails after its tests passed is one failure": {
			events: `{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"fail","Package":"p"}`,
			pass: "p.TestA", fail: "p.",
		},
		"what hangs until the timeout fails by name": {
			events: `{"Action":"run","Package":"p","Test":"TestHang"}
{"Action":"run","Package":"p","Test":"TestHang/sub"}
{"Action":"output","Package":"p","Test":"TestHang/sub","Output":"panic: test timed out after 1s\n"}
{"Action":"fail","Package":"p"}`,
			fail: "p.TestHang p.TestHang/sub", output: "did not finish\n",
		},
		"a benchmark that passes has no end of its own": {
			events: `{"Action":"run","Package":"p","Test":"BenchmarkX"}
{"Action":"run","Package":"p","Test":"BenchmarkX/sub"}
{"Action":"output","Package":"p","Test":"BenchmarkX/sub","Output":"BenchmarkX/sub-2   10   65.10 ns/op\n"}
{"Action":"pass","Package":"p"}`,
			pass: "p.BenchmarkX p.BenchmarkX/sub",
		},
		"a benchmark beside a failing one": {
			events: `{"Action":"run","Package":"p","Test":"BenchmarkX"}
{"Action":"output","Package":"p","Test":"BenchmarkX","Output":"BenchmarkX-2   10   65.10 ns/op\n"}
{"Action":"run","Package":"p","Test":"BenchmarkY"}
{"Action":"fail","Package":"p","Test":"BenchmarkY"}
{"Action":"fail","Package":"p"}`,
			pass: "p.BenchmarkX", fail: "p.BenchmarkY",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newResult("one")
			for line := range strings.SplitSeq(c.events, "\n") {
				r.line([]byte(line))
			}
			for state, want := range map[string]string{"pass": c.pass, "fail": c.fail, "skip": c.skip, "run": ""} {
				if got := join(r.with(state)); got != want {
					t.Errorf("%s: %s, want %s", state, got, want)
				}
			}
			if failed := r.with("fail"); c.output != "" && r.output[failed[0]] != c.output {
				t.Errorf("its output is %q, want %q", r.output[failed[0]], c.output)
			}
		})
	}
}

// A suite that is stopped names the tests that hang, and one whose fuzz target
// ran no seed has a fault.
func TestAbortAndSeeds(t *testing.T) {
	t.Parallel()
	r := newResult("one")
	for _, line := range []string{
		"go: some warning",
		`{"Action":"run","Package":"p","Test":"TestA"}`,
		`{"Action":"run","Package":"p","Test":"FuzzA"}`,
		`{"Action":"run","Package":"p","Test":"FuzzA/seed#0"}`,
		`{"Action":"run","Package":"p","Test":"FuzzB"}`,
		`{"Action":"pass","Package":"p","Test":"FuzzB"}`,
	} {
		r.line([]byte(line))
	}
	r.seeds()
	if len(r.faults) != 1 || !strings.Contains(r.faults[0], "p.FuzzB ran no seed") {
		t.Errorf("the faults are %q", r.faults)
	}
	if got, want := join(r.abort()), "p.TestA p.FuzzA p.FuzzA/seed#0"; got != want || join(r.with("fail")) != want {
		t.Errorf("still running: %s, want %s; failed: %s", got, want, join(r.with("fail")))
	}
	if got := r.stray.String(); got != "go: some warning\n" {
		t.Errorf("stray output: %q", got)
	}
}

func TestDeclared(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":             "module m\n",
		"a_test.go":          "package a\nimport \"testing\"\nfunc TestMain(m *testing.M) {}\nfunc TestA(t *testing.T) {}\nfunc Testify(t *testing.T) {}\nfunc TestHelper(t *testing.T, x int) {}\nfunc Test(t *testing.T) {}\n",
		"a.go":               "package a\nimport \"testing\"\nfunc TestNotHere(t *testing.T) {}\n",
		"b/b_test.go":        "//go:build integration && never\n\npackage b\nimport \"testing\"\nfunc FuzzB(f *testing.F) {}\nfunc BenchmarkB(b *testing.B) {}\n",
		"testdata/x_test.go": "package x\nimport \"testing\"\nfunc TestX(t *testing.T) {}\n",
		"_old/x_test.go":     "package x\nimport \"testing\"\nfunc TestX(t *testing.T) {}\n",
		"nested/go.mod":      "module n\n",
		"nested/x_test.go":   "package x\nimport \"testing\"\nfunc TestX(t *testing.T) {}\n",
	} {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := declared(root)
	if err != nil {
		t.Fatal(err)
	}
	if want := "m.TestA m.Test m/b.FuzzB m/b.BenchmarkB"; join(got) != want {
		t.Errorf("found %s, want %s", join(got), want)
	}
}

// TestRun adopts orphans and changes the working directory: nothing runs beside
// it.
func TestRun(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":        "module m\n\ngo 1.26\n",
		"a_test.go":     "package a\n\nimport \"testing\"\n\nfunc TestOK(t *testing.T) { t.Run(\"sub\", func(t *testing.T) {}) }\n",
		"no/no_test.go": "package no\n\nimport \"testing\"\n\nfunc TestNo(t *testing.T) { t.Error(\"because\") }\n\nfunc TestSkips(t *testing.T) { t.Skip(\"no hardware\") }\n",
		"wait":          "#!/bin/sh\nuntil [ -e came ]; do sleep 0.01; done\n",
		"come":          "#!/bin/sh\nexec touch came\n",
		"leave":         "#!/bin/sh\nsetsid sleep 3600 >/dev/null 2>&1 &\n",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(root)
	if err := adoptOrphans(); err != nil {
		t.Fatal(err)
	}
	one := func(minimum int, timeout time.Duration, commands string) []suite {
		return []suite{{"one", minimum, timeout, false, commands}}
	}
	for name, c := range map[string]struct {
		suites []suite
		only   []string
		last   string
		says   []string
	}{
		"all is well": {one(2, time.Minute, "go test ."), []string{"one"}, "2 passed, 0 failed, 0 skipped", nil},
		"all is well, with commands beside each other": {one(2, time.Minute, "./wait & ./come && rm came && go test ."), []string{"one"}, "2 passed, 0 failed, 0 skipped", nil},
		"all is well, with a suite beside another":     {append(one(2, time.Minute, "./wait && rm came && go test ."), suite{"two", 0, time.Minute, true, "./come"}), []string{"one", "two"}, "2 passed, 0 failed, 0 skipped", []string{"two "}},
		"a suite fails beside another":                 {append(one(2, time.Minute, "./wait && rm came && go test ."), suite{"two", 0, time.Minute, true, "./come && false"}), []string{"one", "two"}, "2 passed, 1 failed, 0 skipped", []string{"false: running false: exit status 1"}},
		"asked for without the suite before it":        {append(one(2, time.Minute, "go test ."), suite{"two", 0, time.Minute, true, "go version"}), []string{"two"}, "0 passed, 0 failed, 1 skipped", []string{"one      not run"}},
		"a failure, a skip":                            {one(2, time.Minute, "go test ./..."), nil, "2 passed, 1 failed, 1 skipped", []string{"--- FAIL: m/no.TestNo", "because", "--- SKIP: m/no.TestSkips", "no hardware"}},
		"declared, not run":                            {one(2, time.Minute, "go test ."), nil, "2 passed, 0 failed, 2 skipped", []string{"--- NOT RUN: m/no.TestNo", "--- NOT RUN: m/no.TestSkips"}},
		"too few tests":                                {one(3, time.Minute, "go test ."), []string{"one"}, "2 passed, 1 failed, 0 skipped", []string{"ran 2 tests; its minimum is 3"}},
		"nothing":                                      {one(0, time.Minute, "go version"), []string{"one"}, "0 passed, 0 failed, 0 skipped", nil},
		"not asked for":                                {append(one(2, time.Minute, "go test ."), suite{"two", 0, time.Minute, false, "go version"}), []string{"one"}, "2 passed, 0 failed, 1 skipped", []string{"two      not run"}},
		"a check fails":                                {one(0, time.Minute, "go version && false && go version"), []string{"one"}, "0 passed, 1 failed, 0 skipped", []string{"false: running false: exit status 1"}},
		"hangs":                                        {one(0, 100*time.Millisecond, "sleep 3600"), []string{"one"}, "0 passed, 1 failed, 0 skipped", []string{"stopped: the suite's 100ms are over"}},
		"a process is left":                            {one(0, time.Minute, "./leave"), []string{"one"}, "0 passed, 1 failed, 0 skipped", []string{"left processes behind: sleep"}},
		"the build fails":                              {one(0, time.Minute, "go test ./missing"), []string{"one"}, "0 passed, 1 failed, 0 skipped", []string{"missing"}},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			status := run(t.Context(), &out, c.suites, c.only)
			if !strings.HasSuffix(out.String(), "\n"+c.last+"\n") {
				t.Errorf("the last line is not %q", c.last)
			}
			if (status == 0) != strings.HasPrefix(name, "all is well") {
				t.Errorf("the status is %d", status)
			}
			for _, want := range c.says {
				if !strings.Contains(out.String(), want) {
					t.Errorf("no %q", want)
				}
			}
			if left := descendants(os.Getpid()); len(left) > 0 {
				t.Errorf("processes are left: %v", left)
			}
			if t.Failed() {
				t.Log(out.String())
			}
		})
	}
}

func join(ids []testID) string {
	var names []string
	for _, id := range ids {
		names = append(names, id.String())
	}
	return strings.Join(names, " ")
}
