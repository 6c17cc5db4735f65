package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/binding"
	"github.com/caddy-sso/caddy-sso/gateway/cookie"
	"github.com/caddy-sso/caddy-sso/gateway/pages"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/session"
	"github.com/caddy-sso/caddy-sso/gateway/store"
	"github.com/caddy-sso/caddy-sso/gateway/vault"
	"github.com/caddy-sso/caddy-sso/gateway/wording"
)

// formTimeout bounds how long a form may take to come in.
const formTimeout = 15 * time.Second

// consumeAssertion is the AssertionConsumerService (SAML Profiles 4.1.4). It has no
// cross-origin check: the provider's page posts here, perhaps with the Origin "null".
// The browser cookie protects it instead.
func (x *request) consumeAssertion() error {
	// The server may have no deadline. This one also bounds what it reads of the body
	// after a refusal, and ends with the body. If it can't be set, the server's holds.
	_ = http.NewResponseController(x.w).SetReadDeadline(time.Now().Add(formTimeout))
	return x.callback(binding.Post{})
}

// callback takes a provider's answer. The order is the same for every protocol: limits,
// browser cookie, flow, validation, taking the flow, replay mark, account, login. Nothing
// is validated or used up before it is known that this browser began the flow.
func (x *request) callback(by binding.Binding) error {
	origin, refused := x.signInOrigin()
	if refused == nil {
		refused = x.enterAnswer()
	}
	if refused != nil {
		return x.refuse(refused)
	}
	defer x.app.gw.limits.Leave(x.r.Context(), x.peer.Addr)
	in, refused := by.Read(x.w, x.r)
	if refused != nil {
		return x.refuse(refused)
	}
	if !vault.IsRandomText(in.State) {
		registered, others := x.app.callbacks(origin)
		return x.noFlow(in.NoState(x.r, origin+x.path, registered, others))
	}
	if in.Repost != nil && !vault.IsRandomText(x.cookies.Browser) {
		// This browser may never have begun a login, so nothing is looked up yet. A page of
		// ours posts the answer again. Only fields of an answer are sent back.
		x.page(http.StatusOK, pages.Repost{Chrome: x.chrome(), Action: x.path, Fields: pages.FieldsOf(in.Repost)})
		return nil
	}
	f, err := x.flow(in.State)
	if errors.Is(err, store.ErrNotFound) {
		return x.noFlow(refusal.New(refusal.FlowUnknown, errors.New("the state is unknown: used, older than 15 minutes, or made elsewhere")))
	}
	if err != nil {
		return x.refuse(session.Fault(err))
	}
	p := x.app.policy.Provider(f.Provider)
	if p == nil {
		return x.refuse(refusal.New(refusal.ProviderUnknown, errors.New("the provider that the login was started at is no longer configured")))
	}
	return x.match(in, f, p, origin)
}

// match goes on if this browser began the flow, the answer came to the right address, and
// the provider's definition has not changed.
func (x *request) match(in *binding.Answer, f *session.Flow, p *NamedProvider, origin string) error {
	misdirected := x.misdirected(in, f, p, origin)
	if !x.began(f) {
		return x.otherBrowser(in, f, p, misdirected)
	}
	x.returnTo = f.Return
	_, x.client = x.app.askedBy(f.Return)
	if misdirected != nil {
		return x.fail(misdirected)
	}
	if f.Definition != p.Provider.Definition() {
		return x.redefined(f, p)
	}
	return x.complete(in, f, p, origin)
}

// misdirected refuses an answer that came by another protocol than that of the flow's
// provider, or to another address than the flow's callback.
func (x *request) misdirected(in *binding.Answer, f *session.Flow, p *NamedProvider, origin string) *refusal.Error {
	if p.Provider.Protocol() == in.Protocol() && f.Callback == origin+x.path {
		return nil
	}
	return in.Misdirected(p.Provider.Protocol(), origin+x.path, f.Callback)
}

// flow reads a flow of this app without taking it.
func (x *request) flow(state string) (*session.Flow, error) {
	f, err := x.app.gw.sessions.Flows().Peek(x.r.Context(), state)
	if err != nil {
		return nil, err
	}
	if f.App != x.app.name() {
		return nil, store.ErrNotFound
	}
	return f, nil
}

// noFlow answers if the flow does not exist. If the person is signed in (a double click,
// the back button), they are sent to the site.
func (x *request) noFlow(refused *refusal.Error) error {
	signedIn, err := x.signedIn()
	switch {
	case err != nil:
		return x.refuse(session.Fault(err))
	case signedIn:
		return x.redirectTo("/")
	}
	return x.refuse(refused)
}

