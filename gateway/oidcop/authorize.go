package oidcop

import (
	"context"
	"net/url"
	"time"
)

// An Authorization is a request of a known client for a code, with a redirect URI that
// is its own.
type Authorization struct {
	// Client is the client's id.
	Client string
	// LoginHint and ACRValues are for the provider that signs the person in.
	LoginHint string
	ACRValues []string
}

// An Answer goes to the client by the browser.
type Answer struct {
	// Location is the redirect URI, with the answer in its query unless Form is set.
	Location string
	// Form is posted to Location by the browser (OAuth 2.0 Form Post Response Mode).
	Form url.Values
}

// Refused returns the answer to a faulty request, or nil.
func (a *Authorization) Refused() *Answer { panic("not yet") }

// Silent reports whether no page may be shown (prompt=none).
func (a *Authorization) Silent() bool { panic("not yet") }

// Stale reports whether the client wants a newer login than one of authTime
// (prompt=login, max_age). asked is when the person was sent to sign in for this very
// request; zero: not yet.
func (a *Authorization) Stale(authTime, asked time.Time) bool { panic("not yet") }

// Grant gives the client a code for a login. The error is ErrNoLogin if it is over, a
// *refusal.Error if the person is denied, else a fault of the store.
func (a *Authorization) Grant(ctx context.Context, login string) (*Answer, error) { panic("not yet") }

// Refuse returns the answer that refuses the request: login_required, access_denied,
// temporarily_unavailable, server_error.
func (a *Authorization) Refuse(code, description string) *Answer { panic("not yet") }
