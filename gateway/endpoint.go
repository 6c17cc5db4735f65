package gateway

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
)

// endpoint answers what lies under the gateway's own prefix.
func (x *exchange) endpoint() error {
	name := strings.TrimPrefix(x.path, x.app.opts.Prefix+"/")
	if x.app.isCallback(x.path) {
		name = "oidc/callback"
	}
	asset, isAsset := strings.CutPrefix(name, "assets/")
	saml, isSAML := strings.CutPrefix(name, "saml/")
	switch {
	case isAsset:
		x.app.gw.opts.Pages.Asset(x.w, x.r, asset)
		return nil
	case name == "login":
		return x.allow(x.login, http.MethodGet, http.MethodHead)
	case name == "oidc/callback" && x.app.isCallback(x.path):
		return x.allow(func() error { return x.callback(x.codeReply) }, http.MethodGet)
	case isSAML && len(x.app.speaking(SAML)) > 0:
		return x.samlEndpoint(saml)
	case name == "session":
		return x.allow(x.showSession, http.MethodGet, http.MethodHead)
	case name == "logout":
		return x.allow(x.logout, http.MethodGet, http.MethodHead, http.MethodPost)
	case name == "logged-out":
		return x.allow(x.loggedOut, http.MethodGet, http.MethodHead)
	case name == "jwks.json":
		return x.allow(x.jwks, http.MethodGet, http.MethodHead)
	}
	return x.refuse(NewError(CodeNotFound, nil))
}

func (x *exchange) allow(serve func() error, methods ...string) error {
	if !slices.Contains(methods, x.r.Method) {
		x.w.Header().Set("Allow", strings.Join(methods, ", "))
		return x.refuse(NewError(CodeMethodNotAllowed, nil))
	}
	return serve()
}

// asOther as the query's "as" asks to sign in as somebody else than who is
// signed in, here or at the provider.
const asOther = "other"

// login shows the chooser, or starts at the provider that the query names.
func (x *exchange) login() error {
	params, refused := strictQuery(x.r)
	if refused != nil {
		return x.refuse(refused)
	}
	returnTo := safeReturn(params.Get("return"), x.app.opts.Prefix)
	x.returnTo = returnTo
	start := Flow{Return: returnTo, Other: params.Get("as") == asOther}
	ses, err := x.session()
	switch {
	case err == nil && start.Other:
	case err == nil:
		if refused := x.needless(ses); refused != nil {
			return x.refuse(refused)
		}
		return x.redirectTo(returnTo)
	case !errors.Is(err, errNoSession):
		return x.refuse(storeError(err))
	}
	if name := params.Get("provider"); name != "" {
		p := x.app.provider(name)
		if p == nil {
			return x.refuse(NewError(CodeProviderUnknown, nil))
		}
		return x.begin(p, start)
	}
	if p := x.app.autologin; p != nil {
		return x.begin(p, start)
	}
	x.page(http.StatusOK, ChooserPage{Chrome: x.chrome(), Choices: x.choices(start)})
	return nil
}

// choices are the app's providers, first the one that this browser signed in at
// last. That is what a cookie says: an order and a mark are made of it, no more.
func (x *exchange) choices(start Flow) []Choice {
	choices := make([]Choice, 0, len(x.app.providers))
	for _, p := range x.app.providers {
		q := url.Values{"provider": {p.Name}, "return": {start.Return}}
		if start.Other {
			q.Set("as", asOther)
		}
		c := Choice{Name: p.Name, Label: p.DisplayName, Last: p.Name == x.cookies.provider, URL: x.app.opts.Prefix + "/login?" + q.Encode()}
		if c.Last {
			choices = slices.Insert(choices, 0, c)
		} else {
			choices = append(choices, c)
		}
	}
	return choices
}

// showSession tells people who they are to this app.
func (x *exchange) showSession() error {
	ses, err := x.session()
	if errors.Is(err, errNoSession) {
		return x.unauthenticated()
	}
	if err != nil {
		return x.refuse(storeError(err))
	}
	v := x.app.view(ses, x.issuer())
	if v.denied != nil {
		return x.refuse(v.denied)
	}
	p := v.principal
	if wantsHTML(x.r) {
		x.page(http.StatusOK, SessionPage{Chrome: x.chrome(), Principal: p, Since: ses.Login().Created, LogoutURL: x.app.opts.Prefix + "/logout"})
		return nil
	}
	return x.json(http.StatusOK, "application/json", map[string]any{
		"username": p.Username, "email": p.Email, "name": p.Name, "roles": nonNil(p.Roles), "groups": nonNil(p.Groups),
		"template": p.Template, "provider": p.Provider, "account": p.Account, "session": p.SessionID,
		"since": ses.Login().Created.UTC().Format(time.RFC3339), "expires": p.Expires.UTC().Format(time.RFC3339),
	})
}

