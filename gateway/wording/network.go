package wording

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
)

// Network returns a network error with what it means and what to do about it. It has
// the error in its chain.
func Network(err error) error {
	if _, explained := errors.AsType[*networkError](err); err == nil || explained || errors.Is(err, context.Canceled) {
		return err
	}
	text, meaning := err.Error(), cmp.Or(meaningOf(err), "check the address, and network, proxy and firewall from here to it")
	if certificate := certificateFault(err); certificate != "" {
		return &networkError{certificate, err}
	}
	if text == io.EOF.Error() || text == io.ErrUnexpectedEOF.Error() { // which says less
		return &networkError{meaning, err}
	}
	return &networkError{text + ": " + meaning, err}
}

// A networkError is an error of the standard library in plain words.
type networkError struct {
	text string
	err  error
}

func (e *networkError) Error() string { return e.text }

func (e *networkError) Unwrap() error { return e.err }

// networkMeanings are those of the system's errors.
var networkMeanings = []struct {
	err     error
	meaning string
}{
	{syscall.ECONNREFUSED, "nothing listens there; check that the server runs, and its address and port"},
	{syscall.ECONNRESET, "the server, or a machine on the way to it, cut the connection; was it stopped or restarted?"},
	{syscall.EPIPE, "the server, or a machine on the way to it, cut the connection; was it stopped or restarted?"},
	{io.ErrUnexpectedEOF, "the connection ended within the answer; was the server stopped or restarted?"},
	{io.EOF, "the server closed the connection without a response; was it stopped or restarted?"},
	{syscall.EHOSTUNREACH, "there is no route to it; check the network of this machine"},
	{syscall.ENETUNREACH, "there is no route to it; check the network of this machine"},
	{syscall.ENOENT, "there is no such file; check the path, and that the server runs"},
	{syscall.EACCES, "this process may not open it; check the permissions"},
}

func meaningOf(err error) string {
	for _, known := range networkMeanings {
		if errors.Is(err, known.err) {
			return known.meaning
		}
	}
	if name, ok := errors.AsType[*net.DNSError](err); ok {
		if name.IsNotFound {
			return "the name is unknown here; check its spelling, and DNS on this machine"
		}
		return "the name could not be looked up; check DNS on this machine"
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		return "there was no response in time; check that the server runs, and that no firewall blocks the connection"
	}
	switch text := err.Error(); {
	case isType[tls.RecordHeaderError](err), strings.Contains(text, "server gave HTTP response to HTTPS client"):
		return "there is no TLS at this port; check scheme and port"
	case isType[tls.AlertError](err), strings.Contains(text, "tls: "):
		return "the two ends do not agree on TLS; the server needs TLS 1.2 or later, and gets no client certificate from here"
	case strings.Contains(text, "malformed HTTP"):
		return "what listens there does not speak HTTP; check the port"
	}
	return ""
}

func isType[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// certificateFault says what is wrong with a server's TLS certificate, empty if it is
// something else.
func certificateFault(err error) string {
	if names, ok := errors.AsType[x509.HostnameError](err); ok {
		return fmt.Sprintf("the server's TLS certificate is not for %s, but for %s; use a name that it has, or give the server a certificate for this one",
			Quoted(names.Host), List(append(names.Certificate.DNSNames, addresses(names.Certificate.IPAddresses)...)))
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		if invalid.Reason == x509.Expired {
			return fmt.Sprintf("the server's TLS certificate is valid from %s until %s; renew it, or correct the clock of this machine",
				invalid.Cert.NotBefore.UTC().Format("2006-01-02"), invalid.Cert.NotAfter.UTC().Format("2006-01-02"))
		}
		return fmt.Sprintf("the server's TLS certificate can't be used (%v); give the server another", invalid)
	}
	if isType[x509.UnknownAuthorityError](err) {
		return "the server's TLS certificate is from an authority that this machine does not trust; add the authority to this machine (for a provider, the option `ca` does it, too), and have the server send its intermediate certificates"
	}
	return ""
}

func addresses(list []net.IP) (texts []string) {
	for _, ip := range list {
		texts = append(texts, ip.String())
	}
	return texts
}
