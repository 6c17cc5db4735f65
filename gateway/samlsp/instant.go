package samlsp

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// instant reads an xs:dateTime with its zone, down to the nanosecond at most. SAML
// has it in UTC (Core 1.3.3), with a Z; an offset says the same. Without either it
// would be a guess. Neither the hour 24 nor a blank around it is taken, and no year
// before 1970: no message is that old, and the zero time.Time must not come out
// of a document.
func instant(s string) (time.Time, error) {
	const layout = "2006-01-02T15:04:05"
	fault := errors.New("reading a time: it is not of the form 2006-01-02T15:04:05Z, or no date")
	s, offset, zoned := cutZone(s)
	if !zoned || len(s) < len(layout) {
		return time.Time{}, fault
	}
	t, err := time.Parse(layout, s[:len(layout)])
	if t = t.Add(-offset); err != nil || t.Year() < 1970 || t.Year() > 9999 {
		return time.Time{}, fault
	}
	fraction := s[len(layout):]
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

// cutZone takes the zone off a time: Z, or an offset from UTC of 14 hours at most
// (XML Schema 2, 3.2.7).
func cutZone(s string) (local string, offset time.Duration, ok bool) {
	if local, ok = strings.CutSuffix(s, "Z"); ok {
		return local, 0, true
	}
	at := len(s) - len("+00:00")
	if at < 0 || s[at] != '+' && s[at] != '-' {
		return s, 0, false
	}
	zone, err := time.Parse("15:04", s[at+1:])
	if offset = time.Duration(zone.Hour())*time.Hour + time.Duration(zone.Minute())*time.Minute; err != nil || offset > 14*time.Hour {
		return s, 0, false
	}
	if s[at] == '-' {
		offset = -offset
	}
	return s[:at], offset, true
}
