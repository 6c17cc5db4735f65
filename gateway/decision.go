package gateway

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway/forward"
	"github.com/caddy-sso/caddy-sso/gateway/pages"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/session"
	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

// A decision is what one app decides about a login: why the person may not enter, or
// the headers that tell the app who they are. It is made once per login, app and
// node, and shared by all requests.
type decision struct {
	app     *App
	issuer  string
	denied  *refusal.Error
	headers *forward.Headers // nil if denied
	next    *decision        // of the same login; set before others see this one
}

// maxDecisions bounds the decisions about one login. A wildcard site makes one for each
// port in the Host header, and the client chooses that.
const maxDecisions = 16

// decision returns what a decides about a login. The decisions about a login are a list
// in the session's memo.
func (a *App) decision(ses session.Session, issuer string) *decision {
	for {
		memo, n := ses.Memo(), 1
		first, _ := memo.(*decision)
		for v := first; v != nil; v = v.next {
			if v.app == a && v.issuer == issuer {
				return v
			}
			n++
		}
		v := a.decide(ses.Login(), ses.ID(), issuer)
		if n <= maxDecisions {
			v.next = first // otherwise the list begins anew
		}
		if ses.Remember(memo, v) {
			return v
		}
	}
}

// Size returns roughly how many bytes the list takes from here on, with its assertions.
func (v *decision) Size() int {
	if v == nil {
		return 0
	}
	size := v.next.Size()
	if v.headers != nil {
		size += v.headers.Size()
	}
	return size
}

// decide makes a decision. id names the login.
func (a *App) decide(l *session.Login, id, issuer string) *decision {
	v := &decision{app: a, issuer: issuer}
	if v.denied = a.ownAudience(a.audience(issuer)); v.denied != nil {
		return v
	}
	p := a.policy.ProviderOf(l)
	if p == nil {
		v.denied = a.policy.NoProvider(l.Provider)
		return v
	}
	person, granted, refused := a.policy.Admit(p, l.Identity)
	if refused != nil {
		v.denied = refused
		return v
	}
	audience := a.audience(issuer)
	v.headers = forward.New(a.gw.signer, forward.Statement{
		Principal: forward.Principal{
			Username: person.Username, Email: person.Email, Name: person.Name(), FirstName: person.FirstName, LastName: person.LastName,
			Provider: p.Name, Account: l.Account.ID(), Roles: granted.Roles, Groups: granted.Groups, Template: granted.Template,
			SessionID: vault.Handle("session id", id, audience), Expires: a.end(l),
		},
		Issuer: issuer, Audience: audience, EmailVerified: person.EmailVerified,
		ACR: l.Identity.ACR, AMR: l.Identity.AMR, AuthTime: cmp.Or(l.Identity.AuthTime, l.Created),
	}, a.opts.HeaderFormat)
	return v
}

// sessionPath is the path of the session page.
func (a *App) sessionPath() string { return a.opts.Prefix + "/session" }

// person returns who a session is of, even if only clients admit them: then without what the
// app's rules would give.
func (x *request) person(ses session.Session) (*forward.Principal, *refusal.Error) {
	v, l := x.app.decision(ses, x.issuer()), ses.Login()
	p := x.app.policy.ProviderOf(l)
	switch {
	case v.denied == nil:
		return v.headers.Principal(), nil
	case x.app.clients == nil || p == nil:
		return nil, v.denied
	}
	id, refused := x.app.clients.Admit(p, l.Identity, "", v.denied)
	if refused != nil {
		return nil, refused
	}
	return &forward.Principal{
		Username: id.Username, Email: id.Email, Name: id.Name(), Provider: p.Name, Account: l.Account.ID(),
		SessionID: vault.Handle("session id", ses.ID(), x.app.audience(x.issuer())), Expires: x.app.end(l),
	}, nil
}

func (x *request) showSession() error {
	ses, err := x.session()
	if errors.Is(err, session.ErrNone) {
		return x.showLastRefusal(x.unauthenticated)
	}
	if err != nil {
		return x.refuse(session.Fault(err))
	}
	p, refused := x.person(ses)
	if refused != nil {
		return x.refuse(refused)
	}
	if pages.Wanted(x.r) {
		x.page(http.StatusOK, pages.Session{
			Chrome: x.chrome(), Username: p.Username, Email: p.Email, Name: p.Name, Provider: x.app.policy.Provider(p.Provider).DisplayName, NoApp: x.app.policy.NobodyEnters(),
			Roles: p.Roles, Groups: p.Groups, Template: p.Template,
			Since: ses.Login().Created, Expires: p.Expires, LogoutURL: x.app.opts.Prefix + "/logout",
		})
		return nil
	}
	return x.json(http.StatusOK, "application/json", map[string]any{
		"username": p.Username, "email": p.Email, "name": p.Name, "roles": p.Roles, "groups": p.Groups,
		"template": p.Template, "provider": p.Provider, "account": p.Account, "session": p.SessionID,
		"since": ses.Login().Created.UTC().Format(time.RFC3339), "expires": p.Expires.UTC().Format(time.RFC3339),
	})
}

// ownAudience refuses another app's audience. At a site that takes any host name, the
// client chooses the audience by its Host header. Without this check, the site would
// make assertions by its own rules, and the other app would accept them.
func (a *App) ownAudience(audience string) *refusal.Error {
	a.gw.mu.Lock()
	defer a.gw.mu.Unlock()
	if other := a.gw.audiences[audience]; other != nil && other != a {
		return refusal.New(refusal.UnknownHost, fmt.Errorf("the host is another site's, with the assertion's audience %q: give this one another by `app <id>`", audience))
	}
	return nil
}

// warnOfNoGroups warns of a provider whose answer names no groups, if the rules need them.
func (x *request) warnOfNoGroups(p *NamedProvider, why string) {
	if why != "" && x.app.policy.ReadsGroups(p) && x.app.gw.once("no groups", p) {
		x.app.gw.log.Warn("a provider's answer names no groups of a person, and rules of this site need them",
			zap.String("provider", p.Name), zap.String("site", x.host), zap.String("reason", why))
	}
}
