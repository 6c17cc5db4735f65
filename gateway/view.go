package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/pages"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/session"
	"github.com/caddy-sso/caddy-sso/gateway/vault"
	"github.com/caddy-sso/caddy-sso/mapping"
)

// A view is what one app makes of a login: whether the person may enter, as
// whom, and the headers that say so. It is made once per login, app and node,
// and shared by all requests; only its assertion is renewed.
type view struct {
	app       *App
	issuer    string
	denied    *refusal.Error
	principal Principal
	// values are those of the app's headers, in the order of HeaderNames.all;
	// what is empty is not sent. The first is the assertion's place.
	values [maxHeaders]string
	next   *view // of the same login; set before others see this one

	claims assertionClaims
	mu     sync.Mutex // held while the assertion is renewed
	signed atomic.Pointer[assertion]
}

// An assertion is one that was signed, as it is sent.
type assertion struct {
	token   string
	issued  time.Time
	renewAt time.Time
	end     time.Time // when it must not be sent any more
}

// current says whether the assertion can be sent without being renewed. If the
// clock was set back, it is from the future.
func (a *assertion) current(now time.Time) bool {
	return a != nil && !now.Before(a.issued) && now.Before(a.renewAt)
}

// Lifetimes of the assertion.
const (
	assertionLife  = 60 * time.Second
	assertionBack  = 30 * time.Second // nbf, for clocks that run behind
	assertionRenew = 25 * time.Second // a cached one has at least 35 s left
)

// assertionClaims are the claims of the assertion, a JWT (RFC 7519; names from
// OIDC Core §2 and §5.1 where those have one).
type assertionClaims struct {
	Issuer        string   `json:"iss"`
	Audience      string   `json:"aud"`
	Subject       string   `json:"sub"`
	Username      string   `json:"preferred_username"`
	Email         string   `json:"email,omitempty"`
	EmailVerified bool     `json:"email_verified"`
	Name          string   `json:"name,omitempty"`
	Roles         []string `json:"roles"`
	Groups        []string `json:"groups"`
	Template      string   `json:"template,omitempty"`
	SessionID     string   `json:"sid"`
	Provider      string   `json:"idp"`
	ACR           string   `json:"acr,omitempty"`
	AMR           []string `json:"amr,omitempty"`
	AuthTime      int64    `json:"auth_time"`
	IssuedAt      int64    `json:"iat"`
	NotBefore     int64    `json:"nbf"`
	Expires       int64    `json:"exp"`
	ID            string   `json:"jti"`
}

// maxViews bounds the views of one login: a wildcard site has one per port in
// the Host header, which is the client's to choose.
const maxViews = 16

// view returns what a makes of a login. The views of a login are a list, which
// the session's memo holds.
func (a *App) view(ses session.Session, issuer string) *view {
	for {
		memo, n := ses.Memo(), 1
		first, _ := memo.(*view)
		for v := first; v != nil; v = v.next {
			if v.app == a && v.issuer == issuer {
				return v
			}
			n++
		}
		v := a.newView(ses.Login(), ses.ID(), issuer)
		if n <= maxViews {
			v.next = first // else the others are made again when they are needed
		}
		if ses.Remember(memo, v) {
			return v
		}
	}
}

// Size is roughly how many bytes a view and those after it take, with their
// assertions.
func (v *view) Size() int {
	if v == nil {
		return 0
	}
	size := v.next.Size() + 1536 + 32*(len(v.principal.Roles)+len(v.principal.Groups))
	for _, value := range v.values {
		size += 3 * len(value)
	}
	return size
}

