// Command runner runs the suites below and prints the time of each. Its last line is "N
// passed, N failed, N skipped". Its exit status is 0 only if no test failed or was skipped.
//
// integration/run starts it, in the module's root.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A suite is a list of commands, separated by &&, or by & if they run beside each other. The
// tests of `go test` are counted. Any other command must succeed.
type suite struct {
	name     string
	minimum  int // if fewer tests and subtests run, the suite fails
	timeout  time.Duration
	beside   bool // runs beside the suite before it
	commands string
}

// suites run in this order. Every test of the module belongs to one.
var suites = []suite{
	// The integration tests wait a lot: the others run beside them. They need no -race: the
	// binary that they build and run has it. They need no vet: lint does that.
	{"tests", 8900, 45 * time.Minute, false, "go test -vet=off -count=1 -parallel=6 -tags=integration ./integration & " +
		"go test -vet=off -race -count=1 -p=2 -parallel=4 -tags=integration -skip=" + tables + " ./caddymodule/... ./gateway/... ./integration/proxmox ./integration/runner ./mapping & " +
		"go test -vet=off -count=1 -p=1 -parallel=4 -tags=integration -run=" + tables + " ./caddymodule ./gateway/oidcrp ./gateway/samlsp"},
	// These use only what the tests leave of the processor. So they have the same timeout.
	{"modules", 0, 45 * time.Minute, true, "nice -n 19 go mod verify && nice -n 19 go mod tidy -diff"},
	// golangci-lint vets with the tag integration.
	{"lint", 0, 45 * time.Minute, true, "nice -n 19 go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0 run ./... && " +
		"nice -n 19 go vet ./... && nice -n 19 go run sigs.k8s.io/kubectl-validate@v0.0.4 docker/kubernetes"},
	// Tests that measure allocations or time run alone, without -race.
	{"serial", 170, 8 * time.Minute, false, "go test -vet=off -p=1 -count=1 -run=^Test(Alloc|Time) -bench=. -benchtime=20x " +
		"./caddymodule ./gateway/boltstore ./gateway/cookie ./gateway/oidcop ./gateway/pages ./gateway/samlsp/... ./gateway/signing/... ./mapping"},
}

// tables are the tests of long tables that judge one case after another: configurations,
// files of the project, and attacks of one browser. With -race they take ten times as long,
// and it has nothing to find in them: what happens at once has tests of its own.
const tables = "^(FuzzMutation|Test(" +
	// caddymodule
	"AdaptEnvironment|AdaptMistakes|AnnouncedAddresses|Architecture|CapturedDocumentsComeWithTheirClock|" +
	"ManyParts|Mistakes|NoSiteIsRight|OptionsAreDescribed|PartsAreMended|ProvisionFaults|RoutesInJSON|" +
	"SidecarFiles|SidecarHugeFile|SidecarValues|StartFaults|TestsShareNoGlobals|Warned|Wild|" +
	// gateway/oidcrp and gateway/samlsp
	"Aggregate|AttackOIDC|AttackSAML|AuthoritySignsNothing|BadInputIsCheap|Canaries|OddTable|SwitchOffOIDC|SwitchOffSAML))$"

func main() {
	work := flag.String("work", "", "directory for temporary files; removed at the end")
	flag.Parse()
	if err := prepare(*work, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "integration/runner:", err)
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	status := run(ctx, os.Stdout, suites, flag.Args())
	stop()
	if *work != "" {
		_ = os.RemoveAll(*work)
	}
	os.Exit(status)
}

func prepare(work string, only []string) error {
	for _, name := range only {
		if !slices.ContainsFunc(suites, func(s suite) bool { return s.name == name }) {
			return fmt.Errorf("there is no suite %q", name)
		}
	}
	if work != "" {
		// The temporary files of a suite are removed with this directory, however it ends.
		if err := os.Setenv("TMPDIR", work); err != nil {
			return err
		}
	}
	return adoptOrphans()
}