// logout asks on GET, and ends the login on POST: here at once, then at the
// provider if it can. It ends a login too that this app takes no more.
func (x *exchange) logout() error {
	ses, err := x.anySession()
	if err != nil && !errors.Is(err, errNoSession) {
		return x.refuse(storeError(err))
	}
	signedIn := err == nil
	if x.r.Method != http.MethodPost {
		if !signedIn {
			return x.redirectTo(x.app.opts.Prefix + "/logged-out")
		}
		return x.askLogout(ses.Login())
	}
	if err := x.app.csrf.Check(x.r); err != nil {
		return x.refuse(NewError(CodeCrossSite, err))
	}
	if !signedIn {
		setCookie(x.w, sessionCookie, "", x.secure)
		return x.redirectTo(x.app.opts.Prefix + "/logged-out")
	}
	if err := ses.End(x.r.Context()); err != nil {
		return x.refuse(storeError(err))
	}
	x.endRounds()
	setCookie(x.w, sessionCookie, "", x.secure)
	x.observe(Event{Type: EventLogout})
	l := ses.Login()
	if away := x.providerLogout(l); away != "" {
		x.page(http.StatusOK, LeavePage{Chrome: x.chrome(), Provider: x.app.providerOf(l.Account).DisplayName, URL: away})
		return nil
	}
	return x.redirectTo(x.app.opts.Prefix + "/logged-out")
}

func (x *exchange) askLogout(l *login) error {
	page := LogoutPage{Chrome: x.chrome(), Username: l.Identity.Username, Action: x.app.opts.Prefix + "/logout"}
	if p := x.app.providerOf(l.Account); p != nil {
		page.Provider = p.DisplayName
	}
	page.AtProvider = x.providerLogout(l) != ""
	x.page(http.StatusOK, page)
	return nil
}

// logoutTimeout is how long a logout waits to learn where the provider's own
// session ends. Ours has ended already.
const logoutTimeout = 3 * time.Second

// providerLogout returns where the provider's own session ends, or "".
func (x *exchange) providerLogout(l *login) string {
	p := x.app.providerOf(l.Account)
	if p == nil {
		return ""
	}
	lp, ok := p.Provider.(LogoutProvider)
	origin, refused := x.origin()
	if !ok || refused != nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(x.r.Context(), logoutTimeout)
	defer cancel()
	away, err := lp.LogoutURL(ctx, LogoutRequest{Hint: l.LogoutHint, ReturnURL: origin + x.app.opts.Prefix + "/logged-out"})
	if err != nil {
		x.app.gw.log.Warn("the provider's logout is unavailable; its session stays", zap.String("provider", p.Name), zap.Error(err))
		return ""
	}
	return away
}

func (x *exchange) loggedOut() error {
	x.page(http.StatusOK, LoggedOutPage{Chrome: x.chrome(), SignInURL: "/"})
	return nil
}

// jwks publishes the keys that verify assertions.
func (x *exchange) jwks() error {
	doc, err := x.app.gw.opts.Signer.JWKS()
	if err != nil {
		return x.refuse(storeError(err))
	}
	h := x.w.Header()
	h.Set("Content-Type", "application/jwk-set+json")
	h.Set("Cache-Control", "public, max-age=300")
	h.Set("X-Content-Type-Options", "nosniff")
	if x.r.Method != http.MethodHead {
		_, _ = x.w.Write(doc) // a client that went away is nobody's fault
	}
	return nil
}

func (x *exchange) chrome() Chrome {
	return Chrome{Prefix: x.app.opts.Prefix, App: cmp.Or(x.host, x.app.name())}
}

func (x *exchange) page(status int, page any) { x.app.gw.opts.Pages.Page(x.w, x.r, status, page) }

func (x *exchange) json(status int, contentType string, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	h := x.w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	x.w.WriteHeader(status)
	if x.r.Method != http.MethodHead {
		_, _ = x.w.Write(append(body, '\n'))
	}
	return nil
}

// redirectTo sends the browser to a path of this origin.
func (x *exchange) redirectTo(path string) error {
	origin, refused := x.origin()
	if refused != nil {
		return x.refuse(refused)
	}
	x.redirect(origin + path)
	return nil
}

// redirect answers 303, so that the browser always follows by GET.
func (x *exchange) redirect(location string) {
	h := x.w.Header()
	h.Set("Location", location)
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	x.w.WriteHeader(http.StatusSeeOther)
}
