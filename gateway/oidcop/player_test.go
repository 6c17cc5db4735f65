package oidcop_test

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/oidcop"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

// A player plays an attack, or its control, in a lab.
type player struct {
	*lab
	evil      *ecdsa.PrivateKey
	got       map[string][]string // codes and tokens, in their order
	client    string              // of the last authorization request
	elsewhere *oidcop.Provider    // another issuer over the same store
	without   []string            // checks
	kept      map[string][]byte   // grants
}

func newPlayer(t testing.TB, l *lab, without ...string) *player {
	t.Helper()
	evil, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := &player{lab: l, evil: evil, got: map[string][]string{}, client: "web", elsewhere: l.at("https://elsewhere.example"), without: without, kept: map[string][]byte{}}
	if len(without) > 0 {
		oidcop.Drop(p.Provider, without...)
		oidcop.Drop(p.elsewhere, without...)
	}
	return p
}

// play returns "" if every step succeeds, else the error of the first that does not.
func (p *player) play(steps []step, evil bool) (outcome string, err error) {
	for _, s := range steps {
		if s.attack && !evil {
			continue
		}
		if outcome != "" {
			return outcome, nil
		}
		params := url.Values{}
		for _, w := range s.words {
			if w.attack && !evil {
				continue
			}
			value, err := p.expand(w.value)
			if err != nil {
				return "", err
			}
			switch {
			case w.more && params.Has(w.name):
				params.Add(w.name, value)
			case w.more: // beside the default
				params[w.name] = []string{"+", value}
			default:
				params.Set(w.name, value)
			}
		}
		if outcome, err = p.step(s.verb, params); err != nil {
			return "", err
		}
		if s.any {
			outcome = ""
		}
	}
	return outcome, nil
}

var placeholder = regexp.MustCompile(`\$\{([^}]*)\}`)

// expand replaces what stands between ${ and }.
func (p *player) expand(text string) (string, error) {
	var err error
	return placeholder.ReplaceAllStringFunc(text, func(found string) string {
		value, ok := p.value(found[2 : len(found)-1])
		if !ok {
			err = fmt.Errorf("there is no %s", found)
		}
		return value
	}), err
}

func (p *player) value(name string) (string, bool) {
	if n, text, ok := strings.Cut(name, "*"); ok {
		times, err := strconv.Atoi(n)
		return strings.Repeat(text, max(times, 0)), err == nil
	}
	if at, ok := strings.CutPrefix(name, "now"); ok {
		seconds, err := strconv.ParseInt(cmp.Or(at, "+0"), 10, 64)
		return strconv.FormatInt(time.Now().Unix()+seconds, 10), err == nil
	}
	how, what, ok := strings.Cut(name, " ")
	if !ok {
		how, what = "", name
	}
	switch how {
	case "s256":
		sum := sha256.Sum256([]byte(what))
		return base64.RawURLEncoding.EncodeToString(sum[:]), true
	case "guess", "forged", "resigned", "typed":
		token, ok := p.value(what)
		return p.changed(how, token), ok
	}
	switch what {
	case "secret":
		return secret, true
	case "verifier":
		return verifier, true
	case "challenge":
		return challenge(), true
	case "issuer":
		return issuer, true
	case "callback":
		return callback, true
	case "evil-jwk":
		doc, err := json.Marshal(jose.JSONWebKey{Key: p.evil.Public()})
		return string(doc), err == nil
	}
	what, first := strings.CutSuffix(what, "/1")
	list := p.got[what]
	if len(list) == 0 {
		return "", false
	}
	if first {
		return list[0], true
	}
	return list[len(list)-1], true
}

// changed returns a token with another secret of the same grant (guess), or an ID token with
// the signature of an attacker (forged), of another issuer (resigned) or of another type
// (typed).
func (p *player) changed(how, token string) string {
	if how == "guess" {
		parts := strings.Split(token, ".")
		for i := range parts[2:] {
			parts[2+i] = strings.Repeat("A", len(parts[2+i]))
		}
		return strings.Join(parts, ".")
	}
	claims := claimsOf(p.t, token)
	if how == "forged" {
		forged, err := p.assertion(claims, "evil", "ES256", claimsOf(p.t, "."+token[:strings.LastIndexByte(token, '.')]))
		if err != nil {
			p.t.Fatal(err)
		}
		return forged
	}
	typ := "JWT"
	if how == "typed" {
		typ = "logout+jwt"
	} else {
		claims["iss"] = "https://elsewhere.example"
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		p.t.Fatal(err)
	}
	signed, err := p.keys.SignAs(p.t.Context(), typ, payload)
	if err != nil {
		p.t.Fatal(err)
	}
	return signed
}

// take removes a word that is no parameter and returns it.
func take(params url.Values, name, otherwise string) string {
	defer params.Del(name)
	return cmp.Or(params.Get(name), otherwise)
}

func (p *player) step(verb string, params url.Values) (string, error) {
	switch verb {
	case "wait":
		d, err := time.ParseDuration(params.Get("for"))
		time.Sleep(d)
		return "", err
	case "end":
		p.people.end(params.Get("login"))
		return "", nil
	case "deny":
		p.people.deny(params.Get("client"), params.Get("login"))
		return "", nil
	case "reload":
		p.reload(params.Get("client"), params.Get("without"))
		return "", nil
	case "keep", "put-back":
		return "", p.keep(verb == "put-back")
	case "authorize":
		return p.authorize(params), nil
	case "logout", "return":
		return p.logout(verb, params), nil
	case "userinfo":
		return p.userinfo(params), nil
	}
	return p.post(verb, params)
}

