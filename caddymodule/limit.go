package caddymodule

import (
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-sso/caddy-sso/gateway/session"
)

// Limit bounds the sign-ins of one client address, over all nodes. An IPv6 client
// counts by its /64.
type Limit struct {
	// How many answers of providers may be refused in a window: those that belong to a
	// login of the same browser. If the store or the provider is at fault, nothing
	// counts. -1 takes all limits away. Default: 10.
	Failed int `json:"failed,omitempty"`

	// How many requests of a sign-in are taken in a window: each start, and each
	// answer. A login that succeeds gives its own back. -1: any number. Default:
	// 300, or 30 times failed if that is more.
	Requests int `json:"requests,omitempty"`

	// How many answers are worked on at once. So many may fail beyond failed. -1:
	// any number. Default: 100, or 10 times failed if that is more.
	UnderWay int `json:"under_way,omitempty"`

	// How long a failure and a request count. Default: 1m.
	Window caddy.Duration `json:"window,omitempty"`
}

// set parses the option.
func (l *Limit) set(d *caddyfile.Dispenser, e entry) error {
	args := d.RemainingArgs()
	if len(args) < 1 || len(args) > 4 {
		return e.wrong(d)
	}
	if args[0] == "off" && len(args) == 1 {
		l.Failed = -1
		return nil
	}
	var err error
	if l.Failed, err = strconv.Atoi(args[0]); err != nil || l.Failed < 1 {
		return d.Errf("limit: '%s' is no number of failed answers: expected 1 or more, or off", args[0])
	}
	if len(args) > 1 {
		window, err := caddy.ParseDuration(args[1])
		if err != nil || window < time.Second {
			return d.Errf("limit: '%s' is no window: expected a duration of at least a second, such as 1m", args[1])
		}
		l.Window = caddy.Duration(window)
	}
	if len(args) > 2 {
		if l.Requests, err = strconv.Atoi(args[2]); err != nil || l.Requests < l.Failed {
			return d.Errf("limit: '%s' is no number of requests: expected at least as many as failed answers", args[2])
		}
	}
	if len(args) > 3 {
		if l.UnderWay, err = strconv.Atoi(args[3]); err != nil || l.UnderWay < 1 {
			return d.Errf("limit: '%s' is no number of answers under way: expected 1 or more", args[3])
		}
	}
	return nil
}

func (l Limit) build() session.Limit {
	return session.Limit{Failed: l.Failed, Requests: l.Requests, UnderWay: l.UnderWay, Window: time.Duration(l.Window)}
}
