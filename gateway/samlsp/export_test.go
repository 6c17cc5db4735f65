package samlsp

import (
	"encoding/json"
	"time"

	"github.com/beevik/etree"
	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway/check/checktest"
)

// Read reads a message.
func Read(doc []byte) (*etree.Element, error) { return allChecks().Read(doc, messageBounds) }

// CheckNames returns the names of all checks.
func CheckNames() []string { return checktest.Names(allChecks()) }

// Drop takes the named checks out of p's own checklist. What the configuration
// holds is read once more without them.
func Drop(p *Provider, names ...string) {
	checktest.Drop(p.checks, names...)
	if p.remote == nil {
		if fixed, err := p.readConfig(); err == nil {
			p.fixed = fixed
		}
	}
}

// Flow is the record that Begin makes of a login.
func Flow(request, entityID string, begun time.Time, forced bool) []byte {
	private, err := json.Marshal(&flow{ID: request, EntityID: entityID, Begun: begun.Unix(), Forced: forced})
	if err != nil {
		panic(err)
	}
	return private
}

// Instant reads a time.
func Instant(s string) (time.Time, error) { return instant(s) }

// SetClock gives p another clock, as a captured document needs.
func SetClock(p *Provider, now func() time.Time) { p.now = now }

// Same compares two elements, as an assertion with the one in a signed response.
var Same = same

// DefinitionOf returns the digest of a configuration's definition, also of one
// that New refuses.
func DefinitionOf(c Config) string {
	p := &Provider{config: c.withDefaults(), checks: allChecks(), logger: zap.NewNop(), now: time.Now}
	fixed, err := p.readConfig()
	if err != nil {
		fixed = nil
	}
	return p.config.definition(fixed).Digest()
}
