package samlsp

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// instant reads an xs:dateTime as SAML has it (Core 1.3.3): in UTC, with the Z,
// down to the nanosecond at most. Neither an offset nor the hour 24 nor a blank
// around it is taken, and no year before 1970: no message is that old, and the
// zero time.Time must not come out of a document.
func instant(s string) (time.Time, error) {
	const layout = "2006-01-02T15:04:05"
	fault := errors.New("reading a time: it is not of the form 2006-01-02T15:04:05Z, or no date")
	if len(s) <= len(layout) || !strings.HasSuffix(s, "Z") {
		return time.Time{}, fault
	}
	t, err := time.Parse(layout, s[:len(layout)])
	if err != nil || t.Year() < 1970 {
		return time.Time{}, fault
	}
	fraction := strings.TrimSuffix(s[len(layout):], "Z")
	if fraction == "" {
		return t, nil
	}
	digits, ok := strings.CutPrefix(fraction, ".")
	if !ok || digits == "" || len(digits) > 9 || strings.Trim(digits, "0123456789") != "" {
		return time.Time{}, fault
	}
	nanos, err := strconv.Atoi(digits + "000000000"[len(digits):])
	if err != nil {
		return time.Time{}, fault
	}
	return t.Add(time.Duration(nanos)), nil
}
