package refusal_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

var update = flag.Bool("update", false, "write docs/errors.md anew")

func TestEveryCodeHasItsMeaning(t *testing.T) {
	t.Parallel()
	for _, code := range refusal.Codes() {
		wantMeaning(t, code)
	}
}

// wantMeaning checks that a code's row says something to each of its readers.
func wantMeaning(t *testing.T, code refusal.Code) {
	t.Helper()
	row := code.Meaning()
	if code != refusal.Internal && row == refusal.Internal.Meaning() {
		t.Errorf("%s has no row", code)
	}
	if http.StatusText(row.Status) == "" || row.Status < 400 {
		t.Errorf("%s: status %d", code, row.Status)
	}
	if (strings.HasPrefix(string(code), "oidc_") || strings.HasPrefix(string(code), "saml_")) && row.Status >= 500 {
		t.Errorf("%s: status %d for an answer that was refused", code, row.Status)
	}
	if row.Title == "" || strings.HasSuffix(row.Title, ".") {
		t.Errorf("%s: title %q, want words without a full stop", code, row.Title)
	}
	for _, text := range []string{row.Text, row.Fix} {
		if len(text) < 20 || !strings.HasSuffix(text, ".") || strings.Contains(text, "  ") || strings.ToUpper(text[:1]) != text[:1] && !strings.HasPrefix(text, "exp, ") {
			t.Errorf("%s: %q, want sentences", code, text)
		}
	}
}

// TestErrorsPage holds docs/errors.md to the table.
func TestErrorsPage(t *testing.T) {
	t.Parallel()
	const path = "../../docs/errors.md"
	want := errorsPage()
	if *update {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !bytes.Equal(got, want) {
		t.Fatalf("docs/errors.md is not what the table says: go test ./gateway/refusal -run TestErrorsPage -update")
	}
	if err != nil {
		t.Fatal(err)
	}
}

func errorsPage() []byte {
	var b bytes.Buffer
	b.WriteString(`# Errors

Every refusal has one of these codes. The page, or the JSON problem (RFC 9457), shows the code and a reference. The log line with
the same reference has the full cause in its field "error", which the client never sees. If one client gets the same refusal several
times within a minute, the log has the first and the last, and up to 8 lines if the causes differ.

At the level DEBUG there are more lines: if no rule matches a person, one has the person's groups and the most similar rule. This in
the global options moves all lines of the gateway to a file of their own, at that level:

    log sso {
        output file /var/log/caddy/sso.log
        level DEBUG
        include sso
    }

If the provider shows an error page of its own, the redirect URI or ACS is not registered there, or the client is disabled. The
addresses to register are in the log: see the line "register these addresses" at start.

<!-- Made from the table in gateway/refusal/table.go: go test ./gateway/refusal -run TestErrorsPage -update -->

| code | status | what the person sees |
|---|---|---|
`)
	for _, code := range refusal.Codes() {
		row := code.Meaning()
		fmt.Fprintf(&b, "| [`%s`](#%s) | %d | %s |\n", code, code, row.Status, row.Title)
	}
	for _, code := range refusal.Codes() {
		row := code.Meaning()
		fmt.Fprintf(&b, "\n## %s\n\n%d %s. The person reads:\n\n> **%s**\n>\n> %s\n\n**Cause and fix.** %s\n", code, row.Status, http.StatusText(row.Status), row.Title, row.Text, row.Fix)
	}
	return b.Bytes()
}

func TestErrorText(t *testing.T) {
	t.Parallel()
	cause := errors.New("the cause")
	for name, tc := range map[string]struct {
		err  error
		text string
		code refusal.Code
	}{
		"with cause":    {refusal.New(refusal.NotFound, cause), "not_found: the cause", refusal.NotFound},
		"without":       {refusal.New(refusal.NotFound, nil), "not_found", refusal.NotFound},
		"wrapped":       {fmt.Errorf("doing: %w", refusal.New(refusal.NotFound, cause)), "doing: not_found: the cause", refusal.NotFound},
		"twice":         {refusal.New(refusal.NotFound, refusal.New(refusal.NotFound, cause)), "not_found: the cause", refusal.NotFound},
		"of another":    {refusal.New(refusal.NotFound, refusal.New(refusal.Internal, cause)), "not_found: internal: the cause", refusal.NotFound},
		"another error": {cause, "the cause", refusal.Internal},
	} {
		if tc.err.Error() != tc.text || refusal.CodeOf(tc.err) != tc.code {
			t.Errorf("%s: %q with code %s", name, tc.err, refusal.CodeOf(tc.err))
		}
	}
	if !errors.Is(refusal.New(refusal.NotFound, cause), cause) {
		t.Error("the cause is not wrapped")
	}
	if refusal.Code("no_such_code").Meaning() != refusal.Internal.Meaning() {
		t.Error("an unknown code has a row of its own")
	}
}

// A refusal keeps its code and its cause when the person is named.
func TestAbout(t *testing.T) {
	t.Parallel()
	cause := errors.New("no such claim")
	got := refusal.About("b\u00f6b", refusal.New(refusal.OIDCClaimInvalid, cause))
	if refusal.CodeOf(got) != refusal.OIDCClaimInvalid || !errors.Is(got, cause) || !strings.Contains(got.Error(), `the subject "b\u00f6b": no such claim`) {
		t.Errorf("got %v", got)
	}
	for _, err := range []error{nil, cause, refusal.New(refusal.Internal, nil)} {
		if got := refusal.About("bob", err); got != err {
			t.Errorf("of %v it makes %v", err, got)
		}
	}
}
