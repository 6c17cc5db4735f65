package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/caddy-sso/caddy-sso/caddymodule"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "health",
		Short: "Asks the running process whether it is well",
		Long: `
The exit status is 0 if the process that runs with the same environment is well,
and 1 if not, with the reason. It is for health checks in an image, which has no
shell and no other program.

If SSO_UPSTREAM is set, it asks /readyz of ` + "`sidecar`" + `. Else it asks Caddy's
admin endpoint at ` + caddy.DefaultAdminListen + `, which responds once Caddy has started.`,
		CobraFunc: func(cmd *cobra.Command) {
			cmd.Args = cobra.NoArgs
			cmd.RunE = caddycmd.WrapCommandFuncForCobra(func(caddycmd.Flags) (int, error) {
				if err := checkHealth(); err != nil {
					return caddy.ExitCodeFailedStartup, err
				}
				return caddy.ExitCodeSuccess, nil
			})
		},
	})
}

// checkHealth returns why the running process is not well, or nil.
func checkHealth() error {
	address := caddy.DefaultAdminListen + "/config/"
	isSidecar := os.Getenv("SSO_UPSTREAM") != "" || os.Getenv("SSO_UPSTREAM__FILE") != ""
	if isSidecar {
		listen, err := caddymodule.HealthAddress(os.Environ())
		if err != nil {
			return err
		}
		address = listen + "/readyz"
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil && !isSidecar {
		return fmt.Errorf("asking Caddy's admin endpoint, because SSO_UPSTREAM is not set: %w. To ask a sidecar, give this command the sidecar's variables", err)
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, strings.TrimSpace(string(body)))
	}
	return err
}
