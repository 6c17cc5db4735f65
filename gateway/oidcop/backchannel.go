package oidcop

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway/store"
	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

const (
	// maxEnded bounds the ended logins that wait for Run. Beyond it every login is
	// checked.
	maxEnded = 1000
	// dueEvery is how often Run looks for what another node has not sent.
	dueEvery = 15 * time.Second
	// allEvery is how often Run looks for logins that have expired or been idle for too
	// long: nobody announces those.
	allEvery = 5 * time.Minute
	page     = 200
)

// kindNotice is the kind of the record of a client that wants to hear the end of a login.
const kindNotice vault.Kind = "notice"

// noticeKept is how long a notice outlives its login.
const noticeKept = 2 * time.Hour

// A notice is what a client hears, and when a node may try.
type notice struct {
	Subject  string    `json:"s"`
	SID      string    `json:"i"`
	Expires  time.Time `json:"e"` // of the login
	Attempts int       `json:"n,omitempty"`
	Next     time.Time `json:"x,omitzero"`
}

// The logins that clients want to hear the end of are members of an index: login, client and
// the end of the login (unix seconds in hex), with NUL between them. When a login is over,
// its members move to the index of what is due. Then one node at a time has the notice.
func (p *Provider) indexes() (living, due string) {
	handle := vault.Handle(p.issuer())
	return "index:openid-logins:" + handle, "index:openid-due:" + handle
}

type member struct {
	login, client string
	expires       time.Time
}

func (m member) String() string {
	return m.login + "\x00" + m.client + "\x00" + strconv.FormatInt(m.expires.Unix(), 16)
}

func readMember(text string) (member, bool) {
	parts := strings.Split(text, "\x00")
	if len(parts) != 3 {
		return member{}, false
	}
	end, err := strconv.ParseInt(parts[2], 16, 64)
	return member{parts[0], parts[1], time.Unix(end, 0)}, err == nil
}

func (p *Provider) noticeName(m member) string {
	return vault.EncodeText(vault.Digest("openid notice", p.issuer(), m.login, m.client))
}

// watch notes that the client of a use wants to hear the end of the login. The index comes
// first, so that no record is ever unlisted.
func (p *Provider) watch(ctx context.Context, u *use, person *Person) error {
	b, err := p.bound()
	if err != nil || b.Index == nil || u.client.BackchannelLogoutURI == "" || u.kind == kindRefresh {
		return err
	}
	m := member{u.grant.Login, u.client.ID, person.Expires}
	value, err := json.Marshal(notice{Subject: u.grant.Subject, SID: p.sid(u.client, u.grant.Login), Expires: person.Expires})
	if err != nil {
		return err
	}
	living, _ := p.indexes()
	if err := b.Index.Add(ctx, living, m.String()); err != nil {
		return err
	}
	err = b.Records.PutNew(ctx, kindNotice, p.noticeName(m), value, time.Until(person.Expires)+noticeKept)
	if errors.Is(err, store.ErrExists) {
		return nil
	}
	return err
}

// LoginsChanged tells Run that a login may have ended. If login is empty, any may have. It
// does not wait.
func (p *Provider) LoginsChanged(login string) {
	if login != "" {
		select {
		case p.ended <- login:
			return
		default: // there are too many: look at all
		}
	}
	select {
	case p.all <- struct{}{}:
	default: // it is noted already
	}
}

// listener returns a client if it wants to hear of logouts, else nil. Another node may have a
// configuration where the client wants to.
func (p *Provider) listener(id string) *client {
	if c := p.clients[id]; c != nil && c.BackchannelLogoutURI != "" {
		return c
	}
	return nil
}

