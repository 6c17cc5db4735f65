package program_test

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-sso/caddy-sso/caddymodule/cmd/caddy-sso/program"
)

// An oddError is an error, a Stringer and an object, too: zap asks for it as what the
// field's type says.
type oddError struct {
	error
	zapcore.ObjectMarshaler
}

func (oddError) String() string { return "an odd error" }

// The value of a header is left out in every kind of field, and the line is written.
func TestRedactedFields(t *testing.T) {
	t.Parallel()
	header := http.Header{"Remote-User": {"alice"}, "X-Other": {"other"}}
	object := func(add func(zapcore.ObjectEncoder) error) zap.Field {
		return zap.Object("object", zapcore.ObjectMarshalerFunc(add))
	}
	odd := oddError{errors.New("broken"), zapcore.ObjectMarshalerFunc(func(zapcore.ObjectEncoder) error { return nil })}
	for name, field := range map[string]zap.Field{
		"a header of Caddy's":        zap.Object("x", caddyhttp.LoggableHTTPHeader{Header: header}),
		"a header":                   zap.Any("x", header),
		"a map":                      zap.Any("x", map[string][]string(header)),
		"a header in an object":      object(func(e zapcore.ObjectEncoder) error { return e.AddReflected("x", header) }),
		"a map in an object":         object(func(e zapcore.ObjectEncoder) error { return e.AddReflected("x", map[string][]string(header)) }),
		"an object in an array":      zap.Objects("x", []caddyhttp.LoggableHTTPHeader{{Header: header}}),
		"an inline object":           zap.Inline(caddyhttp.LoggableHTTPHeader{Header: header}),
		"an environment":             object(func(e zapcore.ObjectEncoder) error { e.AddString("HTTP_REMOTE_USER", "alice"); return nil }),
		"an environment's own":       object(func(e zapcore.ObjectEncoder) error { e.AddString("REMOTE_USER", "alice"); return nil }),
		"octets":                     object(func(e zapcore.ObjectEncoder) error { e.AddByteString("Remote-User", []byte("alice")); return nil }),
		"an error that is an object": zap.Error(odd),
		"a stringer that is one":     zap.Stringer("x", odd),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, with := range []bool{false, true} {
				var out bytes.Buffer
				core := zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(&out), zap.InfoLevel)
				log := zap.New(program.Redacting(core))
				if with {
					log.With(field).Info("line")
				} else {
					log.Info("line", field)
				}
				if line := out.String(); !strings.Contains(line, `"line"`) || strings.Contains(line, "alice") {
					t.Errorf("with %v: %s", with, line)
				}
				if line := out.String(); strings.Contains(line, "X-Other") && !strings.Contains(line, `"other"`) {
					t.Errorf("another header is left out: %s", line)
				}
			}
		})
	}
}
