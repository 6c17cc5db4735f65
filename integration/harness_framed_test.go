//go:build integration

package integration

import (
	"encoding/json"
	"io"
	"slices"
	"strings"
	"testing"
)

// A field is a header field of HTTP/2 or HTTP/3: name and value, byte for byte.
type field struct{ name, value string }

// A framed is a client connection over HTTP/2 or HTTP/3 that sends what it is
// told, however wrong.
type framed interface {
	// open sends the head of a request, which ends it if end.
	open(fields []field, end bool) (stream, error)
	close()
}

// A stream is one request and its answer.
type stream interface {
	// send sends a piece of the body, which is the last one if end.
	send(data []byte, end bool) error
	// finish ends the request by trailers.
	finish(trailers []field) error
	// status waits for the head of the answer. An error means that the peer
	// refused the request without one.
	status() (string, error)
	// read returns the next piece of the answer's body; io.EOF behind the last.
	read() ([]byte, error)
}

// A dialler opens a framed connection to a site.
type dialler func(t *testing.T, cl *cluster) framed

// A message is an attack as it goes over a framed connection.
type message struct {
	name     string
	fields   []field
	body     string
	trailers []field
	// refusable messages are malformed where they are sent: they may be
	// refused, or passed on harmlessly.
	refusable bool
	// refused messages must be.
	refused bool
}

// messages are the attacks of headerAttacks for a framed connection. Names go
// in lower case, which is the only way to get them through; where the spelling
// is the attack, also as they are written.
func messages() []message {
	var all []message
	for _, a := range headerAttacks() {
		m := message{name: a.name, refusable: a.refusable}
		for _, line := range a.head {
			if strings.HasPrefix(line, "Transfer-Encoding:") {
				continue // frames have a body's end already
			}
			m.fields = append(m.fields, fieldOf(line))
		}
		if chunk, rest, found := strings.Cut(a.body, "\r\n0\r\n"); found {
			_, m.body, _ = strings.Cut(chunk, "\r\n")
			for line := range strings.SplitSeq(strings.TrimSuffix(rest, "\r\n\r\n"), "\r\n") {
				m.trailers = append(m.trailers, fieldOf(line))
			}
		}
		lower := m
		lower.fields, lower.trailers = inLowerCase(m.fields), inLowerCase(m.trailers)
		lower.refusable = lower.refusable || connectionSpecific(lower.fields)
		all = append(all, lower)
		if strings.HasPrefix(a.name, "spelling ") && !slices.Equal(m.fields, lower.fields) {
			m.name, m.refused = "as written: "+a.name, true // RFC 9113 §8.2.1, RFC 9114 §4.2
			all = append(all, m)
		}
	}
	return unique(append(all, framedAttacks()...))
}

// unique leaves out messages that are the same in lower case.
func unique(all []message) []message {
	seen := map[string]bool{}
	return slices.DeleteFunc(all, func(m message) bool {
		b, _ := json.Marshal([]any{len(m.fields), fieldText(m.fields), m.body, fieldText(m.trailers), m.refused})
		defer func() { seen[string(b)] = true }()
		return seen[string(b)]
	})
}

func fieldText(fields []field) (text []string) {
	for _, f := range fields {
		text = append(text, f.name+"="+f.value)
	}
	return text
}

// framedAttacks are those that only frames can carry.
func framedAttacks() []message {
	evil := field{"remote-user", "evil"}
	return []message{
		{name: "as a pseudo-header", fields: []field{{":remote-user", "evil"}}, refused: true},
		{name: "before the pseudo-headers", fields: []field{{"", ""}, evil}, refused: true},
		{name: "as a pseudo-header among the trailers", body: "x", trailers: []field{{":remote-user", "evil"}}, refusable: true},
		{name: "blank behind the name", fields: []field{{"remote-user ", "evil"}}, refused: true},
		{name: "TE lists it", fields: []field{{"te", "trailers, remote-user"}, evil}, refusable: true},
		{
			name: "announced twice, once underscored", fields: []field{{"trailer", "remote-user"}, {"trailer", "remote_user"}},
			body: "x", trailers: []field{evil, {"remote_user", "evil2"}},
		},
		{name: "announced without a body", fields: []field{{"trailer", "remote-user"}}, trailers: []field{evil}},
		{name: "value with a line break", fields: []field{{"x-harmless", "a\r\nRemote-User: evil"}}, refused: true},
	}
}

func fieldOf(line string) field {
	name, value, _ := strings.Cut(line, ":")
	return field{name, strings.TrimPrefix(value, " ")}
}

func inLowerCase(fields []field) []field {
	lower := slices.Clone(fields)
	for i := range lower {
		lower[i].name = strings.ToLower(lower[i].name)
	}
	return lower
}

// connectionSpecific says whether fields have no place in frames
// (RFC 9113 §8.2.2, RFC 9114 §4.2).
func connectionSpecific(fields []field) bool {
	return slices.ContainsFunc(fields, func(f field) bool {
		return f.name == "connection" || f.name == "proxy-connection" || f.name == "keep-alive"
	})
}

// head is the head of a request for a path: pseudo-header fields, the cookie in
// one field, and what is given. An empty name as the first field puts the
// others first.
func head(cl *cluster, method, path, cookie string, more ...field) []field {
	pseudo := []field{{":method", method}, {":scheme", "https"}, {":authority", strings.TrimPrefix(cl.base, "https://")}, {":path", path}}
	fields := []field{{"accept", "application/json"}}
	if cookie != "" {
		fields = append(fields, field{"cookie", strings.TrimPrefix(cookie, "Cookie: ")})
	}
	if len(more) > 0 && more[0].name == "" {
		return slices.Concat(more[1:], pseudo, fields)
	}
	// Pseudo-header fields of an attack stand where they belong.
	i := 0
	for i < len(more) && strings.HasPrefix(more[i].name, ":") {
		i++
	}
	return slices.Concat(pseudo, more[:i], fields, more[i:])
}

// A framedClient keeps a connection for many messages, and opens another where
// the peer ended it.
type framedClient struct {
	dial dialler
	conn framed
}

// echo sends a message and returns what the app saw of it. An empty status
// means that it was refused without an answer.
func (c *framedClient) echo(t *testing.T, cl *cluster, cookie, path string, m message) rawAnswer {
	t.Helper()
	if c.conn == nil {
		c.conn = c.dial(t, cl)
	}
	method := "GET"
	if m.body != "" || m.trailers != nil {
		method = "POST"
	}
	s, err := c.conn.open(head(cl, method, path, cookie, m.fields...), method == "GET")
	if err != nil {
		t.Fatal(err)
	}
	if method == "POST" { // who refused it already does not listen any more
		if m.body != "" {
			_ = s.send([]byte(m.body), false)
		}
		_ = s.finish(m.trailers)
	}
	status, err := s.status()
	if err != nil {
		c.drop()
		return rawAnswer{}
	}
	body, err := readAll(s)
	if err != nil {
		t.Fatalf("reading the answer with status %s: %v", status, err)
	}
	return echoOf(status, body)
}

func (c *framedClient) drop() {
	if c.conn != nil {
		c.conn.close()
		c.conn = nil
	}
}

func readAll(s stream) ([]byte, error) {
	var all []byte
	for {
		b, err := s.read()
		all = append(all, b...)
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
	}
}
