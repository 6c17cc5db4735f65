// Package verify is for Go apps that stand behind the gateway: it verifies the
// assertion, the signed statement of who makes a request.
//
//	v, err := verify.New(verify.Config{
//		Issuer:   "https://app.example.com",
//		Audience: "app.example.com",
//		JWKSURL:  "https://app.example.com/.sso/jwks.json",
//	})
//	…
//	http.ListenAndServe(addr, v.Middleware(mux))
//
// An app that trusts the plain Remote-User header must be reachable through
// the gateway only. One that verifies the assertion need not rely on that:
// nobody but the gateway can make one.
//
// # What is checked
//
// Exactly one header of the assertion's name; a JWS in compact form with typ
// "JWT" and no crit, no embedded or linked key; the algorithm, ES256 unless
// configured otherwise, which must be the key's own; the signature by the key
// that kid names in the configured JWK Set; iss byte for byte; aud, which must
// be ours and nothing else, since an assertion for several apps could be
// replayed by one of them to another; sub not empty; exp, nbf and iat with the
// configured skew. Claim names are matched exactly, two of one name and claims
// of the wrong type are refused.
//
// # What is not checked
//
// Whether the assertion was used before: the gateway sends the same one with
// every request for up to a minute, jti included. Whether the login has ended
// since the assertion was made, at most a minute ago: the gateway refuses
// requests after a logout, but an assertion that leaked stays valid until exp.
// Whether the person may do what the request asks for: see Roles. And an assertion
// says nothing about the rest of the request: a thief can send it with another body.
package verify

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Errors that Verify and VerifyRequest tell apart. Any other is an assertion
// that is not valid.
var (
	// ErrNoAssertion: the request has no header of the assertion's name.
	ErrNoAssertion = errors.New("no assertion")
	// ErrKeysUnavailable: the key is not known, and the gateway's JWK Set
	// could not be fetched, so that nothing is known about the assertion.
	ErrKeysUnavailable = errors.New("the gateway's keys are not available")
)

// DefaultHeader is the assertion's header unless configured.
const DefaultHeader = "X-Sso-Assertion"

// DefaultSkew is how far clocks may differ unless configured.
const DefaultSkew = 30 * time.Second

// Config says what to accept.
type Config struct {
	// Issuer is the gateway's issuer, byte for byte: the site's base URL
	// unless the gateway is configured otherwise. Required.
	Issuer string
	// Audience is the app's id at the gateway: the site's first host unless
	// configured otherwise. Required.
	Audience string
	// JWKSURL is where the gateway publishes its keys: /.sso/jwks.json on any
	// of its sites. They are fetched when first needed, again every hour, and
	// when an unknown key appears, then at most once in 10 seconds. If they
	// can't be fetched any more they are used for 24 hours at most. Either
	// this or Keys is required.
	JWKSURL string
	// Keys is a JWK Set that stays as it is. The gateway rotates its keys
	// every 30 days, and publishes each 30 days before it signs.
	Keys []byte
	// Header is the name of the assertion's header. Default DefaultHeader.
	Header string
	// Client fetches JWKSURL, for instance with a private CA. In any case, redirects
	// are not followed, and a fetch ends after 10 seconds. Default: a client of its
	// own on http.DefaultTransport.
	Client *http.Client
	// Algorithms are those accepted, of "ES256" and "RS256". Default ES256.
	Algorithms []string
	// Skew is how far this machine's clock may differ from the gateway's.
	// Default DefaultSkew.
	Skew time.Duration
	// InsecureHTTP permits a JWKSURL with plain http on a name that is not
	// loopback. An attacker who can change that traffic can then forge assertions.
	InsecureHTTP bool
	// Refused is told by Middleware of each request that it answers itself,
	// and why: for a log. Optional. The error holds no part of the assertion
	// but iss or aud, and those only if it was genuine.
	Refused func(*http.Request, error)
}

// An Identity describes the person who makes a request, by the gateway's word. Fields
// that it left out are zero.
type Identity struct {
	// Subject identifies the person for good; opaque. Never empty.
	Subject string
	// Username, Email and Name describe the person. They can change.
	Username, Email, Name string
	// EmailVerified is the provider's word that Email is the person's own.
	EmailVerified bool
	// Roles, Groups and Template are in the app's own words, by its rules at
	// the gateway.
	Roles, Groups []string
	Template      string
	// SessionID names the login towards this app.
	SessionID string
	// Provider is the gateway's name for the provider that signed the person in.
	Provider string
	// ACR and AMR say how (OIDC Core §2), AuthTime when.
	ACR      string
	AMR      []string
	AuthTime time.Time
	// ID is the assertion's jti. Requests of the same minute share it.
	ID string
	// Expires is when the assertion ends, about a minute after it was made.
	// It is not the end of the login.
	Expires time.Time
}

