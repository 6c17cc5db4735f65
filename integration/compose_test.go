//go:build integration

package integration

import (
	"bytes"
	"encoding/json"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// trials are the compose files of docker/.
var trials = []string{"../docker/compose.yaml", "../docker/sidecar.yaml"}

// hosts is the file of the names that services have for each other, and people for them.
func hosts() (string, error) {
	names := []string{"localhost", "wiki.localhost", "metrics.localhost", "sidecar.localhost"}
	for _, file := range trials {
		c, err := readCompose(file)
		if err != nil {
			return "", err
		}
		for name, s := range c.Services {
			names = append(append(names, name), s.Networks["default"].Aliases...)
		}
	}
	return "127.0.0.1 " + strings.Join(names, " ") + "\n", nil
}

// imageVariable tells the process that plays the trials what the image is.
const imageVariable = "CADDY_SSO_IMAGE"

// Where that process has the image, docker/ and temporary files: the image's user gets there,
// whoever may read the directories of this run.
const (
	imageDir  = "/mnt/image"
	dockerDir = "/mnt/docker"
	workDir   = "/mnt/work"
)

// TestCompose plays the trials of docker/: the services of each file run on this machine, with
// the commands, environments and mounts that the file gives them, in a network of their own,
// and people sign in there. The image of docker/Dockerfile runs as it does in a container:
// read-only, as its user, with nothing else in sight. Redis and Keycloak are those of the
// other tests.
func TestCompose(t *testing.T) {
	if text := os.Getenv(imageVariable); text != "" {
		i := &builtImage{}
		if err := json.Unmarshal([]byte(text), i); err != nil {
			t.Fatal(err)
		}
		playTrials(t, i)
		return
	}
	t.Parallel()
	i, err := theImage()
	if err != nil {
		t.Fatal(err)
	}
	inside := *i
	inside.Root = imageDir
	text, err := json.Marshal(inside)
	if err != nil {
		t.Fatal(err)
	}
	names, err := hosts()
	if err != nil {
		t.Fatal(err)
	}
	work := t.TempDir()
	file := filepath.Join(work, "hosts")
	if err := os.WriteFile(file, []byte(names), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("bwrap", "--dev-bind", "/", "/", "--unshare-net", "--cap-add", "ALL", "--die-with-parent", "--ro-bind", file, "/etc/hosts",
		"--tmpfs", "/mnt", "--ro-bind", i.Root, imageDir, "--ro-bind", "../docker", dockerDir, "--bind", work, workDir,
		os.Args[0], "-test.run=^TestCompose$", "-test.v", "-test.timeout=20m")
	cmd.Env = append(os.Environ(), imageVariable+"="+string(text), "TMPDIR="+workDir)
	var all bytes.Buffer
	cmd.Stdout, cmd.Stderr = &all, &all
	inner, err := start(cmd) // it ends with the thread that starts it, and this one stays
	if err != nil {
		t.Fatal(err)
	}
	<-inner.done
	out := all.Bytes()
	if inner.err != nil {
		t.Fatalf("%v\n%s", inner.err, out)
	}
	for _, want := range []string{"F4", "two_apps"} { // what has to have run inside
		if !bytes.Contains(out, []byte("--- PASS: TestCompose/"+want)) {
			t.Errorf("%s did not run:\n%s", want, out)
		}
	}
}

func playTrials(t *testing.T, i *builtImage) {
	first, err := readCompose(trials[0])
	if err != nil {
		t.Fatal(err)
	}
	second, err := readCompose(trials[1])
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(first.Services["keycloak"], second.Services["keycloak"]) {
		t.Fatal("the trials don't share their Keycloak")
	}
	// It starts once: that takes long.
	shared := &trial{t: t, file: first, image: i, running: map[string]*process{}}
	shared.start("keycloak")
	eventually(t, "Keycloak is ready", 8*time.Minute, func() bool { return isReady("http://127.0.0.1:9000/health/ready") })

	t.Run("only the gateway reaches an app", func(t *testing.T) {
		for _, app := range []string{"wiki", "metrics"} {
			for name, s := range first.Services {
				if _, ok := s.Networks[app]; ok != (name == app || name == "gateway") {
					t.Errorf("%s in the network of %s: %v", name, app, ok)
				}
			}
			if len(first.Services[app].Networks) != 1 {
				t.Errorf("%s has networks %v", app, first.Services[app].Networks)
			}
		}
		if mode := second.Services["app"].NetworkMode; mode != "service:sidecar" {
			t.Errorf("the app's network is %q", mode)
		}
	})
	t.Run("two apps", func(t *testing.T) {
		r := shared.with(t, first)
		for name := range first.Services {
			r.start(name)
		}
		alice := newClient(t)
		alice.signInAt(r, "http://wiki.localhost:8000/", "alice", "This is the wiki. You are alice, Editor,Reader.")
		alice.signInAt(r, "http://metrics.localhost:8000/", "", "These are the metrics. You are alice, Admin.")
		r.isHealthy("gateway")
		bob := newClient(t)
		bob.signInAt(r, "http://wiki.localhost:8000/", "bob", "This is the wiki. You are bob, Reader.")
		if p := bob.navigate("http://metrics.localhost:8000/"); p.status != http.StatusForbidden {
			t.Errorf("bob gets %d at the metrics, want 403", p.status)
		}
	})
	t.Run("F4 sidecar", func(t *testing.T) {
		r := shared.with(t, second)
		for name := range second.Services {
			r.start(name)
		}
		alice := newClient(t)
		alice.signInAt(r, "http://sidecar.localhost:8000/", "alice", "This is the app. You are alice, Admin,Editor.")
		r.isHealthy("sidecar")
	})
}

// signInAt opens a page, fills in Keycloak's form if user is not empty, and wants the page's
// text then.
func (c *client) signInAt(r *trial, address, user, want string) {
	r.t.Helper()
	p := c.navigate(address)
	if user != "" {
		if !p.isLoginForm() {
			r.t.Fatalf("no form at %s: %d\n%s", p.url, p.status, p.body)
		}
		p = c.enter(p, user, user)
	}
	if p.status != http.StatusOK || strings.TrimSpace(p.body) != want {
		r.t.Errorf("%s: %d %q, want %q", address, p.status, p.body, want)
	}
}

// A trial is a compose file whose services run.
type trial struct {
	t       *testing.T
	file    *composeFile
	image   *builtImage
	running map[string]*process
}

// with is a trial beside r, with the services that r runs.
func (r *trial) with(t *testing.T, c *composeFile) *trial {
	return &trial{t: t, file: c, image: r.image, running: maps.Clone(r.running)}
}

// start starts a service behind those that it depends on, and waits until it listens.
func (r *trial) start(name string) {
	r.t.Helper()
	if r.running[name] != nil {
		return
	}
	s := r.file.Services[name]
	for _, other := range s.DependsOn {
		r.start(other)
	}
	var cmd *exec.Cmd
	var ports []string
	switch image, _, _ := strings.Cut(filepath.Base(s.Image), ":"); image {
	case "caddy-sso":
		cmd = r.contained(name, s)
	case "redis":
		cmd, ports = exec.Command(s.Command[0], s.Command[1:]...), []string{"6379"}
		cmd.Dir = r.t.TempDir()
	case "keycloak":
		cmd = r.keycloak(s)
	default:
		r.t.Fatalf("%s: nothing here runs the image %s", name, s.Image)
	}
	log := &syncBuffer{}
	cmd.Stdout, cmd.Stderr = log, log
	proc, err := start(cmd)
	if err != nil {
		r.t.Fatal(err)
	}
	r.running[name] = proc
	r.t.Cleanup(func() {
		if err := proc.end(time.Minute); err != nil {
			r.t.Error(err)
		}
		if r.t.Failed() {
			r.t.Logf("%s:\n%s", name, lastLines(log.String(), 30))
		}
	})
	for _, text := range s.Ports { // address:outside:inside
		port := strings.Split(text, ":")
		if len(port) != 3 || port[0] != "127.0.0.1" || port[1] != port[2] {
			r.t.Fatalf("%s: port %s: want one that is the same in the container, on loopback", name, text)
		}
		ports = append(ports, port[2])
	}
	for _, arg := range s.Command {
		if address, ok := strings.CutPrefix(arg, "--listen="); ok {
			ports = append(ports, address[strings.LastIndex(address, ":")+1:])
		}
	}
	for _, port := range ports {
		eventually(r.t, name+" listens", 5*time.Minute, func() bool {
			conn, err := net.Dial("tcp", "127.0.0.1:"+port)
			if err == nil {
				conn.Close()
			}
			return err == nil || proc.ended()
		})
	}
	if proc.ended() {
		r.t.Fatalf("%s ended:\n%s", name, log)
	}
}

// isHealthy runs the health check of the image beside a service.
func (r *trial) isHealthy(name string) {
	r.t.Helper()
	check := r.image.Config.Healthcheck.Test
	if want := []string{"CMD", "caddy-sso", "health"}; !slices.Equal(check, want) {
		r.t.Fatalf("the image's health check is %q, want %q", check, want)
	}
	s := *r.file.Services[name]
	s.Command, s.Volumes = check[2:], nil
	if out, err := r.contained(name, &s).CombinedOutput(); err != nil {
		r.t.Errorf("%s is not well: %v\n%s", name, err, out)
	}
}

// contained is the command of a service that runs the image of docker/Dockerfile.
func (r *trial) contained(name string, s *composeService) *exec.Cmd {
	r.t.Helper()
	if !s.ReadOnly {
		r.t.Fatalf("%s: its files are not read-only", name)
	}
	id, _, _ := strings.Cut(r.image.Config.User, ":")
	// A machine that is a container itself may mount no /proc: it gets that of the machine.
	args := []string{
		"--reuid=" + id, "--regid=" + id, "--clear-groups", "--no-new-privs", "bwrap", "--die-with-parent", "--unshare-user",
		"--uid", id, "--gid", id, "--ro-bind", r.image.Root, "/", "--ro-bind", "/proc", "/proc", "--dev", "/dev", "--chdir", r.image.Config.WorkingDir, "--clearenv",
		"--ro-bind", "/etc/hosts", "/etc/hosts",
	}
	for _, e := range r.image.Config.Env {
		key, value, _ := strings.Cut(e, "=")
		args = append(args, "--setenv", key, value)
	}
	for key, value := range s.Environment {
		args = append(args, "--setenv", key, value)
	}
	for _, volume := range s.Volumes {
		from, to, _ := strings.Cut(volume, ":")
		to, readOnly := strings.CutSuffix(to, ":ro")
		if strings.HasPrefix(from, ".") {
			from = filepath.Join(dockerDir, from)
		} else {
			from = r.ownDir(id)
		}
		bind := "--bind"
		if readOnly {
			bind = "--ro-bind"
		}
		args = append(args, bind, from, to)
	}
	for _, dir := range s.Tmpfs {
		args = append(args, "--tmpfs", dir)
	}
	for _, secret := range s.Secrets {
		args = append(args, "--ro-bind", filepath.Join(dockerDir, r.file.Secrets[secret].File), "/run/secrets/"+secret)
	}
	command := s.Command
	if len(command) == 0 {
		command = r.image.Config.Cmd
	}
	return exec.Command("setpriv", slices.Concat(args, r.image.Config.Entrypoint, command)...)
}

// ownDir makes a directory that belongs to the image's user, as a new volume does.
func (r *trial) ownDir(id string) string {
	r.t.Helper()
	dir, err := os.MkdirTemp(scratch, "volume-")
	if err == nil {
		err = os.Chmod(scratch, 0o711)
	}
	if err == nil {
		_, err = output("chown", id+":"+id, dir)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return dir
}

// keycloak is the command of a service that runs Keycloak's image. Instead of start-dev,
// which builds Keycloak anew, it starts the one that the other tests built.
func (r *trial) keycloak(s *composeService) *exec.Cmd {
	r.t.Helper()
	if !slices.Equal(s.Command, []string{"start-dev", "--import-realm"}) {
		r.t.Fatalf("Keycloak's command is %q", s.Command)
	}
	from, to, _ := strings.Cut(strings.TrimSuffix(s.Volumes[0], ":ro"), ":")
	realm, err := os.ReadFile(filepath.Join("../docker", from))
	if err != nil || to != "/opt/keycloak/data/import/realm.json" {
		r.t.Fatalf("the realm goes to %s, error %v", to, err)
	}
	dist, err := output("idp/prepare")
	if err != nil {
		r.t.Fatal(err)
	}
	k := &keycloak{home: filepath.Join(scratch, "keycloak")}
	if err := k.makeHome(strings.TrimSpace(dist), realm); err != nil {
		r.t.Fatal(err)
	}
	cmd := k.java("--http-enabled=true")
	for key, value := range s.Environment {
		cmd.Env = append(cmd.Env, key+"="+value)
	}
	return cmd
}