// newView derives a view. id names the login.
func (a *App) newView(l *session.Login, id, issuer string) *view {
	v := &view{app: a, issuer: issuer}
	if v.denied = a.ownAudience(a.audience(issuer)); v.denied != nil {
		return v
	}
	p := a.providerOf(l)
	if p == nil {
		v.denied = refusal.New(refusal.ProviderUnknown, nil)
		return v
	}
	person, grant, refused := a.admit(p, l.Identity)
	if refused != nil {
		v.denied = refused
		return v
	}
	account := l.Account.ID()
	v.principal = Principal{
		Username: person.Username, Email: person.Email, Name: person.Name(),
		Provider: p.Name, Account: account,
		Roles: grant.Roles, Groups: grant.Groups, Template: grant.Template,
		SessionID: vault.Handle("session id", id, a.audience(issuer)),
		Expires:   a.end(l),
	}
	authTime := l.Identity.AuthTime
	if authTime.IsZero() {
		authTime = l.Created
	}
	v.claims = assertionClaims{
		Issuer: issuer, Audience: a.audience(issuer), Subject: account,
		Username: v.principal.Username, Email: v.principal.Email, EmailVerified: person.EmailVerified, Name: v.principal.Name,
		Roles: nonNil(grant.Roles), Groups: nonNil(grant.Groups), Template: grant.Template,
		SessionID: v.principal.SessionID, Provider: v.principal.Provider,
		ACR: l.Identity.ACR, AMR: l.Identity.AMR, AuthTime: authTime.Unix(),
	}
	v.values = [maxHeaders]string{
		"", encodeValue(v.principal.Username), encodeList(v.principal.Groups), encodeValue(v.principal.Email),
		encodeValue(v.principal.Name), encodeList(v.principal.Roles), encodeValue(v.principal.Provider),
	}
	return v
}

// showSession tells people who they are to this app.
func (x *exchange) showSession() error {
	ses, err := x.session()
	if errors.Is(err, session.ErrNone) {
		return x.showLastRefusal(x.unauthenticated)
	}
	if err != nil {
		return x.refuse(session.Fault(err))
	}
	v := x.app.view(ses, x.issuer())
	if v.denied != nil {
		return x.refuse(v.denied)
	}
	p := v.principal
	if wantsHTML(x.r) {
		x.page(http.StatusOK, pages.Session{
			Chrome: x.chrome(), Username: p.Username, Email: p.Email, Name: p.Name, Provider: p.Provider,
			Roles: p.Roles, Groups: p.Groups, Template: p.Template,
			Since: ses.Login().Created, Expires: p.Expires, LogoutURL: x.app.opts.Prefix + "/logout",
		})
		return nil
	}
	return x.json(http.StatusOK, "application/json", map[string]any{
		"username": p.Username, "email": p.Email, "name": p.Name, "roles": nonNil(p.Roles), "groups": nonNil(p.Groups),
		"template": p.Template, "provider": p.Provider, "account": p.Account, "session": p.SessionID,
		"since": ses.Login().Created.UTC().Format(time.RFC3339), "expires": p.Expires.UTC().Format(time.RFC3339),
	})
}

// ownAudience refuses an audience that is another app's. A site that takes any
// host is asked by what a client writes into Host: without this, it would make
// assertions by its own rules that the app of that host takes for its own.
func (a *App) ownAudience(audience string) *refusal.Error {
	a.gw.mu.Lock()
	defer a.gw.mu.Unlock()
	if other := a.gw.audiences[audience]; other != nil && other != a {
		return refusal.New(refusal.UnknownHost, fmt.Errorf("the host is another site's, with the assertion's audience %q: give this one another by `app <id>`", audience))
	}
	return nil
}

// maxHeaders is how many headers HeaderNames has.
const maxHeaders = 7

// set puts the identity into h. Each request brings an array of its own, and
// each header is a slice of it with no room to grow: handlers after us replace
// values in place.
func (v *view) set(h http.Header, values *[maxHeaders]string, now time.Time) error {
	*values = v.values
	names := &v.app.headerNames
	if names[0] != "" {
		token, err := v.assertion(now)
		if err != nil {
			return err
		}
		values[0] = token
	}
	for i, name := range names {
		if name != "" && values[i] != "" {
			h[name] = values[i : i+1 : i+1]
		}
	}
	return nil
}

