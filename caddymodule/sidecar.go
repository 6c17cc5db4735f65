package caddymodule

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/caddy-sso/caddy-sso/gateway/fetch"
	"github.com/caddy-sso/caddy-sso/gateway/target"
)

// A Sidecar guards one app without a Caddyfile: the environment configures it.
type Sidecar struct {
	// Config is Caddy's configuration, the same as a Caddyfile gives.
	Config json.RawMessage
	// Listen is the address where people come in.
	Listen string
	// Health is the address for /healthz and /readyz; empty: there is none.
	Health string
	// Upstream is the app's address.
	Upstream string
	// Notes are the variables without effect.
	Notes []Note

	env *environment
}

// ReadSidecar reads variables in the form of os.Environ. Its error names each variable that
// is wrong or missing.
func ReadSidecar(environ []string) (*Sidecar, error) {
	env := readEnvironment(environ)
	s := &Sidecar{Notes: env.notes, env: env}
	blocks := env.server(s)
	if err := env.err(env.missing()); err != nil {
		return nil, err
	}
	// The server's own parser would keep only the texts of errors.
	err := new(App).UnmarshalCaddyfile(caddyfile.NewDispenser(env.global()))
	if err == nil {
		err = new(Handler).UnmarshalCaddyfile(caddyfile.NewDispenser(env.directive()))
	}
	if err != nil {
		return nil, env.named(err)
	}
	config, _, err := httpcaddyfile.ServerType{}.Setup(blocks, map[string]any{"filename": "environment"})
	if err != nil {
		return nil, err
	}
	s.Config, err = json.Marshal(config)
	return s, err
}

// Load starts what the variables configure. Its error and the warnings name variables.
func (s *Sidecar) Load() error {
	configuring.Store(s.env)
	if err := caddy.Load(s.Config, false); err != nil {
		return s.Explain(err)
	}
	return nil
}

// Explain puts an error of Caddy's into words of the environment.
func (s *Sidecar) Explain(err error) error {
	if last := lastFault.Load(); last != nil && strings.Contains(err.Error(), (*last).Error()) {
		return s.env.named(*last)
	}
	return err
}

// missing is the error for what every sidecar needs.
func (env *environment) missing() error {
	var errs []error
	if env.isMissing("UPSTREAM") {
		errs = append(errs, errors.New("SSO_UPSTREAM is not set: write the address of the app, such as 127.0.0.1:3000"))
	}
	if env.isMissing("BASE_URL") {
		errs = append(errs, errors.New("SSO_BASE_URL is not set: write the address that browsers use, such as https://app.example.com"))
	}
	switch {
	case len(env.providers) == 0 && env.switchedOff() != "":
		errs = append(errs, fmt.Errorf("there is no provider, so nobody could sign in: %s switches off what is there", env.switchedOff()))
	case len(env.providers) == 0:
		errs = append(errs, errors.New("there is no provider, so nobody could sign in: write SSO_OIDC_<NAME>_ISSUER, SSO_OIDC_<NAME>_CLIENT_ID and SSO_OIDC_<NAME>_CLIENT_SECRET, or SSO_SAML_<NAME>_METADATA"))
	case !env.hasRules():
		errs = append(errs, errors.New("there is no rule, so nobody would be let in: write SSO_ROLE_MAPPING, such as admins=Admin; or *=User to let everybody in"))
	}
	return errors.Join(errs...)
}

// isMissing reports whether a variable is not set. A value that is refused is one.
func (env *environment) isMissing(name string) bool {
	return env.setting(name).full == "" && !slices.ContainsFunc(env.errs, func(err error) bool {
		fault := strings.TrimPrefix(err.Error(), variablePrefix+name)
		return strings.HasPrefix(fault, ": ") || strings.HasPrefix(fault, "__FILE: ")
	})
}

// setting returns a setting by its name behind SSO_.
func (env *environment) setting(name string) setting {
	for _, s := range env.settings {
		if s.name == name && s.protocol == "" {
			return s
		}
	}
	return setting{}
}

// switchedOff returns the variables that switch providers off.
func (env *environment) switchedOff() string {
	var names []string
	for _, s := range env.switches() {
		names = append(names, s.full)
	}
	return strings.Join(names, ", ")
}

const defaultHealth = ":8081"

