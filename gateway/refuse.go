package gateway

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddy-sso/caddy-sso/gateway/cookie"
	"github.com/caddy-sso/caddy-sso/gateway/pages"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/target"
)

// refuse answers with the code's page or JSON problem, and tells the observer.
func (x *exchange) refuse(err error) error {
	e := refusal.From(err, refusal.Internal)
	x.retryLater(e)
	reference := strings.ToLower(rand.Text()[:10])
	// A client that hung up is no fault of the store's or the provider's.
	hungUp := x.r.Context().Err() != nil && errors.Is(err, context.Canceled)
	if e.Code != refusal.Unauthenticated && !hungUp {
		x.observe(Event{Type: EventRefused, Code: e.Code, Reference: reference, Err: e.Err})
	}
	meaning := e.Code.Meaning()
	x.refusalHeaders(e.Code, meaning.Status)
	if x.app.opts.ErrorsToCaller {
		return &refusal.Error{Code: e.Code, Err: e.Err, Reference: reference}
	}
	if wantsHTML(x.r) {
		x.page(meaning.Status, x.refusalPage(e.Code, reference))
		return nil
	}
	return x.json(meaning.Status, "application/problem+json", problem{
		Type: "urn:caddy-sso:" + string(e.Code), Title: meaning.Title, Status: meaning.Status, Detail: meaning.Text,
		Code: e.Code, Reference: reference, Login: x.loginURL(e.Code),
	})
}

// A problem is the JSON form of a refusal (RFC 9457).
type problem struct {
	Type      string       `json:"type"`
	Title     string       `json:"title"`
	Status    int          `json:"status"`
	Detail    string       `json:"detail"`
	Code      refusal.Code `json:"code"`
	Reference string       `json:"reference"`
	Login     string       `json:"login,omitempty"`
}

func (x *exchange) refusalHeaders(code refusal.Code, status int) {
	h := x.w.Header()
	h.Set("Cache-Control", "no-store")
	if status == http.StatusServiceUnavailable && h.Get("Retry-After") == "" {
		h.Set("Retry-After", "5")
	}
	if code == refusal.Unauthenticated {
		// The scheme is that of draft-broyer-http-cookie-auth; RFC 9110
		// §15.5.2 asks for a challenge.
		h.Set("WWW-Authenticate", `Cookie realm="`+x.app.opts.Prefix+`", cookie-name="`+cookie.Name(cookie.Session, x.secure)+`"`)
	}
}

func (x *exchange) refusalPage(code refusal.Code, reference string) pages.Refusal {
	page := pages.Refusal{Chrome: x.chrome(), Code: code, Reference: reference, Seen: x.seen(code)}
	switch code {
	case refusal.UnknownHost, refusal.InsecureHTTP:
	case refusal.NotFound, refusal.MethodNotAllowed, refusal.CrossSite, refusal.ForeignOrigin, refusal.TooLarge, refusal.ProviderUnknown:
		page.HomeURL = "/"
	case refusal.AppLoop:
		page.Username, page.RetryURL = x.app.gw.nameOf(x.who), x.retryURL()
	case refusal.AccessDenied, refusal.AccountBlocked, refusal.NoUsername, refusal.UsernameForeign, refusal.BadCharacters:
		if x.who != nil {
			page.Username = x.app.gw.nameOf(x.who)
		}
		page.OtherURL = x.app.opts.Prefix + "/login?" + url.Values{"as": {asOther}, "return": {x.retryURL()}}.Encode()
		if signedIn, _ := x.signedIn(); signedIn {
			page.LogoutURL = x.app.opts.Prefix + "/logout"
		} else {
			page.RetryURL = x.retryURL()
		}
	default:
		page.RetryURL = x.retryURL()
	}
	return page
}

// retryURL is where the person wanted to go.
func (x *exchange) retryURL() string {
	switch {
	case x.returnTo != "":
		return x.returnTo
	case x.r.Method != http.MethodGet || x.app.Owns(x.path):
		return "/"
	}
	return target.SafeReturn(x.returnTarget(), x.app.opts.Prefix)
}

// loginURL is where a script may send its page to sign in.
func (x *exchange) loginURL(code refusal.Code) string {
	if code != refusal.Unauthenticated {
		return ""
	}
	return x.app.opts.Prefix + "/login?" + url.Values{"return": {"/"}}.Encode()
}

// observe tells the observer of a fact, with what is known of the person.
func (x *exchange) observe(ev Event) {
	ev.App, ev.Provider, ev.Addr = x.app.name(), x.provider, x.peer.Addr
	if x.who != nil {
		ev.Provider, ev.Username = x.who.Provider, x.app.gw.nameOf(x.who)
	}
	x.app.gw.opts.Observe(ev)
}
