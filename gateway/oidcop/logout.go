package oidcop

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"

	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

// A Logout is a request to log out.
type Logout struct {
	// Client is the client that asks, for the page; "" if it did not say.
	Client string

	p      *Provider
	client *client
	hint   *hint // nil: none
	params url.Values
}

// Logout reads a request of the logout endpoint (OpenID Connect RP-Initiated Logout
// 1.0 §2). Its error is a *refusal.Error, or a fault.
func (p *Provider) Logout(ctx context.Context, params url.Values) (*Logout, error) {
	if err := p.checks.parameters.Run(params); err != nil {
		return nil, err
	}
	l := &Logout{Client: params.Get("client_id"), p: p, params: params}
	if text := params.Get("id_token_hint"); text != "" {
		h, err := p.readHint(ctx, text)
		if told, ok := asOAuth(err); ok {
			return nil, refusal.New(refusal.BadRequest, fmt.Errorf("reading a logout request: %s", told.Description))
		}
		if err != nil {
			return nil, err
		}
		l.hint = h
	}
	if l.Client == "" && l.hint != nil {
		l.Client = l.hint.Client
	}
	if l.Client != "" {
		if l.client = p.clients[l.Client]; l.client == nil {
			return nil, refusal.New(refusal.BadRequest, p.unknownClient("a logout request", l.Client))
		}
	}
	return l, p.checks.logout.Run(l)
}

func logoutOnce(l *Logout) error {
	if name := repeated(l.params, "client_id", "id_token_hint", "post_logout_redirect_uri", "state"); name != "" {
		return fmt.Errorf("reading a logout request: %s stands twice", name)
	}
	return nil
}

// logoutClient: the hint is a token of the same client.
func logoutClient(l *Logout) error {
	if l.hint != nil && l.hint.Client != l.Client {
		return errors.New("reading a logout request: id_token_hint is another client's")
	}
	return nil
}

// logoutRegistered: RP-Initiated Logout §3. Without a client no URI is registered.
func logoutRegistered(l *Logout) error {
	uri := l.params.Get("post_logout_redirect_uri")
	if uri != "" && l.client != nil && !slices.Contains(l.client.PostLogoutURIs, uri) {
		return fmt.Errorf("reading a logout request of client %q: post_logout_redirect_uri is %+.200q, none of the client's, which are %+q; compare it byte for byte", l.Client, uri, l.client.PostLogoutURIs)
	}
	return nil
}

// Ends reports whether the client knows the login: it sent an ID token of it. Without
// that, the person is asked: any site could have sent the browser here.
func (l *Logout) Ends(login string) bool {
	return l.hint != nil && l.p.checks.logoutHint.Run(&hinted{l, login}) == nil
}

// hinted is a logout request beside the login of the browser.
type hinted struct {
	*Logout
	login string
}

func hintLogin(h *hinted) error {
	if h.hint.SID != h.p.sid(h.client, h.login) {
		return errors.New("id_token_hint is of another login")
	}
	return nil
}

// ReturnTo returns the registered URL, with the client's state, to which the browser
// returns; or "".
func (l *Logout) ReturnTo() string {
	uri := l.params.Get("post_logout_redirect_uri")
	if uri == "" || l.client == nil {
		return ""
	}
	if !l.params.Has("state") {
		return uri
	}
	return withQuery(uri, url.Values{"state": {l.params.Get("state")}})
}

// A hint is an ID token that came from here once. It may have expired.
type hint struct {
	Issuer   string `json:"iss"`
	Subject  string `json:"sub"`
	Client   string `json:"aud"`
	SID      string `json:"sid"`
	Hash     string `json:"at_hash"`
	provider *Provider
	typ      string
	verify   func() error
}

var errHint = invalidRequest("id_token_hint is no ID token of this provider")

// readHint reads an id_token_hint. The error is the client's, or a fault.
func (p *Provider) readHint(ctx context.Context, text string) (*hint, error) {
	jws, err := jose.ParseSignedCompact(text, []jose.SignatureAlgorithm{jose.RS256, jose.ES256})
	if err != nil {
		return nil, errHint
	}
	h := &hint{provider: p}
	if json.Unmarshal(jws.UnsafePayloadWithoutVerification(), h) != nil {
		return nil, errHint
	}
	header := jws.Signatures[0].Header
	h.typ, _ = header.ExtraHeaders[jose.HeaderType].(string)
	h.verify = func() error { return p.signedHere(ctx, jws) }
	return h, p.checks.hint.Run(h)
}

// signedHere checks that one of our keys has signed a token.
func (p *Provider) signedHere(ctx context.Context, jws *jose.JSONWebSignature) error {
	b, err := p.bound()
	if err != nil {
		return err
	}
	header := jws.Signatures[0].Header
	signer := b.Signers[Algorithm(header.Algorithm)]
	if signer == nil {
		return errHint
	}
	doc, err := signer.Published(ctx)
	if err != nil {
		return err
	}
	keys, err := parseKeys(doc)
	if err != nil {
		return err
	}
	if verifyBy(jws, keys) != nil {
		return errHint
	}
	return nil
}

func hintSigned(h *hint) error { return h.verify() }

func hintIssuer(h *hint) error {
	if h.Issuer != h.provider.issuer() {
		return errHint
	}
	return nil
}

// hintIDToken: a logout token or signed userinfo is no ID token.
func hintIDToken(h *hint) error {
	if h.typ != "JWT" || h.Hash == "" || h.Subject == "" {
		return errHint
	}
	return nil
}
