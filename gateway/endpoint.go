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

// An Endpoint is one of the addresses at which an App answers itself. The table
// of them is what routes requests, what keeps credentials out of logs, and what
// the documentation says.
type Endpoint struct {
	// Path is absolute and raw. If it ends in a word in braces, it stands for all
	// names in place of that word.
	Path string
	// Methods are taken; all others are answered with 405.
	Methods []string
	// Secret says that a provider's answer comes here, in the URL or in a form.
	Secret bool
	// CrossSite says that pages of other sites post here. All other endpoints
	// refuse such a post.
	CrossSite bool

	serve func(*exchange) error
	// lost answers what a redirect leaves of a form's post: a GET without query.
	lost func(*exchange) error
	// dir is Path up to the word in braces. If deep, names may have slashes.
	dir  string
	deep bool
}

// at says whether the endpoint's path is path.
func (e *Endpoint) at(path string) bool {
	if e.dir == "" {
		return path == e.Path
	}
	name, ok := strings.CutPrefix(path, e.dir)
	return ok && name != "" && (e.deep || !strings.Contains(name, "/"))
}

// An endpointTable has the endpoints of one App.
type endpointTable struct {
	prefix         string
	below, outside []Endpoint // of prefix
}

// find returns the endpoint at a path, and whether the path is ours. Everything
// below the prefix is, also where there is no endpoint. Most requests are the
// app's: they cost one comparison with the prefix, and one with each endpoint
// outside of it.
func (t *endpointTable) find(path string) (e *Endpoint, own bool) {
	rows := t.outside
	if own = under(path, t.prefix); own {
		rows = t.below
	}
	for i := range rows {
		if rows[i].at(path) {
			return &rows[i], true
		}
	}
	return nil, own
}

func (t *endpointTable) add(rows ...Endpoint) {
	for _, e := range rows {
		if under(e.Path, t.prefix) {
			t.below = append(t.below, e)
		} else {
			t.outside = append(t.outside, e)
		}
	}
}

// newEndpointTable makes the table of the App, whose options are known to be
// good.
func (a *App) newEndpointTable() *endpointTable {
	prefix, read := a.opts.Prefix, []string{http.MethodGet, http.MethodHead}
	t := &endpointTable{prefix: prefix}
	t.add(
		Endpoint{Path: prefix + "/login", Methods: read, serve: (*exchange).login},
		Endpoint{Path: prefix + "/session", Methods: read, serve: (*exchange).showSession},
		Endpoint{Path: prefix + "/logout", Methods: []string{http.MethodGet, http.MethodHead, http.MethodPost}, serve: (*exchange).logout},
		Endpoint{Path: prefix + "/logged-out", Methods: read, serve: (*exchange).loggedOut},
		Endpoint{Path: prefix + "/jwks.json", Methods: read, serve: (*exchange).jwks},
		named(prefix+"/assets/", "{file...}", Endpoint{Methods: read}, (*exchange).asset),
	)
	t.add(a.callbackEndpoints()...)
	if len(a.speaking(SAML)) > 0 {
		t.add(
			Endpoint{
				Path: a.acsPath(), Methods: []string{http.MethodPost}, Secret: true, CrossSite: true,
				serve: (*exchange).consumeAssertion, lost: (*exchange).answerLost,
			},
			Endpoint{Path: prefix + "/saml/metadata", Methods: read, serve: (*exchange).onlyMetadata},
			named(prefix+"/saml/metadata/", "{provider...}", Endpoint{Methods: read}, (*exchange).metadata),
		)
	}
	return t
}

// callbackEndpoints are where OpenID Providers send people back to. Below our
// prefix they are for any name: a login may come back whose provider is no longer
// configured. Outside of it, everything that is no provider's name is the app's.
func (a *App) callbackEndpoints() []Endpoint {
	callback := Endpoint{Path: a.opts.CallbackPath, Methods: []string{http.MethodGet}, Secret: true, serve: (*exchange).consumeCode}
	rows := []Endpoint{callback}
	if under(callback.Path, a.opts.Prefix) {
		rows = append(rows, callback)
		rows[1].dir = callback.Path + "/"
		rows[1].Path = rows[1].dir + "{provider}"
		return rows
	}
	for _, p := range a.providers {
		callback.Path = a.opts.CallbackPath + "/" + p.Name
		rows = append(rows, callback)
	}
	return rows
}

// named makes an endpoint for all names below dir, slashes included. what stands
// for the name in the endpoint's path.
func named(dir, what string, e Endpoint, serve func(x *exchange, name string) error) Endpoint {
	e.Path, e.dir, e.deep = dir+what, dir, true
	e.serve = func(x *exchange) error { return serve(x, strings.TrimPrefix(x.path, dir)) }
	return e
}

// Endpoints returns the table of the App's endpoints.
func (a *App) Endpoints() []Endpoint {
	return slices.Concat(a.endpoints.below, a.endpoints.outside)
}

// Owns says whether the gateway itself answers at a request target (RFC 9112,
// 3.2), whatever the app's rules say.
func (a *App) Owns(target string) bool {
	_, own := a.endpoints.find(targetPath(target))
	return own
}

// Secret says whether a request may bring credentials that belong in no log: at
// an endpoint that takes them, and in any query or form that comes to an address
// of ours, even where there is no endpoint.
func (a *App) Secret(method, target string) bool {
	e, own := a.endpoints.find(targetPath(target))
	return own && (e != nil && e.Secret || strings.Contains(target, "?") || method == http.MethodPost)
}

// route answers at an address of ours. e is nil if there is no endpoint.
func (x *exchange) route(e *Endpoint) error {
	switch {
	case e == nil:
		return x.refuse(NewError(CodeNotFound, nil))
	case slices.Contains(e.Methods, x.r.Method):
	case e.lost != nil && isLostPost(x.r):
		return e.lost(x)
	default:
		x.w.Header().Set("Allow", strings.Join(e.Methods, ", "))
		return x.refuse(NewError(CodeMethodNotAllowed, nil))
	}
	if !e.CrossSite {
		// A method that changes nothing always passes.
		if err := x.app.csrf.Check(x.r); err != nil {
			return x.refuse(NewError(CodeCrossSite, err))
		}
	}
	return e.serve(x)
}

func (x *exchange) asset(name string) error {
	x.app.gw.opts.Pages.Asset(x.w, x.r, name)
	return nil
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
