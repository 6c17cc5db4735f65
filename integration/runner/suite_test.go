package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// These tests adopt orphans and change the working directory, so they do not
// run in parallel with anything.

// moduleOf makes a module of one test file and goes there.
func moduleOf(t *testing.T, body string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":    "module m\n\ngo 1.26\n",
		"a_test.go": "package a\n\nimport (\n\t\"os/exec\"\n\t\"syscall\"\n\t\"testing\"\n\t\"time\"\n)\n\nvar (\n\t_ = exec.Command\n\t_ = syscall.Kill\n\t_ = time.Sleep\n)\n\n" + body,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	if err := adoptOrphans(); err != nil {
		t.Fatal(err)
	}
}

func (r *result) counts() (passed, failed, skipped int) {
	return len(r.tally.with("pass")), len(r.tally.with("fail")), len(r.tally.with("skip"))
}

func TestRunSuite(t *testing.T) {
	const passes = "func TestOK(t *testing.T) { t.Run(\"sub\", func(t *testing.T) {}) }\n"
	for name, c := range map[string]struct {
		body, line     string
		passed, failed int
		fault          string // "" if there must be none
	}{
		"passes":        {body: passes, line: "suite a 2 1m test ./...", passed: 2},
		"too few tests": {body: passes, line: "suite a 3 1m test ./...", passed: 2, fault: "ran 2 tests; its minimum is 3"},
		"fails":         {body: "func TestNo(t *testing.T) { t.Error(1) }\n", line: "suite a 0 1m test ./...", failed: 1},
		"hangs": {
			body: "func TestHang(t *testing.T) { time.Sleep(time.Hour) }\n",
			line: "suite a 0 15s test -timeout 0 ./...", failed: 1, fault: "the suite's time is over, stopped; still running: m.TestHang",
		},
		"leaves a process behind": {
			body: "func TestLeave(t *testing.T) {\n\tc := exec.Command(\"sleep\", \"3600\")\n\tc.SysProcAttr = &syscall.SysProcAttr{Setsid: true}\n\tif err := c.Start(); err != nil {\n\t\tt.Fatal(err)\n\t}\n}\n",
			line: "suite a 1 1m test ./...", passed: 1, fault: "left processes behind: sleep",
		},
		"nothing to test":    {body: passes, line: "suite a 1 1m test -run Nothing ./...", fault: "ran 0 tests"},
		"serial":             {body: "func BenchmarkX(b *testing.B) { for b.Loop() {} }\nfunc TestTimeX(t *testing.T) {}\nfunc TestOther(t *testing.T) {}\n", line: "suite a 2 1m serial ./...", passed: 2},
		"seeds":              {body: "func FuzzX(f *testing.F) { f.Add([]byte(\"a\")); f.Fuzz(func(t *testing.T, b []byte) {}) }\n", line: "suite a 2 1m test ./...", passed: 2},
		"no seeds":           {body: "func FuzzX(f *testing.F) { f.Fuzz(func(t *testing.T, b []byte) {}) }\n", line: "suite a 1 1m test ./...", passed: 1, fault: "m.FuzzX ran no seed"},
		"checks all succeed": {body: passes, line: "suite a 0 1m check go version && go vet ./..."},
		"a check fails":      {body: passes, line: "suite a 0 1m check false && go version", fault: "false: running false: exit status 1"},
	} {
		t.Run(name, func(t *testing.T) {
			moduleOf(t, c.body)
			l, err := parseList(strings.NewReader(c.line))
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			r := runSuite(t.Context(), l.suites[0])
			if took := time.Since(began); took > time.Minute {
				t.Errorf("it took %v", took)
			}
			passed, failed, _ := r.counts()
			if passed < c.passed || (failed > 0) != (c.failed > 0) {
				t.Errorf("passed %d, failed %d; want %d, %d", passed, failed, c.passed, c.failed)
			}
			faults := strings.Join(r.faults, "\n")
			if c.fault == "" && faults != "" || !strings.Contains(faults, c.fault) {
				t.Errorf("its faults are %q, want %q", faults, c.fault)
			}
			if left := descendants(os.Getpid()); len(left) > 0 {
				t.Errorf("processes are left: %v", left)
			}
		})
	}
}
