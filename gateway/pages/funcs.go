package pages

import (
	"html/template"
	"strconv"
	"strings"
	"time"
)

// funcs are those that the templates can call.
func (rd *Renderer) funcs() template.FuncMap {
	return template.FuncMap{
		"asset":   rd.assetURL,
		"icon":    rd.icon,
		"helpURL": helpURL, "helpText": helpText,
		"local": local,
		"away":  away, "registered": registered,
		"iso":    func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"clock":  func(t time.Time) string { return t.UTC().Format(string(texts["TimeLayout"])) },
		"within": func(t time.Time) string { return within(time.Until(t)) },
		"labels": func(host string) []string { return strings.SplitAfter(host, ".") },
		"fill":   fill,
		"list":   func(label sentence, values []string) list { return list{texts, label, values} },
	}
}

// A list is a row of several values.
type list struct {
	Text   map[string]sentence
	Label  sentence
	Values []string
}

// longList is how many values are shown at first. More would push the links and
// buttons off the screen.
const longList = 12

// Long reports whether the list is folded.
func (l list) Long() bool { return len(l.Values) > longList }

// ShowAll is the label that unfolds a long list.
func (l list) ShowAll() []part { return fill(texts["ShowAll"], strconv.Itoa(len(l.Values))) }

// within says in how long something happens, since a time in UTC says little to most
// people. The number is rounded down, and never one. For a time that has passed it
// returns "".
func within(d time.Duration) string {
	say := func(s sentence, unit time.Duration) string {
		return strings.Replace(string(s), "%s", strconv.Itoa(int(d.Round(unit)/unit)), 1)
	}
	const day = 24 * time.Hour
	switch {
	case d <= 0:
		return ""
	case d >= 2*day:
		return say(texts["InDays"], day)
	case d >= 2*time.Hour:
		return say(texts["InHours"], time.Hour)
	case d >= 2*time.Minute:
		return say(texts["InMinutes"], time.Minute)
	default:
		return string(texts["LessThanMinute"])
	}
}
