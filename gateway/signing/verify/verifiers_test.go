//go:build integration

package verify_test

import (
	"bufio"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/caddy-sso/caddy-sso/gateway/signing/verify"
)

// languages are those of docs/verify, with the command of a program that answers
// questions.
var languages = map[string][]string{
	"PHP":    {"php", "-n", "testdata/programs/ask.php"},
	"Python": {"/usr/bin/python3", "testdata/programs/ask.py"}, // Debian's, which has its package cryptography
	"Node":   {"node", "testdata/programs/ask.mjs"},
}

// A question is about a request at a time. The program answers it as often as times says,
// side by side if it can. With a URL, it is about a new verifier, which answers the next
// questions.
type question struct {
	Now        int64    `json:"now"`
	Values     []string `json:"values"` // of the assertion's headers
	Times      int      `json:"times"`
	URL        string   `json:"url,omitempty"`
	Algorithms []string `json:"algorithms,omitempty"`
}

type reply struct {
	Who         map[string]any `json:"who"`
	Error       string         `json:"error"`
	Unavailable bool           `json:"unavailable"`
	// Statuses are the answers of the language's middlewares.
	Statuses []int `json:"statuses"`
}

// A program runs a verifier of docs/verify.
type program struct {
	t   *testing.T
	in  io.Writer
	out *bufio.Reader
}

// startProgram starts a program with a verifier that accepts ES256.
func startProgram(t *testing.T, language, url, temp string) *program {
	t.Helper()
	dir, err := filepath.Abs("../../../docs/verify")
	if err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(dir + "/*/*")
	for _, file := range append(files, languages[language][len(languages[language])-1]) {
		if _, err := os.Stat(file); err != nil || len(files) < 8 { // go test looks at these files, before it repeats a result
			t.Fatalf("files %q, %v", files, err)
		}
	}
	args := slices.Concat(languages[language], []string{dir, issuer, audience})
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + temp, "HOME=" + temp}
	cmd.Stderr = t.Output()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	p := &program{t, in, bufio.NewReader(out)}
	if got := p.configure(url, "ES256"); got != "" {
		t.Fatal(got)
	}
	return p
}

// configure replaces the program's verifier, and returns its error.
func (p *program) configure(url string, algorithms ...string) string {
	p.t.Helper()
	return p.ask(question{Times: 1, URL: url, Algorithms: algorithms}).Error
}

// ask returns the first answer; all say the same.
func (p *program) ask(q question) reply {
	p.t.Helper()
	p.send(q)
	return p.receive(q.Times)
}

func (p *program) send(q question) {
	if _, err := p.in.Write(append(marshal(p.t, q), '\n')); err != nil {
		p.t.Error(err)
	}
}

func (p *program) receive(times int) reply {
	p.t.Helper()
	line, err := p.out.ReadBytes('\n')
	var answers []reply
	if err == nil {
		err = json.Unmarshal(line, &answers)
	}
	if err != nil || len(answers) != times {
		p.t.Fatalf("the program answered %q, %v", line, err)
	}
	for _, a := range answers {
		for _, name := range []string{"iss", "aud", "iat", "nbf"} { // verify.Identity has none of these
			delete(a.Who, name)
		}
		if a.Error != answers[0].Error || !reflect.DeepEqual(a.Who, answers[0].Who) {
			p.t.Fatalf("two answers: %+v and %+v", answers[0], a)
		}
	}
	return answers[0]
}

// TestVerifiers plays all that the Go verifier accepts and refuses against the others.
// They read the same claims, and refuse for the same reasons.
func TestVerifiers(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	corpus, want := accepted(t, f), map[string]reply{}
	for _, a := range attacks(t, f) {
		corpus[a.name] = a.token
	}
	if len(corpus) < 140 {
		t.Fatalf("only %d cases", len(corpus))
	}
	synctest.Test(t, func(t *testing.T) {
		v := newVerifier(t, verify.Config{Keys: f.jwks(t)})
		for name, token := range corpus {
			id, err := v.Verify(t.Context(), token)
			if err != nil {
				want[name] = reply{Error: strings.TrimPrefix(err.Error(), "verifying an assertion: ")}
				continue
			}
			want[name] = reply{Who: claimsOf(t, id)}
		}
	})
	for language := range languages {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			p := newPublisher(t, f)
			program := startProgram(t, language, p.URL, t.TempDir())
			names := slices.Collect(maps.Keys(corpus))
			go func() {
				for _, name := range names {
					program.send(question{Now: now, Values: []string{corpus[name]}, Times: 1})
				}
			}()
			for _, name := range names {
				got := program.receive(1)
				if got.Error != want[name].Error || !reflect.DeepEqual(got.Who, want[name].Who) {
					t.Errorf("%s: got %+v\nGo says %+v", name, got, want[name])
				}
				wantStatuses(t, name, got)
			}
			for i, values := range [][]string{{}, {corpus["good"], corpus["good"]}} {
				got := program.ask(question{Now: now, Values: values, Times: 1})
				reasons := [][]string{{"no assertion"}, {"2 headers of the name", "not a compact JWS"}}
				if !slices.Contains(reasons[i], got.Error) {
					t.Errorf("%d headers: got %+v", len(values), got)
				}
				wantStatuses(t, strconv.Itoa(len(values))+" headers", got)
			}
			p.want(t, 1)
		})
	}
}

