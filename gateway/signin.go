package gateway

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	// providerTimeout bounds what a provider does within one request.
	providerTimeout = 15 * time.Second
	// maxQuery bounds the query of an endpoint in bytes.
	maxQuery = 64 << 10
)

func hashBrowser(browser string) []byte {
	sum := sha256.Sum256([]byte(browser))
	return sum[:]
}

// begin starts a login at p, of which f says what is particular, and sends the
// browser there.
func (x *exchange) begin(p *NamedProvider, f Flow) error {
	x.provider = p.Name
	origin, refused := x.signInOrigin()
	if refused == nil {
		refused = x.attempt(StartAttempt)
	}
	if refused != nil {
		return x.refuse(refused)
	}
	browser := x.cookies.browser
	if !isRandomText(browser) {
		browser = randomText()
	}
	f.App, f.Provider, f.Browser = x.app.name(), p.Name, hashBrowser(browser)
	f.Return, f.Callback = safeReturn(f.Return, x.app.opts.Prefix), origin+x.app.callbackPath(p)
	if browser == x.cookies.browser {
		if f.Round, refused = x.round(f.Browser); refused != nil {
			return x.refuse(refused)
		}
	}
	state := randomText()
	ctx, cancel := context.WithTimeout(x.r.Context(), providerTimeout)
	defer cancel()
	begun, err := p.Provider.Begin(ctx, BeginRequest{State: state, CallbackURL: f.Callback, MetadataURL: x.app.metadataURL(origin), OtherPerson: f.Other})
	if err != nil {
		return x.refuse(providerError(err))
	}
	f.Private = begun.Private
	if err := x.app.gw.sessions.Flows().Start(ctx, state, &f); err != nil {
		return x.refuse(storeError(err))
	}
	if browser != x.cookies.browser {
		setCookie(x.w, browserCookie, browser, x.secure)
	}
	x.sendTo(p, begun)
	return nil
}

// sendTo sends the browser to the provider, with a login's request.
func (x *exchange) sendTo(p *NamedProvider, begun *Begun) {
	if begun.Form == nil {
		x.redirect(begun.Location)
		return
	}
	x.page(http.StatusOK, FormPage{Chrome: x.chrome(), Provider: p.DisplayName, Action: begun.Location, Fields: fieldsOf(begun.Form)})
}

// A reply is a provider's answer as the browser brought it. Nothing of it was
// judged yet.
type reply struct {
	protocol Protocol
	state    string
	params   url.Values
	// reposted says that our own page sent it, after it had come without
	// cookies (see RepostPage).
	reposted bool
}

// attempts are what the reply has taken of the limit on answers.
func (in *reply) attempts() []Attempt {
	if in.reposted {
		return []Attempt{AnswerAttempt, RepostAttempt}
	}
	return []Attempt{AnswerAttempt}
}

// callback takes a provider's answer, which read gets from the request. The
// order is that of every protocol: limits, browser cookie, flow, answer judged, flow
// taken, replay mark, account, login. Before the flow is known to be this
// browser's nothing is judged, and nothing is used up.
func (x *exchange) callback(read func() (*reply, *Error)) error {
	origin, refused := x.signInOrigin()
	if refused == nil {
		refused = x.attempt(AnswerAttempt)
	}
	if refused != nil {
		return x.refuse(refused)
	}
	in, refused := read()
	if refused != nil {
		return x.refuse(refused)
	}
	if in.protocol == OIDC && isLostPost(x.r) {
		return x.lost(in.attempts(), lostAnswer(origin+x.path))
	}
	if !isRandomText(in.state) {
		return x.lost(in.attempts(), NewError(CodeFlowUnknown, errors.New("the answer has no state, or one that was never ours")))
	}
	if in.protocol == SAML && !in.reposted && !isRandomText(x.cookies.browser) {
		return x.repost(in)
	}
	f, err := x.flow(in.state)
	if errors.Is(err, ErrNotFound) {
		return x.lost(in.attempts(), NewError(CodeFlowUnknown, errors.New("the state is unknown: used, older than 15 minutes, or made elsewhere")))
	}
	if err != nil {
		return x.refuse(storeError(err))
	}
	p := x.app.provider(f.Provider)
	if p == nil {
		return x.refuse(NewError(CodeProviderUnknown, errors.New("the provider that the login was started at is no longer configured")))
	}
	astray := x.astray(in, f, p, origin)
	if !isRandomText(x.cookies.browser) || subtle.ConstantTimeCompare(hashBrowser(x.cookies.browser), f.Browser) != 1 {
		return x.otherBrowser(in, f, p, astray)
	}
	x.returnTo = f.Return
	if astray != nil {
		return x.refuse(astray)
	}
	return x.complete(in, f, p, origin)
}

// consumeCode is where OpenID Providers send people back to.
func (x *exchange) consumeCode() error { return x.callback(x.codeReply) }

