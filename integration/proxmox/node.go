//go:build integration

package proxmox

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	maxHeader = 8 << 10
	maxLines  = 64 // with the empty one at the end
)

// A Node is one of a cluster.
type Node struct {
	Name string
	// URL is https://127.0.0.1 with the node's port, which stays the same after Down and Up.
	URL string
	// Certificate is self-signed, for the node's name, localhost and 127.0.0.1.
	Certificate *x509.Certificate

	cluster *Cluster
	tls     *tls.Config

	mu       sync.Mutex
	listener net.Listener
	conns    map[net.Conn]bool
	ctx      context.Context // ends with Down, and so does every request
	stop     context.CancelFunc
	serving  sync.WaitGroup

	flows map[string]flow // by state; the cluster's lock holds for it
}

func newNode(c *Cluster, name string) (*Node, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a node's key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		DNSNames: []string{name, "localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("making a node's certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	return &Node{
		Name: name, Certificate: cert, cluster: c, flows: map[string]flow{},
		tls: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: []string{"http/1.1"}},
	}, err
}

// PEM is the node's certificate as a file has it.
func (n *Node) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: n.Certificate.Raw})
}

// Fingerprint is the SHA-256 of the certificate, as the node's interface shows it.
func (n *Node) Fingerprint() string {
	sum := sha256.Sum256(n.Certificate.Raw)
	return strings.ReplaceAll(fmt.Sprintf("% X", sum), " ", ":")
}

// Up starts a node that is down, at the same port.
func (n *Node) Up() error { return n.up(strings.TrimPrefix(n.URL, "https://")) }

func (n *Node) up(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("starting node %s: %w", n.Name, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.URL, n.listener = "https://"+listener.Addr().String(), listener
	n.conns = map[net.Conn]bool{}
	n.ctx, n.stop = context.WithCancel(context.Background())
	n.serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			if n.add(conn) {
				n.serving.Go(func() { n.serve(tls.Server(conn, n.tls)); n.remove(conn) })
			}
		}
	})
	return nil
}

// Down stops the node: its connections are cut, and nothing listens at its port. It returns
// when all that the node did has ended.
func (n *Node) Down() {
	n.mu.Lock()
	if n.listener != nil {
		_ = n.listener.Close()
		n.stop()
		for conn := range n.conns {
			_ = conn.Close()
		}
		n.listener = nil
	}
	n.mu.Unlock()
	n.serving.Wait()
}

func (n *Node) add(conn net.Conn) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listener == nil {
		_ = conn.Close()
		return false
	}
	n.conns[conn] = true
	return true
}

func (n *Node) remove(conn net.Conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.conns, conn)
	_ = conn.Close()
}

// pause waits as the real node does before a 401, so that nobody guesses fast.
func (n *Node) pause() {
	select {
	case <-time.After(n.cluster.settings.Delay):
	case <-n.ctx.Done():
	}
}

// serve answers the requests of one connection. Like pveproxy, it never sends 100 Continue.
func (n *Node) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	in := bufio.NewReaderSize(conn, 64<<10)
	for {
		head, err := readHead(in)
		if err != nil {
			return
		}
		w := &response{conn: conn, in: in, header: http.Header{}}
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(head)))
		if why := unknown(head, r); why != "" {
			w.fail(http.StatusNotImplemented, why)
			w.send()
			return
		}
		if err != nil {
			w.fail(http.StatusBadRequest, "bad request")
			w.send()
			return
		}
		body := io.LimitReader(in, max(r.ContentLength, 0))
		r.Body, r.RemoteAddr = io.NopCloser(body), conn.RemoteAddr().String()
		n.ServeHTTP(w, r.WithContext(n.ctx))
		if _, err := io.Copy(io.Discard, body); err != nil || w.hijacked {
			return
		}
		w.last = r.Close
		if !w.send() || w.last {
			return
		}
	}
}

var errHead = errors.New("the header block is too large")

// readHead reads a request line with its header block. If there is more than pveproxy takes,
// it answers nothing, and cuts the connection after 5 s; the double does not wait.
func readHead(in *bufio.Reader) (head []byte, err error) {
	size := 0
	for lines := 0; ; lines++ {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return nil, err
		}
		head = append(head, line...)
		line = bytes.TrimRight(line, "\r\n")
		if lines > 0 { // the request line does not count
			size += len(line)
		}
		if size >= maxHeader || lines >= maxLines {
			return nil, errHead
		}
		if len(line) == 0 && lines > 0 {
			return head, nil
		}
	}
}

// unknown says what of a request pveproxy does not implement, if anything. r is nil if net/http
// can't read it either.
func unknown(head []byte, r *http.Request) string {
	for line := range bytes.Lines(head) {
		name, value, _ := strings.Cut(string(line), ":")
		if strings.EqualFold(name, "Transfer-Encoding") {
			if strings.EqualFold(strings.TrimSpace(value), "chunked") {
				return "chunked transfer encoding not supported"
			}
			return "Unknown transfer encoding"
		}
	}
	switch {
	case r == nil, r.Method == http.MethodPost, r.Method == http.MethodPut:
		return ""
	case r.Method != http.MethodGet && r.Method != http.MethodDelete:
		return "method '" + r.Method + "' not available"
	case r.ContentLength > 0:
		return "Unexpected content for method '" + r.Method + "'"
	}
	return ""
}

// A response is written as a whole when its request was served, so it has a length.
type response struct {
	conn     net.Conn
	in       *bufio.Reader
	header   http.Header
	status   int
	reason   string
	body     bytes.Buffer
	hijacked bool
	last     bool // of its connection
}

func (w *response) Header() http.Header { return w.header }

func (w *response) WriteHeader(status int) {
	w.status = status
	if status == http.StatusSwitchingProtocols {
		_, _ = fmt.Fprintf(w.conn, "HTTP/1.1 101 Switching Protocols\r\n")
		_ = w.header.Write(w.conn)
		_, _ = io.WriteString(w.conn, "\r\n")
	}
}

func (w *response) Write(text []byte) (int, error) { return w.body.Write(text) }

// Hijack gives the connection to a console.
func (w *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.hijacked = true
	return w.conn, bufio.NewReadWriter(w.in, bufio.NewWriter(w.conn)), nil
}

// fail answers with an error: pveproxy says it in the status line.
func (w *response) fail(status int, reason string) { w.status, w.reason = status, reason }

func (w *response) send() bool {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	if w.reason == "" {
		w.reason = http.StatusText(w.status)
	}
	w.last = w.last || w.status >= http.StatusBadRequest
	if w.last {
		w.header.Set("Connection", "close")
	}
	w.header.Set("Content-Length", fmt.Sprint(w.body.Len()))
	var out bytes.Buffer
	fmt.Fprintf(&out, "HTTP/1.1 %d %s\r\n", w.status, strings.NewReplacer("\r", " ", "\n", " ").Replace(w.reason))
	_ = w.header.Write(&out)
	out.WriteString("\r\n")
	_, err := w.conn.Write(append(out.Bytes(), w.body.Bytes()...))
	return err == nil
}
