package wording_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/wording"
)

// No network error reaches the log without its meaning and a remedy.
func TestNetwork(t *testing.T) {
	t.Parallel()
	certificate := &x509.Certificate{DNSNames: []string{"other.example"}, NotBefore: time.Unix(0, 0), NotAfter: time.Unix(86400, 0)}
	dial := func(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }
	for want, err := range map[string]error{
		"nothing listens there":                     dial(syscall.ECONNREFUSED),
		"cut the connection":                        fmt.Errorf("reading: %w", syscall.ECONNRESET),
		"closed the connection without a response":  io.EOF,
		"ended within the answer":                   io.ErrUnexpectedEOF,
		"there is no route":                         dial(syscall.EHOSTUNREACH),
		"the name is unknown here":                  dial(&net.DNSError{Err: "no such host", Name: "id.exmaple.com", IsNotFound: true}),
		"could not be looked up":                    dial(&net.DNSError{Err: "server misbehaving", Name: "id.example.com"}),
		"no response in time":                       context.DeadlineExceeded,
		"there is no TLS at this port":              tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"},
		"do not agree on TLS":                       tls.AlertError(40),
		"does not speak HTTP":                       errors.New("malformed HTTP response"),
		`not for "id.example", but for "other.exa`:  x509.HostnameError{Certificate: certificate, Host: "id.example"},
		"valid from 1970-01-01 until 1970-01-02":    x509.CertificateInvalidError{Cert: certificate, Reason: x509.Expired},
		"authority that this machine does not trus": &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}},
		"check the address, and network":            errors.New("something else"),
	} {
		got := wording.Network(err)
		if !errors.Is(got, err) || !strings.Contains(got.Error(), want) {
			t.Errorf("of %v it makes %v, want %s", err, got, want)
		}
		if again := wording.Network(fmt.Errorf("doing: %w", got)); strings.Count(again.Error(), want) != 1 {
			t.Errorf("explained twice: %v", again)
		}
	}
	if err := wording.Network(nil); err != nil {
		t.Error(err)
	}
}

// What others say is shown on one line, bounded, and without secrets.
func TestTheirs(t *testing.T) {
	t.Parallel()
	for words, want := range map[string]string{
		"Invalid scopes: openid groups":    `"Invalid scopes: openid groups"`,
		"two\nlines\tand \x00 a NUL":       `"two lines and \x00 a NUL"`,
		"Zugriff für alle\u202egesperrt":   `"Zugriff für alle\u202egesperrt"`,
		"":                                 `""`,
		"the code c0de+/ was used":         `"the code […] was used"`,
		"the code c0de%2B%2F was used":     `"the code […] was used"`,
		"got " + strings.Repeat("x", 40):   `"got […]"`,
		strings.Repeat("ü ", 201):          `"` + strings.Repeat("ü ", 100) + `…"`,
		"no https://app.example/.sso/oidc": `"no https://app.example/.sso/oidc"`,
		"AADSTS50011, Trace ID: 8f8b0a5e-1d1c-4f2b-9e57-0123456789ab, or so": `"AADSTS50011, Trace ID: 8f8b0a5e-1d1c-4f2b-9e57-0123456789ab, or so"`,
		"eyJhbGciOiJub25lIn0." + strings.Repeat("A", 50) + ".":               `"eyJhbGciOiJub25lIn0.[…]."`,
	} {
		if got := wording.Theirs(words, "c0de+/", ""); got != want {
			t.Errorf("%q: got %s, want %s", words, got, want)
		}
	}
	if got := wording.List([]string{"a", "b\n"}); got != `"a", "b\n"` {
		t.Error(got)
	}
	if got := wording.List(strings.Split(strings.Repeat("a ", 13), " ")[:12]); !strings.HasSuffix(got, `"a", and 2 more`) {
		t.Error(got)
	}
	if got := wording.List(nil); got != "none" {
		t.Error(got)
	}
}
