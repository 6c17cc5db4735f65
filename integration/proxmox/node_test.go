//go:build integration

package proxmox

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// lines are header lines.
func lines(count int) string {
	return strings.Repeat("X-A: b\r\n", count)
}

func TestProxmoxDoubleWire(t *testing.T) {
	t.Parallel()
	l := newLab(t, time.Millisecond)
	const get = "GET / HTTP/1.1\r\nHost: pve\r\n"
	form := "POST /api2/json/access/groups HTTP/1.1\r\nHost: pve\r\nAuthorization: " + l.admin + "\r\n"
	for name, c := range map[string]struct {
		text   string
		status int // 0 if the connection is cut
		says   string
	}{
		"chunked":                     {"POST / HTTP/1.1\r\nHost: pve\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 501, "chunked transfer encoding not supported"},
		"another transfer encoding":   {"POST / HTTP/1.1\r\nHost: pve\r\nTransfer-Encoding: gzip\r\n\r\n", 501, "Unknown transfer encoding"},
		"chunked, with a length":      {form + "Content-Length: 3\r\ntransfer-encoding: Chunked\r\n\r\na=b", 501, "chunked"},
		"63 lines with the last":      {get + lines(61) + "\r\n", 200, ""},
		"64 lines with the last":      {get + lines(62) + "\r\n", 0, ""},
		"just below 8 KiB":            {get + "X: " + strings.Repeat("x", 8191-len("Host: pve")-3) + "\r\n\r\n", 200, ""},
		"8 KiB":                       {get + "X: " + strings.Repeat("x", 8192-len("Host: pve")-3) + "\r\n\r\n", 0, ""},
		"8 KiB in many lines":         {get + strings.Repeat("Cookie: "+strings.Repeat("c", 200)+"\r\n", 50) + "\r\n", 0, ""},
		"HEAD":                        {"HEAD / HTTP/1.1\r\nHost: pve\r\n\r\n", 501, "not available"},
		"PATCH":                       {"PATCH / HTTP/1.1\r\nHost: pve\r\n\r\n", 501, "not available"},
		"GET with a body":             {get + "Content-Length: 1\r\n\r\nx", 501, "Unexpected content"},
		"DELETE with a body":          {"DELETE /api2/json/access/groups/a HTTP/1.1\r\nHost: pve\r\nContent-Length: 1\r\n\r\nx", 501, "Unexpected content"},
		"GET with a length of zero":   {get + "Content-Length: 0\r\n\r\n", 200, ""},
		"a form of more than 512 KiB": {form + "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 600000\r\n\r\n" + strings.Repeat("a", 600000), 501, "too large"},
		"text":                        {form + "Content-Type: text/plain\r\nContent-Length: 1\r\n\r\nx", 506, "not implemented"},
		"multipart, not at upload":    {form + "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 1\r\n\r\nx", 506, "not implemented"},
		"JSON":                        {form + "Content-Type: application/json\r\nContent-Length: 15\r\n\r\n{\"groupid\":\"j\"}", 200, "null"},
		"Expect":                      {form + "Expect: 100-continue\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n{\"groupid\":\"k\"}", 200, "null"},
		"no HTTP":                     {"nonsense\r\n\r\n", 400, "bad request"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if a := l.Nodes[0].raw(c.text); a.status != c.status || !strings.Contains(a.reason+a.body, c.says) {
				t.Errorf("answered %d %s %s, want %d %q", a.status, a.reason, a.body, c.status, c.says)
			}
		})
	}
}

// TestProxmoxDoubleDelay holds that a 401 takes its time, and nothing else does. The default is
// that of the real one.
func TestProxmoxDoubleDelay(t *testing.T) {
	t.Parallel()
	l := newLab(t, 50*time.Millisecond)
	for path, status := range map[string]int{"/api2/json/version": 401, "/": 200} {
		began := time.Now()
		if a := l.Nodes[0].get(path); a.status != status || status == 401 && time.Since(began) < 50*time.Millisecond {
			t.Errorf("%s after %v: %v", path, time.Since(began), a)
		}
	}
	if c := Start(t, Settings{Key: vectorKey()}); c.settings.Delay != 3*time.Second {
		t.Errorf("the default delay is %v", c.settings.Delay)
	}
}

// TestProxmoxDoubleNodes holds that the nodes of a cluster share users and keys, each with a
// certificate of its own, and that one may be down.
func TestProxmoxDoubleNodes(t *testing.T) {
	t.Parallel()
	c := Start(t, Settings{Nodes: []string{"pve1", "pve2"}, Delay: time.Millisecond, Key: vectorKey()})
	token := c.token(t, "root@pam")
	one, two := c.Nodes[0], c.Nodes[1]
	if a := one.get("/api2/json/nodes", "Authorization", token); !strings.Contains(a.body, two.Fingerprint()) || one.Fingerprint() == two.Fingerprint() {
		t.Errorf("the nodes are %v", a)
	}
	block, _ := pem.Decode(one.PEM())
	roots := x509.NewCertPool()
	roots.AddCert(one.Certificate)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}}
	resp, err := client.Get(one.URL + "/")
	if err != nil || resp.StatusCode != http.StatusOK || !bytes.Equal(block.Bytes, one.Certificate.Raw) {
		t.Fatal(resp, err)
	}
	_ = resp.Body.Close()
	if _, err := client.Get(two.URL + "/"); err == nil {
		t.Error("the second node has the certificate of the first")
	}
	one.Down()
	if a := one.get("/"); a.status != 0 {
		t.Errorf("the first node is down, and answers %v", a)
	}
	if a := two.get("/api2/json/version", "Authorization", token); a.status != http.StatusOK {
		t.Errorf("the second node: %v", a)
	}
	if err := one.Up(); err != nil {
		t.Fatal(err)
	}
	if a := one.get("/api2/json/version", "Authorization", token); a.status != http.StatusOK {
		t.Errorf("the first node is up again: %v", a)
	}
	if got := c.Requests("GET", "/api2/json/version"); len(got) != 2 || got[0].Node != "pve2" || got[1].Node != "pve1" || got[0].Header.Get("Authorization") != token {
		t.Errorf("the nodes got %v", got)
	}
}

