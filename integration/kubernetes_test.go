//go:build integration

package integration

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/caddy-sso/caddy-sso/caddymodule"
)

// A manifest is what TestKubernetes reads of an object. The suite lint checks the whole by
// Kubernetes' own schema.
type manifest struct {
	Kind       string
	Data       map[string]string `yaml:"data"`
	StringData map[string]string `yaml:"stringData"`
	Spec       struct {
		Template struct {
			Spec struct {
				EnableServiceLinks *bool `yaml:"enableServiceLinks"`
				Containers         []struct {
					Args []string
					Env  []struct{ Name, Value string }
				}
			}
		}
	}
}

func manifests(t *testing.T, name string) (all []manifest) {
	t.Helper()
	text, err := os.ReadFile("../docker/kubernetes/" + name)
	if err != nil {
		t.Fatal(err)
	}
	for decoder := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var m manifest
		switch err := decoder.Decode(&m); {
		case errors.Is(err, io.EOF):
			return all
		case err != nil:
			t.Fatal(err)
		}
		all = append(all, m)
	}
}

// TestKubernetes holds the configurations in docker/kubernetes to be right, and the pods to
// leave out the variables that Kubernetes sets for a service.
func TestKubernetes(t *testing.T) {
	t.Parallel()
	t.Run("gateway", func(t *testing.T) {
		t.Parallel()
		g := newGateway(t)
		validated := false
		for _, m := range manifests(t, "gateway.yaml") {
			for name, value := range m.StringData {
				g.env = append(g.env, name+"="+strings.Repeat(value, 10)) // a secret has a least length
			}
			if m.Kind == "Deployment" && (m.Spec.Template.Spec.EnableServiceLinks == nil || *m.Spec.Template.Spec.EnableServiceLinks) {
				t.Error("service links are on")
			}
			if text, ok := m.Data["Caddyfile"]; ok {
				if err := os.WriteFile(g.caddyfile(), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				validated = true
			}
		}
		g.env = append(g.env, "REDIS_URL=redis://redis:6379")
		if out, err := g.command("validate", "--config", g.caddyfile()).CombinedOutput(); err != nil || !validated || bytes.Contains(out, []byte(`"level":"warn"`)) {
			t.Errorf("validating the ConfigMap's Caddyfile: %v\n%s", err, out)
		}
	})
	t.Run("sidecar", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		var environ []string
		for _, m := range manifests(t, "sidecar.yaml") {
			for name, value := range m.StringData {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(value), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for _, c := range m.Spec.Template.Spec.Containers {
				for _, v := range c.Env {
					environ = append(environ, v.Name+"="+strings.Replace(v.Value, "/run/secrets/sso", dir, 1))
				}
			}
			if m.Kind == "Deployment" && (m.Spec.Template.Spec.EnableServiceLinks == nil || *m.Spec.Template.Spec.EnableServiceLinks) {
				t.Error("service links are on")
			}
		}
		s, err := caddymodule.ReadSidecar(environ)
		if err != nil || len(s.Notes) > 0 || !s.Near() {
			t.Errorf("the sidecar's variables: %v, %+v", err, s)
		}
	})
}
