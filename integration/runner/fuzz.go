package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"regexp"
	"strings"
	"time"
)

// fuzzEach is how long each target is fuzzed if nobody says otherwise.
const fuzzEach = 10 * time.Second

// fuzzSlack is what a target may take beyond its time: it is built, which takes
// minutes the first time, and its seeds run first.
const fuzzSlack = 15 * time.Minute

// fuzzArgs reads what stands behind the word fuzz.
func fuzzArgs(args []string) (time.Duration, error) {
	switch len(args) {
	case 0:
		return fuzzEach, nil
	case 1:
		each, err := time.ParseDuration(args[0])
		if err == nil && each >= time.Second {
			return each, nil
		}
	}
	return 0, fmt.Errorf("fuzz takes one duration of a second or more for each target, like 30s; got %q", strings.Join(args, " "))
}

// runFuzz fuzzes every target below the working directory, each for that long.
func runFuzz(ctx context.Context, each time.Duration) *result {
	r := &result{suite: suite{name: "fuzz", timeout: each + fuzzSlack}, tally: newTally()}
	began := time.Now()
	targets, err := fuzzTargets(ctx)
	if err != nil {
		r.fault("listing the fuzz targets: %v", err)
	} else if len(targets) == 0 {
		r.fault("there is no fuzz target")
	}
	for _, id := range targets {
		fmt.Printf("    fuzzing %s.%s\n", strings.TrimPrefix(id.pkg, module), id.name)
		r.fuzz(ctx, id, each)
	}
	if left := endLeftovers(5 * time.Second); len(left) > 0 {
		r.fault("left processes behind: %s", strings.Join(left, ", "))
	}
	r.took = time.Since(began)
	return r
}

func fuzzTargets(ctx context.Context) (targets []testID, err error) {
	find := func(line []byte) {
		var e event
		if json.Unmarshal(line, &e) != nil || e.Action != "output" {
			return
		}
		if name := strings.TrimSpace(e.Output); strings.HasPrefix(name, "Fuzz") {
			targets = append(targets, testID{e.Package, name})
		}
	}
	err = execute(ctx, find, "go", "test", "-json", "-list", "^Fuzz", "./...")
	return targets, err
}

// fuzz fuzzes one target. Go spends up to a minute on making one input of
// interest smaller, and tries no other meanwhile: all of a short run, unless
// that is bounded.
func (r *result) fuzz(ctx context.Context, id testID, each time.Duration) {
	ctx, cancel := context.WithTimeoutCause(ctx, r.suite.timeout, errTimeout)
	defer cancel()
	all := r.tally
	// A run that ended while an input ran may count as a failure (see ranOut). It
	// is run once more.
	for range 2 {
		r.tally = newTally()
		r.goTest(ctx, "-run", "^$", "-fuzz", "^"+id.name+"$", "-fuzztime", each.String(), "-fuzzminimizetime", "10x", id.pkg)
		if !r.tally.ranOut() {
			break
		}
	}
	all.add(r.tally)
	r.tally = all
}

var failingInput = regexp.MustCompile(`Failing input written to (testdata/fuzz/\S+)`)

// find returns the file with the input that made a fuzz target fail, below the
// module's root, or "".
func (t *tally) find(id testID) string {
	m := failingInput.FindStringSubmatch(t.outputOf(id))
	if m == nil {
		return ""
	}
	return path.Join("/", strings.TrimPrefix(id.pkg, module), m[1])[1:]
}

// seeds returns how many seeds each fuzz target of a suite ran. Each seed is a
// subtest of its target.
func (t *tally) seeds() map[testID]int {
	seeds := map[testID]int{}
	for _, id := range t.order {
		if target, _, isSeed := strings.Cut(id.name, "/"); strings.HasPrefix(target, "Fuzz") {
			of := testID{id.pkg, target}
			seeds[of] += 0
			if isSeed && t.state[id] != "skip" {
				seeds[of]++
			}
		}
	}
	return seeds
}