// Run tells clients of ended logins (OpenID Connect Back-Channel Logout 1.0) until ctx
// ends. It begins with logins that ended before it ran. After a fault of the store it looks
// at all again. Each client has a sender, so a client that hangs delays no other.
func (p *Provider) Run(ctx context.Context) {
	var sending sync.WaitGroup
	defer sending.Wait()
	for id := range p.clients {
		if c := p.listener(id); c != nil {
			sending.Go(func() { p.sendTo(ctx, c) })
		}
	}
	due, all := time.NewTicker(dueEvery), time.NewTicker(allEvery)
	defer due.Stop()
	defer all.Stop()
	p.LoginsChanged("")
	missed := false
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-p.all:
			for len(p.ended) > 0 {
				<-p.ended
			}
			missed = !p.report(p.collect(ctx, ""))
		case login := <-p.ended:
			missed = !p.report(p.collect(ctx, login)) || missed
		case <-all.C:
			p.LoginsChanged("")
		case <-due.C:
			if missed {
				p.LoginsChanged("")
			}
			p.report(p.wakeAll(ctx))
		}
	}
}

// report logs a fault, and reports whether there is none.
func (p *Provider) report(err error) bool {
	if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, errUnbound) {
		p.logger.Warn("logout tokens wait for the store", zap.Error(err))
	}
	return err == nil
}

// collect moves the members of a login to what is due if it is over. If login is empty, it
// looks at all logins. After a fault about one of them it goes on.
func (p *Provider) collect(ctx context.Context, login string) (fault error) {
	living, due := p.indexes()
	prefix := ""
	if login != "" {
		prefix = login + "\x00"
	}
	err := p.walk(ctx, living, prefix, func(b *Backing, m member) error {
		c := p.listener(m.client)
		if c == nil {
			return nil
		}
		over, err := p.over(ctx, b, m)
		if err != nil {
			fault = err
		}
		if !over {
			return nil
		}
		if err := b.Index.Add(ctx, due, m.String()); err != nil {
			return err
		}
		c.wake()
		return b.Index.Remove(ctx, living, m.String())
	})
	return cmp.Or(err, fault)
}

// over reports whether the login of a member has ended. If the client's rules have come to
// refuse the person, the login goes on.
func (p *Provider) over(ctx context.Context, b *Backing, m member) (bool, error) {
	person, err := p.people.Person(ctx, m.client, m.login)
	expired := !time.Now().Before(m.expires)
	switch {
	case errors.Is(err, ErrNotHere): // another node decides
		return false, nil
	case errors.Is(err, ErrNoLogin):
		return true, nil
	case denied(err) || errors.Is(err, vault.ErrRecord):
		return expired, nil
	case err != nil || !expired:
		return false, err
	}
	return p.prolong(ctx, b, m, person.Expires)
}

// prolong keeps a notice for longer if the configuration has come to give logins a longer
// life. It reports whether the notice is gone.
func (p *Provider) prolong(ctx context.Context, b *Backing, m member, expires time.Time) (gone bool, err error) {
	longer := member{m.login, m.client, expires}
	if longer.String() == m.String() {
		return false, nil // members have no fractions of a second
	}
	living, _ := p.indexes()
	if err := b.Index.Add(ctx, living, longer.String()); err != nil {
		return false, err
	}
	err = p.update(ctx, b, m, time.Until(expires)+noticeKept, func(n *notice) error {
		n.Expires = expires
		return nil
	})
	if errors.Is(err, store.ErrNotFound) {
		return true, nil
	}
	return false, cmp.Or(err, b.Index.Remove(ctx, living, m.String()))
}

// walk hands each member of an index to each. It removes those whose notice has expired,
// whether it was sent or not.
func (p *Provider) walk(ctx context.Context, index, prefix string, each func(*Backing, member) error) error {
	b, err := p.bound()
	if err != nil || b.Index == nil {
		return err
	}
	for after := ""; ; {
		texts, err := b.Index.Range(ctx, index, prefix, after, page)
		if err != nil || len(texts) == 0 {
			return err
		}
		after = texts[len(texts)-1]
		for _, text := range texts {
			m, ok := readMember(text)
			if !ok || time.Since(m.expires) > 2*noticeKept {
				err = b.Index.Remove(ctx, index, text)
			} else {
				err = each(b, m)
			}
			if err != nil {
				return err
			}
		}
	}
}
