//go:build integration

package integration

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// An openIDLibrary is a client library that others wrote, for one client at a time.
type openIDLibrary interface {
	// call makes a call of openid/client.mjs. args and result are JSON objects.
	call(name string, args, result any) error
}

// openIDLibraries start a library that trusts the authority in a file.
var openIDLibraries = map[string]func(t *testing.T, caFile string) openIDLibrary{
	"go-oidc":       newGoOIDC,
	"openid-client": newOpenIDClient,
	"Authlib":       newAuthlib,
}

// An openIDSetup is what an app knows of its registration.
type openIDSetup struct {
	Issuer      string `json:"issuer"`
	ClientID    string `json:"client_id"`
	Method      string `json:"method"` // of client authentication
	Secret      string `json:"secret,omitempty"`
	Key         string `json:"key,omitempty"` // in PEM
	KeyAlg      string `json:"key_alg,omitempty"`
	KID         string `json:"kid,omitempty"`
	Alg         string `json:"alg"` // of ID tokens
	UserinfoAlg string `json:"userinfo_alg,omitempty"`
	RedirectURI string `json:"redirect_uri"`
	Scope       string `json:"scope"`
}

// An openIDAnswer is the authorization response as the browser brings it.
type openIDAnswer struct {
	State    string `json:"state"` // of the request
	URL      string `json:"url"`
	Form     string `json:"form,omitempty"`
	Verifier string `json:"verifier,omitempty"` // instead of the library's own
}

// openIDTokens are what a library got from the token endpoint. It has verified them.
type openIDTokens struct {
	AccessToken  string         `json:"access_token"`
	RefreshToken string         `json:"refresh_token"`
	IDToken      string         `json:"id_token"`
	TokenType    string         `json:"token_type"`
	ExpiresIn    float64        `json:"expires_in"`
	Scope        string         `json:"scope"`
	Claims       map[string]any `json:"claims"` // of the ID token
}

// An openIDError is what a library refuses with: the provider's error code, or one of its own.
type openIDError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

func (e *openIDError) Error() string { return e.Code + ": " + e.Message }

// openIDHome has the libraries of Node in node_modules, and those of Python in packages.
var openIDHome = sync.OnceValues(func() (string, error) {
	path, err := output("openid/prepare")
	if err != nil {
		return "", fmt.Errorf("preparing the OpenID libraries: %w", err)
	}
	return strings.TrimSpace(path), nil
})

func openIDDirectory(t *testing.T, name string) string {
	t.Helper()
	home, err := openIDHome()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(home, name)
}

func newOpenIDClient(t *testing.T, caFile string) openIDLibrary {
	t.Helper()
	cmd := exec.Command("node", "openid/client.mjs", openIDDirectory(t, "node_modules"))
	cmd.Env = append(os.Environ(), "NODE_EXTRA_CA_CERTS="+caFile)
	return newOpenIDProcess(t, cmd)
}

func newAuthlib(t *testing.T, caFile string) openIDLibrary {
	t.Helper()
	cmd := exec.Command("python3", "openid/client.py")
	cmd.Env = append(os.Environ(), "PYTHONPATH="+openIDDirectory(t, "packages"), "REQUESTS_CA_BUNDLE="+caFile)
	return newOpenIDProcess(t, cmd)
}

// An openIDProcess is a library in a process of its own. It reads calls, one a line.
type openIDProcess struct {
	mu     sync.Mutex
	proc   *process
	calls  io.Writer
	answer *bufio.Reader
	log    *syncBuffer
}

func newOpenIDProcess(t *testing.T, cmd *exec.Cmd) *openIDProcess {
	t.Helper()
	p := &openIDProcess{log: &syncBuffer{}}
	in, inErr := cmd.StdinPipe()
	read, write, outErr := os.Pipe()
	if inErr != nil || outErr != nil {
		t.Fatal(inErr, outErr)
	}
	cmd.Stdout, cmd.Stderr = write, p.log
	proc, err := start(cmd)
	_ = write.Close()
	if err != nil {
		t.Fatal(err)
	}
	p.proc, p.calls, p.answer = proc, in, bufio.NewReader(read)
	t.Cleanup(func() {
		_ = in.Close() // it has no more to read
		if err := proc.end(10 * time.Second); err != nil {
			t.Error(err)
		}
		_ = read.Close()
	})
	return p
}

func (p *openIDProcess) call(name string, args, result any) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	call, err := json.Marshal(map[string]any{"call": name, "args": args})
	if err != nil {
		return err
	}
	if _, err := p.calls.Write(append(call, '\n')); err != nil {
		return fmt.Errorf("calling the library: %w\n%s", err, lastLines(p.log.String(), 20))
	}
	line, err := p.answer.ReadBytes('\n')
	if err != nil {
		_ = p.proc.end(5 * time.Second) // then all that it said is in the log
		return fmt.Errorf("reading the library's answer: %w\n%s", err, lastLines(p.log.String(), 20))
	}
	answer := struct {
		Result any          `json:"result"`
		Error  *openIDError `json:"error"`
	}{Result: result}
	if err := json.Unmarshal(line, &answer); err != nil {
		return fmt.Errorf("reading the library's answer %s: %w", line, err)
	}
	if answer.Error != nil {
		return answer.Error
	}
	return nil
}
