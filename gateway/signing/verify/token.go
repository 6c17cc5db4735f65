package verify

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// maxToken bounds an assertion in bytes. Go's server accepts 1 MB of headers; the
// gateway sends far less.
const maxToken = 64 << 10

// lastSecond is the last second of the year 9999. Greater dates are refused:
// time.Unix wraps around for some of them.
const lastSecond = 253402300799

// header has the relevant members of a JOSE header (RFC 7515 §4.1).
type header struct {
	alg, kid string
}

// readHeader parses the header of a compact JWS without verifying anything.
func readHeader(token string) (header, error) {
	if len(token) > maxToken {
		return header{}, fmt.Errorf("more than %d bytes", maxToken)
	}
	// encoding/base64 skips line breaks, so the alphabet is checked here.
	if strings.ContainsFunc(token, notCompact) {
		return header{}, errors.New("not a compact JWS")
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return header{}, errors.New("not three parts")
	}
	var raw [3][]byte
	for i, name := range []string{"header", "payload", "signature"} {
		var err error
		if raw[i], err = base64.RawURLEncoding.Strict().DecodeString(parts[i]); err != nil {
			return header{}, fmt.Errorf("%s is not base64url", name)
		}
	}
	o, err := readObject(raw[0])
	if err != nil {
		return header{}, fmt.Errorf("header is %w", err)
	}
	// An assertion has none of these: they change what is signed, or bring keys.
	for _, name := range []string{"crit", "b64", "enc", "zip", "jwk", "jku", "x5c", "x5u"} {
		if o.has(name) {
			return header{}, fmt.Errorf("header parameter %s is not allowed", name)
		}
	}
	h := header{alg: o.text("alg"), kid: o.text("kid")}
	typ := o.text("typ")
	switch {
	case o.err != nil:
		return header{}, fmt.Errorf("header parameter %w", o.err)
	case typ != "JWT":
		return header{}, errors.New("header parameter typ is not JWT")
	case h.kid == "":
		return header{}, errors.New("header parameter kid is missing")
	}
	return h, nil
}

func notCompact(r rune) bool {
	return (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.'
}

// readClaims parses a verified payload and checks the claims against the
// configuration.
func (v *Verifier) readClaims(payload []byte, now time.Time) (*Identity, error) {
	o, err := readObject(payload)
	if err != nil {
		return nil, fmt.Errorf("payload is %w", err)
	}
	for _, name := range []string{"iss", "aud", "sub", "iat", "nbf", "exp"} {
		if !o.has(name) {
			return nil, fmt.Errorf("claim %s is missing", name)
		}
	}
	issuer, audience, issued, notBefore := o.text("iss"), o.audience(), o.date("iat"), o.date("nbf")
	id := &Identity{
		Subject: o.text("sub"), Username: o.text("preferred_username"), Name: o.text("name"),
		FirstName: o.text("given_name"), LastName: o.text("family_name"),
		Email: o.text("email"), EmailVerified: value[bool](o, "email_verified"),
		Roles: o.list("roles"), Groups: o.list("groups"), Template: o.text("template"),
		SessionID: o.text("sid"), Provider: o.text("idp"),
		ACR: o.text("acr"), AMR: o.list("amr"), AuthTime: o.date("auth_time"),
		ID: o.text("jti"), Expires: o.date("exp"),
	}
	switch {
	case o.err != nil:
		return nil, fmt.Errorf("claim %w", o.err)
	case issuer != v.issuer:
		return nil, fmt.Errorf("issuer is %q, not %q", issuer, v.issuer)
	case audience != v.audience:
		return nil, fmt.Errorf("audience is %q, not %q", audience, v.audience)
	case id.Subject == "":
		return nil, errors.New("claim sub is empty")
	case !now.Before(id.Expires.Add(v.skew)):
		return nil, errors.New("expired: compare the clocks of this machine and the gateway")
	case notBefore.After(now.Add(v.skew)) || issued.After(now.Add(v.skew)):
		return nil, errors.New("not valid yet: compare the clocks of this machine and the gateway")
	}
	return id, nil
}

// An object is a JSON object with exact member names. encoding/json would accept
// EMAIL for email, and the last of two members of one name. err is the first error of
// reading a member as its type.
type object struct {
	members map[string]json.RawMessage
	err     error
}

func readObject(data []byte) (*object, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("not UTF-8")
	}
	errNoObject := errors.New("not a JSON object")
	dec := json.NewDecoder(bytes.NewReader(data))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, errNoObject
	}
	o := &object{members: map[string]json.RawMessage{}}
	for dec.More() {
		t, err := dec.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return nil, errNoObject
		}
		if o.has(name) {
			return nil, errors.New("a JSON object with one name twice")
		}
		var member json.RawMessage
		if err := dec.Decode(&member); err != nil {
			return nil, errNoObject
		}
		o.members[name] = member
	}
	if _, err := dec.Token(); err != nil {
		return nil, errNoObject
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errNoObject
	}
	return o, nil
}

func (o *object) has(name string) bool {
	_, ok := o.members[name]
	return ok
}

// value reads a member; the zero value if there is none. null is an error.
func value[T any](o *object, name string) T {
	var v T
	if raw, ok := o.members[name]; ok && !decode(raw, &v) {
		o.fail(name)
	}
	return v
}

func decode[T any](raw json.RawMessage, v *T) bool {
	return !bytes.Equal(raw, []byte("null")) && json.Unmarshal(raw, v) == nil
}

func (o *object) fail(name string) {
	if o.err == nil {
		o.err = fmt.Errorf("%s has the wrong type", name)
	}
}

func (o *object) text(name string) string { return value[string](o, name) }

// list reads an array of strings.
func (o *object) list(name string) []string {
	raws := value[[]json.RawMessage](o, name)
	if len(raws) == 0 {
		return nil
	}
	texts := make([]string, len(raws))
	for i, raw := range raws {
		if !decode(raw, &texts[i]) {
			o.fail(name)
		}
	}
	return texts
}

// audience reads aud: a string, or an array of one (RFC 7519 §4.1.3).
func (o *object) audience() string {
	if raw := o.members["aud"]; len(raw) == 0 || raw[0] != '[' {
		return o.text("aud")
	}
	list := o.list("aud")
	if len(list) != 1 {
		o.fail("aud")
		return ""
	}
	return list[0]
}

// date reads a NumericDate in whole seconds (RFC 7519 §2).
func (o *object) date(name string) time.Time {
	if !o.has(name) {
		return time.Time{}
	}
	seconds := value[int64](o, name)
	if seconds < 0 || seconds > lastSecond {
		o.fail(name)
		return time.Time{}
	}
	return time.Unix(seconds, 0)
}
