//go:build integration

package proxmox

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/coder/websocket"
)

// authValue is a value of a Cookie or Authorization header. Only a blank or the start may
// stand before its name; percent-encoding is decoded.
func authValue(header, name string) string {
	m := regexp.MustCompile(`(?:^|\s)` + name + `(?:=| )([^;]*)`).FindStringSubmatch(header)
	if m == nil {
		return ""
	}
	if text, err := url.PathUnescape(m[1]); err == nil {
		return text
	}
	return m[1]
}

// authenticate says who makes a request. A ticket in the cookie wins, then one in
// Authorization, then a token there. Uploads need no CSRF token.
func (c *Cluster) authenticate(r *http.Request, upload bool) (caller, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	authorization := strings.Join(r.Header.Values("Authorization"), ", ")
	ticket := authValue(strings.Join(r.Header.Values("Cookie"), ", "), "PVEAuthCookie")
	if ticket == "" {
		ticket = authValue(authorization, "PVEAuthCookie")
	}
	if ticket == "" {
		if token := authValue(authorization, "PVEAPIToken"); token != "" {
			return c.tokenCaller(token)
		}
		return caller{}, errors.New("No ticket") //nolint:staticcheck // as pveproxy says it
	}
	userID, err := verifyTicket(c.keys, ticket, "", c.now())
	if err != nil || !userForm.MatchString(userID) {
		return caller{}, errors.New("permission denied - invalid PVE ticket")
	}
	if r.Method != http.MethodGet && !upload && !csrfValid(c.csrfKey, userID, r.Header.Get("CSRFPreventionToken"), c.now()) {
		return caller{}, errors.New("Permission denied - invalid csrf token") //nolint:staticcheck // as pveproxy says it
	}
	return caller{user: userID}, c.active(userID)
}

func (c *Cluster) tokenCaller(token string) (caller, error) {
	id, secret, _ := strings.Cut(token, "=")
	userID, name, _ := strings.Cut(id, "!")
	if err := c.active(userID); err != nil {
		return caller{}, err
	}
	if known, ok := c.users[userID].tokens[name]; !ok || known.secret != secret {
		return caller{}, errors.New("invalid token value")
	}
	return caller{userID, name}, nil
}

func (c *Cluster) active(userID string) error {
	if u := c.users[userID]; u == nil {
		return fmt.Errorf("no such user ('%s')", userID)
	} else if !u.enabled {
		return fmt.Errorf("user '%s' is disabled", userID)
	}
	return nil
}

func (c *Cluster) setSecondFactor(r *call) (any, error) {
	u := c.users[r.vars["userid"]]
	if u == nil {
		return nil, fmt.Errorf("no such user ('%s')", r.vars["userid"])
	}
	u.secondFactor = r.param("value")
	return map[string]any{"id": "totp"}, nil
}

func (c *Cluster) listNodes(*call) (any, error) {
	list := []map[string]any{}
	for _, n := range c.Nodes {
		list = append(list, map[string]any{"node": n.Name, "type": "node", "ssl_fingerprint": n.Fingerprint()})
	}
	return list, nil
}

// upload answers with size and SHA-256 of the file.
func (c *Cluster) upload(r *call) (any, error) {
	if r.upload == nil {
		return nil, &failure{status: http.StatusNotImplemented, text: "upload failed"}
	}
	sum := sha256.New()
	size, err := io.Copy(sum, r.upload)
	return map[string]any{"size": size, "sha256": fmt.Sprintf("%x", sum.Sum(nil))}, err
}

// console echoes what is sent, until either side ends it.
func (n *Node) console(w http.ResponseWriter, r *http.Request) {
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"binary"}, InsecureSkipVerify: true})
	if err != nil {
		return
	}
	count := func(by int) {
		n.cluster.mu.Lock()
		defer n.cluster.mu.Unlock()
		n.cluster.open += by
	}
	count(1)
	defer count(-1)
	for {
		kind, text, err := ws.Read(context.Background())
		if err == nil {
			err = ws.Write(context.Background(), kind, text)
		}
		if err != nil {
			_ = ws.CloseNow()
			return
		}
	}
}

// Pveum runs a command of pveum as root, and returns what the API answers.
func (c *Cluster) Pveum(command string) (any, error) {
	words, err := split(command)
	if err != nil {
		return nil, err
	}
	var names []string
	params := url.Values{}
	for i := 0; i < len(words); i++ {
		option, ok := strings.CutPrefix(words[i], "--")
		switch {
		case !ok:
			names = append(names, words[i])
		case i+1 == len(words):
			return nil, fmt.Errorf("--%s has no value", option)
		default:
			i++
			params.Set(option, words[i])
		}
	}
	method, path, err := pveumCall(strings.Join(names[:max(0, len(names)-1)], " "), names, params)
	if err != nil {
		return nil, err
	}
	to, vars := find(method, path)
	return c.run(to, &call{ctx: context.Background(), who: caller{user: "root@pam"}, vars: vars, params: params})
}

// pveumCall is the request that a command makes.
func pveumCall(verb string, names []string, params url.Values) (method, path string, err error) {
	if len(names) < 3 {
		return "", "", fmt.Errorf("pveum: %q is no command", strings.Join(names, " "))
	}
	name := names[len(names)-1]
	switch verb {
	case "realm add":
		params.Set("realm", name)
		return http.MethodPost, "/access/domains", nil
	case "realm modify":
		return http.MethodPut, "/access/domains/" + name, nil
	case "acl modify":
		params.Set("path", name)
		return http.MethodPut, "/access/acl", nil
	case "group add":
		params.Set("groupid", name)
		return http.MethodPost, "/access/groups", nil
	case "user add":
		params.Set("userid", name)
		return http.MethodPost, "/access/users", nil
	case "user modify":
		return http.MethodPut, "/access/users/" + name, nil
	case "user delete":
		return http.MethodDelete, "/access/users/" + name, nil
	}
	if len(names) == 5 && strings.HasPrefix(verb, "user token add ") {
		return http.MethodPost, "/access/users/" + names[3] + "/token/" + name, nil
	}
	return "", "", fmt.Errorf("pveum: %q is no command", strings.Join(names, " "))
}

// split splits a command as a shell does, with quotes, and with \ before the end of a line.
func split(command string) (words []string, err error) {
	command = strings.ReplaceAll(command, "\\\n", " ")
	form := regexp.MustCompile(`^(?:"([^"]*)"|'([^']*)'|([^\s"'#]+))(?:\s+|$)`)
	for command = strings.TrimPrefix(strings.TrimSpace(command), "pveum "); command != "" && command[0] != '#'; {
		m := form.FindStringSubmatch(command)
		if m == nil {
			return nil, fmt.Errorf("pveum: can't read %q", command)
		}
		words, command = append(words, m[1]+m[2]+m[3]), command[len(m[0]):]
	}
	return words, nil
}