// codeReply reads an OpenID Provider's answer (OIDC Core §3.1.2.5).
func (x *exchange) codeReply() (*reply, *Error) {
	params, refused := strictQuery(x.r)
	if refused != nil {
		return nil, refused
	}
	in := &reply{protocol: OIDC, params: params}
	if state := params["state"]; len(state) == 1 {
		in.state = state[0]
	}
	return in, nil
}

// astray refuses an answer that came elsewhere than where the flow's provider
// was told to send it: by another protocol, to the callback of another, or to
// another name of this site.
func (x *exchange) astray(in *reply, f *Flow, p *NamedProvider, origin string) *Error {
	switch {
	case p.Provider.Protocol() == in.protocol && f.Callback == origin+x.path:
		return nil
	case in.protocol == OIDC:
		return NewError(CodeOIDCIssuerMismatch, errors.New("the answer came to the callback of another provider"))
	case p.Provider.Protocol() != SAML:
		return NewError(CodeSAMLIssuerMismatch, errors.New("the login was started at a provider that speaks no SAML"))
	}
	return NewError(CodeSAMLDestination, fmt.Errorf("the answer came to %s and was expected at %s", origin+x.path, f.Callback))
}

// flow reads a flow of this app without taking it.
func (x *exchange) flow(state string) (*Flow, error) {
	f, err := x.app.gw.sessions.Flows().Peek(x.r.Context(), state)
	if err != nil {
		return nil, err
	}
	if f.App != x.app.name() {
		return nil, ErrNotFound
	}
	return f, nil
}

// lost answers for a flow that is not there. Who is signed in by now (a double
// click, the back button) is simply let go on.
func (x *exchange) lost(taken []Attempt, refused *Error) error {
	signedIn, err := x.signedIn()
	switch {
	case err != nil:
		return x.refuse(storeError(err))
	case signedIn:
		x.giveBack(taken...)
		return x.redirectTo("/")
	}
	return x.refuse(refused)
}

// otherBrowser answers for a flow that this browser did not start, or started
// in another of several tabs that were opened at once and whose cookie lost.
// A browser that has no cookie although one was set a moment ago keeps none.
func (x *exchange) otherBrowser(in *reply, f *Flow, p *NamedProvider, astray *Error) error {
	signedIn, err := x.signedIn()
	keepsNone := !isRandomText(x.cookies.browser) && (in.reposted || f.Restarted)
	switch {
	case err != nil:
		return x.refuse(storeError(err))
	case signedIn:
		x.giveBack(in.attempts()...)
		return x.redirectTo(f.Return)
	case keepsNone && astray != nil: // cookies are not what is wrong
		return x.refuse(astray)
	case keepsNone:
		return x.refuse(NewError(CodeCookiesBlocked, nil))
	case f.Restarted:
		return x.refuse(NewError(CodeFlowOtherBrowser, nil))
	}
	x.giveBack(in.attempts()...) // and a start is taken instead
	return x.begin(p, Flow{Return: f.Return, Other: f.Other, Restarted: true})
}

// complete has the answer judged, and signs the person in.
func (x *exchange) complete(in *reply, f *Flow, p *NamedProvider, origin string) error {
	x.provider = p.Name
	ctx, cancel := context.WithTimeout(x.r.Context(), providerTimeout)
	defer cancel()
	ans, err := p.Provider.Complete(ctx, CompleteRequest{
		Params: in.params, Private: f.Private, CallbackURL: f.Callback, MetadataURL: x.app.metadataURL(origin),
	})
	if err != nil {
		return x.declined(in, f, providerError(err))
	}
	if ans.Subject == "" || p.Provider.Issuer() == "" {
		return x.refuse(errors.New("the provider's answer has no subject, or the provider no issuer"))
	}
	if err := x.useUp(ctx, in.state, p, ans); err != nil {
		return x.refuse(err)
	}
	if f.Other {
		if err := x.leave(); err != nil {
			return x.refuse(storeError(err))
		}
	}
	x.who = &login{Provider: p.Name, Identity: ans.Identity}
	if _, refused := x.app.admit(&ans.Identity); refused != nil {
		return x.refuse(refused)
	}
	sessions := x.app.gw.sessions
	cookie, err := sessions.newLogin(ctx, p.Name, p.Provider.Protocol(), p.Provider.Issuer(), ans, x.app.gw.lifetime(p), x.host)
	if errors.Is(err, errNoSession) {
		return x.refuse(NewError(CodeFlowUnknown, errors.New("the answer's session was over when it came")))
	}
	if err != nil {
		return x.refuse(storeError(err))
	}
	x.giveBack(append(in.attempts(), StartAttempt)...)
	sessions.Rounds().Finish(ctx, f.Browser, f.Round)
	setCookie(x.w, sessionCookie, cookie, x.secure)
	if x.app.autologin == nil && len(x.app.providers) > 1 { // there is something to choose
		keepCookie(x.w, providerCookie, p.Name, providerCookieAge, x.secure)
	}
	x.observe(Event{Type: EventLogin})
	return x.redirectTo(f.Return)
}

