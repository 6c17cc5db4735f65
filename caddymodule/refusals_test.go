package caddymodule_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-sso/caddy-sso/caddymodule"
	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

// auditLines collects what goes into the audit log.
type auditLines struct {
	mu    sync.Mutex
	lines []string
}

func (a *auditLines) log(ev gateway.Event, more int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lines = append(a.lines, fmt.Sprint(ev.Username, ev.Code, " ", ev.Addr, " ", ev.Reference, " ", more))
}

func (a *auditLines) take() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	lines := a.lines
	a.lines = nil
	slices.Sort(lines)
	return lines
}

func TestEqualRefusals(t *testing.T) {
	t.Parallel()
	refused := func(code refusal.Code, addr, reference string) gateway.Event {
		ev := gateway.Event{Type: gateway.EventRefused, App: "app", Code: code, Reference: reference}
		if addr != "" {
			ev.Addr = netip.MustParseAddr(addr)
		}
		return ev
	}
	synctest.Test(t, func(t *testing.T) {
		var audit auditLines
		r := caddymodule.NewRefusals(audit.log)
		want := func(lines ...string) {
			t.Helper()
			if got := audit.take(); !slices.Equal(got, lines) {
				t.Errorf("got %q, want %q", got, lines)
			}
		}
		// Many of one client: the first at once, the others later.
		for i := range 500 {
			r.Note(refused(refusal.FlowUnknown, "192.0.2.1", fmt.Sprint(i)))
		}
		want("flow_unknown 192.0.2.1 0 0")
		// Those of another client of the OpenID provider are another line.
		for _, client := range []string{"", "wiki", "wiki"} {
			ev := refused(refusal.BadRequest, "192.0.2.3", client)
			ev.Client = client
			r.Note(ev)
		}
		want("bad_request 192.0.2.3  0", "bad_request 192.0.2.3 wiki 0")
		// So are those of another check.
		for _, check := range []string{"redirect URI", "scope openid", "scope openid"} {
			ev := refused(refusal.ClientRefused, "192.0.2.3", check)
			ev.Check = check
			r.Note(ev)
		}
		want("client_refused 192.0.2.3 redirect URI 0", "client_refused 192.0.2.3 scope openid 0")
		// So are those of another cause, up to a bound: somebody tries addresses.
		for i := range 20 {
			ev := refused(refusal.BadRequest, "192.0.2.4", fmt.Sprint(i))
			ev.Err = fmt.Errorf("redirect_uri is %d", i%10)
			r.Note(ev)
		}
		want("bad_request 192.0.2.4 0 0", "bad_request 192.0.2.4 1 0", "bad_request 192.0.2.4 2 0", "bad_request 192.0.2.4 3 0",
			"bad_request 192.0.2.4 4 0", "bad_request 192.0.2.4 5 0", "bad_request 192.0.2.4 6 0", "bad_request 192.0.2.4 7 0")
		// Others are other lines.
		r.Note(refused(refusal.FlowUnknown, "192.0.2.2", "a"))
		r.Note(refused(refusal.BadRequest, "192.0.2.1", "b"))
		r.Note(refused(refusal.BadRequest, "2001:db8::1", "c"))
		r.Note(refused(refusal.BadRequest, "2001:db8::2", "d")) // the same /64
		r.Note(refused(refusal.BadRequest, "", "e"))
		want("bad_request 192.0.2.1 b 0", "bad_request 2001:db8::1 c 0", "bad_request invalid IP e 0", "flow_unknown 192.0.2.2 a 0")
		time.Sleep(time.Minute + time.Second)
		want("bad_request 192.0.2.3 wiki 1", "bad_request 192.0.2.4 19 12", "bad_request 2001:db8::2 d 1", "client_refused 192.0.2.3 scope openid 1", "flow_unknown 192.0.2.1 499 499")
		// And so on.
		r.Note(refused(refusal.FlowUnknown, "192.0.2.1", "again"))
		want("flow_unknown 192.0.2.1 again 0")
		// People are never counted together.
		for range 2 {
			ev := refused(refusal.AccessDenied, "192.0.2.1", "f")
			ev.Username = "bob "
			r.Note(ev)
		}
		want("bob access_denied 192.0.2.1 f 0", "bob access_denied 192.0.2.1 f 0")
		for range 2 {
			ev := refused(refusal.OIDCTime, "192.0.2.1", "g")
			ev.Answered = true
			r.Note(ev)
		}
		want("oidc_time_invalid 192.0.2.1 g 0", "oidc_time_invalid 192.0.2.1 g 0")
		// But while the store is at fault all are, for ten seconds.
		for i := range 500 {
			ev := refused(refusal.StoreUnavailable, fmt.Sprintf("192.0.2.%d", i%250), fmt.Sprint(i))
			ev.Username = "bob "
			r.Note(ev)
		}
		want("bob store_unavailable 192.0.2.0 0 0")
		time.Sleep(11 * time.Second)
		want("bob store_unavailable 192.0.2.249 499 499")
		// The end of the configuration loses nothing.
		r.Note(refused(refusal.FlowUnknown, "192.0.2.1", "last"))
		r.Flush()
		want("flow_unknown 192.0.2.1 last 1")
		for range 2 {
			r.Note(refused(refusal.FlowUnknown, "192.0.2.1", "later"))
		}
		want("flow_unknown 192.0.2.1 later 0", "flow_unknown 192.0.2.1 later 0")
	})
	t.Run("of a crowd", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			var audit auditLines
			r := caddymodule.NewRefusals(audit.log)
			for i := range 50_000 {
				r.Note(refused(refusal.FlowUnknown, fmt.Sprintf("10.0.%d.%d", i/256%256, i%256), "x"))
			}
			if got := len(audit.take()); got != 1001 {
				t.Errorf("%d lines, want 1001: memory and log must be bounded", got)
			}
			time.Sleep(2 * time.Minute)
			if got := audit.take(); !slices.Equal(got, []string{"flow_unknown invalid IP x 48999"}) {
				t.Errorf("got %q", got)
			}
		})
	})
}

// TestEqualRefusalsInTheLog has one client bring made-up answers: the first is a line
// with its reference, and the others are one line with their number.
func TestEqualRefusalsInTheLog(t *testing.T) {
	w := newWorld(t)
	w.mustLoad(w.global("") + site)
	b := newBrowser(t)
	for range 7 {
		address := w.origin() + "/.sso/oidc/callback?code=c&state=" + strings.Repeat("A", 43)
		if status, body := b.get(address); status != http.StatusBadRequest {
			t.Fatalf("a made-up answer: %d %s", status, body)
		}
	}
	if err := caddy.Stop(); err != nil { // what is counted is said at the end, too
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(w.logs()) {
		if strings.Contains(line, `"sso.audit"`) {
			lines = append(lines, line)
		}
	}
	if len(lines) != 2 {
		t.Fatalf("7 refusals are %d lines: %s", len(lines), lines)
	}
	for i, want := range [][]string{{`"msg":"refused"`, `"reference":"`}, {`"msg":"refused again"`, `"count":6`}} {
		for _, text := range append(want, `"code":"flow_unknown"`) {
			if !strings.Contains(lines[i], text) {
				t.Errorf("line %d has no %s: %s", i+1, text, lines[i])
			}
		}
		var line struct {
			Client netip.Addr `json:"client_ip"`
		}
		// Where localhost has an IPv6 address, too, the browser takes that.
		if err := json.Unmarshal([]byte(lines[i]), &line); err != nil || !line.Client.IsLoopback() {
			t.Errorf("line %d does not name the client's address: %v %s", i+1, err, lines[i])
		}
	}
}
