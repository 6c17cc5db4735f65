package oidcrp

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// maxDepth is how deep JSON from a provider may be nested. Claims of real
// providers need five levels, discovery two.
const maxDepth = 32

// maxValues bounds how many values there may be in a document: 10,000 groups
// and as much of other things, four times over. It keeps the cost of the worst
// megabyte at some 20 ms.
const maxValues = 50000

// An object is a JSON object read exactly: names are compared byte for byte
// (encoding/json would fill a field from "EMAIL" as well as from "email"), and
// values are string, bool, json.Number, nil, []any or object.
type object map[string]any

// A document is JSON as it was read, with what the checks need.
type document struct {
	root      any
	twice     bool   // a name stands twice in one object
	duplicate string // that name
	outer     bool   // it does so in the outermost object
	illFormed bool   // invalid UTF-8, or half of a surrogate pair
	depth     int
	values    int
	limit     int // of values
}

// object reads data as one JSON object. Which faults of form are refused is
// said by checklist.json. The error never quotes a value.
func (c *checklist) object(data []byte) (object, error) {
	doc, err := c.read(data)
	if err != nil {
		return nil, err
	}
	if err := c.json.Run(doc); err != nil {
		return nil, err
	}
	obj, ok := doc.root.(object)
	if !ok {
		return nil, errors.New("is no JSON object")
	}
	return obj, nil
}

func readDocument(data []byte) (*document, error) { return readWithin(data, maxValues) }

func readWithin(data []byte, limit int) (*document, error) {
	// Valid first: it bounds the depth that the recursion below can meet, and
	// it refuses what Decoder.Token is lenient about.
	if !json.Valid(data) {
		return nil, errors.New("is no valid JSON")
	}
	doc := &document{limit: limit, illFormed: !utf8.Valid(data) || hasLoneSurrogate(data)}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	root, err := doc.value(dec, 1)
	if err != nil {
		return nil, fmt.Errorf("is no valid JSON within %d values", limit)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("has something behind the JSON value")
	}
	doc.root = root
	return doc, nil
}

func (d *document) value(dec *json.Decoder, depth int) (any, error) {
	tok, err := dec.Token()
	if err != nil {
		return nil, err
	}
	if d.values++; d.values > d.limit {
		return nil, errors.New("has too many values")
	}
	delim, ok := tok.(json.Delim)
	if !ok {
		return tok, nil
	}
	d.depth = max(d.depth, depth)
	if delim == '[' {
		return d.array(dec, depth)
	}
	return d.members(dec, depth)
}

func (d *document) array(dec *json.Decoder, depth int) (any, error) {
	list := []any{}
	for dec.More() {
		v, err := d.value(dec, depth+1)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	_, err := dec.Token()
	return list, err
}

func (d *document) members(dec *json.Decoder, depth int) (any, error) {
	obj := object{}
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return nil, err
		}
		name, ok := tok.(string)
		if !ok {
			return nil, errors.New("is no member name")
		}
		if _, there := obj[name]; there {
			d.twice, d.duplicate = true, name
			d.outer = d.outer || depth == 1
		}
		if obj[name], err = d.value(dec, depth+1); err != nil {
			return nil, err
		}
	}
	_, err := dec.Token()
	return obj, err
}

// hasLoneSurrogate reports whether valid JSON escapes half of a UTF-16
// surrogate pair. encoding/json reads each of these as U+FFFD, so that two
// different names or subjects would become one.
func hasLoneSurrogate(data []byte) bool {
	for i := 0; i < len(data); i++ {
		if data[i] != '\\' {
			continue
		}
		unit, ok := escapedUnit(data[i:])
		switch {
		case !ok:
			i++ // another escape: skip what it escapes
		case unit >= 0xDC00 && unit <= 0xDFFF:
			return true
		case unit >= 0xD800 && unit <= 0xDBFF:
			low, ok := escapedUnit(data[i+6:])
			if !ok || low < 0xDC00 || low > 0xDFFF {
				return true
			}
			i += 11
		default:
			i += 5
		}
	}
	return false
}

// escapedUnit reads the UTF-16 code unit of an escape \uXXXX that data begins
// with.
func escapedUnit(data []byte) (uint64, bool) {
	if len(data) < 6 || data[0] != '\\' || data[1] != 'u' {
		return 0, false
	}
	unit, err := strconv.ParseUint(string(data[2:6]), 16, 16)
	return unit, err == nil
}

