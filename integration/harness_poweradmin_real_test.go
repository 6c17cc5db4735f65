//go:build integration && poweradmin

package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The tests of Poweradmin run against the real one with
//
//	POWERADMIN_DIR=/srv/poweradmin go test -tags integration,poweradmin ./integration -run Poweradmin
//
// It is a checkout with its dependencies, without the folder install. Nothing is written
// there. PHP needs the extensions intl, gettext, mbstring, pdo_sqlite and curl.

// newDatabase has the superuser of poweradminPassword.
const newDatabase = `
[$root, $file, $password] = array_slice($argv, 1);
$db = new PDO("sqlite:$file");
$db->exec(file_get_contents("$root/sql/pdns/49/schema.sqlite3.sql"));
$db->exec(file_get_contents("$root/sql/poweradmin-sqlite-db-structure.sql"));
$add = $db->prepare("INSERT INTO users (username, password, fullname, email, description, perm_templ, active, use_ldap) VALUES ('admin', ?, 'Administrator', 'admin@example.com', '', 1, 1, 0)");
$add->execute([password_hash($password, PASSWORD_DEFAULT)]);
`

// poweradminRoot returns the document root of the real Poweradmin, and makes a database.
func poweradminRoot(t *testing.T, database string) string {
	t.Helper()
	root, err := filepath.Abs(os.Getenv("POWERADMIN_DIR"))
	if _, missing := os.Stat(filepath.Join(root, "lib", "Version.php")); err != nil || missing != nil {
		t.Fatal("POWERADMIN_DIR names no Poweradmin")
	}
	if out, err := exec.Command("php", "-d", "error_reporting=E_ALL", "-r", newDatabase, root, database, poweradminPassword).CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("making a database: %v\n%s", err, out)
	}
	return root
}

// deactivate has the app's administrator deactivate all accounts.
func (p *poweradmin) deactivate() {
	p.t.Helper()
	const change = `(new PDO("sqlite:$argv[1]"))->exec("UPDATE users SET active = 0");`
	if out, err := exec.Command("php", "-r", change, p.database()).CombinedOutput(); err != nil || len(out) > 0 {
		p.t.Fatalf("deactivating: %v\n%s", err, out)
	}
}