// otherBrowser answers if the browser cookie is not the flow's: another browser began the
// flow, or another tab replaced the cookie. If a cookie was just set and none came back,
// the browser blocks cookies.
func (x *request) otherBrowser(in *binding.Answer, f *session.Flow, p *NamedProvider, misdirected *refusal.Error) error {
	signedIn, err := x.signedIn()
	keepsNone := !vault.IsRandomText(x.cookies.Browser) && (in.Reposted || f.Restarted)
	switch {
	case err != nil:
		return x.refuse(session.Fault(err))
	case signedIn:
		return x.redirectTo(f.Return)
	case keepsNone && misdirected != nil: // the fault is not the cookies
		return x.refuse(misdirected)
	case keepsNone:
		return x.refuse(refusal.New(refusal.CookiesBlocked, fmt.Errorf("the login began at the callback %s, the answer came to %s, and the browser brought no cookie, twice", wording.Quoted(f.Callback), wording.Quoted(x.here()+x.path))))
	case f.Restarted:
		return x.refuse(refusal.New(refusal.FlowOtherBrowser, errors.New("the browser brought another login's cookie, twice; the login was begun in another browser")))
	}
	return x.begin(p, session.Flow{Return: f.Return, Other: f.Other, Restarted: true})
}

// redefined begins a login anew if its provider's definition has changed since it began.
// It does so once, because nodes with different configurations may take turns. If another
// provider has the name now, it refuses.
func (x *request) redefined(f *session.Flow, p *NamedProvider) error {
	if issuer := p.Provider.Issuer(); f.Restarted || issuer != "" && f.Issuer != "" && issuer != f.Issuer {
		return x.refuse(refusal.New(refusal.FlowUnknown, errors.New("the login was begun under another definition of the provider: do all nodes have one configuration?")))
	}
	return x.begin(p, session.Flow{Return: f.Return, Other: f.Other, Asked: f.Asked, Restarted: true})
}

// complete has the answer verified, uses it up, and signs the person in.
func (x *request) complete(in *binding.Answer, f *session.Flow, p *NamedProvider, origin string) error {
	x.provider, x.answered = p.Name, true
	ctx, cancel := context.WithTimeout(x.r.Context(), providerTimeout)
	defer cancel()
	_, reads := x.app.gw.grouped.Load(p)
	ans, err := p.Provider.Complete(ctx, provider.CompleteRequest{
		Params: in.Params, Private: f.Private, CallbackURL: f.Callback, MetadataURL: x.app.metadataURL(origin),
		GroupsUnused: !reads,
	})
	if err != nil {
		return x.declined(f, refusal.From(err, refusal.ProviderUnavailable))
	}
	if ans.Subject == "" || p.Provider.Issuer() == "" {
		return x.refuse(errors.New("the provider's answer has no subject, or the provider no issuer"))
	}
	if err := x.useUp(ctx, in.State, p, ans); err != nil {
		return x.fail(err)
	}
	switch ses, err := x.replaces(f, p, ans); {
	case err == nil:
		return x.askOther(ses, f.Return, p)
	case !errors.Is(err, session.ErrNone):
		return x.refuse(session.Fault(err))
	}
	if f.Other {
		if err := x.endLogin(); err != nil {
			return x.refuse(session.Fault(err))
		}
	}
	return x.makeLogin(ctx, f, p, ans)
}

// replaces returns the session of somebody else that this login would replace, unless a
// page of ours has asked about it. ErrNone if there is none. Every session of this
// browser counts, even one that this app does not accept: another app of the host, or
// another node, may accept it.
func (x *request) replaces(f *session.Flow, p *NamedProvider, ans *provider.Answer) (session.Session, error) {
	if f.Asked {
		return session.Session{}, session.ErrNone
	}
	ses, err := x.storedSession()
	if err == nil && x.app.gw.samePerson(ses.Login(), p, ans) {
		return session.Session{}, session.ErrNone
	}
	return ses, err
}

// samePerson says whether p's answer is for the person of a login: the account is the
// same. If the definition that the login was made under is gone, as after a reload, the
// provider may use another subject for them. Then the user names are compared.
func (g *Gateway) samePerson(l *session.Login, p *NamedProvider, ans *provider.Answer) bool {
	switch {
	case l.Account == p.Account(ans):
		return true
	case !p.Made(l):
		return false
	}
	gone := !slices.ContainsFunc(g.providers, func(p *NamedProvider) bool { return p.Provider.Definition() == l.Definition })
	return gone && l.Identity.Username != "" && l.Identity.Username == ans.Identity.Username
}

