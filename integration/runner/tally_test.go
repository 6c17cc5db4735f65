package main

import (
	"slices"
	"strings"
	"testing"
)

// The events are what go test -json of Go 1.26 wrote, without times.
func TestTally(t *testing.T) {
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
			tally := newTally()
			for line := range strings.SplitSeq(c.events, "\n") {
				tally.line([]byte(line))
			}
			for state, want := range map[string]string{"pass": c.pass, "fail": c.fail, "skip": c.skip, "run": ""} {
				if got := join(tally.with(state)); got != want {
					t.Errorf("%s: %s, want %s", state, got, want)
				}
			}
			if failed := tally.with("fail"); c.output != "" && tally.outputOf(failed[0]) != c.output {
				t.Errorf("its output is %q, want %q", tally.outputOf(failed[0]), c.output)
			}
		})
	}
}

func TestTallyAbort(t *testing.T) {
	t.Parallel()
	tally := newTally()
	for _, line := range []string{
		"go: some warning",
		`{"Action":"run","Package":"p","Test":"TestA"}`,
		`{"Action":"run","Package":"p","Test":"TestB"}`,
		`{"Action":"pass","Package":"p","Test":"TestA"}`,
	} {
		tally.line([]byte(line))
	}
	if got := tally.abort(); !slices.Equal(got, []string{"p.TestB"}) {
		t.Errorf("still running: %v, want p.TestB", got)
	}
	if got := join(tally.with("fail")); got != "p.TestB" {
		t.Errorf("failed: %s, want p.TestB", got)
	}
	if got := tally.stray.String(); got != "go: some warning\n" {
		t.Errorf("stray output: %q", got)
	}
}

func TestTallyRanOut(t *testing.T) {
	t.Parallel()
	const begin = `{"Action":"run","Package":"p","Test":"FuzzA"}
{"Action":"output","Package":"p","Test":"FuzzA","Output":"=== RUN   FuzzA\n"}
{"Action":"output","Package":"p","Test":"FuzzA","Output":"fuzz: elapsed: 5s, execs: 74848 (13285/sec), new interesting: 72 (total: 76)\n"}
{"Action":"output","Package":"p","Test":"FuzzA","Output":"--- FAIL: FuzzA (5.36s)\n"}
`
	const end = `{"Action":"fail","Package":"p","Test":"FuzzA"}
{"Action":"fail","Package":"p"}`
	for name, c := range map[string]struct {
		middle string
		want   bool
	}{
		"the time ran out": {`{"Action":"output","Package":"p","Test":"FuzzA","Output":"    context deadline exceeded\n"}` + "\n", true},
		"a failing input":  {`{"Action":"output","Package":"p","Test":"FuzzA","Output":"    --- FAIL: FuzzA (0.00s)\n"}` + "\n", false},
		"both": {`{"Action":"output","Package":"p","Test":"FuzzA","Output":"    context deadline exceeded\n"}
{"Action":"output","Package":"p","Test":"FuzzA","Output":"    Failing input written to testdata/fuzz/FuzzA/1\n"}` + "\n", false},
		"nothing said": {"", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tally := newTally()
			for line := range strings.SplitSeq(begin+c.middle+end, "\n") {
				tally.line([]byte(line))
			}
			if got := tally.ranOut(); got != c.want {
				t.Errorf("ran out: %v, want %v", got, c.want)
			}
			all := newTally()
			all.add(tally)
			if got := join(all.with("fail")); got != "p.FuzzA" {
				t.Errorf("added up, %q failed", got)
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
