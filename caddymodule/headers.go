package caddymodule

import (
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"golang.org/x/net/http/httpguts"

	"github.com/caddy-sso/caddy-sso/gateway/forward"
	"github.com/caddy-sso/caddy-sso/gateway/strip"
	"github.com/caddy-sso/caddy-sso/gateway/wording"
)

// HeaderNames has the names of the headers that tell the app about the person. "off"
// sends no such header.
type HeaderNames struct {
	// The signed assertion, a JWT. Default: X-Sso-Assertion.
	Assertion string `json:"assertion,omitempty"`
	// The user name. Default: Remote-User.
	User string `json:"user,omitempty"`
	// The app's groups. Default: Remote-Groups.
	Groups string `json:"groups,omitempty"`
	// The e-mail address. Default: Remote-Email.
	Email string `json:"email,omitempty"`
	// The person's name. Default: Remote-Name.
	Name string `json:"name,omitempty"`
	// The app's roles. Default: Remote-Roles.
	Roles string `json:"roles,omitempty"`
	// The app's template. Default: off. Even then a client can't send Remote-Template.
	Template string `json:"template,omitempty"`
	// The first name. Default: off. Even then a client can't send Remote-First-Name.
	FirstName string `json:"first_name,omitempty"`
	// The last name. Default: off. Even then a client can't send Remote-Last-Name.
	LastName string `json:"last_name,omitempty"`
	// The name of the provider. Default: off. Even then a client can't send
	// Remote-Provider.
	Provider string `json:"provider,omitempty"`
}

// fields returns the names by their kinds.
func (hn *HeaderNames) fields() map[string]*string {
	fields := map[string]*string{}
	for i, name := range []*string{
		&hn.Assertion, &hn.User, &hn.Groups, &hn.Email, &hn.Name, &hn.Roles, &hn.Template, &hn.FirstName, &hn.LastName, &hn.Provider,
	} {
		fields[forward.Kinds[i]] = name
	}
	return fields
}

// resolve returns the names with the defaults in place.
func (hn HeaderNames) resolve() (forward.HeaderNames, error) {
	pick := func(name, byDefault string) string {
		switch name {
		case "":
			return byDefault
		case "off":
			return ""
		}
		return name
	}
	def := forward.DefaultNames
	out := forward.HeaderNames{
		Assertion: pick(hn.Assertion, def.Assertion), User: pick(hn.User, def.User), Groups: pick(hn.Groups, def.Groups),
		Email: pick(hn.Email, def.Email), Name: pick(hn.Name, def.Name), Roles: pick(hn.Roles, def.Roles),
		Template: pick(hn.Template, ""), FirstName: pick(hn.FirstName, ""), LastName: pick(hn.LastName, ""), Provider: pick(hn.Provider, ""),
	}
	if out == (forward.HeaderNames{Template: out.Template, FirstName: out.FirstName, LastName: out.LastName, Provider: out.Provider}) {
		return out, wording.Aboutf("headers", "all headers that identify the person are off, so the app would learn of nobody: keep one, such as the assertion")
	}
	return out, nil
}

// set parses pairs of kind and name.
func (hn *HeaderNames) set(d *caddyfile.Dispenser, e entry) error {
	fields := hn.fields()
	if !d.NextArg() {
		return e.wrong(d)
	}
	for more := true; more; more = d.NextArg() {
		kind := d.Val()
		to, ok := fields[kind]
		if !ok {
			return unknownWord(d, "kind of header", slices.Clone(forward.Kinds[:]))
		}
		if *to != "" {
			return d.Errf("'headers %s' is given twice: write it once", kind)
		}
		if !d.NextArg() {
			return e.wrong(d)
		}
		if *to = d.Val(); !httpguts.ValidHeaderFieldName(*to) {
			fix := ""
			if strings.HasSuffix(*to, ",") {
				fix = ": remove the comma, because blanks separate"
			}
			return d.Errf("'headers %s' cannot be '%s': expected the name of a header, or off%s", kind, *to, fix)
		}
	}
	return nil
}

// A HeaderEncoding has the encodings of headers by their kinds: "percent", "utf8" or
// "latin1". "*" is every other kind.
type HeaderEncoding map[string]string

var encodings = map[string]forward.Encoding{"percent": forward.Percent, "utf8": forward.UTF8, "latin1": forward.Latin1}

// encodedKinds returns the kinds that can have an encoding: "*", and all but the
// assertion.
func encodedKinds() []string { return append([]string{"*"}, forward.Kinds[1:]...) }

// set parses `<encoding> [<kind>…]`.
func (he *HeaderEncoding) set(d *caddyfile.Dispenser, e entry) error {
	if !d.NextArg() {
		return e.wrong(d)
	}
	encoding := d.Val()
	if _, ok := encodings[encoding]; !ok {
		return unknownWord(d, "encoding", slices.Collect(maps.Keys(encodings)))
	}
	if *he == nil {
		*he = HeaderEncoding{}
	}
	kinds := d.RemainingArgs()
	if len(kinds) == 0 {
		kinds = []string{"*"}
	}
	for _, kind := range kinds {
		if !slices.Contains(encodedKinds(), kind) {
			return d.Errf("'header_encoding': there is no kind of header '%s' that has an encoding: it can be %s", kind, strings.Join(forward.Kinds[1:], ", "))
		}
		if (*he)[kind] != "" {
			return d.Errf("'header_encoding' is given twice for %s: write it once", strings.Replace(kind, "*", "all kinds", 1))
		}
		(*he)[kind] = encoding
	}
	return nil
}

// separators are the values of list_separator.
const separators = ",;|:"

// headerFormat returns the format of the header values.
func (h *Handler) headerFormat(names forward.HeaderNames) (forward.Format, error) {
	var format forward.Format
	switch s := h.ListSeparator; {
	case len(s) == 1 && strings.Contains(separators, s):
		format.Separator = s[0]
	case s != "":
		return format, wording.Aboutf("list_separator", "can't be %q: expected one of %s", s, strings.Join(strings.Split(separators, ""), " "))
	}
	for _, kind := range slices.Sorted(maps.Keys(h.HeaderEncoding)) { // * comes first
		encoding, known := encodings[h.HeaderEncoding[kind]]
		switch {
		case !known:
			return format, wording.Aboutf("header_encoding", "%s can't be %q: expected percent, utf8 or latin1", kind, h.HeaderEncoding[kind])
		case !slices.Contains(encodedKinds(), kind):
			return format, wording.Aboutf("header_encoding", "there is no kind of header %q that has an encoding: it can be %s", kind, strings.Join(forward.Kinds[1:], ", "))
		}
		for i := range format.Encodings {
			if (kind == "*" || kind == forward.Kinds[i]) && names.All()[i] != "" {
				format.Encodings[i] = encoding
			}
		}
	}
	return format, nil
}

// checkHeaders finds mistakes in headers, header_encoding, list_separator and
// keep_headers that can be found at one site.
func (h *Handler) checkHeaders() error {
	own, err := h.Headers.resolve()
	if err != nil {
		return err
	}
	if _, err = h.headerFormat(own); err != nil {
		return err
	}
	if err = own.Check(); err != nil {
		return wording.About("headers", err)
	}
	if err = strip.New(forward.DefaultNames.All(), forward.OptionalNames.All()).CheckKept(h.KeepHeaders, own.All()); err != nil {
		err = wording.About("keep_headers", err)
	}
	return err
}