// assertion returns the signed statement, renewed in time: by the wall clock, for apps
// judge it by theirs. The monotonic clock stands still while the machine is
// suspended.
func (v *view) assertion(now time.Time) (string, error) {
	now = now.Round(0) // without its monotonic reading
	if a := v.signed.Load(); a.current(now) {
		return a.token, nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	old := v.signed.Load()
	if old.current(now) {
		return old.token, nil
	}
	c := v.claims
	c.IssuedAt, c.NotBefore, c.Expires = now.Unix(), now.Add(-assertionBack).Unix(), now.Add(assertionLife).Unix()
	c.ID = vault.RandomText()
	claims, err := json.Marshal(c)
	if err != nil {
		return "", err
	}
	token, err := v.app.gw.opts.Signer.Sign(claims)
	if err != nil {
		if old != nil && !now.Before(old.issued) && now.Before(old.end) {
			return old.token, nil
		}
		return "", err
	}
	v.signed.Store(&assertion{token, now, now.Add(assertionRenew), now.Add(assertionLife - assertionRenew)})
	return token, nil
}

// A grant is what the rules give a person.
type grant struct {
	Roles, Groups []string
	Template      string
}

// Bounds of the groups that are passed on: an app's server has a limit on the
// header block (8 KiB is common). What is over is left out, never cut.
const (
	maxGroups     = 100
	maxGroupBytes = 3 << 10
)

// noMatch returns the cause of AccessDenied for a person whom res lets nowhere.
func noMatch(id *provider.Identity, res mapping.Result) error {
	note := ""
	if id.GroupsNote != "" {
		note = ": " + id.GroupsNote
	}
	switch {
	case res.TemplateUnknown:
		return fmt.Errorf("a template line matched, but not all groups could be read, and a line before it might match%s", note)
	case len(id.Groups) == 0:
		return fmt.Errorf("the provider named no groups of this person: it has to be told to, or names them elsewhere%s", note)
	}
	return fmt.Errorf("groups named by the provider: %d; no line has one of them, byte for byte%s", len(id.Groups), note)
}

// admit decides whether a person of p may enter the app, as whom, and as what.
// Where the app has several name spaces, it learns of the provider's own words
// only what the rules make of them.
func (a *App) admit(p *NamedProvider, id provider.Identity) (provider.Identity, grant, *refusal.Error) {
	deny := func(code refusal.Code, cause error) (provider.Identity, grant, *refusal.Error) {
		return provider.Identity{}, grant{}, refusal.New(code, cause)
	}
	if !strings.ContainsFunc(id.Username, visible) {
		return deny(refusal.NoUsername, nil)
	}
	if field := id.Unfit(); field != "" {
		return deny(refusal.BadCharacters, errors.New("the "+field+" has control characters"))
	}
	if strings.TrimSpace(id.Username) != id.Username { // they would be lost on the way to the app
		return deny(refusal.BadCharacters, errors.New("the user name has blanks around it"))
	}
	people := a.people[p]
	name, err := people.Username(id.Username)
	if err != nil {
		return deny(refusal.UsernameForeign, err)
	}
	id.Username = name
	if !people.Speaks(id.Email) {
		id.Email, id.EmailVerified = "", false
	}
	apply := people.rules.Apply
	if id.GroupsPartial {
		apply = people.rules.ApplyPartial
	}
	res := apply(id.Groups)
	if !res.Matched {
		return deny(refusal.AccessDenied, noMatch(&id, res))
	}
	groups := res.Groups
	if !people.mapsGroups {
		groups = res.Named
	}
	if slices.ContainsFunc(groups, provider.Unfit) {
		return deny(refusal.BadCharacters, errors.New("a group has control characters"))
	}
	return id, grant{Roles: res.Roles, Groups: a.boundGroups(groups), Template: res.Template}, nil
}

func (a *App) boundGroups(groups []string) []string {
	size := 0
	for i, g := range groups {
		size += len(encodeName(g)) + 1
		if i == maxGroups || size > maxGroupBytes {
			a.warnGroups(len(groups), i)
			return groups[:i:i]
		}
	}
	return groups
}

const upperHex = "0123456789ABCDEF"

// encodeValue percent-encodes (RFC 3986 §2.1, over UTF-8) what is no printable
// ASCII, and the percent sign itself.
func encodeValue(s string) string { return percent(s, "") }

// encodeList joins names by commas, as the headers of roles and groups have them.
// A comma within a name is encoded, so that a name is never split.
func encodeList(names []string) string {
	encoded := make([]string, len(names))
	for i, n := range names {
		encoded[i] = encodeName(n)
	}
	return strings.Join(encoded, ",")
}

// encodeName makes an entry of a list.
func encodeName(s string) string { return percent(s, ",") }

func percent(s, also string) string {
	var b []byte
	for i := range len(s) {
		c := s[i]
		edge := c == ' ' && (i == 0 || i == len(s)-1)
		if c < ' ' || c >= 0x7f || c == '%' || edge || strings.IndexByte(also, c) >= 0 {
			if b == nil {
				b = append(make([]byte, 0, len(s)+16), s[:i]...)
			}
			b = append(b, '%', upperHex[c>>4], upperHex[c&15])
		} else if b != nil {
			b = append(b, c)
		}
	}
	if b == nil {
		return s
	}
	return string(b)
}

func nonNil(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}
