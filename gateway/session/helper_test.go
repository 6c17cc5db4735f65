package session_test

import "testing"

// mustDo ends a test that can't go on.
func mustDo(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
