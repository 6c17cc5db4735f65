//go:build integration

package integration

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

const trialVersion = "v0.0.0-trial"

// A builtImage is that of docker/Dockerfile, unpacked.
type builtImage struct {
	Root   string // where its files are
	Files  []string
	Config struct {
		User        string
		Env         []string
		Entrypoint  []string
		Cmd         []string
		WorkingDir  string
		Volumes     map[string]struct{}
		Healthcheck struct{ Test []string }
	}
}

// theImage builds docker/Dockerfile by buildah, which needs no daemon.
//
// In place of the image of Go there is one that has Go's command; the rest of it, the modules
// and the build cache are mounted. No registry of images is asked.
var theImage = sync.OnceValues(func() (*builtImage, error) {
	dir := filepath.Join(scratch, "image")
	base := filepath.Join(dir, "base")
	if err := os.MkdirAll(filepath.Join(base, "tmp"), 0o755); err != nil {
		return nil, err
	}
	env, err := output("go", "env", "-json", "GOROOT", "GOMODCACHE", "GOCACHE", "GOARCH")
	if err != nil {
		return nil, err
	}
	goenv := map[string]string{}
	if err := json.Unmarshal([]byte(env), &goenv); err != nil {
		return nil, err
	}
	certificates, err := os.ReadFile("/etc/ssl/certs/ca-certificates.crt")
	if err != nil {
		return nil, err
	}
	command, err := os.ReadFile(filepath.Join(goenv["GOROOT"], "bin", "go"))
	if err != nil {
		return nil, err
	}
	for name, content := range map[string][]byte{
		"ca-certificates.crt": certificates,
		"go":                  command,
		"Dockerfile": []byte("FROM scratch\nCOPY ca-certificates.crt /etc/ssl/certs/\nCOPY tmp /tmp\nCOPY go /bin/go\n" +
			"ENV PATH=/bin GOROOT=/usr/local/go GOPATH=/go GOTOOLCHAIN=local HOME=/root\n"),
	} {
		if err := os.WriteFile(filepath.Join(base, name), content, 0o755); err != nil {
			return nil, err
		}
	}
	whenAllIsDone(func() { _, _ = buildah("rm", "--all") }) // they may be mounted
	if _, err := buildah("bud", "-q", "-t", "localhost/go", base); err != nil {
		return nil, err
	}
	if _, err := buildah("bud", "-q", "--from", "localhost/go", "--platform", "linux/"+goenv["GOARCH"], "--format", "docker",
		"--volume", goenv["GOROOT"]+":/usr/local/go:ro,exec", "--volume", goenv["GOMODCACHE"]+":/go/pkg/mod", "--volume", goenv["GOCACHE"]+":/root/.cache/go-build",
		"--build-arg", "VERSION="+trialVersion, "--ignorefile", "../docker/Dockerfile.dockerignore", "-f", "../docker/Dockerfile", "-t", "localhost/caddy-sso", ".."); err != nil {
		return nil, err
	}
	container, err := buildah("from", "localhost/caddy-sso")
	if err != nil {
		return nil, err
	}
	mounted, err := buildah("mount", container)
	if err != nil {
		return nil, err
	}
	i := &builtImage{Root: filepath.Join(dir, "root")}
	if _, err := output("cp", "-a", mounted, i.Root); err != nil {
		return nil, err
	}
	if err := filepath.WalkDir(i.Root, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			i.Files = append(i.Files, strings.TrimPrefix(path, i.Root))
		}
		return err
	}); err != nil {
		return nil, err
	}
	if err := i.makeMountPoints(); err != nil {
		return nil, err
	}
	described, err := buildah("inspect", "--type", "image", "localhost/caddy-sso")
	if err != nil {
		return nil, err
	}
	return i, json.Unmarshal([]byte(described), &struct{ Docker struct{ Config any } }{struct{ Config any }{&i.Config}})
})

// makeMountPoints makes the files and directories that something is mounted at, as the engine
// of containers does.
func (i *builtImage) makeMountPoints() error {
	for _, dir := range []string{"proc", "dev", "etc/caddy", "run/secrets"} {
		if err := os.MkdirAll(filepath.Join(i.Root, dir), 0o755); err != nil {
			return err
		}
	}
	for _, file := range []string{"etc/hosts", "etc/caddy/Caddyfile", "run/secrets/oidc"} {
		if err := os.WriteFile(filepath.Join(i.Root, file), nil, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// buildah runs it with storage of its own, and returns what it prints.
func buildah(args ...string) (string, error) {
	dir := filepath.Join(scratch, "image")
	cmd := exec.Command("buildah", append([]string{"--root", dir + "/storage", "--runroot", dir + "/run"}, args...)...)
	cmd.Env = append(os.Environ(), "STORAGE_DRIVER=vfs", "BUILDAH_ISOLATION=chroot", "TMPDIR="+dir)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("buildah %s: %w\n%s", args[0], err, lastLines(stderr.String(), 30))
	}
	return strings.TrimSpace(string(out)), nil
}

// TestImage looks at what is in the image. TestCompose runs it.
func TestImage(t *testing.T) {
	t.Parallel()
	i, err := theImage()
	if err != nil {
		t.Fatal(err)
	}
	t.Run("it holds the binary, authorities and an empty volume", func(t *testing.T) {
		if want := []string{"/etc/ssl/certs/ca-certificates.crt", "/usr/bin/caddy-sso"}; !slices.Equal(i.Files, want) {
			t.Errorf("files %q, want %q", i.Files, want)
		}
		if _, ok := i.Config.Volumes["/data"]; !ok {
			t.Errorf("volumes %v, want /data", i.Config.Volumes)
		}
	})
	t.Run("it runs as a user without rights", func(t *testing.T) {
		if i.Config.User != "65532:65532" {
			t.Errorf("user %q", i.Config.User)
		}
	})
	t.Run("its binary is that of a release, bit for bit", func(t *testing.T) {
		dir := t.TempDir()
		cmd := exec.Command("../docker/release", trialVersion, dir)
		cmd.Env = append(os.Environ(), "TARGETS=linux/"+runtime.GOARCH)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		check := exec.Command("sha256sum", "--check", "--strict", "SHA256SUMS")
		check.Dir = dir
		if out, err := check.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		name := filepath.Join(dir, "caddy-sso_"+trialVersion+"_linux_"+runtime.GOARCH)
		released, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		inImage, err := os.ReadFile(i.Root + "/usr/bin/caddy-sso")
		if err != nil {
			t.Fatal(err)
		}
		if sha256.Sum256(released) != sha256.Sum256(inImage) {
			t.Error("they differ")
		}
		out, err := output(name, "version")
		if err != nil || !strings.HasPrefix(out, "caddy-sso "+trialVersion+",") {
			t.Errorf("version %q, error %v", out, err)
		}
		bom, err := os.ReadFile(name + ".cdx.json")
		if err != nil || !bytes.Contains(bom, []byte("pkg:golang/github.com/crewjam/saml@")) {
			t.Errorf("the list of modules lacks crewjam/saml (error %v)", err)
		}
	})
}
