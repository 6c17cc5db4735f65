package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/caddymodule"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "sidecar",
		Short: "Guards one app, configured by the environment alone",
		Long: `
Puts single sign-on in front of one app, without a Caddyfile: variables of the
environment that begin with SSO_ configure it. At least:

  SSO_UPSTREAM=127.0.0.1:3000
  SSO_BASE_URL=https://app.example.com
  SSO_OIDC_CORP_ISSUER=https://id.example.com/realms/corp
  SSO_OIDC_CORP_CLIENT_ID=app
  SSO_OIDC_CORP_CLIENT_SECRET__FILE=/run/secrets/oidc
  SSO_ROLE_MAPPING=app-admins=Admin,*=User

The log names the addresses to register at the provider. /healthz and /readyz
answer at another port (SSO_HEALTH_LISTEN).

docs/environment.md has all variables.`,
		CobraFunc: func(cmd *cobra.Command) {
			cmd.Args = cobra.NoArgs
			cmd.RunE = caddycmd.WrapCommandFuncForCobra(func(caddycmd.Flags) (int, error) {
				return caddy.ExitCodeFailedStartup, runSidecar()
			})
		},
	})
}

// runSidecar runs the sidecar until a signal ends the process. It returns only with an error. Only
// Caddy listens to signals: it
// waits for requests if it ends the process itself, and a signal that it does not see would be
// lost if another listened.
func runSidecar() error {
	ctx := context.Background()
	caddy.TrapSignals()
	sidecar, err := caddymodule.ReadSidecar(os.Environ())
	if err != nil {
		faults := strings.Split(err.Error(), "\n")
		for _, fault := range faults {
			caddy.Log().Named("sidecar").Error(fault)
		}
		return errors.New("the environment is wrong: the lines above say where")
	}
	state := &health{ask: caddymodule.Ready, stopping: caddy.Exiting}
	if err := errors.Join(tryListen(ctx, sidecar.Listen), state.listen(ctx, sidecar.Health)); err != nil {
		return err
	}
	if err := sidecar.Load(); err != nil {
		return err
	}
	log := caddy.Log().Named("sidecar")
	for _, note := range sidecar.Notes {
		note.Log(log)
	}
	if !sidecar.Near() {
		log.Warn("the app does not listen on loopback: whoever can reach it without the gateway can sign in there as anybody", zap.String("upstream", sidecar.Upstream))
	}
	if sidecar.Elsewhere() {
		log.Warn("SSO_BASE_URL has another port than SSO_LISTEN, so people return there from the provider: write the same port, unless something passes requests on", zap.String("listen", sidecar.Listen))
	}
	select {}
}

// tryListen finds out whether the server can listen, whose own error would not name the variable.
func tryListen(ctx context.Context, address string) error {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("SSO_LISTEN: %w", err)
	}
	return ln.Close()
}

// A health answers whether the process lives, and whether it is ready.
type health struct {
	stopping func() bool
	ask      func(context.Context) error

	mu    sync.Mutex
	asked time.Time
	err   error
}

// How often the store is asked at most, however often /readyz is, and for how long.
const (
	askEvery   = time.Second
	askTimeout = 2 * time.Second
)

// ready says why the sidecar is not ready, or nil.
func (h *health) ready(ctx context.Context) error {
	if h.stopping() {
		return errors.New("stopping")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if time.Since(h.asked) < askEvery {
		return h.err
	}
	// The answer is for all clients, so one that goes away must not end the question.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTimeout)
	defer cancel()
	h.err, h.asked = h.ask(ctx), time.Now()
	return h.err
}

// listen serves /healthz and /readyz until the process ends.
func (h *health) listen(ctx context.Context, address string) error {
	if address == "" {
		return nil
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("SSO_HEALTH_LISTEN: %w", err)
	}
	answer := func(w http.ResponseWriter, status int, text string) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text+"\n")
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "alive") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if err := h.ready(r.Context()); err != nil {
			answer(w, http.StatusServiceUnavailable, "not ready: "+err.Error())
			return
		}
		answer(w, http.StatusOK, "ready")
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: askTimeout, ReadTimeout: askTimeout, WriteTimeout: 2 * askTimeout, MaxHeaderBytes: 8 << 10}
	go func() { _ = server.Serve(ln) }()
	return nil
}
