// Package verify is for Go apps behind the gateway. It verifies the assertion, the
// signed statement that tells who makes a request.
//
//	v, err := verify.New(verify.Config{
//		Issuer:   "https://app.example.com",
//		Audience: "app.example.com",
//		JWKSURL:  "https://app.example.com/.sso/jwks.json",
//	})
//	…
//	http.ListenAndServe(addr, v.Middleware(mux))
//
// If an app trusts the plain Remote-User header, it must be reachable through the
// gateway only. If it verifies the assertion, it need not be: nobody but the gateway
// can make one.
//
// # What is checked
//
// The request has exactly one header of the assertion's name. It is a JWS in compact
// form with typ "JWT", no crit, and no embedded or linked key. The algorithm is ES256
// unless configured otherwise, and is the key's own. The signature verifies with the
// key that kid names in the configured JWK Set. iss is equal byte for byte. aud is
// ours and nothing else: one app could replay an assertion for several apps to
// another. sub is not empty. exp, nbf and iat hold within the configured skew. Claim
// names are matched exactly; duplicate claims and claims of the wrong type are
// refused.
//
// # What is not checked
//
// Whether the assertion was used before: the gateway sends the same one, with the
// same jti, with every request for up to a minute. Whether the login has ended since
// the assertion was made, at most a minute ago: the gateway refuses requests after a
// logout, but a leaked assertion stays valid until exp. Whether the person may do
// what the request asks for: see Roles. Nor does an assertion cover the rest of the
// request: a thief can send it with another body.
package verify

import (
	"cmp"
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

// Errors of Verify and VerifyRequest with a meaning of their own. Any other error
// means that the assertion is not valid.
var (
	// ErrNoAssertion means that the request has no header of the assertion's name.
	ErrNoAssertion = errors.New("no assertion")
	// ErrKeysUnavailable means that the key is not known and that the gateway's JWK
	// Set could not be fetched. The assertion may be valid.
	ErrKeysUnavailable = errors.New("the gateway's keys are not available")
)

// DefaultHeader is the default of Config.Header.
const DefaultHeader = "X-Sso-Assertion"

// DefaultSkew is the default of Config.Skew.
const DefaultSkew = 30 * time.Second

// Config is the configuration of a Verifier.
type Config struct {
	// Issuer is the gateway's issuer, byte for byte: the site's base URL unless
	// configured otherwise. Required.
	Issuer string
	// Audience is the app's id at the gateway: the site's first host unless
	// configured otherwise. Required.
	Audience string
	// JWKSURL is the address of the gateway's keys: /.sso/jwks.json on any of its
	// sites. They are fetched at first use, then every hour, and when an unknown key
	// appears, at most every 10 seconds. If fetches fail, the keys are used for at
	// most 24 hours. Either JWKSURL or Keys is required.
	JWKSURL string
	// Keys is a fixed JWK Set. The gateway rotates its keys every 30 days, and
	// publishes each 30 days before it signs.
	Keys []byte
	// Header is the name of the assertion's header. Default: DefaultHeader.
	Header string
	// Client fetches JWKSURL, for instance with a private CA. Redirects are never
	// followed, and a fetch ends after 10 seconds. Default: an own client on
	// http.DefaultTransport.
	Client *http.Client
	// Algorithms are the accepted ones of "ES256" and "RS256". Default: ES256.
	Algorithms []string
	// Skew is how far this machine's clock may differ from the gateway's. Default:
	// DefaultSkew.
	Skew time.Duration
	// InsecureHTTP permits a JWKSURL with plain http on a name that is not loopback.
	// An attacker who can change that traffic can then forge assertions.
	InsecureHTTP bool
	// Refused, if set, is called by Middleware for each request that it refuses, with
	// the reason, for a log. The error contains no part of the assertion except iss
	// or aud, and those only if it was genuine.
	Refused func(*http.Request, error)
}

// An Identity is the gateway's statement about the person who makes a request. Fields
// that it left out are zero.
type Identity struct {
	// Subject identifies the person permanently. It is opaque and never empty.
	Subject string
	// Username, Email and the names describe the person. They can change.
	Username, Email, Name, FirstName, LastName string
	// EmailVerified is the provider's statement that Email is the person's own.
	EmailVerified bool
	// Roles, Groups and Template are the app's own names, by its rules at the
	// gateway.
	Roles, Groups []string
	Template      string
	// SessionID identifies the login to this app.
	SessionID string
	// Provider is the gateway's name for the provider that signed the person in.
	Provider string
	// ACR and AMR are the way of authentication (OIDC Core §2), AuthTime its time.
	ACR      string
	AMR      []string
	AuthTime time.Time
	// ID is the assertion's jti. Requests of the same minute share it.
	ID string
	// Expires is the end of the assertion, about a minute after it was made. It is
	// not the end of the login.
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
	v := &Verifier{
		issuer: c.Issuer, audience: c.Audience, header: cmp.Or(c.Header, DefaultHeader), skew: cmp.Or(c.Skew, DefaultSkew), refused: c.Refused,
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
	return &keySource{url: c.JWKSURL, name: u.Redacted(), client: client}, nil
}

func loopback(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.IsLoopback()
	}
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// Verify returns the person of a valid assertion. ctx bounds the wait for the
// gateway's keys if they have to be fetched.
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
		// The error's text can quote the header, which is unverified.
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

// VerifyRequest verifies the assertion in a request's header. Without a header the
// error is ErrNoAssertion; two headers are refused.
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

// Middleware passes on requests with a valid assertion. Their context has the
// identity: see FromContext. Others get 401, or 503 with Retry-After while the
// gateway's keys are not available.
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

// FromContext returns the identity that Middleware put into a context, or nil.
func FromContext(ctx context.Context) *Identity {
	id, _ := ctx.Value(identityKey{}).(*Identity)
	return id
}