// run runs all suites, or those in only, and returns the exit status. Each suite that does
// not run counts as skipped, and so does each declared test that no suite ran.
func run(ctx context.Context, out io.Writer, all []suite, only []string) int {
	passed, failed, skipped := 0, 0, 0
	table := ""
	seen := map[testID]bool{}
	var asked []suite
	for _, s := range all {
		if len(only) > 0 && !slices.Contains(only, s.name) {
			skipped++
			table += fmt.Sprintf("  %-8s not run: not asked for\n", s.name)
			continue
		}
		asked = append(asked, s)
	}
	for len(asked) > 0 {
		n := 1
		for n < len(asked) && asked[n].beside {
			n++
		}
		for _, r := range runTogether(ctx, out, asked[:n]) {
			r.print(out)
			line := fmt.Sprintf("%-8s %8s  %d passed, %d failed, %d skipped", r.suite, r.took, len(r.with("pass")), r.failed(), len(r.with("skip")))
			fmt.Fprintf(out, "    %s\n", line)
			table += fmt.Sprintf("  %s\n", line)
			passed, failed, skipped = passed+len(r.with("pass")), failed+r.failed(), skipped+len(r.with("skip"))
			for _, id := range r.order {
				seen[id] = true
			}
		}
		asked = asked[n:]
	}
	if len(only) == 0 {
		tests, err := declared(".")
		if err != nil || len(tests) == 0 {
			failed++
			fmt.Fprintf(out, "--- FAIL: looking for the declared tests: found %d, %v\n", len(tests), err)
		}
		for _, id := range tests {
			if !seen[id] {
				skipped++
				fmt.Fprintf(out, "--- NOT RUN: %s: no suite runs it\n", id)
			}
		}
	}
	fmt.Fprintf(out, "\nsuites:\n%s%d passed, %d failed, %d skipped\n", table, passed, failed, skipped)
	if failed+skipped > 0 || passed == 0 {
		return 1
	}
	return 0
}

// runTogether runs suites beside each other. A process that one of them leaves behind is a
// fault of the first.
func runTogether(ctx context.Context, out io.Writer, group []suite) []*result {
	results := make([]*result, len(group))
	var beside sync.WaitGroup
	for i, s := range group {
		fmt.Fprintf(out, "=== %s\n", s.name)
		beside.Go(func() { results[i] = s.run(ctx) })
	}
	beside.Wait()
	if left := endLeftovers(5 * time.Second); len(left) > 0 {
		results[0].fault("left processes behind: %s", strings.Join(left, ", "))
	}
	return results
}

// run runs one suite, with its timeout.
func (s suite) run(ctx context.Context) *result {
	r := newResult(s.name)
	began := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, s.timeout, fmt.Errorf("the suite's %v are over", s.timeout))
	defer cancel()
	for step := range strings.SplitSeq(s.commands, "&&") {
		r.stray.Reset()
		var beside sync.WaitGroup
		for command := range strings.SplitSeq(step, "&") {
			beside.Go(func() { s.execute(ctx, command, r) })
		}
		beside.Wait()
	}
	r.took = time.Since(began).Round(100 * time.Millisecond)
	r.seeds()
	if n := len(r.with("pass")) + len(r.with("fail")); n < s.minimum {
		r.fault("ran %d tests; its minimum is %d", n, s.minimum)
	}
	return r
}

// execute runs one of the suite's commands.
func (s suite) execute(ctx context.Context, command string, r *result) {
	words := strings.Fields(command)
	counted := len(words) > 1 && words[0] == "go" && words[1] == "test"
	if counted {
		// The timeout of the test binary is shorter: it prints the stacks of tests that hang.
		words = slices.Insert(words, 2, "-json", "-timeout="+(s.timeout*9/10).String())
	}
	err := execute(ctx, r.line, words[0], words[1:]...)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		r.fault("stopped: %v; still running: %v", err, r.abort())
	case err != nil && (!counted || len(r.with("fail")) == 0):
		r.fault("%s: %v\n%s", strings.TrimSpace(command), err, r.stray.String())
	}
}
