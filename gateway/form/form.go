// Package form reads forms and queries of browsers within bounds. It verifies
// nothing: anybody can send them.
package form

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

const (
	// maxBody bounds the body of a form in bytes: a SAML response of 1 MiB in
	// Base64, with escapes and line breaks.
	maxBody = 2 << 20
	// maxFields bounds the fields of a form. SAML has two; some providers name
	// their button too.
	maxFields = 16
	// maxQuery bounds a query in bytes.
	maxQuery = 64 << 10
)

// Read returns the fields of a form that have one of the names. None of them may
// occur twice; other fields are left out. The error is BadRequest if the request has
// no such form, or TooLarge.
func Read(w http.ResponseWriter, r *http.Request, names ...string) (map[string]string, *refusal.Error) {
	body, refused := receive(w, r, maxBody)
	if refused != nil {
		return nil, refused
	}
	fields, err := parse(body, names)
	if err != nil {
		return nil, refusal.New(refusal.BadRequest, err)
	}
	return fields, nil
}

// All returns all fields of a form of at most so many bytes. Its errors are those of
// Read.
func All(w http.ResponseWriter, r *http.Request, most int64) (url.Values, *refusal.Error) {
	body, refused := receive(w, r, most)
	if refused != nil {
		return nil, refused
	}
	fields, err := url.ParseQuery(body)
	if err != nil || len(fields) == 0 {
		return nil, refusal.New(refusal.BadRequest, errors.New("the form is empty or malformed"))
	}
	return fields, nil
}

// receive returns the body of a form.
func receive(w http.ResponseWriter, r *http.Request, most int64) (string, *refusal.Error) {
	if r.URL.RawQuery != "" {
		return "", refusal.New(refusal.BadRequest, errors.New("the form came with a query"))
	}
	if types := r.Header["Content-Type"]; len(types) != 1 || !IsForm(types[0]) {
		return "", refusal.New(refusal.BadRequest, errors.New("the request has no form of the type application/x-www-form-urlencoded"))
	}
	return readBody(w, r, most)
}

// IsForm reports whether a media type is that of a form.
func IsForm(contentType string) bool {
	mediaType, _, err := mime.ParseMediaType(contentType)
	return err == nil && mediaType == "application/x-www-form-urlencoded"
}

// readBody does not trust Content-Length: the client may send more.
func readBody(w http.ResponseWriter, r *http.Request, most int64) (string, *refusal.Error) {
	tooLarge := refusal.New(refusal.TooLarge, fmt.Errorf("the form has more than %d bytes", most))
	if r.ContentLength > most {
		return "", tooLarge
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return "", tooLarge
	}
	if err != nil {
		return "", refusal.New(refusal.BadRequest, fmt.Errorf("reading the form: %w", err))
	}
	return string(body), nil
}

// parse is bounded, unlike url.ParseQuery, and decodes only the named fields.
func parse(body string, names []string) (map[string]string, error) {
	if strings.Count(body, "&") >= maxFields {
		return nil, fmt.Errorf("the form has more than %d fields", maxFields)
	}
	fields := map[string]string{}
	for pair := range strings.SplitSeq(body, "&") {
		rawName, rawValue, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(rawName)
		if err != nil || strings.Contains(pair, ";") { // ";" once separated fields, too
			return nil, errors.New("the form is malformed")
		}
		if !slices.Contains(names, name) {
			continue
		}
		if _, twice := fields[name]; twice {
			return nil, fmt.Errorf("the form has two fields %s", name)
		}
		if fields[name], err = url.QueryUnescape(rawValue); err != nil {
			return nil, fmt.Errorf("the form's field %s is malformed", name)
		}
	}
	return fields, nil
}

// Query returns the parameters of a request's query. The error is BadRequest if it is
// malformed, or TooLarge.
func Query(r *http.Request) (url.Values, *refusal.Error) {
	if len(r.URL.RawQuery) > maxQuery {
		return nil, refusal.New(refusal.TooLarge, fmt.Errorf("the query has more than %d bytes", maxQuery))
	}
	params, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, refusal.New(refusal.BadRequest, errors.New("the query is malformed"))
	}
	return params, nil
}

// IsBase64 reports whether text consists of the alphabet of Base64 (RFC 4648 §4),
// line breaks and blanks.
func IsBase64(text string) bool {
	for i := range len(text) {
		switch c := text[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '+', c == '/', c == '=':
		case c == ' ', c == '\t', c == '\r', c == '\n':
		default:
			return false
		}
	}
	return true
}
