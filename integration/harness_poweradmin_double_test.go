//go:build integration && !poweradmin

package integration

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// poweradminRoot returns the document root of the double.
func poweradminRoot(t *testing.T, _ string) string {
	t.Helper()
	root, err := filepath.Abs("poweradmin")
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// deactivate has the app's administrator deactivate all accounts.
func (p *poweradmin) deactivate() {
	p.t.Helper()
	var accounts map[string]map[string]any
	file := p.database() + ".json"
	text, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(text, &accounts)
	}
	for _, a := range accounts {
		a["active"] = 0
	}
	if err == nil {
		text, err = json.Marshal(accounts)
	}
	if err == nil {
		err = os.WriteFile(file, text, 0o600)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}