// The readers below return the zero value where a member is missing or has
// another type: wrong types are refused before, by checks that know which
// members they concern (see kind).

func (o object) str(name string) string {
	s, _ := o[name].(string)
	return s
}

// dropNulls takes the members out of o that are null, and returns it: null is
// absent, and absent fails where a claim is required.
func (o object) dropNulls() object {
	maps.DeleteFunc(o, func(_ string, v any) bool { return v == nil })
	return o
}

func (o object) has(name string) bool {
	_, ok := o[name]
	return ok
}

// strs reads an array of strings, or one string as an array of one.
func (o object) strs(name string) []string { return asStrings(o[name]) }

func asStrings(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		list := make([]string, 0, len(v))
		for _, e := range v {
			if s, ok := e.(string); ok {
				list = append(list, s)
			}
		}
		return list
	}
	return nil
}

// date reads a NumericDate (RFC 7519 §2): seconds since the epoch, possibly
// with a fraction.
func (o object) date(name string) (time.Time, bool) {
	n, ok := o[name].(json.Number)
	if !ok {
		return time.Time{}, false
	}
	t, err := numericDate(n)
	return t, err == nil
}

// numericDate takes what lies between 1970 and the year 9999. Whole seconds
// are read as an integer, never by way of a float.
func numericDate(n json.Number) (time.Time, error) {
	const last = 253402300799
	sec, err := strconv.ParseInt(n.String(), 10, 64)
	if err != nil {
		f, ferr := strconv.ParseFloat(n.String(), 64)
		if ferr != nil || f < 0 || f > last {
			return time.Time{}, errors.New("is no date")
		}
		sec = int64(f)
	}
	if sec < 0 || sec > last {
		return time.Time{}, errors.New("is no date")
	}
	return time.Unix(sec, 0), nil
}

// find looks a claim up by its exact name, else by the names along a path with
// dots ("realm_access.roles"). Names may contain dots themselves: of several
// readings the one whose first name is shortest wins. null is absent. If there is no such
// claim, blocked says where on the path something is no object.
func (o object) find(path string) (claim any, blocked string) {
	if claim = o[path]; claim != nil {
		return claim, ""
	}
	for i := range len(path) {
		if path[i] != '.' || o[path[:i]] == nil {
			continue
		}
		at := cmp.Or(path[:i], ".") // a name may be empty
		if inner, ok := o[path[:i]].(object); ok {
			if claim, at = inner.find(path[i+1:]); claim != nil {
				return claim, ""
			}
			if at != "" {
				at = path[:i+1] + at
			}
		}
		blocked = cmp.Or(blocked, at)
	}
	return nil, blocked
}

// A kind is a JSON type that a member must have.
type kind string

const (
	aString  kind = "a string"
	aBool    kind = "true or false"
	aDate    kind = "a number of seconds since 1970"
	someText kind = "a string or an array of strings"
	texts    kind = "an array of strings"
	aList    kind = "an array" // of which strs reads the strings
)

// wrong reports whether v is of another type. null always is; claims have lost
// theirs by then (dropNulls).
func (k kind) wrong(v any) bool {
	switch v := v.(type) {
	case string:
		return k != aString && k != someText
	case bool:
		return k != aBool
	case json.Number:
		_, err := numericDate(v)
		return k != aDate || err != nil
	case []any:
		if k != texts && k != someText {
			return k != aList
		}
		for _, e := range v {
			if _, ok := e.(string); !ok {
				return true
			}
		}
		return false
	}
	return true
}

// A member is a member of an object with the type that it must have.
type member struct {
	name string
	kind kind
}

// checkKinds refuses members that are there and have another type.
func (o object) checkKinds(members []member) error {
	for _, m := range members {
		if v, ok := o[m.name]; ok && m.kind.wrong(v) {
			return fmt.Errorf("reading %s: is not %s", m.name, m.kind)
		}
	}
	return nil
}

// printable reports whether s is not empty, at most limit bytes long, and
// visible ASCII throughout (VSCHAR without the space, RFC 6749 appendix A).
func printable(s string, limit int) bool {
	return s != "" && len(s) <= limit && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}
