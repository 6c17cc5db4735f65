package samlsp_test

import (
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/fetch"
	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/samlsp"
)

func TestEntityIDChanges(t *testing.T) {
	t.Parallel()
	changed := goodEntity()
	changed.entityID = "urn:changed"
	inBubble(t, "refused where it is configured", func(t *testing.T) {
		from := publish(goodEntity())
		p := byURL(t, from, samlsp.Deps{}, func(c *samlsp.Config) { c.EntityID = idpEntityID })
		begin(t, p)
		from.serve(changed)
		time.Sleep(2 * fetch.RefreshAfter)
		if _, err := samlsp.RenewKeys(t.Context(), p); err == nil {
			t.Error("taken")
		}
		if k, err := samlsp.IdentityProvider(t.Context(), p); err != nil || k.EntityID != idpEntityID {
			t.Errorf("got %+v, %v", k, err)
		}
	})
	inBubble(t, "refused where it is not, and said", func(t *testing.T) {
		from, kept := publish(goodEntity()), &gatewaytest.Shelf{}
		p := byURL(t, from, samlsp.Deps{LastGood: kept})
		begin(t, p)
		from.serve(changed)
		time.Sleep(samlsp.AliveFor)
		wantText(t, beginErr(t, p), `was "`+idpEntityID+`" and is "urn:changed" now`)
		if p.Issuer() != idpEntityID {
			t.Errorf("the issuer is %q", p.Issuer())
		}
		p = byURL(t, from, samlsp.Deps{LastGood: kept}) // restarted
		p.Start(t.Context())
		time.Sleep(fetch.FailureKept)
		if wantCode(t, beginErr(t, p), refusal.ProviderUnavailable); p.Issuer() != idpEntityID {
			t.Errorf("the issuer is %q after a restart", p.Issuer())
		}
	})
	inBubble(t, "taken where the new one is configured", func(t *testing.T) {
		from, kept := publish(goodEntity()), &gatewaytest.Shelf{}
		begin(t, byURL(t, from, samlsp.Deps{LastGood: kept}))
		from.serve(changed)
		p := byURL(t, from, samlsp.Deps{LastGood: kept}, func(c *samlsp.Config) { c.EntityID = "urn:changed" })
		p.Start(t.Context())
		begin(t, p)
	})
}

func TestRenewKeys(t *testing.T) {
	t.Parallel()
	inBubble(t, "one fetch for a crowd", func(t *testing.T) {
		from := publish(goodEntity())
		p := byURL(t, from, samlsp.Deps{})
		begin(t, p)
		e := goodEntity()
		e.keys = []string{keyDescriptor("signing", b64(certify(ecKey())))}
		from.serve(e)
		for range 100 {
			k, err := samlsp.RenewKeys(t.Context(), p)
			if err != nil || !holds(k, ecKey().Public()) {
				t.Fatalf("got %+v, %v", k, err)
			}
		}
		if from.asked() != 2 {
			t.Errorf("fetched %d times", from.asked())
		}
		time.Sleep(fetch.RenewEvery)
		if _, err := samlsp.RenewKeys(t.Context(), p); err != nil || from.asked() != 3 {
			t.Errorf("fetched %d times, %v", from.asked(), err)
		}
	})
	inBubble(t, "the provider is down", func(t *testing.T) {
		from := publish(goodEntity())
		p := byURL(t, from, samlsp.Deps{})
		begin(t, p)
		from.down()
		_, err := samlsp.RenewKeys(t.Context(), p)
		wantCode(t, err, refusal.ProviderUnavailable)
	})
}
