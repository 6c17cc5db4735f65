package mapping

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"testing"
)

// Compile refuses names with control characters, so what an attacker of the
// encoding would write can only be tried from inside: lines that separators or
// terminators would confuse must encode differently.
func TestAppendLineIsInjective(t *testing.T) {
	t.Parallel()
	prefix := string(binary.BigEndian.AppendUint64(nil, 1))
	lines := []compiledLine{
		{kind: "role", Line: Line{To: []string{"a", "b"}, From: []string{"c"}}},
		{kind: "role", Line: Line{To: []string{"a\x00b"}, From: []string{"c"}}},
		{kind: "role", Line: Line{To: []string{"a" + prefix + "b"}, From: []string{"c"}}},
		{kind: "role", Line: Line{To: []string{"ab"}, From: []string{"c"}}},
		{kind: "role", Line: Line{To: []string{"a"}, From: []string{"b", "c"}}},
		{kind: "role", Line: Line{To: []string{"a", "b", "c"}}},
		{kind: "role", Line: Line{From: []string{"a", "b", "c"}}},
		{kind: "role", Line: Line{To: []string{"", "ab"}, From: []string{"c"}}},
		{kind: "rolea", Line: Line{To: []string{"b"}, From: []string{"c"}}},
	}
	for i, line := range lines {
		if got := readLine(t, appendLine(nil, line)); !reflect.DeepEqual(got, line) {
			t.Errorf("line %d reads back as %#v", i, got)
		}
		for _, other := range lines[:i] {
			if bytes.Equal(appendLine(nil, line), appendLine(nil, other)) {
				t.Errorf("%#v and %#v look alike", line, other)
			}
		}
	}
}

// readLine is the inverse of appendLine: that it exists proves that no two
// lines share an encoding.
func readLine(t *testing.T, b []byte) compiledLine {
	t.Helper()
	number := func() int {
		n := binary.BigEndian.Uint64(b)
		b = b[8:]
		return int(n)
	}
	name := func() string {
		n := number()
		s := string(b[:n])
		b = b[n:]
		return s
	}
	names := func() []string {
		var all []string
		for range number() {
			all = append(all, name())
		}
		return all
	}
	line := compiledLine{kind: Kind(name())}
	line.To, line.From = names(), names()
	if len(b) != 0 {
		t.Errorf("%d bytes are left", len(b))
	}
	return line
}
