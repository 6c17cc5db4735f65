package gateway

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// A flow is one login under way, stored under its state.
type flow struct {
	App      string `json:"app"`
	Provider string `json:"p"`
	// Binding is the hash of the cookie of the browser that started it.
	Binding []byte `json:"b"`
	// Return is where the person wanted to go: a path of this origin.
	Return   string `json:"r"`
	Callback string `json:"cb"`
	Private  []byte `json:"x"`
	// Restarted says that the login began anew because an answer came without
	// its cookie. It happens once.
	Restarted bool `json:"n,omitempty"`
}

const (
	// flowTTL is how long a person may take at the provider.
	flowTTL = 15 * time.Minute
	// providerTimeout bounds what a provider does within one request.
	providerTimeout = 15 * time.Second
	// maxQuery bounds the query of an endpoint in bytes.
	maxQuery = 64 << 10
)

func hashBinding(binding string) []byte {
	sum := sha256.Sum256([]byte(binding))
	return sum[:]
}

// begin starts a login at p and sends the browser there.
func (x *exchange) begin(p *NamedProvider, returnTo string, restarted bool) error {
	origin, refused := x.signInOrigin()
	if refused == nil {
		refused = x.attempt(startAttempt)
	}
	if refused != nil {
		return x.refuse(refused)
	}
	binding := x.cookies.binding
	if !validBinding(binding) {
		binding = randomText()
	}
	f := flow{
		App: x.app.name(), Provider: p.Name, Binding: hashBinding(binding), Restarted: restarted,
		Return: safeReturn(returnTo, x.app.opts.Prefix), Callback: origin + x.app.callbackPath(p),
	}
	state := randomText()
	ctx, cancel := context.WithTimeout(x.r.Context(), providerTimeout)
	defer cancel()
	begun, err := p.Provider.Begin(ctx, BeginRequest{State: state, CallbackURL: f.Callback})
	if err != nil {
		return x.refuse(providerError(err))
	}
	f.Private = begun.Private
	value, err := json.Marshal(f)
	if err != nil {
		return x.refuse(err)
	}
	if err := x.app.gw.sessions.vault.PutNew(ctx, kindFlow, state, value, flowTTL); err != nil {
		return x.refuse(storeError(err))
	}
	if binding != x.cookies.binding {
		setCookie(x.w, bindingCookie, binding, x.secure)
	}
	x.redirect(begun.Location)
	return nil
}

// callback takes a provider's answer. The order is that of every protocol:
// limits, binding, flow, answer judged, flow taken, replay mark, account,
// login. Before the flow is known to be this browser's nothing is judged, and
// nothing is used up.
func (x *exchange) callback() error {
	origin, refused := x.signInOrigin()
	if refused == nil {
		refused = x.attempt(answerAttempt)
	}
	if refused != nil {
		return x.refuse(refused)
	}
	params, refused := strictQuery(x.r)
	if refused != nil {
		return x.refuse(refused)
	}
	state := params["state"]
	if len(state) != 1 || !validBinding(state[0]) {
		return x.lost(NewError(CodeFlowUnknown, errors.New("the answer has no state, or one that was never ours")))
	}
	f, err := x.flow(state[0])
	if errors.Is(err, ErrNotFound) {
		return x.lost(NewError(CodeFlowUnknown, errors.New("the state is unknown: used, older than 15 minutes, or made elsewhere")))
	}
	if err != nil {
		return x.refuse(storeError(err))
	}
	p := x.app.provider(f.Provider)
	if p == nil {
		return x.refuse(NewError(CodeProviderUnknown, errors.New("the provider that the login was started at is no longer configured")))
	}
	if !validBinding(x.cookies.binding) || subtle.ConstantTimeCompare(hashBinding(x.cookies.binding), f.Binding) != 1 {
		return x.otherBrowser(f, p)
	}
	if f.Callback != origin+x.path {
		return x.refuse(NewError(CodeOIDCIssuerMismatch, errors.New("the answer came to the callback of another provider")))
	}
	return x.complete(p, f, state[0], params)
}

// flow reads a flow of this app without taking it.
func (x *exchange) flow(state string) (*flow, error) {
	rec, err := x.app.gw.sessions.vault.Get(x.r.Context(), kindFlow, state)
	if err != nil {
		return nil, err
	}
	var f flow
	if err := json.Unmarshal(rec.Value, &f); err != nil {
		return nil, err
	}
	if f.App != x.app.name() {
		return nil, ErrNotFound
	}
	return &f, nil
}

// lost answers for a flow that is not there. Who is signed in by now (a double
// click, the back button) is simply let go on.
func (x *exchange) lost(refused *Error) error {
	signedIn, err := x.signedIn()
	switch {
	case err != nil:
		return x.refuse(storeError(err))
	case signedIn:
		x.giveBack(answerAttempt)
		return x.redirectTo("/")
	}
	return x.refuse(refused)
}

// otherBrowser answers for a flow that this browser did not start, or started
// in another of several tabs that were opened at once and whose cookie lost.
func (x *exchange) otherBrowser(f *flow, p *NamedProvider) error {
	signedIn, err := x.signedIn()
	switch {
	case err != nil:
		return x.refuse(storeError(err))
	case signedIn:
		x.giveBack(answerAttempt)
		return x.redirectTo(f.Return)
	case f.Restarted:
		return x.refuse(NewError(CodeFlowOtherBrowser, nil))
	}
	x.giveBack(answerAttempt) // and a start is taken instead
	return x.begin(p, f.Return, true)
}

// complete has the answer judged, and signs the person in.
func (x *exchange) complete(p *NamedProvider, f *flow, state string, params url.Values) error {
	ctx, cancel := context.WithTimeout(x.r.Context(), providerTimeout)
	defer cancel()
	ans, err := p.Provider.Complete(ctx, CompleteRequest{Params: params, Private: f.Private, CallbackURL: f.Callback})
	if err != nil {
		refused := providerError(err)
		if refused.Code == CodeProviderUnavailable {
			x.giveBack(answerAttempt) // nothing was judged
		}
		return x.refuse(refused)
	}
	if ans.Subject == "" {
		return x.refuse(errors.New("the provider's answer has no subject"))
	}
	if err := x.useUp(ctx, state, p, ans); err != nil {
		return x.refuse(err)
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
	x.giveBack(answerAttempt, startAttempt)
	setCookie(x.w, sessionCookie, cookie, x.secure)
	x.observe(Event{Type: EventLogin})
	return x.redirectTo(f.Return)
}

// useUp takes the flow and marks the answer as used. Of equal answers that
// come at once, on any nodes, one gets through.
func (x *exchange) useUp(ctx context.Context, state string, p *NamedProvider, ans *Answer) error {
	vault := x.app.gw.sessions.vault
	if _, err := vault.take(ctx, kindFlow, state); errors.Is(err, ErrNotFound) {
		return NewError(CodeAnswerReplayed, errors.New("the flow was used up meanwhile"))
	} else if err != nil {
		return storeError(err)
	}
	if ans.ReplayID == "" {
		return nil
	}
	name := providerEpoch(p.Provider.Protocol(), p.Provider.Issuer()) + " " + ans.ReplayID
	err := vault.PutNew(ctx, kindReplay, name, nil, max(time.Until(ans.ReplayUntil), flowTTL))
	if errors.Is(err, ErrExists) {
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
		return x.begin(p, returnTo, false)
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
