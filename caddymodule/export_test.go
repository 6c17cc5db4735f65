package caddymodule

import (
	"context"
	"maps"
	"net/http"
	"slices"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/samlsp"
	"github.com/caddy-sso/caddy-sso/gateway/session"
)

// Parts that the tests look at by themselves.
var (
	PeerOf  = peerOf
	Nearest = nearest
)

// LoadOrMakeSecret is loadOrMakeSecret.
func LoadOrMakeSecret(ctx context.Context, st storage) ([]byte, error) {
	return loadOrMakeSecret(ctx, st)
}

// StoredMarker returns the marker memory in a storage.
func StoredMarker(st storage, store string) session.MarkerMemory {
	return storedNote{func() storage { return st }, markerFile, store}
}

// BuildSAML returns what the options of a provider come to.
func BuildSAML(ctx caddy.Context, s *SAML) (samlsp.Config, gateway.NamedProvider, error) {
	built, err := s.build(ctx)
	if err != nil {
		return samlsp.Config{}, built.NamedProvider, err
	}
	cfg, err := s.config()
	return cfg, built.NamedProvider, err
}

// SAMLOptions are the words of a SAML provider's block.
func SAMLOptions() []string { return slices.Sorted(maps.Keys(samlUsage)) }

// Options are the words of each block, by the chapter of docs/options.md.
func Options() map[string][]string {
	return map[string][]string{
		"In a site": siteUsage.words(), "In the global option": globalUsage.words(), "Of an OpenID Provider": oidcUsage.words(),
	}
}

// SendAway does to an answer what an app does that is about to be stopped, or
// is not.
func SendAway(retiring bool, w http.ResponseWriter, r *http.Request) {
	a := new(App)
	a.retiring.Store(retiring)
	a.sendAway(w, r)
}

// DropCredentials is what error routes do to a request for an address of ours.
func DropCredentials(r *http.Request) *http.Request { return dropCredentials(r) }

// Refusals are those that shorten the audit log.
type Refusals = refusals

// NewRefusals returns refusals that are logged by log.
func NewRefusals(log func(ev gateway.Event, more int)) *Refusals { return newRefusals(log) }

// Note notes a refusal.
func (r *Refusals) Note(ev gateway.Event) { r.note(ev) }

// Flush ends counting.
func (r *Refusals) Flush() { r.flush() }
