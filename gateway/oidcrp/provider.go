// Package oidcrp is the OpenID Connect relying party: a provider.Provider that
// signs people in by the authorization code flow (OpenID Connect Core 1.0
// §3.1) with state, nonce and PKCE (RFC 7636, S256).
//
// Messages of the browser and the provider are untrusted until they pass the checklist.
// checks.go lists everything that is refused, with its code. Claims are read exactly:
// names byte for byte, no name twice, no type coerced. If a claim that decides is odd, the
// sign-in is refused; if one that only describes a person is odd, it is left out, with a
// line in the log. If a provider can't be reached, or answers nonsense, the error is
// ProviderUnavailable, within 10 seconds. Every other error is a refusal.
//
// The discovery document is fetched in the background by Start, the keys at first
// use; neither when a Provider is made. Both are refreshed in the background every hour,
// and a copy of the last good ones survives restarts (Deps.LastGood). Begin asks whether
// the provider is up, at most every 10 seconds: if it is down, the browser would see no
// page of ours.
//
// Clocks may differ by one minute; iat may be set back by five more. An e-mail
// and its email_verified always come from one source; so do the groups. Userinfo is
// asked only for claims that something needs. An e-mail is a user name only if it is
// verified (see Config.TrustEmail). Bounds: 10,000 groups of 512 bytes in answers of at
// most 1 MB, names of 1,024 bytes, sub of 255.
package oidcrp

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"go.uber.org/zap"
	"golang.org/x/oauth2"

	"github.com/caddy-sso/caddy-sso/gateway/fetch"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

const (
	// callTimeout bounds Begin, Complete and LogoutURL as a whole.
	callTimeout = 10 * time.Second
	// aliveFor is how long the provider counts as being there.
	aliveFor = 10 * time.Second
	// maxLogoutURL is the length beyond which id_token_hint is left out: some
	// providers' servers take 4,096 bytes of request line.
	maxLogoutURL = 4000
)

// A Provider signs people in at one OpenID Provider. It is safe for concurrent
// use and needs no closing.
type Provider struct {
	config    Config
	defined   string // the digest of config's definition
	checks    *checklist
	outbound  outbound
	logger    *zap.Logger
	discovery *fetch.Document[*metadata]
	keys      *keySet
}

// outbound is what a Provider needs of fetch.Client.
type outbound interface {
	CheckURL(raw string) error
	Do(req *http.Request, limit int64) (*fetch.Response, error)
}

// New returns a Provider for config, or every fault of it at once. It does no
// network I/O.
func New(config Config, deps Deps) (*Provider, error) {
	config = config.withDefaults()
	roots, poolErr := fetch.Pool(config.RootCAs)
	out := fetch.New(fetch.Options{
		RootCAs: roots, InsecureHTTP: config.InsecureHTTP, Transport: deps.Transport,
	})
	if err := errors.Join(config.validate(out), poolErr); err != nil {
		return nil, err
	}
	p := &Provider{config: config, defined: config.definition().Digest(), checks: allChecks(), outbound: out, logger: deps.Logger}
	if p.logger == nil {
		p.logger = zap.NewNop()
	}
	p.logger = p.logger.With(zap.String("issuer", config.Issuer))
	p.discovery = &fetch.Document[*metadata]{
		What: "discovery document", Name: fetch.Name("oidc", "discovery", config.RootCAs, config.Issuer),
		Fetch: p.fetchDiscovery, Parse: p.parseMetadata, LastGood: deps.LastGood, Logger: p.logger,
	}
	p.keys = &keySet{checks: p.checks, keys: &fetch.Document[keyRing]{
		What: "keys", Name: fetch.Name("oidc", "keys", config.RootCAs, config.Issuer),
		Fetch: p.fetchKeys, Parse: p.parseKeys, LastGood: deps.LastGood, Logger: p.logger,
	}}
	return p, nil
}

func (p *Provider) fetchDiscovery(ctx context.Context) ([]byte, error) {
	doc, err := p.fetchDocument(ctx, "discovery document", p.config.discoveryURL(), maxDiscovery)
	if err != nil && lasts(err) {
		err = fetch.Unavailable("%w; the address is made of `issuer`: check that", refusal.From(err, refusal.Internal).Err)
	}
	return doc, err
}

