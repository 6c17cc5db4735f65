package gateway

import (
	"errors"
	"net/http"
	"net/url"
	"slices"

	"github.com/caddy-sso/caddy-sso/gateway/pages"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/session"
)

// asOther is the value of the query's "as" that asks to sign in as somebody else.
const asOther = "other"

// login shows the chooser, or starts at the provider that the query names.
func (x *exchange) login() error {
	params, refused := strictQuery(x.r)
	if refused != nil {
		return x.refuse(refused)
	}
	returnTo := safeReturn(params.Get("return"), x.app.opts.Prefix)
	x.returnTo = returnTo
	start := session.Flow{Return: returnTo, Other: params.Get("as") == asOther}
	ses, err := x.session()
	switch {
	case err == nil && start.Other:
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
		return x.begin(p, start)
	}
	if p := x.app.autologin; p != nil {
		return x.begin(p, start)
	}
	x.page(http.StatusOK, pages.Chooser{Chrome: x.chrome(), Choices: x.choices(start)})
	return nil
}

// choices are the app's providers, first the one that this browser signed in at
// last. That is what a cookie says: an order and a mark are made of it, no more.
func (x *exchange) choices(start session.Flow) []pages.Choice {
	choices := make([]pages.Choice, 0, len(x.app.providers))
	for _, p := range x.app.providers {
		q := url.Values{"provider": {p.Name}, "return": {start.Return}}
		if start.Other {
			q.Set("as", asOther)
		}
		c := pages.Choice{Name: p.Name, Label: p.DisplayName, Last: p.Name == x.cookies.provider, URL: x.app.opts.Prefix + "/login?" + q.Encode()}
		if c.Last {
			choices = slices.Insert(choices, 0, c)
		} else {
			choices = append(choices, c)
		}
	}
	return choices
}