// TestProxmoxDoubleAnswer holds that a test can make a node that talks nonsense or hangs.
func TestProxmoxDoubleAnswer(t *testing.T) {
	t.Parallel()
	c := Start(t, Settings{Delay: time.Millisecond, Key: vectorKey()})
	c.Answer(func(w http.ResponseWriter, r *http.Request) bool {
		switch r.URL.Path {
		case "/nonsense":
			_, _ = fmt.Fprint(w, "<nonsense>")
		case "/hang":
			<-r.Context().Done()
		default:
			return false
		}
		return true
	})
	n := c.Nodes[0]
	if a := n.get("/nonsense"); a.body != "<nonsense>" {
		t.Errorf("nonsense is %v", a)
	}
	if a := n.get("/"); !strings.Contains(a.body, "UserName") {
		t.Errorf("another page is %v", a)
	}
	done := make(chan reply)
	go func() { done <- n.get("/hang") }()
	for len(c.Requests("GET", "/hang")) == 0 {
		time.Sleep(time.Millisecond)
	}
	n.Down()
	if a := <-done; a.status != 0 {
		t.Errorf("what hung ends with %v", a)
	}
}

func TestProxmoxDoubleConsole(t *testing.T) {
	t.Parallel()
	l := newLab(t, time.Millisecond)
	n := l.Nodes[0]
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	dial := func(cookie string) (*websocket.Conn, error) {
		ws, resp, err := websocket.Dial(t.Context(), n.URL+"/api2/json/nodes/pve1/vncwebsocket?port=5900&vncticket=x", &websocket.DialOptions{
			HTTPClient: client, HTTPHeader: http.Header{"Cookie": {cookie}}, Subprotocols: []string{"binary"},
		})
		if err == nil && (ws.Subprotocol() != "binary" || resp.StatusCode != http.StatusSwitchingProtocols) {
			t.Errorf("the console speaks %q", ws.Subprotocol())
		}
		return ws, err
	}
	if _, err := dial("PVEAuthCookie=bad"); err == nil {
		t.Error("a console opens without a ticket")
	}
	ws, err := dial("PVEAuthCookie=" + l.ticket)
	if err != nil {
		t.Fatal(err)
	}
	if err := ws.Write(t.Context(), websocket.MessageBinary, []byte("ls\n")); err != nil {
		t.Fatal(err)
	}
	if _, text, err := ws.Read(t.Context()); err != nil || string(text) != "ls\n" || l.Consoles() != 1 {
		t.Errorf("the console answers %q, %v; %d are open", text, err, l.Consoles())
	}
	n.Down()
	if _, _, err := ws.Read(context.Background()); err == nil || l.Consoles() != 0 {
		t.Errorf("the node is down, and %d consoles are open: %v", l.Consoles(), err)
	}
}

// TestProxmoxDoubleUpload holds that an upload needs a ticket and a right, but no CSRF token.
func TestProxmoxDoubleUpload(t *testing.T) {
	t.Parallel()
	l := newLab(t, time.Millisecond)
	file := bytes.Repeat([]byte("iso "), 300_000)
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	_ = form.WriteField("content", "iso")
	part, _ := form.CreateFormFile("filename", "debian.iso")
	_, _ = part.Write(file)
	_ = form.Close()
	upload := func(name, value string) reply {
		return l.Nodes[0].raw(fmt.Sprintf("POST /api2/json/nodes/pve1/storage/local/upload HTTP/1.1\r\nHost: pve\r\n%s: %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s",
			name, value, form.FormDataContentType(), body.Len(), body.String()))
	}
	if a := upload("Cookie", "PVEAuthCookie="+l.ticket); a.status != http.StatusOK || a.field("sha256") != fmt.Sprintf("%x", sha256.Sum256(file)) {
		t.Errorf("an upload is answered with %v", a)
	}
	if a := upload("Authorization", l.viewer); a.status != http.StatusForbidden {
		t.Errorf("a viewer's upload: %v", a)
	}
	if a := upload("Cookie", "PVEAuthCookie=bad"); a.status != http.StatusUnauthorized {
		t.Errorf("an upload without a ticket: %v", a)
	}
}

// TestProxmoxDoublePveum holds that the commands of the documentation can be run as they stand.
func TestProxmoxDoublePveum(t *testing.T) {
	t.Parallel()
	c := Start(t, Settings{Key: vectorKey()})
	must(t, c, `pveum realm add gw --type openid --issuer-url https://sso.example.com --client-id proxmox --client-key SECRET \
  --username-claim preferred_username --autocreate 1 --scopes "email profile groups" \
  --groups-claim groups --groups-autocreate 1 --groups-overwrite 1 --query-userinfo 1`)
	must(t, c, "pveum acl modify / --groups pve-admins-gw --roles Administrator     # node group")
	if realm := c.realms["gw"]; realm.Get("scopes") != "email profile groups" || realm.Get("query-userinfo") != "1" {
		t.Errorf("the realm is %v", realm)
	}
	for _, command := range []string{"", "pveum realm", "realm add gw --type openid", "realm add g! --type pve", "realm add x --type", "acl modify / --users a@pve --roles King", `realm add "x`, "realm modify no --comment x"} {
		if _, err := c.Pveum(command); err == nil {
			t.Errorf("%q is taken", command)
		}
	}
}