// server makes the server blocks of a Caddyfile, and sets what the sidecar itself needs.
func (env *environment) server(s *Sidecar) []caddyfile.ServerBlock {
	s.Listen = env.value("LISTEN", ":8080", checkListen)
	host, port, _ := net.SplitHostPort(s.Listen)
	if s.Health = env.value("HEALTH_LISTEN", defaultHealth, checkHealth); s.Health == "off" {
		s.Health = ""
	}
	s.Upstream = env.value("UPSTREAM", "", checkUpstream)
	if err := apart(s.Listen, s.Health, s.Upstream); err != nil {
		env.errs = append(env.errs, err)
	}
	proxies := strings.Fields(env.value("TRUSTED_PROXIES", "", checkRanges))
	delay, grace := env.value("SHUTDOWN_DELAY", "3s", checkDuration), env.value("GRACE_PERIOD", "5s", checkDuration)
	level := strings.ToUpper(env.value("LOG_LEVEL", "INFO", checkLevel))
	options := caddyfile.ServerBlock{HasBraces: true, Segments: []caddyfile.Segment{
		segment("admin", "off"), segment("persist_config", "off"), segment("auto_https", "off"),
		segment("shutdown_delay", delay), segment("grace_period", grace), segment("log", "{", "\n", "level", level, "\n", "}"),
		env.global(),
	}}
	if len(proxies) > 0 {
		trusted := slices.Concat([]string{"servers", "{", "\n", "trusted_proxies", "static"}, proxies, []string{"\n", "trusted_proxies_strict", "\n", "}"})
		options.Segments = append(options.Segments, segment(trusted...))
	}
	// While the server stops, it asks clients to close their connections, so that none of
	// them sends a request into a connection that closes.
	site := caddyfile.ServerBlock{HasBraces: true, Keys: segment("http://:" + port), Segments: []caddyfile.Segment{
		segment("@stopping", "vars", "{http.shutting_down}", "true"), segment("header", "@stopping", "Connection", "close"),
		env.directive(),
	}}
	if host != "" {
		site.Segments = append(site.Segments, segment("bind", host))
	}
	proxy := []string{"reverse_proxy", s.Upstream}
	base, err := env.setting("BASE_URL").content()
	if u, fault := target.ParseOrigin(base); err == nil && fault == nil {
		proxy = append(proxy, "{", "\n", "header_up", "X-Forwarded-Proto", u.Scheme, "\n", "}")
		if strings.HasSuffix(u.Hostname(), ".") {
			env.fault("SSO_BASE_URL", fmt.Errorf("'%s' has a dot at the end of its host: remove it", base))
		}
	}
	site.Segments = append(site.Segments, segment(proxy...))
	return []caddyfile.ServerBlock{options, site}
}

// value returns what a setting of the sidecar says, or what holds without it.
func (env *environment) value(name, missing string, check func(string) error) string {
	s := env.sidecar[name]
	text, err := s.text()
	text = cmp.Or(strings.TrimSpace(text), missing)
	switch {
	case err != nil || s.full == "":
	case strings.ContainsAny(text, "\r\n"):
		err = errors.New("it has a line break in it")
	default:
		err = check(text)
	}
	if err != nil {
		env.fault(s.full, err)
	}
	return text
}

// Near reports whether the app listens where only this machine, or this pod, can reach it.
func (s *Sidecar) Near() bool {
	_, address, found := strings.Cut(s.Upstream, "://")
	if !found {
		address = s.Upstream
	}
	host, _, err := net.SplitHostPort(address)
	return strings.HasPrefix(address, "unix/") || fetch.IsLoopback(strings.TrimSuffix(host, ".")) || err != nil && fetch.IsLoopback(address)
}

// Elsewhere reports whether people return from the provider to another port of this machine than
// the one where the sidecar listens.
func (s *Sidecar) Elsewhere() bool {
	base, _ := s.env.setting("BASE_URL").content()
	u, err := target.ParseOrigin(base)
	_, port, _ := net.SplitHostPort(s.Listen)
	return err == nil && u.Scheme == "http" && isLoopback(u.Hostname()) && cmp.Or(u.Port(), "80") != port
}

// HealthAddress returns where a sidecar with these variables can be asked whether it is ready.
func HealthAddress(environ []string) (string, error) {
	const name = variablePrefix + "HEALTH_LISTEN"
	env, _ := newEnvironment(slices.DeleteFunc(slices.Clone(environ), func(v string) bool {
		return !strings.HasPrefix(v, name+"=") && !strings.HasPrefix(v, name+"__FILE=")
	}))
	if err := env.err(nil); err != nil {
		return "", err
	}
	address, err := env.setting("HEALTH_LISTEN").text()
	switch address = cmp.Or(strings.TrimSpace(address), defaultHealth); {
	case err == nil && address == "off":
		err = errors.New("it is off, so the sidecar can't be asked: set an address, or remove the health check")
	case err == nil:
		err = checkListen(address)
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	host, port, err := net.SplitHostPort(address)
	if addr, fault := netip.ParseAddr(host); host == "" || fault == nil && addr.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port), err
}
