package oidcop

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway/store"
	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

const (
	// senders is how many logout tokens a client gets at once.
	senders = 8
	// logoutTTL is the lifetime of a logout token (OpenID Connect Back-Channel Logout 1.0
	// §2.4).
	logoutTTL = 2 * time.Minute

	maxLogoutResponse = 64 << 10 // bytes
)

// attempts are the pauses after each attempt. Meanwhile no other node sends.
var attempts = []time.Duration{30 * time.Second, 2 * time.Minute, 15 * time.Minute, time.Hour}

// wakeAll wakes the senders of all that is due.
func (p *Provider) wakeAll(ctx context.Context) error {
	_, due := p.indexes()
	return p.walk(ctx, due, "", func(_ *Backing, m member) error {
		if c := p.listener(m.client); c != nil {
			c.wake()
		}
		return nil
	})
}

// wake has the client's sender look at what is due.
func (c *client) wake() {
	select {
	case c.due <- struct{}{}:
	default: // it will look
	}
}

// A sender sends what is due to one client, as many at once as slots has room for.
type sender struct {
	client  *client
	slots   chan struct{}
	sending sync.WaitGroup
}

// sendTo sends to a client until ctx ends.
func (p *Provider) sendTo(ctx context.Context, c *client) {
	s := sender{client: c, slots: make(chan struct{}, senders)}
	defer s.sending.Wait()
	for {
		p.report(p.send(ctx, &s))
		select {
		case <-ctx.Done():
			return
		case <-c.due:
		}
	}
}

// send begins to send what is due to a client. It waits only for a free slot.
func (p *Provider) send(ctx context.Context, s *sender) error {
	_, due := p.indexes()
	return p.walk(ctx, due, "", func(b *Backing, m member) error {
		if m.client != s.client.ID {
			return nil
		}
		s.slots <- struct{}{} // before the claim, which holds for a limited time
		n, err := p.claim(ctx, b, m)
		if n == nil {
			<-s.slots
			return err
		}
		s.sending.Go(func() {
			defer func() { <-s.slots }()
			p.report(p.notify(ctx, b, s.client, m, n))
		})
		return nil
	})
}

// update changes a notice. The error is store.ErrNotFound if it is gone or unreadable.
func (p *Provider) update(ctx context.Context, b *Backing, m member, ttl time.Duration, change func(*notice) error) error {
	err := b.Records.Update(ctx, kindNotice, p.noticeName(m), ttl, func(old *vault.Record) ([]byte, error) {
		var n notice
		if old == nil || json.Unmarshal(old.Value, &n) != nil {
			return nil, store.ErrNotFound
		}
		if err := change(&n); err != nil {
			return nil, err
		}
		return json.Marshal(n)
	})
	if errors.Is(err, vault.ErrRecord) {
		return store.ErrNotFound
	}
	return err
}

// errTaken means that another node sends the notice, or that it is not due yet.
var errTaken = errors.New("the notice is not ours")

// claim returns the notice if this node may send it now, else nil.
func (p *Provider) claim(ctx context.Context, b *Backing, m member) (*notice, error) {
	var claimed notice
	err := p.update(ctx, b, m, noticeKept, func(n *notice) error {
		now := time.Now()
		if now.Before(n.Next) {
			return errTaken
		}
		if n.Attempts >= len(attempts) {
			return store.ErrNotFound
		}
		n.Next = now.Add(attempts[n.Attempts])
		n.Attempts++
		claimed = *n
		return nil
	})
	switch {
	case errors.Is(err, errTaken), errors.Is(err, vault.ErrBusy):
		return nil, nil
	case errors.Is(err, store.ErrNotFound):
		return nil, p.forget(ctx, b, m)
	case err != nil:
		return nil, err
	}
	return &claimed, nil
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

// notify sends one logout token.
func (p *Provider) notify(ctx context.Context, b *Backing, c *client, m member, n *notice) error {
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