// leave ends the login that the browser had: somebody else has signed in.
func (x *exchange) leave() error {
	ses, err := x.anySession()
	if errors.Is(err, errNoSession) {
		return nil
	}
	if err == nil {
		err = ses.End(x.r.Context())
	}
	if err == nil {
		x.observe(Event{Type: EventLogout})
	}
	return err
}

// declined answers when the provider's answer signs nobody in. Of several tabs
// that begin at once a provider may serve one and turn the others away: who is
// signed in by now goes on, unless it was to be somebody else.
func (x *exchange) declined(in *reply, f *Flow, refused *Error) error {
	switch refused.Code {
	case CodeProviderUnavailable:
		// A code may have been at the provider, which must not be asked about
		// made-up ones without end. An assertion stays here.
		if in.protocol == SAML {
			x.giveBack(in.attempts()...)
		}
	case CodeProviderRefused:
		signedIn, err := x.signedIn()
		if err != nil {
			return x.refuse(storeError(err))
		}
		if signedIn && !f.Other {
			x.giveBack(in.attempts()...)
			return x.redirectTo(f.Return)
		}
	}
	return x.refuse(refused)
}

// useUp takes the flow and marks the answer as used. If the same answer arrives
// several times at once, on any node, exactly one succeeds.
func (x *exchange) useUp(ctx context.Context, state string, p *NamedProvider, ans *Answer) error {
	sessions := x.app.gw.sessions
	if err := sessions.Flows().Take(ctx, state); errors.Is(err, ErrNotFound) {
		return NewError(CodeAnswerReplayed, errors.New("the flow was used up meanwhile"))
	} else if err != nil {
		return storeError(err)
	}
	if ans.ReplayID == "" {
		return nil
	}
	err := sessions.Replays().Use(ctx, p.Provider.Protocol(), p.Provider.Issuer(), ans.ReplayID, ans.ReplayUntil)
	if errors.Is(err, ErrReplayed) {
		return NewError(CodeAnswerReplayed, errors.New("the assertion was used before"))
	}
	if err != nil {
		return storeError(err)
	}
	return nil
}

// strictQuery returns the parameters of the query, refusing what is malformed.
func strictQuery(r *http.Request) (url.Values, *Error) {
	if len(r.URL.RawQuery) > maxQuery {
		return nil, NewError(CodeTooLarge, nil)
	}
	params, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, NewError(CodeBadRequest, errors.New("the query is malformed"))
	}
	return params, nil
}

// unauthenticated answers a request without a session: a navigation is sent to
// sign in, anything else is told so.
func (x *exchange) unauthenticated() error {
	if !navigation(x.r) {
		return x.refuse(NewError(CodeUnauthenticated, nil))
	}
	returnTo := safeReturn(x.returnTarget(), x.app.opts.Prefix)
	if p := x.app.autologin; p != nil {
		return x.begin(p, Flow{Return: returnTo})
	}
	return x.redirectTo(x.app.opts.Prefix + "/login?return=" + url.QueryEscape(returnTo))
}

// returnTarget is the original target in origin form.
func (x *exchange) returnTarget() string {
	if strings.HasPrefix(x.peer.Target, "/") {
		return x.peer.Target
	}
	if x.r.URL.RawQuery == "" {
		return x.path
	}
	return x.path + "?" + x.r.URL.RawQuery
}

// navigation says whether a person is opening a page, so that a redirect to
// sign in is of use. Browsers say so (Fetch Metadata); of others, who takes
// HTML is taken for one.
func navigation(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead || r.Header.Get("Upgrade") != "" {
		return false
	}
	if strings.Contains(r.Header.Get("Sec-Purpose"), "prefetch") || r.Header.Get("Purpose") == "prefetch" {
		return false
	}
	if mode := r.Header.Get("Sec-Fetch-Mode"); mode != "" {
		dest := r.Header.Get("Sec-Fetch-Dest")
		return mode == "navigate" && (dest == "document" || dest == "")
	}
	return wantsHTML(r) && !strings.EqualFold(r.Header.Get("X-Requested-With"), "XMLHttpRequest")
}

// wantsHTML says whether an answer is better a page than JSON.
func wantsHTML(r *http.Request) bool {
	return strings.Contains(strings.ToLower(r.Header.Get("Accept")), "text/html")
}

// providerError gives an untyped error of a provider its code: it could not
// say what was wrong, so it is unavailable, never the person's fault.
func providerError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return NewError(CodeProviderUnavailable, err)
}
