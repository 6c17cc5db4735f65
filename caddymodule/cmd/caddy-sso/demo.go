package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/caddy-sso/caddy-sso/gateway/demo"
	"github.com/caddy-sso/caddy-sso/gateway/pages"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "demo",
		Usage: "[--port <port>]",
		Short: "Shows single sign-on with built-in identity providers and apps",
		Long: `
Starts two demo apps, an OpenID and a SAML identity provider without passwords,
and the gateway between them, and prints the address to open. Everything listens
on loopback. Nothing is left behind when the command ends.

The first app listens on --port, the second on the next port. If a port is taken,
or if --port is 0, the command uses a free port.`,
		CobraFunc: func(cmd *cobra.Command) {
			cmd.Args = cobra.NoArgs
			port := cmd.Flags().Int("port", 8080, "port of the first app")
			cmd.RunE = caddycmd.WrapCommandFuncForCobra(func(caddycmd.Flags) (int, error) {
				if *port < 0 || *port > maxPort {
					return caddy.ExitCodeFailedStartup, fmt.Errorf("--port %d: expected a port from 1 to %d, or 0 for any free one", *port, maxPort)
				}
				ctx, stop := signal.NotifyContext(context.Background(), endings()...)
				defer stop()
				if err := runDemo(ctx, os.Stdout, *port); err != nil {
					return caddy.ExitCodeFailedStartup, err
				}
				return caddy.ExitCodeSuccess, nil
			})
		},
	})
}

// endings are the signals that end the demo: a terminal that closes, too, unless nohup
// says otherwise.
func endings() []os.Signal {
	all := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		all = append(all, syscall.SIGHUP)
	}
	return all
}

// maxPort leaves one port for the second app.
const maxPort = 65534

const demoWelcome = `
  Open    %s
  then    %s, where the same person has other roles

  Sign in as alice (in admins), bob (in viewers) or carol (in no group, so refused).
  Nobody needs a password. Ctrl-C ends the demo and leaves nothing behind.

`

// runDemo runs the demo until ctx ends. It writes only to a directory that it removes at
// the end.
func runDemo(ctx context.Context, out io.Writer, port int) (err error) {
	dir, err := os.MkdirTemp("", "caddy-sso-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	// Caddy writes some files there, whatever its configuration says.
	for _, name := range []string{"XDG_DATA_HOME", "XDG_CONFIG_HOME"} {
		if err := os.Setenv(name, dir); err != nil {
			return err
		}
	}
	sites, err := demoSites(ctx, port)
	if err != nil {
		return err
	}
	d, err := demo.Start(ctx, sites, pages.Style)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	text, err := demoCaddyfile(dir, d, sites)
	if err != nil {
		return err
	}
	if err := loadCaddyfile(text); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, caddy.Stop()) }()
	if err := waitFor(ctx, sites); err != nil {
		return err
	}
	fmt.Fprintf(out, demoWelcome, sites[0].Origin, sites[1].Origin)
	<-ctx.Done()
	return nil
}

func demoSites(ctx context.Context, port int) ([]*demo.Site, error) {
	sites := []*demo.Site{{ID: "wiki", Title: "Team wiki"}, {ID: "console", Title: "Server console"}}
	taken := map[int]bool{}
	for i, s := range sites {
		wanted := 0
		if port > 0 {
			wanted = port + i
		}
		p, err := freePort(ctx, wanted, taken)
		if err != nil {
			return nil, err
		}
		taken[p] = true
		s.Origin = "http://" + net.JoinHostPort("localhost", strconv.Itoa(p))
	}
	return sites, nil
}

// freePort returns port, or another free port if it is in use.
func freePort(ctx context.Context, port int, taken map[int]bool) (int, error) {
	var config net.ListenConfig
	for _, p := range []int{port, 0, 0} {
		ln, err := config.Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(p)))
		if err != nil {
			continue
		}
		addr, _ := netip.ParseAddrPort(ln.Addr().String())
		if err := ln.Close(); err != nil {
			return 0, err
		}
		if got := int(addr.Port()); !taken[got] {
			return got, nil
		}
	}
	return 0, errors.New("finding a free port on loopback: there is none")
}

// demoRules are the role lines of each site: the same groups give other roles.
var demoRules = map[string]string{
	"wiki":    "role Editor admins\n\t\trole Reader viewers",
	"console": "role Administrator admins\n\t\trole Auditor       viewers",
}

// The demo's configuration is an ordinary Caddyfile, except for the options that keep all
// files in one directory.
const (
	demoOptions = `{
	admin off
	persist_config off
	auto_https off
	grace_period 1s
	storage file_system %q
	log {
		output stderr
		level ERROR
	}
	sso {
		provider openid oidc {
			display_name  "OpenID Connect"
			issuer        %s
			client_id     %s
			client_secret %s
		}
		provider saml saml {
			display_name "SAML 2.0"
			metadata     %s
		}
		same_people openid saml
	}
}
`
	demoSite = `%s {
	bind 127.0.0.1
	sso {
		app   %s
		title %q
		logo  %q
		help  "This is a demo: sign in as alice, bob or carol; carol has no access."
		%s
	}
	reverse_proxy %s
}
`
)

// demoCaddyfile returns the configuration, and writes the logos to dir.
func demoCaddyfile(dir string, d *demo.Demo, sites []*demo.Site) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, demoOptions, dir, d.Issuer, d.ClientID, d.ClientSecret, d.Metadata)
	for _, s := range sites {
		logo, err := s.Logo()
		if err != nil {
			return "", err
		}
		file := filepath.Join(dir, s.ID+".svg")
		if err := os.WriteFile(file, logo, 0o600); err != nil {
			return "", err
		}
		fmt.Fprintf(&b, demoSite, s.Origin, s.ID, s.Title, file, demoRules[s.ID], s.Upstream)
	}
	return b.String(), nil
}

func loadCaddyfile(text string) error {
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), nil)
	if err != nil {
		return err
	}
	return caddy.Load(config, false)
}

// waitFor waits until every site responds, so that the address works as soon as it is
// printed.
func waitFor(ctx context.Context, sites []*demo.Site) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for _, s := range sites {
		for !responds(ctx, s) {
			if ctx.Err() != nil {
				return fmt.Errorf("waiting for %s: it does not respond", s.Origin)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	return nil
}

func responds(ctx context.Context, s *demo.Site) bool {
	address := strings.Replace(s.Origin, "localhost", "127.0.0.1", 1)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"/.sso/jwks.json", nil)
	if err != nil {
		return false
	}
	req.Host = strings.TrimPrefix(s.Origin, "http://")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}
