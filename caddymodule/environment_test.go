package caddymodule_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-sso/caddy-sso/caddymodule"
)

// environments are the files of a directory below testdata/environment: variables, a
// divider, and what must come of them. A line that begins with a tab goes on with a value.
func environments(t *testing.T, dir string, judge func(t *testing.T, environ []string, want string) (got string)) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata/environment", dir, "*.env"))
	if err != nil || len(files) < 4 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run("C10 "+strings.TrimSuffix(filepath.Base(file), ".env"), func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			text, want, _ := strings.Cut(string(content), divider)
			got := judge(t, strings.Split(strings.ReplaceAll(strings.TrimSpace(text), "\n\t", "\x00"), "\n"), want)
			if got == want {
				return
			}
			if !*update {
				t.Fatalf("got:\n%s\nwant:\n%s", got, want)
			}
			if err := os.WriteFile(file, []byte(strings.TrimSpace(text)+divider+got), 0o600); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// values puts line breaks back into values.
func values(environ []string) []string {
	for i := range environ {
		environ[i] = strings.ReplaceAll(environ[i], "\x00", "\n")
	}
	return environ
}

// TestAdaptEnvironment holds the configuration that variables give against that of a Caddyfile.
func TestAdaptEnvironment(t *testing.T) {
	t.Parallel()
	environments(t, "valid", func(t *testing.T, environ []string, want string) string {
		t.Helper()
		sidecar, err := caddymodule.ReadSidecar(values(environ))
		if err != nil {
			t.Fatal(err)
		}
		var got, caddyfile bytes.Buffer
		if err := json.Indent(&got, sidecar.Config, "", " "); err != nil {
			t.Fatal(err)
		}
		if err := json.Indent(&caddyfile, mustAdapt(t, want), "", " "); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(got.String(), canary) {
			t.Error("the configuration shows the password")
		}
		if got.String() != caddyfile.String() {
			t.Errorf("the environment gives:\n%s\nthe Caddyfile gives:\n%s", got.String(), caddyfile.String())
		}
		return want
	})
}

// TestAdaptEnvironmentMistakes reads variables with mistakes, and provisions what can be read: the
// error names each variable.
func TestAdaptEnvironmentMistakes(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	environments(t, "mistakes", func(t *testing.T, environ []string, _ string) string {
		t.Helper()
		setAll(t, values(environ))
		sidecar, err := caddymodule.ReadSidecar(environ)
		if err == nil {
			if err = validate(t, sidecar.Config); err != nil {
				err = sidecar.Explain(err)
			}
		}
		if err == nil {
			t.Fatal("the mistake was not found")
		}
		if strings.Contains(err.Error(), canary) {
			t.Error("it shows the password")
		}
		wantNoOptions(t, err.Error())
		return err.Error() + "\n"
	})
}

// TestNotes names the variables without effect.
func TestNotes(t *testing.T) {
	t.Parallel()
	sidecar, err := caddymodule.ReadSidecar([]string{
		"SSO_UPSTREAM=127.0.0.1:3000", "SSO_BASE_URL=https://app.example.com", "SSO_ROLE_MAPPING=*=User", "SSO_OIDC_CORP_ISSUER=https://id.example.com",
		"SSO_OIDC_CORP_CLIENT_ID=app", "SSO_OIDC_CORP_TOKEN_URL=https://id.example.com/token", "SSO_OIDC_CORP_AUTO_DISCOVERY=false", "SSO_OIDC_SYNC_USER_INFO=1",
		"SSO_OIDC_OLD_ENABLED=false", "SSO_OIDC_OLD_EMAIL_ATTR=upn", "SSO_OIDC_OLD_LIFETIME=soon", "SSO_OIDC_CROP_ENABLED=false", "SSO_OIDC_LINK_BY_EMAIL=true", "SSO_OIDC_AUTO_PROVISION=yes",
		"SSO_SAML_GROUP_MAPPING=a=B", "SSO_SAML_SP_ACS_URL=https://app.example.com/saml/acs",
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, note := range sidecar.Notes {
		got = append(got, strings.TrimPrefix(note.Variable, "SSO_"))
	}
	want := []string{"OIDC_CROP_ENABLED", "OIDC_LINK_BY_EMAIL", "SAML_GROUP_MAPPING", "SAML_SP_ACS_URL", "OIDC_CORP_AUTO_DISCOVERY", "OIDC_CORP_TOKEN_URL"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestSwitchNotes names the switches that are off in the DNS console without being set, if
// there are others.
func TestSwitchNotes(t *testing.T) {
	t.Parallel()
	base := []string{
		"SSO_UPSTREAM=127.0.0.1:3000", "SSO_BASE_URL=https://app.example.com", "SSO_ROLE_MAPPING=*=User", "SSO_SAME_PEOPLE=azure okta",
		"SSO_SAML_AZURE_METADATA=https://a.example.com/", "SSO_SAML_OKTA_METADATA=https://b.example.com/",
	}
	for switches, want := range map[string]string{
		"":                       "",
		"SSO_ENABLED=true":       "",
		"SSO_OIDC_ENABLED=false": "",
		"SSO_SAML_ENABLED=true":  "SSO_SAML_AZURE_ENABLED SSO_SAML_OKTA_ENABLED",
		"SSO_SAML_ENABLED=true SSO_SAML_AZURE_ENABLED=true":                            "SSO_SAML_OKTA_ENABLED",
		"SSO_SAML_OKTA_ENABLED=true SSO_SAML_AZURE_ENABLED=yes":                        "SSO_SAML_ENABLED",
		"SSO_SAML_ENABLED=true SSO_SAML_AZURE_ENABLED=true SSO_SAML_OKTA_ENABLED=true": "",
		"SSO_SAML_ENABLED=1 SSO_SAML_AZURE_ENABLED=1 SSO_SAML_OKTA_ENABLED=0":          "",
	} {
		t.Run("C10 "+switches, func(t *testing.T) {
			t.Parallel()
			sidecar, err := caddymodule.ReadSidecar(slices.Concat(base, strings.Fields(switches)))
			if err != nil {
				t.Fatal(err)
			}
			core, logs := observer.New(zap.InfoLevel)
			for _, note := range sidecar.Notes {
				note.Log(zap.New(core))
			}
			var got []string
			for _, entry := range logs.FilterMessage("this variable is not set").All() {
				got = append(got, entry.ContextMap()["variable"].(string))
			}
			if strings.Join(got, " ") != want {
				t.Errorf("got %v, want %s", got, want)
			}
		})
	}
}

// TestEnvironmentOption has a Caddyfile beside the environment, which changes nothing unless
// the global option says so.
func TestEnvironmentOption(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	for _, variable := range []string{
		"SSO_OIDC_CORP_ISSUER=https://id.example.com/realms/corp", "SSO_OIDC_CORP_CLIENT_ID=app", "SSO_OIDC_CORP_CLIENT_SECRET=secret",
		"SSO_LIFETIME=2h", "SSO_BASE_URL=https://other.example.com", "SSO_XYZZY=1",
	} {
		name, value, _ := strings.Cut(variable, "=")
		t.Setenv(name, value)
	}
	const site = "app.example.com {\n\tsso {\n\t\trole User *\n\t}\n}\n"
	for name, tt := range map[string]struct{ global, want string }{
		"C10 not said":         {"", "there is no provider"},
		"C10 said":             {"{\n\tsso {\n\t\tenvironment\n\t}\n}\n", ""},
		"C10 an option twice":  {"{\n\tsso {\n\t\tenvironment\n\t\tlifetime 8h\n\t}\n}\n", "the configuration and the environment both set `lifetime`"},
		"C10 a provider twice": {"{\n\tsso {\n\t\tenvironment\n\t\tprovider corp saml {\n\t\t\tmetadata https://a.example.com/\n\t\t}\n\t}\n}\n", `two providers with the name "corp"`},
	} {
		t.Run(name, func(t *testing.T) {
			err := validate(t, mustAdapt(t, tt.global+site))
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	for variable, global := range map[string]string{
		"SSO_ENABLED": "", "SSO_SAML_ENABLED": "", "SSO_SAML_CORP_ENABLED": "", "SSO_OIDC_ENABLED": "\n\t\tprovider azure oidc {\n\t\t\tissuer https://a.example.com/\n\t\t\tclient_id x\n\t\t}",
	} {
		t.Run("C10 a switch "+variable, func(t *testing.T) {
			t.Setenv(variable, "false")
			if global == "" {
				global = "\n\t\tprovider corp saml {\n\t\t\tmetadata https://a.example.com/\n\t\t}"
			}
			err := validate(t, mustAdapt(t, "{\n\tsso {\n\t\tenvironment"+global+"\n\t}\n}\n"+site))
			if err == nil || !strings.Contains(err.Error(), variable+": it switches off providers of the environment alone") {
				t.Errorf("got %v", err)
			}
		})
	}
	t.Run("C10 a mistake", func(t *testing.T) {
		t.Setenv("SSO_IDLE", "soon")
		if err := validate(t, mustAdapt(t, "{\n\tsso {\n\t\tenvironment\n\t}\n}\n"+site)); err == nil || !strings.Contains(err.Error(), "SSO_IDLE: it cannot be 'soon'") {
			t.Errorf("got %v", err)
		}
	})
}

// TestMerge adds each option of the environment to those of a Caddyfile.
func TestMerge(t *testing.T) {
	t.Parallel()
	lines := map[string]string{
		"provider": "provider corp saml {\nmetadata https://a.example.com/\n}", "same_people": "same_people a b", "store": "store redis redis://a",
		"secret": "secret x", "lifetime": "lifetime 1h", "idle": "idle 1h", "limit": "limit 1", "environment": "environment",
	}
	for _, word := range caddymodule.GlobalWords() {
		t.Run("C10 "+word, func(t *testing.T) {
			t.Parallel()
			if lines[word] == "" {
				t.Fatal("write a line of this option into the test")
			}
			read := func() *caddymodule.App {
				app := new(caddymodule.App)
				if err := app.UnmarshalCaddyfile(caddyfile.NewTestDispenser("sso {\n" + lines[word] + "\n}")); err != nil {
					t.Fatal(err)
				}
				return app
			}
			into, other := new(caddymodule.App), read()
			first := into.Merge(other)
			if first != nil || !reflect.DeepEqual(into, other) { //nolint:govet // it compares options, whose types may hold an error
				t.Errorf("got %+v, %v", into, first)
			}
			err := into.Merge(read())
			if joined := len(into.ProvidersRaw) == 2 || len(into.SamePeople) == 2; joined == (err != nil) || !joined && !strings.Contains(err.Error(), "both set `"+word+"`") {
				t.Errorf("set twice: %v", err)
			}
		})
	}
}

// TestVariables holds the tables of docs/environment.md against the rows that the reader
// uses, and finds each variable by its name.
func TestVariables(t *testing.T) {
	t.Parallel()
	const file = "../docs/environment.md"
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	page := string(content)
	for _, table := range caddymodule.VariableTables() {
		var b strings.Builder
		b.WriteString(table.Head)
		for _, row := range table.Rows {
			b.WriteString("| `" + row.Name + "` | " + row.About + " |\n")
			if table.Options {
				continue
			}
			name := strings.NewReplacer("<NAME>", "MY_CORP").Replace(row.Name)
			if _, _, ok := caddymodule.FindVariable(name); !ok {
				t.Errorf("%s is not found", name)
			}
			if strings.HasPrefix(name, "SSO_PORT") || strings.HasPrefix(name, "SSO_SERVICE") {
				t.Errorf("Kubernetes sets %s for a service that is called sso", name)
			}
		}
		before, chapter, found := strings.Cut(page, "\n### "+table.Chapter+"\n")
		start, end := strings.Index(chapter, "\n|")+1, strings.Index(chapter, "|\n\n")+2
		if !found || start < 1 || end < start {
			t.Fatalf("%s has no chapter %q with a table", file, table.Chapter)
		}
		if chapter[start:end] != b.String() && !*update {
			t.Errorf("%s, %s: go on with -update; the table should be\n%s", file, table.Chapter, b.String())
		}
		page = before + "\n### " + table.Chapter + "\n" + chapter[:start] + b.String() + chapter[end:]
	}
	if *update {
		if err := os.WriteFile(file, []byte(page), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestEveryOption finds a variable for each option, or the reason why it has none, which the
// page shows.
func TestEveryOption(t *testing.T) {
	t.Parallel()
	options := 0
	for _, o := range caddymodule.OptionVariables() {
		_, field, ok := caddymodule.FindVariable(o.Variable)
		switch has := ok && field != "" && o.Set; {
		case has == (o.Why != ""):
			t.Errorf("the option `%s` of %s: variable %s: %v; reason: %q. It needs one of them", o.Usage, o.Of, o.Variable, has, o.Why)
		case has && strings.ContainsAny(o.Usage, "{}"):
			t.Errorf("the option `%s` of %s has a block, which no variable can set: add a reason", o.Usage, o.Of)
		}
		for name := range strings.FieldsFuncSeq(o.Why, func(r rune) bool { return strings.ContainsRune("` ,:.", r) }) {
			if _, _, ok := caddymodule.FindVariable(strings.ReplaceAll(name, "<NAME>", "X")); !ok && strings.HasPrefix(name, "SSO_") {
				t.Errorf("the reason of the option `%s` names %s, which is no variable", o.Usage, name)
			}
		}
		options++
	}
	if options < 70 {
		t.Errorf("only %d options", options)
	}
}

// TestFindVariable looks names up that could mean several things.
func TestFindVariable(t *testing.T) {
	t.Parallel()
	for name, want := range map[string][2]string{ // provider and field
		"SSO_SAML_SP_ENTITY_ID":           {"", "SP_ENTITY_ID"}, // reserved: not the provider SP
		"SSO_SAML_GROUP_MAPPING":          {"", "GROUP_MAPPING"},
		"SSO_SAML_ENABLED":                {"", "ENABLED"},
		"SSO_SAML_CORP_DISPLAY_NAME":      {"CORP", "DISPLAY_NAME"}, // not NAME of CORP_DISPLAY
		"SSO_SAML_CORP_DISPLAY_NAME_ATTR": {"CORP", "DISPLAY_NAME_ATTR"},
		"SSO_SAML_AZURE_AD_ENTITY_ID":     {"AZURE_AD", "ENTITY_ID"},
		"SSO_SAML_MY_SP_ENTITY_ID":        {"MY", "SP_ENTITY_ID"},
		"SSO_OIDC_CORP_CLIENT_SECRET":     {"CORP", "CLIENT_SECRET"},
		"SSO_OIDC_BASE_BASE_URL":          {"BASE", "BASE_URL"},
		"SSO_OIDC_2_ISSUER":               {"2", "ISSUER"},
		"SSO_LIFETIME":                    {"", "LIFETIME"},
		"SSO_OIDC_ISSUER":                 {}, // names no provider
		"SSO_OIDC__ISSUER":                {},
		"SSO_LDAP_CORP_URL":               {},
		"SSO_oidc_CORP_ISSUER":            {},
		"SSO_OIDC_corp_ISSUER":            {},
		"SSO_":                            {},
		"SSO_OIDC_OFF_ISSUER":             {}, // off is no provider's name
	} {
		t.Run("C10 "+name, func(t *testing.T) {
			t.Parallel()
			provider, field, ok := caddymodule.FindVariable(name)
			if got := [2]string{provider, field}; got != want || ok != (want[1] != "") {
				t.Errorf("it is %v, want %v", got, want)
			}
		})
	}
}

// FuzzEnvironment adds any variable to those of a sidecar. If it is wrong, the error names it.
// The configuration never has its secrets.
func FuzzEnvironment(f *testing.F) {
	for _, seed := range [][2]string{
		{"ROLE_MAPPING", "a=B|C,d=E"},
		{"SAML_X_METADATA", "https://a.example/"},
		{"HEADERS", "user X-User\nname \"X-Name\""},
		{"OIDC_GOOGLE_CLIENT_ID", "x"},
		{"OIDC_CORP_USERS", "prefix p-"},
		{"TRUSTED_PROXIES", "private_ranges"},
		{"UPSTREAM", "unix//x"},
		{"SECRET__FILE", "/dev/zero"},
		{"LISTEN", "[::1]:80"},
		{"LISTEN", ":99999"},
		{"LISTEN", ":http"},
		{"LISTEN", `\:#<`},
		{"UPSTREAM", "app:port"},
		{"SAML_X_CERTIFICATE", "{file.x}"},
		{"LIMIT", "off"},
		{"OIDC_CORP_REALM", "{"},
		{"XYZZY", "1"},
		{"SAML_SP_ENTITY_ID", "a"},
		{"PUBLIC", "/a { /b }"},
	} {
		f.Add(seed[0], seed[1])
	}
	base := []string{
		"SSO_UPSTREAM=127.0.0.1:3000", "SSO_BASE_URL=https://app.example.com", "SSO_ROLE_MAPPING=*=User",
		"SSO_OIDC_CORP_ISSUER=https://id.example.com", "SSO_OIDC_CORP_CLIENT_ID=app", "SSO_OIDC_CORP_CLIENT_SECRET=" + canary,
	}
	f.Fuzz(func(t *testing.T, name, value string) {
		if strings.ContainsAny(name, "=\x00") {
			return
		}
		sidecar, err := caddymodule.ReadSidecar(append(base[:len(base):len(base)], "SSO_"+name+"="+value))
		if err != nil {
			if strings.Contains(err.Error(), canary) && !strings.Contains(value, canary) {
				t.Errorf("it shows the password: %v", err)
			}
			if !strings.Contains(err.Error(), "SSO_") {
				t.Errorf("it names no variable: %v", err)
			}
			return
		}
		if !json.Valid(sidecar.Config) || strings.Contains(string(sidecar.Config), canary) && !strings.Contains(value, canary) {
			t.Errorf("the configuration is %s", sidecar.Config)
		}
	})
}