func (p *Provider) fetchKeys(ctx context.Context) ([]byte, error) {
	md, err := p.discovery.Current(ctx)
	if err != nil {
		return nil, err
	}
	return p.fetchDocument(ctx, "keys", md.jwks, maxJWKS)
}

// KeepIn says where the last good documents are kept, in place of Deps.LastGood. Call
// it before Start.
func (p *Provider) KeepIn(kept fetch.LastGood) {
	p.discovery.KeepIn(kept)
	p.keys.keys.KeepIn(kept)
}

// Start implements provider.Starter: it takes the last good discovery document from
// the store, and has a new one fetched in the background. So a wrong issuer is in the
// log before somebody signs in.
func (p *Provider) Start(ctx context.Context) { p.discovery.Start(ctx) }

// Protocol returns provider.OIDC.
func (p *Provider) Protocol() provider.Protocol { return provider.OIDC }

// Issuer returns the configured issuer identifier.
func (p *Provider) Issuer() string { return p.config.Issuer }

// A flow is our record of one login under way. The gateway keeps it, sealed.
type flow struct {
	Issuer   string `json:"i"`
	Nonce    string `json:"n"`
	Verifier string `json:"v,omitempty"` // PKCE, RFC 7636 §4.1
	Begun    int64  `json:"t"`           // seconds since the epoch
	Forced   bool   `json:"f,omitempty"` // a new login was asked for
	Other    bool   `json:"o,omitempty"` // the same, but the answer need not say so
}

// asked says whether a new sign-in was asked for.
func (f *flow) asked() bool { return f.Forced || f.Other }

func (f *flow) begun() time.Time { return time.Unix(f.Begun, 0) }

// Begin implements provider.Provider. With ForceLogin it sends prompt=login and
// max_age=0, and Complete then requires auth_time. With OtherPerson it sends
// prompt=login alone, and Complete checks auth_time if there is one.
func (p *Provider) Begin(ctx context.Context, req provider.BeginRequest) (*provider.Begun, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	md, err := p.discovery.Recent(ctx, aliveFor)
	if err != nil {
		return nil, err
	}
	f := &flow{Issuer: p.config.Issuer, Nonce: rand.Text(), Begun: time.Now().Unix(), Forced: req.ForceLogin, Other: req.OtherPerson}
	options := []oauth2.AuthCodeOption{oidc.Nonce(f.Nonce)}
	if !p.config.InsecureNoPKCE {
		f.Verifier = oauth2.GenerateVerifier()
		options = append(options, oauth2.S256ChallengeOption(f.Verifier))
	}
	if req.ForceLogin || req.OtherPerson {
		options = append(options, oauth2.SetAuthURLParam("prompt", "login"))
	}
	if req.ForceLogin {
		options = append(options, oauth2.SetAuthURLParam("max_age", "0"))
	}
	if req.LoginHint != "" {
		options = append(options, oauth2.SetAuthURLParam("login_hint", req.LoginHint))
	}
	if req.ACRValues != "" {
		options = append(options, oauth2.SetAuthURLParam("acr_values", req.ACRValues))
	}
	client := oauth2.Config{
		ClientID:    p.config.ClientID,
		Endpoint:    oauth2.Endpoint{AuthURL: md.authorization},
		RedirectURL: req.CallbackURL,
		Scopes:      p.config.Scopes,
	}
	private, err := json.Marshal(f)
	if err != nil {
		return nil, refusal.New(refusal.Internal, err)
	}
	return &provider.Begun{Location: client.AuthCodeURL(req.State, options...), Private: private}, nil
}