// makeLogin makes the login of a person after a good answer, if this app lets them in.
func (x *request) makeLogin(ctx context.Context, f *session.Flow, p *NamedProvider, ans *provider.Answer) error {
	x.who = &session.Login{
		Account: p.Account(ans), Provider: p.Name, Definition: p.Provider.Definition(), Identity: ans.Identity,
	}
	if err := x.app.policy.RivalOf(p); err != nil {
		return x.refuse(refusal.New(refusal.UsernameForeign, err))
	}
	x.warnOfNoGroups(p, ans.Identity.NoGroups)
	granted, refused := x.app.admits(p, ans.Identity, x.client)
	if refused != nil {
		return x.refuse(refused)
	}
	sessions := x.app.gw.sessions
	source := session.Source{Provider: p.Name, Protocol: p.Provider.Protocol(), Issuer: p.Provider.Issuer(), Definition: p.Provider.Definition(), Forced: f.Forced}
	value, err := sessions.SignIn(ctx, source, ans, cmp.Or(p.Lifetime, x.app.gw.opts.Lifetime), x.host)
	if errors.Is(err, session.ErrNone) {
		return x.refuse(refusal.New(refusal.FlowUnknown, errors.New("the answer's session was over when it came")))
	}
	if err != nil {
		return x.refuse(session.Fault(err))
	}
	x.app.gw.limits.GiveBack(ctx, x.peer.Addr, 2) // its start, and its answer
	sessions.Rounds().Finish(ctx, f.Browser, f.Round)
	cookie.Set(x.w, cookie.Session, value, x.secure)
	if x.cookies.Refused != "" {
		cookie.Set(x.w, cookie.Refused, "", x.secure)
	}
	if all, auto := x.app.offered(f.Return); auto == nil && len(all) > 1 { // there is something to choose
		cookie.Set(x.w, cookie.Provider, p.Name, x.secure)
	}
	x.observe(Event{
		Type: EventLogin, Host: x.host, Roles: granted.Roles, Template: granted.Template,
		AppGroups: granted.Groups[:min(len(granted.Groups), 20)], Groups: len(ans.Identity.Groups),
	})
	return x.redirectTo(f.Return)
}

// endLogin ends the login that the browser had, because somebody else has signed in.
func (x *request) endLogin() error {
	ses, err := x.anySession()
	if errors.Is(err, session.ErrNone) {
		return nil
	}
	if err == nil {
		err = ses.End(x.r.Context())
	}
	if err == nil {
		x.forgetPages()
		x.observe(Event{Type: EventLogout})
	}
	return err
}

// declined handles an answer that signs nobody in. If several tabs begin at once, a
// provider may serve one and refuse the others. The person is signed in by then and goes
// on, unless the login was for somebody else.
func (x *request) declined(f *session.Flow, refused *refusal.Error) error {
	if refused.Code == refusal.ProviderRefused || refused.Code == refusal.ProviderUnavailable {
		signedIn, err := x.signedIn()
		if err != nil {
			return x.refuse(session.Fault(err))
		}
		if signedIn && !f.Other {
			return x.redirectTo(f.Return)
		}
	}
	if errors.Is(refused, provider.ErrRequestRefused) || errors.Is(refused, provider.ErrUnsupported) {
		return x.refuse(refused) // the person is not at fault: it does not count as failed
	}
	return x.fail(refused)
}

// useUp takes the flow and marks the answer as used. If the same answer arrives
// several times at once, on any node, exactly one succeeds.
func (x *request) useUp(ctx context.Context, state string, p *NamedProvider, ans *provider.Answer) error {
	sessions := x.app.gw.sessions
	if err := sessions.Flows().Take(ctx, state); errors.Is(err, store.ErrNotFound) {
		return refusal.New(refusal.AnswerReplayed, errors.New("the flow was used up meanwhile"))
	} else if err != nil {
		return session.Fault(err)
	}
	if ans.ReplayID == "" {
		return nil
	}
	err := sessions.Replays().Use(ctx, p.Provider.Protocol(), p.Provider.Issuer(), ans.ReplayID, ans.ReplayUntil)
	if errors.Is(err, session.ErrReplayed) {
		return refusal.New(refusal.AnswerReplayed, errors.New("the assertion was used before"))
	}
	if err != nil {
		return session.Fault(err)
	}
	return nil
}

// refuseLostPost answers a GET without query where a form is expected. A redirect on
// the way has turned the provider's POST into a GET, and the answer is gone (RFC
// 9110 §15.4.2 and §15.4.3 permit that).
func (x *request) refuseLostPost() error {
	origin, refused := x.signInOrigin()
	if refused != nil {
		return x.refuse(refused)
	}
	return x.noFlow(binding.Lost(origin+x.path, origin+x.path))
}
