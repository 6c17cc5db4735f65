package program

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-sso/caddy-sso/caddymodule"
)

// redacted replaces private values. Caddy writes the same for cookies.
const redacted = "REDACTED"

// A private finds the private parts of a log entry, by the names of headers and by the
// values that the app got. The Caddyfile may copy such a value into a header with another
// name (header_up X-Who {http.auth.user.id}).
type private struct {
	caddymodule.Private
	values []string
}

// shortest is the least length of a value that is searched for within others. A shorter
// one is redacted only if it is the whole value of a header.
const shortest = 4

// value says whether a header's value must not be shown.
func (p private) value(text string) bool {
	for _, v := range p.values {
		if text == v || len(v) >= shortest && strings.Contains(text, v) {
			return true
		}
	}
	return false
}

// header returns what may be shown of a header, or of an environment variable.
func (p private) header(name, text string) string {
	if p.Header(name) || p.value(text) {
		return redacted
	}
	return text
}

// A redactingCore redacts the headers in the fields of entries, and passes the entries to
// another core.
type redactingCore struct {
	zapcore.Core
	private private
}

// With implements zapcore.Core.
func (c *redactingCore) With(fields []zapcore.Field) zapcore.Core {
	p := c.private.of(fields)
	return &redactingCore{c.Core.With(p.redact(fields)), p}
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
	return c.Core.Write(e, c.private.of(fields).redact(fields))
}

// of adds the values that the app got by the requests among the fields.
func (p private) of(fields []zapcore.Field) private {
	for _, f := range fields {
		if r, ok := f.Interface.(caddyhttp.LoggableHTTPRequest); ok && r.Request != nil {
			p.values = append(slices.Clip(p.values), p.Values(r.Context())...)
		}
	}
	return p
}

// redact returns fields, with objects and arrays wrapped.
func (p private) redact(fields []zapcore.Field) []zapcore.Field {
	var out []zapcore.Field
	for i, f := range fields {
		switch f.Type {
		case zapcore.ObjectMarshalerType, zapcore.InlineMarshalerType, zapcore.ArrayMarshalerType, zapcore.ReflectType:
		default: // zap needs an error or a Stringer in the others
			continue
		}
		switch inside := f.Interface.(type) {
		case zapcore.ObjectMarshaler:
			f.Interface = redactedObject{inside, p}
		case zapcore.ArrayMarshaler:
			f.Interface = redactedArray{inside, p}
		default:
			h, ok := asHeader(inside)
			if !ok {
				continue
			}
			f = zap.Object(f.Key, redactedHeader{h, p})
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

// asHeader returns v as a header if a module logs one as a plain value.
func asHeader(v any) (http.Header, bool) {
	switch h := v.(type) {
	case http.Header:
		return h, true
	case map[string][]string:
		return h, true
	}
	return nil, false
}

type redactedObject struct {
	zapcore.ObjectMarshaler
	private private
}

// MarshalLogObject implements zapcore.ObjectMarshaler.
func (o redactedObject) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	_, request := o.ObjectMarshaler.(caddyhttp.LoggableHTTPRequest)
	return o.ObjectMarshaler.MarshalLogObject(objectRedactor{enc, o.private, request})
}

type redactedArray struct {
	zapcore.ArrayMarshaler
	private private
}

// MarshalLogArray implements zapcore.ArrayMarshaler.
func (a redactedArray) MarshalLogArray(enc zapcore.ArrayEncoder) error {
	return a.ArrayMarshaler.MarshalLogArray(arrayRedactor{enc, a.private})
}

// A redactedHeader is a header that a module logs as a plain value.
type redactedHeader struct {
	http.Header
	private private
}

// MarshalLogObject implements zapcore.ObjectMarshaler.
func (h redactedHeader) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	for _, name := range slices.Sorted(maps.Keys(h.Header)) {
		if err := enc.AddArray(name, h.private.all(name, h.Header[name])); err != nil {
			return err
		}
	}
	return nil
}

// all returns what may be shown of a header's values.
func (p private) all(name string, values []string) caddyhttp.LoggableStringArray {
	shown := make(caddyhttp.LoggableStringArray, len(values))
	for i, v := range values {
		shown[i] = p.header(name, v)
	}
	return shown
}

// An objectRedactor is the encoder for a redacted object.
type objectRedactor struct {
	zapcore.ObjectEncoder
	private private
	request bool // the strings of a request are no headers
}

// AddArray implements zapcore.ObjectEncoder.
func (e objectRedactor) AddArray(key string, v zapcore.ArrayMarshaler) error {
	if texts, ok := v.(caddyhttp.LoggableStringArray); ok { // most arrays
		return e.ObjectEncoder.AddArray(key, e.private.all(key, texts))
	}
	if e.private.Header(key) {
		e.ObjectEncoder.AddString(key, redacted)
		return nil
	}
	return e.ObjectEncoder.AddArray(key, redactedArray{v, e.private})
}

// AddObject implements zapcore.ObjectEncoder.
func (e objectRedactor) AddObject(key string, v zapcore.ObjectMarshaler) error {
	return e.ObjectEncoder.AddObject(key, redactedObject{v, e.private})
}

// AddReflected implements zapcore.ObjectEncoder.
func (e objectRedactor) AddReflected(key string, v any) error {
	if e.private.Header(key) {
		v = redacted
	}
	if h, ok := asHeader(v); ok {
		return e.ObjectEncoder.AddObject(key, redactedHeader{h, e.private})
	}
	return e.ObjectEncoder.AddReflected(key, v)
}

// AddString implements zapcore.ObjectEncoder.
func (e objectRedactor) AddString(key, v string) {
	if !e.request {
		v = e.private.header(key, v)
	}
	e.ObjectEncoder.AddString(key, v)
}

// AddByteString implements zapcore.ObjectEncoder.
func (e objectRedactor) AddByteString(key string, v []byte) {
	e.ObjectEncoder.AddByteString(key, []byte(e.private.header(key, string(v))))
}

// An arrayRedactor is the encoder for a redacted array.
type arrayRedactor struct {
	zapcore.ArrayEncoder
	private private
}

// AppendArray implements zapcore.ArrayEncoder.
func (e arrayRedactor) AppendArray(v zapcore.ArrayMarshaler) error {
	return e.ArrayEncoder.AppendArray(redactedArray{v, e.private})
}

// AppendObject implements zapcore.ArrayEncoder.
func (e arrayRedactor) AppendObject(v zapcore.ObjectMarshaler) error {
	return e.ArrayEncoder.AppendObject(redactedObject{v, e.private})
}

// AppendString implements zapcore.ArrayEncoder.
func (e arrayRedactor) AppendString(v string) {
	if e.private.value(v) {
		v = redacted
	}
	e.ArrayEncoder.AppendString(v)
}

// AppendReflected implements zapcore.ArrayEncoder.
func (e arrayRedactor) AppendReflected(v any) error {
	if h, ok := asHeader(v); ok {
		return e.ArrayEncoder.AppendObject(redactedHeader{h, e.private})
	}
	return e.ArrayEncoder.AppendReflected(v)
}
