package gateway

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/cookie"
	"github.com/caddy-sso/caddy-sso/gateway/oidcop"
	"github.com/caddy-sso/caddy-sso/gateway/pages"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/session"
	"github.com/caddy-sso/caddy-sso/gateway/target"
)

// refuse answers with the code's page or JSON problem, and tells the observer.
func (x *request) refuse(err error) error {
	if x.standing() != nil {
		return x.stand()
	}
	e := refusal.From(err, refusal.Internal)
	if e.Code == refusal.ProviderUnavailable { // the others have set it where they arose
		x.retryAfter(refusal.RetryAfter(e))
	}
	reference := strings.ToLower(rand.Text()[:10])
	if e.Code != refusal.Unauthenticated {
		x.observe(Event{Type: EventRefused, Code: e.Code, Reference: reference, Check: e.Check, Answered: x.answered, Err: e.Err})
	}
	refused := &session.Refused{Code: e.Code, Reference: reference, Return: x.retryURL(), At: time.Now()}
	if x.who != nil {
		refused.Username = x.app.gw.nameOf(x.who)
	}
	address := ""
	if x.answered && e.Code.Meaning().Status < http.StatusInternalServerError {
		refused.Provider = x.provider
		if value, err := x.app.gw.sessions.RefusedCookie(x.r.Context(), *refused, x.host); err == nil {
			cookie.Set(x.w, cookie.Refused, value, x.secure)
			address = x.app.opts.Prefix + "/refused"
		}
	}
	return x.showRefusal(refused, address, e.Err)
}

// showRefusal answers with a refusal. At address, if it is not "", the page can be loaded
// again. cause is for the caller of ServeHTTP.
func (x *request) showRefusal(refused *session.Refused, address string, cause error) error {
	meaning := refused.Code.Meaning()
	x.refusalHeaders(refused.Code, meaning.Status)
	if x.app.opts.ErrorsToCaller {
		e := &refusal.Error{Code: refused.Code, Err: cause, Reference: refused.Reference}
		return &handedOverError{e, refused, address, x.r.WithContext(x.app.withTaken(x.r.Context(), x.cookies))}
	}
	if pages.Wanted(x.r) {
		page := x.refusalPage(refused)
		page.Address = address
		x.page(meaning.Status, page)
		return nil
	}
	p := refused.Code.Problem(refused.Reference)
	if refused.Code == refusal.Unauthenticated && x.canSignIn() {
		p.Login = x.loginURL(nil, x.openPage())
	}
	return x.json(meaning.Status, "application/problem+json", p)
}

// showLastRefusal shows again why this browser's last sign-in was refused. If it was not,
// otherwise answers.
func (x *request) showLastRefusal(otherwise func() error) error {
	refused, err := x.app.gw.sessions.ReadRefused(x.r.Context(), x.cookies.Refused, x.host)
	if errors.Is(err, session.ErrNone) {
		return otherwise()
	}
	if err != nil {
		return x.refuse(session.Fault(err))
	}
	return x.showRefusal(refused, "", errors.New("the sign-in was refused before"))
}

// refused serves the address that a browser shows after its sign-in was refused.
func (x *request) refused() error {
	return x.showLastRefusal(func() error { return x.redirectTo("/") })
}

func (x *request) refusalHeaders(code refusal.Code, status int) {
	h := x.w.Header()
	h.Set("Cache-Control", "no-store")
	if status == http.StatusServiceUnavailable && h.Get("Retry-After") == "" {
		h.Set("Retry-After", "5")
	}
	if code == refusal.Unauthenticated {
		// RFC 9110 §15.5.2 asks for a challenge. The scheme: draft-broyer-http-cookie-auth.
		h.Set("WWW-Authenticate", `Cookie realm="`+x.front().opts.Prefix+`", cookie-name="`+cookie.Name(cookie.Session, x.secure)+`"`)
	}
}

func (x *request) refusalPage(refused *session.Refused) pages.Refusal {
	page := pages.Refusal{Chrome: x.chrome(), Code: refused.Code, Reference: refused.Reference}
	prefix := x.front().opts.Prefix
	switch refused.Code {
	case refusal.RedirectLoop, refusal.CookiesBlocked, refusal.AnswerLost, refusal.InsecureHTTP:
		page.Seen = pages.Seen{Here: x.here(), Site: x.issuer()}
	}
	switch refused.Code {
	case refusal.UnknownHost, refusal.InsecureHTTP:
	case refusal.Unauthenticated:
		if x.canSignIn() {
			page.SignInURL = x.loginURL(nil, x.openPage())
		}
	case refusal.NotFound, refusal.MethodNotAllowed, refusal.CrossSite, refusal.ForeignOrigin, refusal.TooLarge, refusal.ProviderUnknown:
		if !x.app.policy.NobodyEnters() { // else "/" leads to the session page
			page.HomeURL = "/"
		}
	case refusal.BadRequest:
		switch {
		case x.who != nil && strings.HasSuffix(x.path, oidcop.LogoutPath): // the client has ended its own session
			page.Username, page.LogoutURL = refused.Username, prefix+"/logout"
		case !target.Under(x.path, prefix+openIDPath): // else the client sends the same again
			page.RetryURL = refused.Return
		}
	case refusal.AppLoop:
		page.Username, page.RetryURL = refused.Username, refused.Return
	case refusal.AccessDenied, refusal.AccountBlocked, refusal.NoUsername, refusal.UsernameForeign, refusal.BadCharacters:
		page.Username = refused.Username
		_, page.Client = x.app.askedBy(refused.Return)
		if p := x.app.policy.Provider(refused.Provider); p != nil {
			page.Provider = p.DisplayName
		}
		page.OtherURL = x.otherURL(refused.Return)
		if signedIn, _ := x.signedIn(); signedIn {
			page.LogoutURL = prefix + "/logout"
		} else {
			page.RetryURL = refused.Return
		}
	default:
		page.RetryURL = refused.Return
	}
	return page
}

func (x *request) retryURL() string {
	switch {
	case x.returnTo != "":
		return x.returnTo
	case x.r.Method != http.MethodGet || x.app.Owns(x.path):
		return "/"
	}
	safe, _ := x.app.readReturn(x.returnTarget())
	return safe
}

// openPage returns the page that the browser shows: that of the request, if it is a page
// load. Otherwise the Referer names it, if that is of this origin: a script, a form or a
// frame on it made the request.
func (x *request) openPage() string {
	ref, err := url.Parse(x.r.Referer())
	origin, refused := x.origin()
	if err == nil && refused == nil && !pages.Opened(x.r) && strings.EqualFold(target.Origin(ref.Scheme, ref.Host), origin) {
		if safe, err := x.app.readReturn(ref.RequestURI()); err == nil {
			return safe
		}
	}
	return x.retryURL()
}

// observe tells the observer about an event, with what is known about the person. If the client
// disconnects, neither the store nor the provider is at fault.
func (x *request) observe(ev Event) {
	if x.r.Context().Err() != nil && errors.Is(ev.Err, context.Canceled) {
		return
	}
	ev.App, ev.Provider, ev.Addr = x.app.name(), x.provider, x.peer.Addr
	ev.Client = cmp.Or(ev.Client, x.client)
	if x.who != nil {
		ev.Provider, ev.Username = x.who.Provider, x.app.gw.nameOf(x.who)
	}
	x.app.gw.opts.Observe(ev)
}