// reload takes an option from a client.
func (p *player) reload(client, option string) {
	p.Provider = p.lab.without(client, func(c *oidcop.Client) {
		switch option {
		case "refresh":
			c.Refresh = false
		case "insecure_no_pkce":
			c.InsecureNoPKCE = false
		case "redirect_uri":
			c.RedirectURIs = []string{"https://app.example/new"}
		}
	})
	if len(p.without) > 0 {
		oidcop.Drop(p.Provider, p.without...)
	}
}

// keep copies the grants, or puts the copies back. A writer of the store can do that.
func (p *player) keep(back bool) error {
	if back {
		for key, value := range p.kept {
			if err := p.store.Put(p.t.Context(), key, value, time.Hour); err != nil {
				return err
			}
		}
		return nil
	}
	for _, key := range p.store.(*gatewaytest.MemStore).Keys() {
		if strings.HasPrefix(key, "grant:") {
			values, err := p.store.Get(p.t.Context(), key)
			if err != nil {
				return err
			}
			p.kept[key] = values[0]
		}
	}
	return nil
}

// merged returns defaults changed by params; "-" deletes one.
func merged(defaults, params url.Values) url.Values {
	for name, values := range params {
		switch values[0] {
		case "+":
			defaults[name] = append(defaults[name], values[1:]...)
		case "-":
			delete(defaults, name)
		default:
			defaults[name] = values
		}
	}
	return defaults
}

// authorize does what the gateway does with an authorization request.
func (p *player) authorize(params url.Values) string {
	login := take(params, "login", "login:alice")
	all := merged(request(), params)
	p.client = all.Get("client_id")
	a, err := p.Authorization(p.t.Context(), all)
	if err != nil {
		return string(refusal.CodeOf(err))
	}
	answer := a.Refused()
	if answer == nil {
		signedIn, person := time.Time{}, p.people.logins[login]
		if person != nil {
			signedIn = person.AuthTime
		}
		switch stale := person == nil || a.Stale(signedIn, signedIn); {
		case stale && (a.Silent() || !a.Asked.IsZero()):
			answer = a.Refuse("login_required", "")
		case stale:
			again, err := a.Again(p.t.Context())
			if err != nil {
				p.t.Fatal(err)
			}
			p.got["asked"] = append(p.got["asked"], again.Get("sso_asked"))
			return "sign_in"
		}
	}
	if answer == nil {
		if answer, err = a.Grant(p.t.Context(), login); err != nil {
			return string(refusal.CodeOf(err))
		}
	}
	result := answer.Form
	if result == nil {
		_, query, _ := strings.Cut(answer.Location, "?")
		if result, err = url.ParseQuery(query); err != nil {
			p.t.Fatal(err)
		}
	}
	if code := result.Get("code"); code != "" {
		p.got["code"] = append(p.got["code"], code)
		return ""
	}
	return result.Get("error")
}

func (p *player) logout(verb string, params url.Values) string {
	login := take(params, "login", "login:alice")
	l, err := p.Logout(p.t.Context(), merged(url.Values{}, params))
	if err != nil {
		return string(refusal.CodeOf(err))
	}
	if verb == "return" && l.ReturnTo() == "" {
		return "stays"
	}
	if verb == "logout" && !l.Ends(login) {
		return "asked"
	}
	return ""
}

func (p *player) userinfo(params url.Values) string {
	access, _ := p.value("access")
	rec, _ := userinfo(p.Provider, cmp.Or(params.Get("token"), access))
	if rec.Code == http.StatusOK {
		p.got["userinfo"] = append(p.got["userinfo"], rec.Body.String())
		return ""
	}
	return cmp.Or(read(rec).Error, "no_token")
}

// post posts a form to an endpoint that authenticates the client.
func (p *player) post(verb string, params url.Values) (string, error) {
	op := p.Provider
	if take(params, "at", "") == "elsewhere" {
		op = p.elsewhere
	}
	query := take(params, "query", "")
	defaults, path := url.Values{}, oidcop.TokenPath
	of := func(name string) string { value, _ := p.value(name); return value }
	switch verb {
	case "exchange":
		defaults = exchangeForm(of("code"))
	case "refresh":
		defaults = refreshForm(of("refresh"))
	case "introspect":
		defaults, path = url.Values{"token": {of("access")}}, oidcop.IntrospectionPath
	case "revoke":
		defaults, path = url.Values{"token": {of("access")}}, oidcop.RevocationPath
	}
	header, err := p.credentials(params, defaults)
	if err != nil {
		return "", err
	}
	r := httptest.NewRequest(http.MethodPost, issuer+path+query, strings.NewReader(merged(defaults, params).Encode()))
	r.Header.Set("Content-Type", formType)
	if header != "" {
		r.Header.Set("Authorization", basic(header))
	}
	rec, _ := serve(op, r)
	got := read(rec)
	if rec.Code != http.StatusOK {
		return cmp.Or(got.Error, strconv.Itoa(rec.Code)), nil
	}
	if verb == "introspect" && strings.Contains(rec.Body.String(), `"active":false`) {
		return "inactive", nil
	}
	for name, token := range map[string]string{"access": got.Access, "refresh": got.Refresh, "id": got.ID} {
		if token != "" {
			p.got[name] = append(p.got[name], token)
		}
	}
	return "", nil
}
