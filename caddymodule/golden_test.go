package caddymodule_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	"github.com/caddy-sso/caddy-sso/caddymodule"
)

var update = flag.Bool("update", false, "write what is computed into the golden files")

// divider stands between a golden's Caddyfile and what must come of it.
const divider = "\n----------\n"

// canary is the password in the golden files' mistakes. No message shows it.
const canary = "hunter2"

// golden runs a function over the Caddyfile of each file in a directory of testdata and
// compares with what stands below the divider. It fails if there are fewer
// files than least.
func golden(t *testing.T, dir string, least int, outcome func(t *testing.T, caddyfile string) string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", dir, "*.caddyfiletest"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < least {
		t.Fatalf("%d files in %s, want at least %d", len(files), dir, least)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".caddyfiletest"), func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			caddyfile, want, found := strings.Cut(string(content), divider)
			if !found && !*update {
				t.Fatal("the file has no divider")
			}
			got := outcome(t, strings.TrimSuffix(caddyfile, "\n")+"\n")
			if *update {
				content := strings.TrimSuffix(caddyfile, "\n") + divider + got + "\n"
				if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if strings.Contains(got, canary) {
				t.Error("it shows the password")
			}
			if strings.TrimSpace(got) != strings.TrimSpace(want) {
				t.Errorf("got:\n%s\n\nwant:\n%s", got, want)
			}
		})
	}
}

// adapt adapts a Caddyfile to JSON.
func adapt(caddyfile string) ([]byte, error) {
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), nil)
	return config, err
}

// mustAdapt adapts a Caddyfile that is valid. JSON is taken as it is.
func mustAdapt(t *testing.T, caddyfile string) []byte {
	t.Helper()
	if json.Valid([]byte(caddyfile)) {
		return []byte(caddyfile)
	}
	config, err := adapt(caddyfile)
	if err != nil {
		t.Fatalf("adapting: %v", err)
	}
	return config
}

func TestAdaptValid(t *testing.T) {
	golden(t, "adapt/valid", 6, func(t *testing.T, caddyfile string) string {
		t.Helper()
		var indented bytes.Buffer
		if err := json.Indent(&indented, mustAdapt(t, caddyfile), "", "\t"); err != nil {
			t.Fatal(err)
		}
		return indented.String()
	})
}

func TestAdaptMistakes(t *testing.T) {
	golden(t, "adapt/mistakes", 25, func(t *testing.T, caddyfile string) string {
		t.Helper()
		_, err := adapt(caddyfile)
		if err == nil {
			t.Fatal("the mistake was not found")
		}
		return err.Error()
	})
}

// validate provisions a configuration as `caddy validate` does. What Caddy
// says about where the module stands is cut off from the error.
func validate(t *testing.T, config []byte) error {
	t.Helper()
	var cfg caddy.Config
	if err := json.Unmarshal(config, &cfg); err != nil {
		t.Fatal(err)
	}
	return caddy.Validate(&cfg)
}

func TestProvisionFaults(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_DATA_HOME", dir)
	t.Setenv("SSO_TEST_FTP", "ftp://login.example.com/metadata.xml")
	t.Setenv("SSO_TEST_URL_WITH_PASSWORD", "https://user:"+canary+"@id.example.com/realms/corp")
	t.Setenv("SSO_TEST_TENANT", "organizations")
	t.Setenv("SSO_TEST_WELL_KNOWN", "/.well-known/openid-configuration")
	t.Setenv("SSO_TEST_SET", "0123456789012345678901234567890123456789")
	golden(t, "provision", 12, func(t *testing.T, caddyfile string) string {
		t.Helper()
		err := validate(t, mustAdapt(t, caddyfile))
		if err == nil {
			t.Fatal("the fault was not found")
		}
		msg := err.Error()
		for _, module := range []string{"http.handlers.sso", "sso"} {
			if _, after, ok := strings.Cut(msg, "provision "+module+": "); ok {
				msg = after
			}
		}
		return msg
	})
	if files, err := filepath.Glob(filepath.Join(dir, "caddy/sso/*")); err != nil || len(files) > 0 {
		t.Errorf("provisioning made %v, %v", files, err)
	}
}

// TestOptionsAreDescribed holds the usages that errors show against the first column
// of the tables in docs/, and against the syntax in comments.
func TestOptionsAreDescribed(t *testing.T) {
	t.Parallel()
	read := func(name string) string {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	row := regexp.MustCompile("(?m)^\\|((?:[^|\n]|\\\\\\|)*[^\\\\])\\|")
	code := regexp.MustCompile("`([a-z][^`]*)`")
	for _, block := range caddymodule.Blocks() {
		_, table, found := strings.Cut(read("../docs/"+block.Page), "\n## "+block.Chapter+"\n")
		if !found {
			t.Fatalf("%s has no chapter %q", block.Page, block.Chapter)
		}
		table, _, _ = strings.Cut(table, "\n## ")
		var described []string
		for _, cells := range row.FindAllStringSubmatch(table, -1) {
			for _, usage := range code.FindAllStringSubmatch(cells[1], -1) {
				if usage := strings.ReplaceAll(usage[1], `\|`, "|"); usage != "sso" && !strings.HasPrefix(usage, "sso ") {
					described = append(described, usage)
				}
			}
		}
		for _, usage := range block.Usages {
			if !slices.Contains(described, usage) {
				t.Errorf("%s, %s: there is no row for `%s`", block.Page, block.Chapter, usage)
			}
			line, _, _ := strings.Cut(usage, " { ")
			if !regexp.MustCompile(`(?m)^//\t+` + regexp.QuoteMeta(line) + `( \{)?$`).MatchString(read(block.File)) {
				t.Errorf("%s: no comment has the line `%s`", block.File, line)
			}
		}
		for _, usage := range described {
			if !slices.Contains(block.Usages, usage) {
				t.Errorf("%s, %s: there is no option `%s`", block.Page, block.Chapter, usage)
			}
		}
	}
}

// TestExample adapts the example without a warning, and validates it.
func TestExample(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	example, err := os.ReadFile("../Caddyfile.example")
	if err != nil {
		t.Fatal(err)
	}
	config, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt(example, nil)
	if err != nil || len(warnings) > 0 {
		t.Fatalf("adapting: %v %v", warnings, err)
	}
	if err := validate(t, config); err == nil || !strings.Contains(err.Error(), "{env.") {
		t.Errorf("without its environment it is valid, or has another fault: %v", err)
	}
	for _, name := range []string{"CORP_CLIENT_SECRET", "PARTNERS_CLIENT_SECRET", "NOTES_CLIENT_SECRET"} {
		t.Setenv(name, "secret")
	}
	t.Setenv("REDIS_URL", "redis://:password@redis.example.com:6379/0")
	t.Setenv("SSO_SECRET", strings.Repeat("0123456789", 4))
	if err := validate(t, config); err != nil {
		t.Errorf("validating: %v", err)
	}
}

// TestReadme adapts the README's Caddyfiles.
func TestReadme(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)\n```caddyfile\n(.*?)```").FindAllSubmatch(readme, -1)
	if len(blocks) < 2 {
		t.Fatalf("it has %d Caddyfiles, want two at least", len(blocks))
	}
	for _, block := range blocks {
		if _, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt(block[1], nil); err != nil || len(warnings) > 0 {
			t.Errorf("%v %v in\n%s", warnings, err, block[1])
		}
	}
}
