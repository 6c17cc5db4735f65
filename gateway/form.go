package gateway

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
	// maxForm bounds the body of a form in bytes: a SAML response of 1 MiB in
	// Base64, with escapes and line breaks.
	maxForm = 2 << 20
	// maxFields bounds the fields of a form. SAML has two; some providers name
	// their button too.
	maxFields = 16
)

// The fields of a form that brings a SAML response (SAML Bindings 3.5.4), and
// ours, which marks the second post.
const (
	fieldResponse   = "SAMLResponse"
	fieldRelayState = "RelayState"
	fieldRepost     = "sso_repost"
)

// readResponse returns the fields of a form that brings a SAML response. They
// are bounded and well-formed: it is safe to send them back to the browser.
func (x *exchange) readResponse() (map[string]string, *refusal.Error) {
	if x.r.URL.RawQuery != "" {
		return nil, refusal.New(refusal.BadRequest, errors.New("the form came with a query"))
	}
	if types := x.r.Header["Content-Type"]; len(types) != 1 || !isFormType(types[0]) {
		return nil, refusal.New(refusal.BadRequest, errors.New("what was posted is no form of the type application/x-www-form-urlencoded"))
	}
	body, refused := x.readBody()
	if refused != nil {
		return nil, refused
	}
	fields, err := parseForm(body, fieldResponse, fieldRelayState, fieldRepost)
	if err != nil {
		return nil, refusal.New(refusal.BadRequest, err)
	}
	response, ok := fields[fieldResponse]
	if !ok {
		return nil, refusal.New(refusal.BadRequest, errors.New("the form has no SAMLResponse"))
	}
	if response == "" || !isBase64(response) {
		return nil, refusal.New(refusal.SAMLMalformed, errors.New("the SAMLResponse is not Base64"))
	}
	return fields, nil
}

func isFormType(contentType string) bool {
	mediaType, _, err := mime.ParseMediaType(contentType)
	return err == nil && mediaType == "application/x-www-form-urlencoded"
}

// readBody reads the body within its bounds. Content-Length is what the client
// says; that it is short is not believed.
func (x *exchange) readBody() (string, *refusal.Error) {
	tooLarge := refusal.New(refusal.TooLarge, fmt.Errorf("the form has more than %d bytes", maxForm))
	if x.r.ContentLength > maxForm {
		return "", tooLarge
	}
	body, err := io.ReadAll(http.MaxBytesReader(x.w, x.r.Body, maxForm))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return "", tooLarge
	}
	if err != nil {
		return "", refusal.New(refusal.BadRequest, fmt.Errorf("reading the form: %w", err))
	}
	return string(body), nil
}

// parseForm returns the fields of a form that have one of the names. None of
// them may be there twice; fields of other names are left out. Unlike
// url.ParseQuery it is bounded, and decodes only what is asked for.
func parseForm(body string, names ...string) (map[string]string, error) {
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

// isBase64 says whether a text has nothing in it but the alphabet of Base64
// (RFC 4648 §4) and line breaks or blanks.
func isBase64(text string) bool {
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
