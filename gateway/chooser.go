package gateway

import (
	"errors"
	"net/http"
	"net/url"
	"slices"

	"github.com/caddy-sso/caddy-sso/gateway/pages"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/session"
	"github.com/caddy-sso/caddy-sso/gateway/target"
)

// asOther is the value of the query's "as" that asks to sign in as somebody else.
const asOther = "other"

// login shows the chooser, or starts at the provider that the query names. A
// form of ours posts here what a link may only ask for (see start).
func (x *exchange) login() error {
	params, refused := strictQuery(x.r)
	if refused != nil {
		return x.refuse(refused)
	}
	returnTo := target.SafeReturn(params.Get("return"), x.app.opts.Prefix)
	x.returnTo = returnTo
	flow := session.Flow{Return: returnTo, Other: params.Get("as") == asOther, Asked: x.r.Method == http.MethodPost || x.followsOwnLink()}
	ses, err := x.session()
	switch {
	case err == nil && flow.Other:
	case err == nil:
		if refused := x.needless(ses); refused != nil {
			return x.refuse(refused)
		}
		return x.redirectTo(returnTo)
	case !errors.Is(err, session.ErrNone):
		return x.refuse(session.Fault(err))
	}
	if name := params.Get("provider"); name != "" {
		p := x.app.provider(name)
		if p == nil {
			return x.refuse(refusal.New(refusal.ProviderUnknown, nil))
		}
		return x.start(p, flow)
	}
	if p := x.app.autologin; p != nil {
		return x.start(p, flow)
	}
	x.page(http.StatusOK, pages.Chooser{Chrome: x.chrome(), Choices: x.choices(flow)})
	return nil
}

// followsOwnLink says whether a person follows a link on a page of this very
// site. Only the browser can know that: if it is silent, nobody does.
func (x *exchange) followsOwnLink() bool {
	return navigation(x.r) && x.r.Header.Get("Sec-Fetch-Site") == "same-origin"
}

// start begins a login. If it would take the place of somebody's session, and a
// link of another site may be what asks for it, the person is asked first.
func (x *exchange) start(p *NamedProvider, f session.Flow) error {
	if !f.Other || f.Asked {
		return x.begin(p, f)
	}
	ses, err := x.storedSession()
	switch {
	case errors.Is(err, session.ErrNone):
		return x.begin(p, f)
	case err != nil:
		return x.refuse(refusal.From(err, refusal.StoreUnavailable))
	}
	return x.askOther(ses, p, f.Return)
}

// askOther asks a signed-in person whether they want to sign in at p as somebody
// else.
func (x *exchange) askOther(ses session.Session, p *NamedProvider, returnTo string) error {
	q := url.Values{"as": {asOther}, "provider": {p.Name}, "return": {returnTo}}
	x.page(http.StatusOK, pages.Other{
		Chrome: x.chrome(), Username: x.app.gw.nameOf(ses.Login()), Provider: p.DisplayName,
		Action: x.app.opts.Prefix + "/login?" + q.Encode(), StayURL: returnTo,
	})
	return nil
}

// choices are the app's providers, first the one that this browser signed in at
// last. That is what a cookie says: an order and a mark are made of it, no more.
func (x *exchange) choices(f session.Flow) []pages.Choice {
	choices := make([]pages.Choice, 0, len(x.app.providers))
	for _, p := range x.app.providers {
		q := url.Values{"provider": {p.Name}, "return": {f.Return}}
		if f.Other {
			q.Set("as", asOther)
		}
		c := pages.Choice{Name: p.Name, Label: p.DisplayName, Last: p.Name == x.cookies.Provider, URL: x.app.opts.Prefix + "/login?" + q.Encode()}
		if c.Last {
			choices = slices.Insert(choices, 0, c)
		} else {
			choices = append(choices, c)
		}
	}
	return choices
}
