package gateway

import (
	"errors"
	"net/http"
	"net/url"
	"slices"

	"github.com/caddy-sso/caddy-sso/gateway/form"
	"github.com/caddy-sso/caddy-sso/gateway/pages"
	"github.com/caddy-sso/caddy-sso/gateway/session"
)

// asOther is the value of the query's "as" that asks to sign in as somebody else.
const asOther = "other"

// login shows the chooser, or begins a login at the provider that the query names. A POST
// comes from a form of ours: it begins at once what a GET asks about first (see start).
func (x *request) login() error {
	params, refused := form.Query(x.r)
	if refused != nil {
		return x.refuse(refused)
	}
	x.returnTo = x.safeReturn(params.Get("return"))
	flow := session.Flow{Return: x.returnTo, Other: params.Get("as") == asOther, Asked: x.r.Method == http.MethodPost || x.followsOwnLink()}
	ses, err := x.session()
	switch {
	case err == nil && flow.Other:
	case err == nil:
		if refused := x.needless(ses); refused != nil {
			return x.refuse(refused)
		}
		return x.redirectTo(x.returnTo)
	case !errors.Is(err, session.ErrNone):
		return x.refuse(session.Fault(err))
	}
	_, at := x.app.offered(x.returnTo)
	if name := params.Get("provider"); name != "" {
		if at = x.app.policy.Provider(name); at == nil {
			return x.refuse(x.app.policy.NoProvider(name))
		}
	}
	return x.start(at, flow)
}

// otherURL returns the path where a person signs in as somebody else.
func (x *request) otherURL(returnTo string) string {
	return x.front().opts.Prefix + "/login?" + url.Values{"as": {asOther}, "return": {returnTo}}.Encode()
}

// followsOwnLink says whether a person follows a link on a page of this very site. Only
// the browser knows: if it does not say so, the answer is no.
func (x *request) followsOwnLink() bool {
	return pages.Opened(x.r) && x.r.Header.Get("Sec-Fetch-Site") == "same-origin"
}

// start begins a login at p, or shows the chooser if p is nil. If the login would replace
// somebody's session, and a link of another site may have led here, the person is asked
// first.
func (x *request) start(p *NamedProvider, f session.Flow) error {
	at := []*NamedProvider{p}
	if p == nil {
		at, _ = x.app.offered(f.Return)
	}
	if f.Other && (p == nil || !f.Asked) {
		ses, err := x.storedSession()
		switch {
		case err == nil:
			return x.askOther(ses, f.Return, at...)
		case !errors.Is(err, session.ErrNone):
			return x.refuse(session.Fault(err))
		}
	}
	if p != nil {
		return x.begin(p, f)
	}
	x.page(http.StatusOK, pages.Chooser{Chrome: x.chrome(), Choices: x.choices(f, at...)})
	return nil
}

// askOther asks a signed-in person whether they want to sign in as somebody else, at one of some
// providers.
func (x *request) askOther(ses session.Session, returnTo string, at ...*NamedProvider) error {
	x.page(http.StatusOK, pages.Other{
		Chrome: x.chrome(), Username: x.app.gw.nameOf(ses.Login()),
		Choices: x.choices(session.Flow{Return: returnTo, Other: true}, at...), StayURL: returnTo,
	})
	return nil
}

// choices returns providers to choose from. The one where this browser signed in last
// comes first and is marked. A cookie says which; it decides nothing else.
func (x *request) choices(f session.Flow, at ...*NamedProvider) []pages.Choice {
	choices := make([]pages.Choice, 0, len(at))
	for _, p := range at {
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