// Complete implements provider.Provider: the answer's parameters, the code for
// the tokens, the ID token, and userinfo if the ID token lacks the user name,
// the e-mail or the groups. The access token is forgotten afterwards.
func (p *Provider) Complete(ctx context.Context, req provider.CompleteRequest) (*provider.Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var f flow
	if err := json.Unmarshal(req.Private, &f); err != nil || f.Issuer != p.config.Issuer || f.Nonce == "" {
		return nil, refusal.New(refusal.FlowUnknown, errors.New("reading the flow: it was not begun at this issuer"))
	}
	md, err := p.discovery.Current(ctx)
	if err != nil {
		return nil, err
	}
	code, err := p.code(md, req)
	if err != nil {
		return nil, err
	}
	got, err := p.exchange(ctx, md, code, &f, req.CallbackURL)
	if err != nil {
		return nil, err
	}
	claims, err := p.verifyIDToken(ctx, md, code, got, &f)
	if err != nil {
		return nil, err
	}
	subject := claims.str("sub")
	who, said, err := p.person(ctx, md, claims, got, req.GroupsUnused)
	if err != nil {
		return nil, refusal.About(subject, err)
	}
	answer := &provider.Answer{Identity: who, Subject: subject, SessionID: said.session}
	if p.config.Logout == LogoutProvider && len(got.id) < maxLogoutURL { // a longer one would be left out
		answer.LogoutHint = got.id
	}
	return answer, nil
}

// person makes the identity from the ID token's claims and, where somebody needs
// more, userinfo's. It returns what the ID token says beside it.
func (p *Provider) person(ctx context.Context, md *metadata, claims object, got *tokens, groupsUnused bool) (provider.Identity, *profile, error) {
	id, err := p.idProfile(claims, groupsUnused)
	if err != nil {
		return provider.Identity{}, nil, err
	}
	more, err := p.search(ctx, md, id, got.access)
	if err != nil {
		return provider.Identity{}, nil, err
	}
	more.ungranted, more.noEmail = p.ungranted(got), p.emailUngranted(got)
	who, err := p.identity(id, more)
	return who, id, err
}

// search asks userinfo for what the ID token lacks. An answer that is refused
// is an error, and so are a passing fault and one that can't be read if what is
// missing decides. Otherwise the login goes on without.
func (p *Provider) search(ctx context.Context, md *metadata, id *profile, access string) (findings, error) {
	switch {
	case id.complete():
		return findings{why: "userinfo was not asked, since no rule needs it", failed: true}, nil
	case md.userInfo == "":
		return findings{why: "the provider has no userinfo"}, nil
	}
	claims, err := p.userInfo(ctx, md, access, id.str("sub"))
	if err != nil {
		_, unreadable := errors.AsType[unreadableError](err)
		needed := id.lacksNeeded()
		if refusal.CodeOf(err) != refusal.ProviderUnavailable && (needed || !unreadable) || needed && !lasts(err) {
			return findings{}, err
		}
		p.logger.Info("going on without userinfo", zap.Error(err))
		return findings{why: "userinfo can't be had: " + refusal.From(err, refusal.Internal).Err.Error(), failed: true}, nil
	}
	info, err := p.infoProfile(claims, id)
	return findings{info: info}, err
}

// LogoutURL implements SessionEnder (RP-Initiated Logout 1.0 §2). It
// is empty with LogoutLocal, and where the provider has no
// end_session_endpoint. A hint that makes the URL longer than 4,000 bytes is
// left out; the provider may then ask the person to confirm.
func (p *Provider) LogoutURL(ctx context.Context, req provider.LogoutRequest) (string, error) {
	if p.config.Logout != LogoutProvider {
		return "", nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	md, err := p.discovery.Current(ctx)
	if err != nil || md.endSession == "" {
		return "", err
	}
	u, err := url.Parse(md.endSession)
	if err != nil {
		return "", fetch.Unavailable("making the logout URL: %w", errors.New("the end_session_endpoint is malformed"))
	}
	query := u.Query()
	query.Set("client_id", p.config.ClientID)
	query.Set("post_logout_redirect_uri", req.ReturnURL)
	u.RawQuery = query.Encode()
	short := u.String()
	if req.Hint == "" {
		return short, nil
	}
	query.Set("id_token_hint", req.Hint)
	u.RawQuery = query.Encode()
	if long := u.String(); len(long) <= maxLogoutURL {
		return long, nil
	}
	return short, nil
}

// Interface guards.
var (
	_ provider.SessionEnder = (*Provider)(nil)
	_ provider.Starter      = (*Provider)(nil)
	_ oidc.KeySet           = (*keySet)(nil)
)
