package caddymodule

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-sso/caddy-sso/gateway/forward"
)

// redacted stands in a log for what belongs in none. Caddy writes the same for cookies.
const redacted = "REDACTED"

// redactedNames are the names of headers whose values a log must not show: those that
// tell an app who makes a request, the assertion first.
type redactedNames struct {
	set atomic.Pointer[map[string]bool] // in the form of plainName
}

// newRedactedNames returns the names that apps have unless set.
func newRedactedNames() *redactedNames {
	r := new(redactedNames)
	r.set.Store(&map[string]bool{})
	r.add(forward.DefaultNames)
	return r
}

// add adds the names of an app. Those who log may be at it.
func (r *redactedNames) add(names forward.HeaderNames) {
	set := maps.Clone(*r.set.Load())
	for _, name := range []string{names.Assertion, names.User, names.Groups, names.Email, names.Name, names.Roles} {
		if plain, ok := plainName(name, new([maxPlainName]byte)); ok {
			set[string(plain)] = true
		}
	}
	r.set.Store(&set)
}

func (r *redactedNames) has(name string) bool {
	var buf [maxPlainName]byte
	plain, ok := plainName(name, &buf)
	return ok && (*r.set.Load())[string(plain)]
}

const maxPlainName = 64

// plainName writes the form of a header's name that all its spellings share into buf:
// as it goes over the wire, and as a CGI has it (RFC 3875 §4.1.18).
func plainName(name string, buf *[maxPlainName]byte) (plain []byte, ok bool) {
	name = strings.TrimPrefix(name, "HTTP_")
	if name == "" || len(name) > len(buf) {
		return nil, false
	}
	for i := range len(name) {
		c := name[i]
		switch {
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		case c == '_':
			c = '-'
		}
		buf[i] = c
	}
	return buf[:len(name)], true
}

// A redactingCore takes the values of such headers out of what another core
// writes, wherever a field of an object has the name of one.
type redactingCore struct {
	zapcore.Core
	names *redactedNames
}

// With implements zapcore.Core.
func (c *redactingCore) With(fields []zapcore.Field) zapcore.Core {
	return &redactingCore{c.Core.With(c.names.redact(fields)), c.names}
}

// Check implements zapcore.Core. The other core decides, and this one writes.
func (c *redactingCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Core.Check(e, nil) == nil {
		return ce
	}
	return ce.AddCore(e, c)
}

// Write implements zapcore.Core.
func (c *redactingCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	return c.Core.Write(e, c.names.redact(fields))
}

// redact returns fields with those replaced that have an inside.
func (r *redactedNames) redact(fields []zapcore.Field) []zapcore.Field {
	var out []zapcore.Field
	for i, f := range fields {
		switch f.Type {
		case zapcore.ObjectMarshalerType, zapcore.InlineMarshalerType, zapcore.ArrayMarshalerType, zapcore.ReflectType:
		default: // zap wants an error or a Stringer in the others, whatever else that is
			continue
		}
		switch inside := f.Interface.(type) {
		case zapcore.ObjectMarshaler:
			f.Interface = redactedObject{inside, r}
		case zapcore.ArrayMarshaler:
			f.Interface = redactedArray{inside, r}
		case http.Header:
			f = zap.Object(f.Key, redactedHeader{inside, r})
		default:
			continue
		}
		if out == nil {
			out = slices.Clone(fields)
		}
		out[i] = f
	}
	if out == nil {
		return fields
	}
	return out
}

type redactedObject struct {
	zapcore.ObjectMarshaler
	names *redactedNames
}

// MarshalLogObject implements zapcore.ObjectMarshaler.
func (o redactedObject) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	return o.ObjectMarshaler.MarshalLogObject(objectRedactor{enc, o.names})
}

type redactedArray struct {
	zapcore.ArrayMarshaler
	names *redactedNames
}

// MarshalLogArray implements zapcore.ArrayMarshaler.
func (a redactedArray) MarshalLogArray(enc zapcore.ArrayEncoder) error {
	return a.ArrayMarshaler.MarshalLogArray(arrayRedactor{enc, a.names})
}

// A redactedHeader is a header that somebody logs as it is.
type redactedHeader struct {
	http.Header
	names *redactedNames
}

// MarshalLogObject implements zapcore.ObjectMarshaler.
func (h redactedHeader) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	for _, name := range slices.Sorted(maps.Keys(h.Header)) {
		values := h.Header[name]
		if h.names.has(name) {
			values = []string{redacted}
		}
		if err := enc.AddReflected(name, values); err != nil {
			return err
		}
	}
	return nil
}

// An objectRedactor is what an object writes itself to.
type objectRedactor struct {
	zapcore.ObjectEncoder
	names *redactedNames
}

// AddArray implements zapcore.ObjectEncoder.
func (e objectRedactor) AddArray(key string, v zapcore.ArrayMarshaler) error {
	if e.names.has(key) {
		e.ObjectEncoder.AddString(key, redacted)
		return nil
	}
	if _, texts := v.(caddyhttp.LoggableStringArray); !texts { // which are most
		v = redactedArray{v, e.names}
	}
	return e.ObjectEncoder.AddArray(key, v)
}

// AddObject implements zapcore.ObjectEncoder.
func (e objectRedactor) AddObject(key string, v zapcore.ObjectMarshaler) error {
	return e.ObjectEncoder.AddObject(key, redactedObject{v, e.names})
}

// AddReflected implements zapcore.ObjectEncoder.
func (e objectRedactor) AddReflected(key string, v any) error {
	if e.names.has(key) {
		v = redacted
	}
	if h, ok := v.(http.Header); ok {
		return e.ObjectEncoder.AddObject(key, redactedHeader{h, e.names})
	}
	return e.ObjectEncoder.AddReflected(key, v)
}

// AddString implements zapcore.ObjectEncoder.
func (e objectRedactor) AddString(key, v string) {
	if e.names.has(key) {
		v = redacted
	}
	e.ObjectEncoder.AddString(key, v)
}

// AddByteString implements zapcore.ObjectEncoder.
func (e objectRedactor) AddByteString(key string, v []byte) {
	if e.names.has(key) {
		v = []byte(redacted)
	}
	e.ObjectEncoder.AddByteString(key, v)
}

// An arrayRedactor is what an array writes itself to.
type arrayRedactor struct {
	zapcore.ArrayEncoder
	names *redactedNames
}

// AppendArray implements zapcore.ArrayEncoder.
func (e arrayRedactor) AppendArray(v zapcore.ArrayMarshaler) error {
	return e.ArrayEncoder.AppendArray(redactedArray{v, e.names})
}

// AppendObject implements zapcore.ArrayEncoder.
func (e arrayRedactor) AppendObject(v zapcore.ObjectMarshaler) error {
	return e.ArrayEncoder.AppendObject(redactedObject{v, e.names})
}