// A Verifier verifies assertions. It is safe for concurrent use.
type Verifier struct {
	issuer, audience, header string
	algs                     []jose.SignatureAlgorithm
	skew                     time.Duration
	keys                     *keySource
	refused                  func(*http.Request, error)
}

// New returns a Verifier. It does no I/O; its errors are mistakes in c.
func New(c Config) (*Verifier, error) {
	if c.Issuer == "" || c.Audience == "" {
		return nil, errors.New("making a verifier: Issuer and Audience are required")
	}
	if c.Skew < 0 {
		return nil, errors.New("making a verifier: Skew is negative")
	}
	v := &Verifier{issuer: c.Issuer, audience: c.Audience, header: c.Header, skew: c.Skew, refused: c.Refused}
	if v.header == "" {
		v.header = DefaultHeader
	}
	if v.skew == 0 {
		v.skew = DefaultSkew
	}
	if v.refused == nil {
		v.refused = func(*http.Request, error) {}
	}
	for _, alg := range c.Algorithms {
		if alg != string(jose.ES256) && alg != string(jose.RS256) {
			return nil, fmt.Errorf("making a verifier: algorithm %q is neither ES256 nor RS256", alg)
		}
		v.algs = append(v.algs, jose.SignatureAlgorithm(alg))
	}
	if len(v.algs) == 0 {
		v.algs = []jose.SignatureAlgorithm{jose.ES256}
	}
	var err error
	if v.keys, err = newKeySource(c); err != nil {
		return nil, fmt.Errorf("making a verifier: %w", err)
	}
	return v, nil
}

func newKeySource(c Config) (*keySource, error) {
	if (c.JWKSURL == "") == (c.Keys == nil) {
		return nil, errors.New("need either JWKSURL or Keys")
	}
	if c.Keys != nil {
		keys, err := readKeys(c.Keys)
		return &keySource{keys: keys}, err
	}
	u, err := url.Parse(c.JWKSURL)
	if err != nil || u.Host == "" {
		return nil, errors.New("JWKSURL is no absolute URL")
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !c.InsecureHTTP && !loopback(u.Hostname())) {
		return nil, errors.New("JWKSURL must be https, or http on a loopback name (or set InsecureHTTP)")
	}
	client := &http.Client{}
	if c.Client != nil {
		*client = *c.Client
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &keySource{url: c.JWKSURL, client: client}, nil
}

func loopback(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.IsLoopback()
	}
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// Verify returns whom the assertion is about, or why it is not valid. ctx
// bounds the wait for the gateway's keys, should they have to be fetched.
func (v *Verifier) Verify(ctx context.Context, token string) (*Identity, error) {
	id, err := v.verify(ctx, token)
	if err != nil {
		return nil, fmt.Errorf("verifying an assertion: %w", err)
	}
	return id, nil
}

func (v *Verifier) verify(ctx context.Context, token string) (*Identity, error) {
	h, err := readHeader(token)
	if err != nil {
		return nil, err
	}
	jws, err := jose.ParseSignedCompact(token, v.algs)
	if err != nil {
		// Its own text can quote the header, which nobody vouches for.
		return nil, errors.New("no compact JWS with an accepted algorithm")
	}
	k, err := v.keys.find(ctx, h.kid)
	if err != nil {
		return nil, err
	}
	if h.alg != string(k.alg) {
		return nil, errors.New("algorithm is not the key's")
	}
	payload, err := jws.Verify(k.public)
	if err != nil {
		return nil, errors.New("signature is not valid")
	}
	return v.readClaims(payload, time.Now())
}

// VerifyRequest verifies the assertion in a request's header. Without one the
// error is ErrNoAssertion; two are refused.
func (v *Verifier) VerifyRequest(r *http.Request) (*Identity, error) {
	tokens := r.Header.Values(v.header)
	switch len(tokens) {
	case 0:
		return nil, ErrNoAssertion
	case 1:
		return v.Verify(r.Context(), tokens[0])
	default:
		return nil, fmt.Errorf("verifying an assertion: %d headers of the name", len(tokens))
	}
}

type identityKey struct{}

// Middleware passes on requests that carry a valid assertion, with the
// identity in their context: see FromContext. Others get 401, or 503 with
// Retry-After while the gateway's keys are not available.
func (v *Verifier) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, err := v.VerifyRequest(r)
		if err == nil {
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), identityKey{}, id)))
			return
		}
		v.refused(r, err)
		w.Header().Set("Cache-Control", "no-store")
		if errors.Is(err, ErrKeysUnavailable) {
			w.Header().Set("Retry-After", "10")
			http.Error(w, "sign-in can't be verified at the moment", http.StatusServiceUnavailable)
			return
		}
		http.Error(w, "no valid sign-in assertion", http.StatusUnauthorized)
	})
}

// FromContext returns the identity that Middleware put into a request's
// context, or nil if the request did not pass through it.
func FromContext(ctx context.Context) *Identity {
	id, _ := ctx.Value(identityKey{}).(*Identity)
	return id
}