// accepted are assertions that the Go verifier accepts.
func accepted(t *testing.T, f *forger) map[string]string {
	t.Helper()
	all := map[string]string{}
	for name, changes := range map[string]map[string]any{
		"good": nil, "array of one audience": {"aud": []string{audience}},
		"least claims":   {"preferred_username": nil, "email": nil, "email_verified": nil, "name": nil, "roles": nil, "jti": nil},
		"most claims":    {"groups": []string{"ops", "Net Ops"}, "template": "x", "sid": "s", "idp": "corp", "acr": "a", "amr": []string{"pwd"}, "auth_time": now - 9},
		"unknown claims": {"https://example.com/x": map[string]any{"y": []int{1}, "sub": 1}, "EMAIL": "mallory@example.com", "Roles": []string{"Admin"}, "__proto__": 1},
		"odd letters":    {"name": "Å \" \\ \u2028 {[: 東京 \x00", "roles": []string{"a\":", "}", ""}},
		"exp at the end": {"exp": now - 29}, "nbf at the end": {"nbf": now + 30}, "year 9999": {"exp": 253402300799},
		"large": {"name": strings.Repeat("x", 40_000)},
	} {
		all[name] = f.es256(t, f.ec, goodHeader, string(marshal(t, goodClaims(changes))))
	}
	all["blanks in JSON"] = f.es256(t, f.ec, " {\n\"alg\" : \"ES256\" ,\t\"kid\":\"ec\",\"typ\":\"JWT\"}\r", string(marshal(t, goodClaims(nil)))+" ")
	all["unknown header parameter"] = f.es256(t, f.ec, `{"alg":"ES256","kid":"ec","typ":"JWT","cty":{"alg":"none"}}`, string(marshal(t, goodClaims(nil))))
	return all
}

// claimsOf returns an identity as the other verifiers do.
func claimsOf(t *testing.T, id *verify.Identity) map[string]any {
	t.Helper()
	authTime := int64(0)
	if !id.AuthTime.IsZero() {
		authTime = id.AuthTime.Unix()
	}
	list := func(texts []string) []string { return append([]string{}, texts...) }
	var claims map[string]any
	err := json.Unmarshal(marshal(t, map[string]any{
		"sub": id.Subject, "preferred_username": id.Username, "email": id.Email, "email_verified": id.EmailVerified, "name": id.Name,
		"given_name": id.FirstName, "family_name": id.LastName, "roles": list(id.Roles), "groups": list(id.Groups), "template": id.Template,
		"sid": id.SessionID, "idp": id.Provider, "acr": id.ACR, "amr": list(id.AMR), "auth_time": authTime, "jti": id.ID, "exp": id.Expires.Unix(),
	}), &claims)
	if err != nil {
		t.Fatal(err)
	}
	return claims
}

// wantStatuses holds the middlewares against the plain function.
func wantStatuses(t *testing.T, name string, a reply) {
	t.Helper()
	want := http.StatusUnauthorized
	switch {
	case a.Who != nil:
		want = http.StatusOK
	case a.Unavailable:
		want = http.StatusServiceUnavailable
	}
	for _, got := range a.Statuses {
		if got != want && (got != 1008 || want == http.StatusOK) { // 1008 closes a WebSocket
			t.Errorf("%s: the middlewares answer %v, want %d", name, a.Statuses, want)
		}
	}
}

// TestVerifiersRS256: the configuration decides the algorithm, not the token.
func TestVerifiersRS256(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	payload := string(marshal(t, goodClaims(nil)))
	rs256, es256 := f.rs256(t, `{"alg":"RS256","kid":"rsa","typ":"JWT"}`, payload), f.es256(t, f.ec, goodHeader, payload)
	swapped := f.rs256(t, `{"alg":"RS256","kid":"ec","typ":"JWT"}`, payload)
	for language := range languages {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			url := newPublisher(t, f).URL
			program := startProgram(t, language, url, t.TempDir())
			for _, test := range []struct {
				algorithms  []string
				token, want string
			}{
				{[]string{"RS256"}, rs256, ""},
				{[]string{"RS256"}, es256, "no compact JWS with an accepted algorithm"},
				{[]string{"ES256", "RS256"}, rs256, ""},
				{[]string{"ES256", "RS256"}, swapped, "algorithm is not the key's"},
			} {
				if got := program.configure(url, test.algorithms...); got != "" {
					t.Fatal(got)
				}
				if got := program.ask(question{Now: now, Values: []string{test.token}, Times: 1}); got.Error != test.want {
					t.Errorf("%s: %q, want %q", test.algorithms, got.Error, test.want)
				}
			}
		})
	}
}

// TestVerifiersRefuseConfigurations has faults that would make a verifier accept more, or
// fetch keys where anybody can change them.
func TestVerifiersRefuseConfigurations(t *testing.T) {
	t.Parallel()
	for language := range languages {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			program := startProgram(t, language, issuer, t.TempDir())
			for _, url := range []string{
				"http://app.example.com/j", "http://localhost.example.com/j", "http://127.0.0.1.example.com/j", "http://localhost@example.com/j",
				"http://127.0.0.1:1@example.com/j", "http://example.com/.localhost/j", "http://example.com?.localhost/j", "http://example.com#.localhost/j", "http://example.com@x.localhost.example.com/j", "file:///etc/j", "/j", "localhost",
			} {
				if program.configure(url, "ES256") == "" {
					t.Errorf("%q is accepted", url)
				}
			}
			for _, algorithm := range []string{"HS256", "none", "es256", ""} {
				if program.configure(issuer, "ES256", algorithm) == "" {
					t.Errorf("%q is accepted", algorithm)
				}
			}
			for _, url := range []string{"https://app.example.com/j", "http://localhost:80/j", "http://app.localhost/j", "http://127.0.0.2/j", "http://[::1]:80/j"} {
				if got := program.configure(url, "ES256", "RS256"); got != "" {
					t.Errorf("%s is refused: %s", url, got)
				}
			}
		})
	}
}
