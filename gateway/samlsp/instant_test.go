package samlsp_test

import (
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/samlsp"
)

func TestInstant(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"2026-11-22T10:00:00Z":           "2026-11-22T10:00:00Z",
		"2026-11-22T10:00:00.5Z":         "2026-11-22T10:00:00.5Z",
		"2026-11-22T10:00:00.123456789Z": "2026-11-22T10:00:00.123456789Z",
		"2026-11-22T10:00:00.000Z":       "2026-11-22T10:00:00Z",
		"9999-12-31T23:59:59Z":           "9999-12-31T23:59:59Z",
		"1970-01-01T00:00:00Z":           "1970-01-01T00:00:00Z",
		"2028-02-29T00:00:00Z":           "2028-02-29T00:00:00Z",
		"2026-11-22T10:00:00+00:00":      "2026-11-22T10:00:00Z",
		"2026-11-22T10:00:00-05:00":      "2026-11-22T15:00:00Z",
		"2026-11-22T10:00:00.25+05:45":   "2026-11-22T04:15:00.25Z",
		"2026-11-22T10:00:00+14:00":      "2026-11-21T20:00:00Z",
		"2026-01-01T00:30:00+01:00":      "2025-12-31T23:30:00Z",
	} {
		if got, err := samlsp.Instant(text); err != nil || got.Format(time.RFC3339Nano) != want {
			t.Errorf("%s: got %s, %v", text, got.Format(time.RFC3339Nano), err)
		}
	}
	for _, text := range []string{
		"", "Z", "now", "2026-11-22", "2026-11-22T10:00:00", "2026-11-22T10:00:00z", "2026-11-22t10:00:00Z", "2026-11-22 10:00:00Z",
		"2026-11-22T10:00:00+14:01", "2026-11-22T10:00:00+25:00", "2026-11-22T10:00:00+05", "2026-11-22T10:00:00+0500", "2026-11-22T10:00:00+5:00",
		"2026-11-22T10:00:00+05:60", "2026-11-22T10:00:00Z+05:00", "2026-11-22T10:00:00+05:00Z", "2026-11-22T10:00:00 +05:00", "+05:00",
		"1970-01-01T00:30:00+01:00", "9999-12-31T23:30:00-01:00", "2026-11-22T24:00:00Z", "2026-11-22T10:00:60Z", "2026-02-29T10:00:00Z",
		"2026-13-01T10:00:00Z", "2026-1-22T10:00:00Z", "2026-11-22T1:00:00Z", "2026-11-22T10:00:00.Z", "2026-11-22T10:00:00,5Z",
		"2026-11-22T10:00:00.1234567890Z", "2026-11-22T10:00:00.5.5Z", "2026-11-22T10:00:00.+5Z", " 2026-11-22T10:00:00Z", "2026-11-22T10:00:00Z ",
		"02026-11-22T10:00:00Z", "-2026-11-22T10:00:00Z", "0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "10000-01-01T00:00:00Z", "2026-11-22T10:00:00ZZ",
	} {
		if got, err := samlsp.Instant(text); err == nil {
			t.Errorf("%q is taken for %s", text, got)
		}
	}
}

// FuzzInstant holds that a time that is taken is one for the standard library
// too, the same, and never the zero time.
func FuzzInstant(f *testing.F) {
	f.Add("2026-11-22T10:00:00Z")
	f.Add("2026-11-22T10:00:00.123Z")
	f.Add("0001-01-01T00:00:00Z")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := samlsp.Instant(text)
		if err != nil {
			if !got.IsZero() {
				t.Errorf("%q: a time comes with the error", text)
			}
			return
		}
		want, err := time.Parse(time.RFC3339Nano, text)
		if err != nil || !want.Equal(got) || got.IsZero() || got.Location() != time.UTC {
			t.Errorf("%q: got %s, want %s, %v", text, got, want, err)
		}
	})
}
