package gatewaytest

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Captured returns a captured document below a testdata directory, and the clock of
// its capture. A document is captured if somebody else wrote it (a provider, another
// XML library), or an earlier release of ours. The file captured.json in the testdata
// directory has the time of each, by the file's name or by its directory's name with
// a slash.
//
// A test must call it in a synctest bubble. Captured waits there until the bubble's
// clock shows the time of capture, so no code can check the document against the real
// clock. Outside of a bubble the test fails, unless the document is of today.
// Benchmarks can't run in a bubble: they pass the returned clock to the code. A fuzz
// target may only use the document as a seed.
func Captured(tb testing.TB, file string) (doc []byte, now func() time.Time) {
	tb.Helper()
	doc, err := os.ReadFile(file)
	if err != nil {
		tb.Fatalf("reading a captured document: %v", err)
	}
	at, err := capturedAt(file)
	if err != nil {
		tb.Fatalf("reading the time of the captured document %s: %v", file, err)
	}
	if _, ok := tb.(*testing.T); ok {
		// A bubble begins in the year 2000. Documents of one day may be read in
		// sequence.
		wait := time.Until(at)
		if now := time.Now(); now.Year() != 2000 && (wait > 24*time.Hour || wait < -time.Hour) {
			tb.Fatalf("%s was captured at %v and would be verified at %v: read it in a bubble of synctest", file, at, now)
		}
		time.Sleep(wait)
	}
	return doc, func() time.Time { return at }
}

// CapturedNames returns the captured documents that match a pattern, for Captured.
// The test fails if there are fewer than atLeast.
func CapturedNames(tb testing.TB, pattern string, atLeast int) []string {
	tb.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) < atLeast {
		tb.Fatalf("%d documents fit %s, there were %d: %v", len(files), pattern, atLeast, err)
	}
	return files
}

func capturedAt(file string) (time.Time, error) {
	dir, name, ok := strings.Cut(file, "testdata/")
	if !ok {
		return time.Time{}, errors.New("it lies below no testdata directory")
	}
	var times map[string]time.Time
	list, err := os.ReadFile(dir + "testdata/captured.json")
	if err != nil {
		return time.Time{}, err
	}
	if err := json.Unmarshal(list, &times); err != nil {
		return time.Time{}, err
	}
	top, _, _ := strings.Cut(name, "/")
	for _, key := range []string{name, top + "/"} {
		if at, ok := times[key]; ok {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("captured.json does not name %s", name)
}
