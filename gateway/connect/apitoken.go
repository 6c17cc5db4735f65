package connect

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// PassesAlone says whether a request needs no login, because it brings an API token to the
// API of Proxmox VE. path is the raw path of the original target.
func (a *App) PassesAlone(path string, r *http.Request) bool {
	return a.IsProxmox() && a.proxmox.opts.APITokens && a.proxmox.checks.token.Run(&bearing{r, path}) == nil
}

// A bearing is a request that may bring an API token. path is its raw original path.
type bearing struct {
	*http.Request
	path string
}

func oneAuthorization(b *bearing) error {
	if len(b.Header["Authorization"]) != 1 {
		return errors.New("there is not exactly one header Authorization")
	}
	return nil
}

// tokenForm lets nothing stand beside a token. A node looks for "PVEAuthCookie=" behind each
// blank of the header, and prefers that to the token.
func tokenForm(b *bearing) error {
	for _, line := range b.Header["Authorization"] {
		value, ok := strings.CutPrefix(line, "PVEAPIToken=")
		if !ok || strings.ContainsFunc(value, func(c rune) bool { return c <= ' ' || c > '~' || c == ';' }) || !isToken(value) {
			return errors.New("it has no API token, or something beside it")
		}
	}
	return nil
}

// isToken says whether a text has the form <user>@<realm>!<id>=<secret>. It may be encoded.
func isToken(text string) bool {
	if decoded, err := url.PathUnescape(text); err == nil {
		text = decoded
	}
	user, rest, found := strings.Cut(text, "!")
	id, secret, _ := strings.Cut(rest, "=")
	return found && isUser(user) && id != "" && secret != ""
}

// forms returns the two paths of a request, the original and the current one, and what they
// are if they are decoded: a server does so once, some do it twice.
func (b *bearing) forms() (paths []string) {
	for _, path := range []string{b.path, b.URL.EscapedPath()} {
		paths = append(paths, path)
		for range 2 {
			if decoded, err := url.PathUnescape(path); err == nil {
				path = decoded
				paths = append(paths, path)
			}
		}
	}
	return paths
}

// underAPI lets a token pass to the API alone. Names in the path may be encoded, such as that
// of an image in a storage. But no server may read it as a path elsewhere.
func underAPI(b *bearing) error {
	for _, path := range b.forms() {
		if !strings.HasPrefix(path, "/api2/") || strings.Contains(path, "//") || strings.ContainsFunc(path, func(c rune) bool { return c < ' ' || c == '\\' || c == 0x7f }) {
			return errors.New("the path is not one of the API")
		}
		for segment := range strings.SplitSeq(path, "/") {
			if segment, _, _ = strings.Cut(segment, ";"); segment == "." || segment == ".." {
				return errors.New("the path may lead out of the API")
			}
		}
	}
	return nil
}

// noSignIn keeps the addresses behind the login at which a node verifies no token: those where
// it signs people in, so that anybody could guess passwords, and the list of realms.
func noSignIn(b *bearing) error {
	for _, path := range b.forms() {
		for _, at := range []string{"/access/ticket", "/access/vncticket", "/access/openid"} {
			if strings.Contains(path, at) || strings.HasSuffix(path, "/access/domains") && b.Method == http.MethodGet {
				return errors.New("the node verifies no token at this path")
			}
		}
	}
	return nil
}

// atOpenID says whether a request leads to where a node signs people in by OpenID. Only the
// gateway itself needs that. A node keeps a hundred such sign-ins for ten minutes, and then
// begins no other: so whoever could begin them would lock out everybody.
func atOpenID(r *http.Request) bool {
	return slices.ContainsFunc((&bearing{r, r.URL.EscapedPath()}).forms(), func(path string) bool {
		names := strings.FieldsFunc(path, func(c rune) bool { return c == '/' }) // a node ignores empty ones
		return strings.Contains(strings.Join(names, "/")+"/", "/access/openid/")
	})
}

// Unknown prepares a request that needs no login. alone says that PassesAlone is why.
func (c *Cookies) Unknown(r *http.Request, alone bool) error {
	if c == nil || c.app.proxmox == nil {
		return nil
	}
	if !alone {
		delete(r.Header, "Authorization") // a ticket may be in it
	}
	return cmp.Or(fitHeader(r), c.app.proxmox.spools.fitBody(r, maxMemory-1))
}
