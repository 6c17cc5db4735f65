package caddymodule

import (
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-sso/caddy-sso/gateway/session"
)

// Limit bounds the sign-ins of one client address that don't succeed, over all
// nodes. An IPv6 client counts by its /64.
type Limit struct {
	// How many answers of providers are judged in a window. A login that
	// succeeds does not count. -1 takes all limits away. Default: 10.
	Answers int `json:"answers,omitempty"`

	// How many logins may begin in a window and not be finished. -1: any number.
	// Default: 30 times answers.
	Starts int `json:"starts,omitempty"`

	// How long an attempt counts. Default: 1m.
	Window caddy.Duration `json:"window,omitempty"`
}

// unmarshal parses `limit off` or `limit <answers> [<window> [<starts>]]`.
func (l *Limit) unmarshal(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) < 1 || len(args) > 3 {
		return globalUsage.wrong(d, "limit")
	}
	if args[0] == "off" && len(args) == 1 {
		l.Answers = -1
		return nil
	}
	var err error
	if l.Answers, err = strconv.Atoi(args[0]); err != nil || l.Answers < 1 {
		return d.Errf("limit: '%s' is no number of answers: expected 1 or more, or off", args[0])
	}
	if len(args) > 1 {
		window, err := caddy.ParseDuration(args[1])
		if err != nil || window < time.Second {
			return d.Errf("limit: '%s' is no window: expected a duration of at least a second, such as 1m", args[1])
		}
		l.Window = caddy.Duration(window)
	}
	if len(args) > 2 {
		if l.Starts, err = strconv.Atoi(args[2]); err != nil || l.Starts < l.Answers {
			return d.Errf("limit: '%s' is no number of starts: expected at least as many as answers", args[2])
		}
	}
	return nil
}

func (l Limit) build() session.Limit {
	return session.Limit{Answers: l.Answers, Starts: l.Starts, Window: time.Duration(l.Window)}
}
