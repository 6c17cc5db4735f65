package oidcop

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
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
	// expiredEvery is how often Run looks for logins that have ended by themselves.
	expiredEvery = 5 * time.Minute
	// senders is how many logout tokens are sent at once.
	senders = 8
	// logoutTTL is the lifetime of a logout token (OpenID Connect Back-Channel Logout 1.0
	// §2.4).
	logoutTTL = 2 * time.Minute
	page      = 200

	maxLogoutResponse = 64 << 10 // bytes
)

// attempts are the pauses after each attempt. Meanwhile no other node sends.
var attempts = []time.Duration{30 * time.Second, 2 * time.Minute, 15 * time.Minute, time.Hour}

// kindNotice is the kind of the record of a client that wants to hear the end of a login.
const kindNotice vault.Kind = "notice"

// noticeKept is how long a notice outlives its login.
const noticeKept = 2 * time.Hour

// A notice is what a client hears, and when a node may try.
type notice struct {
	Client   string    `json:"c"`
	Subject  string    `json:"s"`
	SID      string    `json:"i"`
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
func (p *Provider) watch(ctx context.Context, u *use, person *Person, sub string) error {
	b, err := p.bound()
	if err != nil || b.Index == nil || u.client.BackchannelLogoutURI == "" || u.kind == kindRefresh {
		return err
	}
	m := member{u.grant.Login, u.client.ID, person.Expires}
	value, err := json.Marshal(notice{Client: u.client.ID, Subject: sub, SID: p.sid(u.client, u.grant.Login)})
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

// LoginsChanged tells that a login may have ended, or, if login is empty, that any
// may have. It does not wait.
func (p *Provider) LoginsChanged(login string) {
	for {
		select {
		case p.ended <- login:
			return
		default: // one makes room for all
		}
		select {
		case <-p.ended:
		default:
		}
		login = ""
	}
}

// Run tells clients of ended logins (OpenID Connect Back-Channel Logout 1.0) until ctx
// ends. It begins with those that have ended while nobody ran, and looks at all again after
// a fault of the store.
func (p *Provider) Run(ctx context.Context) {
	due, expired := time.NewTicker(dueEvery), time.NewTicker(expiredEvery)
	defer due.Stop()
	defer expired.Stop()
	missed := !p.report(p.collect(ctx, "", true))
	for ctx.Err() == nil {
		p.report(p.send(ctx))
		select {
		case <-ctx.Done():
		case login := <-p.ended:
			missed = !p.report(p.collect(ctx, login, true)) || missed
		case <-expired.C:
			p.report(p.collect(ctx, "", false))
		case <-due.C:
			missed = missed && !p.report(p.collect(ctx, "", true))
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

// collect moves the members of a login, or of all, that are over to what is due. Unless ask is
// set, only those count that have expired. After a fault about one login it goes on.
func (p *Provider) collect(ctx context.Context, login string, ask bool) (fault error) {
	living, due := p.indexes()
	prefix := ""
	if login != "" {
		prefix = login + "\x00"
	}
	err := p.walk(ctx, living, prefix, func(b *Backing, m member) error {
		over := !time.Now().Before(m.expires)
		if !over && ask {
			_, err := p.people.Person(ctx, m.client, m.login)
			if over = errors.Is(err, ErrNoLogin); !over && err != nil && !denied(err) && !errors.Is(err, vault.ErrRecord) {
				fault = err
			}
		}
		if !over {
			return nil
		}
		if err := b.Index.Add(ctx, due, m.String()); err != nil {
			return err
		}
		return b.Index.Remove(ctx, living, m.String())
	})
	return cmp.Or(err, fault)
}

// walk hands each member of an index to each.
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
			if !ok {
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

// send sends what is due, and waits for it.
func (p *Provider) send(ctx context.Context) error {
	_, due := p.indexes()
	var sending sync.WaitGroup
	defer sending.Wait()
	slots := make(chan struct{}, senders)
	return p.walk(ctx, due, "", func(b *Backing, m member) error {
		n, err := p.claim(ctx, b, m)
		if n == nil {
			return err
		}
		slots <- struct{}{}
		sending.Go(func() {
			defer func() { <-slots }()
			p.report(p.notify(ctx, b, m, n))
		})
		return nil
	})
}

// errTaken means that another node sends the notice, or that it is not due yet.
var errTaken = errors.New("the notice is not ours")

// claim returns the notice if this node may send it now, else nil.
func (p *Provider) claim(ctx context.Context, b *Backing, m member) (*notice, error) {
	var n notice
	err := b.Records.Update(ctx, kindNotice, p.noticeName(m), noticeKept, func(old *vault.Record) ([]byte, error) {
		if old == nil {
			return nil, store.ErrNotFound
		}
		n = notice{}
		if err := json.Unmarshal(old.Value, &n); err != nil {
			return nil, vault.ErrRecord
		}
		now := time.Now()
		if now.Before(n.Next) {
			return nil, errTaken
		}
		if n.Attempts >= len(attempts) {
			return nil, store.ErrNotFound
		}
		n.Next = now.Add(attempts[n.Attempts])
		n.Attempts++
		return json.Marshal(n)
	})
	switch {
	case errors.Is(err, errTaken), errors.Is(err, vault.ErrBusy):
		return nil, nil
	case errors.Is(err, store.ErrNotFound), errors.Is(err, vault.ErrRecord):
		return nil, p.forget(ctx, b, m)
	case err != nil:
		return nil, err
	}
	return &n, nil
}

// forget removes what is done with.
func (p *Provider) forget(ctx context.Context, b *Backing, m member) error {
	ctx = context.WithoutCancel(ctx)
	_, err := b.Records.Take(ctx, kindNotice, p.noticeName(m))
	if errors.Is(err, store.ErrNotFound) {
		err = nil
	}
	_, due := p.indexes()
	return cmp.Or(err, b.Index.Remove(ctx, due, m.String()))
}

// notify sends one logout token. A client that has gone from the configuration hears nothing.
func (p *Provider) notify(ctx context.Context, b *Backing, m member, n *notice) error {
	c := p.clients[n.Client]
	if c == nil || c.BackchannelLogoutURI == "" {
		return p.forget(ctx, b, m)
	}
	err := p.post(ctx, c, n)
	if err == nil {
		return p.forget(ctx, b, m)
	}
	p.logger.Warn("a client did not take the logout token", zap.String("client", c.ID), zap.Int("attempt", n.Attempts),
		zap.Bool("again", n.Attempts < len(attempts)), zap.Error(err))
	return nil
}

// post sends a logout token to a client (Back-Channel Logout §2.5).
func (p *Provider) post(ctx context.Context, c *client, n *notice) error {
	now := time.Now()
	token, err := p.sign(ctx, c.Algorithm, "logout+jwt", map[string]any{
		"iss": p.issuer(), "aud": c.ID, "iat": now.Unix(), "exp": now.Add(logoutTTL).Unix(), "jti": vault.RandomText(),
		"sub": n.Subject, "sid": n.SID, "events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": struct{}{}},
	})
	if err != nil {
		return err
	}
	body := url.Values{"logout_token": {token}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.BackchannelLogoutURI, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := p.outbound.Do(req, maxLogoutResponse)
	if err != nil {
		return err
	}
	if resp.Status != http.StatusOK && resp.Status != http.StatusNoContent {
		return fmt.Errorf("sending a logout token: status %d", resp.Status)
	}
	return nil
}
