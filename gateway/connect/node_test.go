package connect_test

import (
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/connect"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

// TestProxmoxNodes: if one node can't sign anybody in for a reason of its own, the next is
// asked. If none can, the error is the one that says most.
func TestProxmoxNodes(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		node http.RoundTripper
		code refusal.Code
	}{
		"down":               {failing{}, refusal.ProxmoxUnavailable},
		"nonsense":           {answering("<html>"), refusal.ProxmoxUnavailable},
		"empty":              {answering(""), refusal.ProxmoxUnavailable},
		"an array":           {answering(`{"data":["x"]}`), refusal.ProxmoxUnavailable},
		"null":               {answering(`{"data":null}`), refusal.ProxmoxUnavailable},
		"it can't reach us":  {refusing("certificate verify failed"), refusal.ProxmoxDiscovery},
		"its disk is full":   {refusing("no space left"), refusal.ProxmoxUnavailable},
		"the realm is wrong": {refusing("domain 'gw' does not exist"), refusal.ProxmoxRealm},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPVE(t)
			p.app.SetNodes([]connect.Node{{URL: "https://one.example:8006", Transport: tt.node}, {URL: "https://two.example:8006", Transport: p}})
			if g := p.open(someone); tt.code == refusal.ProxmoxUnavailable || tt.code == refusal.ProxmoxDiscovery {
				g.user(t)
			} else {
				wantCode(t, g.err, tt.code)
			}
			p.app.SetNodes([]connect.Node{{URL: "https://one.example:8006", Transport: tt.node}, {URL: "https://two.example:8006", Transport: failing{}}})
			wantCode(t, p.open(who{"bob", "1", ""}).err, tt.code)
		})
	}
}

// TestProxmoxNodeBack: after a node failed, the others are asked first for half a minute.
func TestProxmoxNodeBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, down := newPVE(t), true
		asked := 0
		one := transport(func(r *http.Request) (*http.Response, error) {
			if asked++; down {
				<-r.Context().Done() // as if its packets were dropped
				return nil, r.Context().Err()
			}
			return p.RoundTrip(r)
		})
		p.app.SetNodes([]connect.Node{{URL: "https://one.example:8006", Transport: one}, {URL: "https://two.example:8006", Transport: p}})
		wait := func(login string) time.Duration {
			began := time.Now()
			p.open(who{"alice", login, ""}).user(t)
			return time.Since(began)
		}
		if took := wait("1"); took > 11*time.Second || asked != 1 {
			t.Errorf("the first login took %v, and asked the node %d times", took, asked)
		}
		if took := wait("2"); took > time.Second || asked != 1 {
			t.Errorf("the next took %v, and asked the node %d times", took, asked)
		}
		down = false
		time.Sleep(31 * time.Second)
		if took := wait("3"); took > time.Second || asked == 1 {
			t.Errorf("with the node back it took %v, and asked the node %d times", took, asked)
		}
	})
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

type refusing string

func (why refusing) RoundTrip(*http.Request) (*http.Response, error) {
	return respond(http.StatusInternalServerError, `{"data":null,"message":"`+string(why)+`\n"}`), nil
}

type failing struct{}

func (failing) RoundTrip(*http.Request) (*http.Response, error) { return nil, errors.New("no route") }

type answering string

func (a answering) RoundTrip(*http.Request) (*http.Response, error) {
	return respond(http.StatusOK, string(a)), nil
}

// TestProxmoxHangingNode: a request waits for a node as long as a login at it may take.
func TestProxmoxHangingNode(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, began := newPVE(t), time.Now()
		p.answer = func(r *http.Request) *http.Response { <-r.Context().Done(); return nil }
		wantCode(t, p.open(someone).err, refusal.ProxmoxUnavailable)
		if took := time.Since(began); took > 30*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}
