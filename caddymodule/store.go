package caddymodule

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-sso/caddy-sso/gateway/boltstore"
	"github.com/caddy-sso/caddy-sso/gateway/redisstore"
	"github.com/caddy-sso/caddy-sso/gateway/store"
	"github.com/caddy-sso/caddy-sso/gateway/wording"
)

func init() {
	caddy.RegisterModule(BoltStore{})
	caddy.RegisterModule(RedisStore{})
}

// A storeModule is a guest module in the namespace sso.stores.
type storeModule interface {
	caddy.Module
	caddy.Provisioner

	// key identifies the place of the data. Configurations with equal keys share one
	// open store, and storedNote files have the key in their names. It contains no secret.
	key() string
	// open opens the store. It succeeds even if a remote store is down.
	open() (closableStore, error)
	// renew gives this module's credentials to an open store with the same key.
	renew(open closableStore)
	// shared says whether other nodes use the same store.
	shared() bool
}

type closableStore interface {
	store.Store
	io.Closer
}

// BoltStore keeps sessions in one file on this machine. Only one process at a time can
// open it.
type BoltStore struct {
	// The file. If it does not exist, it is created, readable by its owner alone.
	// Default: sso/sessions.db in Caddy's data directory.
	Path string `json:"path,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (BoltStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "sso.stores.bolt",
		New: func() caddy.Module { return new(BoltStore) },
	}
}

// UnmarshalCaddyfile sets up the store from Caddyfile tokens. Syntax:
//
//	bolt [<path>]
func (b *BoltStore) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		b.Path = d.Val()
	}
	if d.NextArg() || d.NextBlock(d.Nesting()) {
		return d.Err("wrong arguments for 'store bolt': expected `store bolt [<path>]`")
	}
	return nil
}

// Provision replaces the placeholders in the path and makes it absolute.
func (b *BoltStore) Provision(caddy.Context) error { return noted(b.provision()) }

func (b *BoltStore) provision() error {
	if err := resolve(option{"path", &b.Path}); err != nil {
		return wording.About("store bolt", err)
	}
	if b.Path == "" {
		b.Path = filepath.Join(caddy.AppDataDir(), "sso", "sessions.db")
	}
	var err error
	given := b.Path
	if b.Path, err = filepath.Abs(given); err != nil {
		return wording.About("store bolt", fmt.Errorf("path: %w", err))
	}
	if info, err := os.Stat(b.Path); err == nil && info.IsDir() || strings.HasSuffix(given, "/") {
		return wording.Aboutf("store bolt", "%s is a directory: write the name of a file, such as %s", given, wording.Option{Word: "store", Args: "bolt " + filepath.Join(given, "sessions.db")})
	}
	if err := regular(b.Path); err != nil {
		return wording.About("store bolt", fmt.Errorf("%w: write the name of a file", err))
	}
	return nil
}

// key has the path with links followed. If one file had two keys, the second store would
// wait for the lock of the first.
func (b *BoltStore) key() string { return "bolt " + followLinks(b.Path, maxLinks) }

// maxLinks bounds how many links to missing files followLinks follows.
const maxLinks = 10

// followLinks follows the links in a path as the system does when it opens the file. The
// file and its directory may not exist yet: the key must be the same before and after
// they are created.
func followLinks(path string, links int) string {
	if found, err := filepath.EvalSymlinks(path); err == nil {
		return found
	}
	if target, err := os.Readlink(path); err == nil && links > 0 {
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(path), target)
		}
		return followLinks(target, links-1)
	}
	if dir := filepath.Dir(path); dir != path {
		return filepath.Join(followLinks(dir, links), filepath.Base(path))
	}
	return path
}

func (b *BoltStore) open() (closableStore, error) { return boltstore.Open(b.Path) }

func (*BoltStore) renew(closableStore) {}

func (*BoltStore) shared() bool { return false }

// RedisStore keeps sessions in Redis, for any number of nodes. The nodes must
// have the same secret.
type RedisStore struct {
	// Where Redis is: `redis://[user:password@]host[:port][/db]`, `rediss://…`
	// for TLS, or `unix:///path/to/socket`. Required. Use a placeholder if it has a
	// password in it.
	URL Secret `json:"url,omitempty"`

	// The beginning of every key, for a Redis that others use too. Default: "sso:".
	Prefix string `json:"prefix,omitempty"`

	url string // with placeholders replaced
}

// CaddyModule returns the Caddy module information.
func (RedisStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "sso.stores.redis",
		New: func() caddy.Module { return new(RedisStore) },
	}
}

// UnmarshalCaddyfile sets up the store from Caddyfile tokens. Syntax:
//
//	redis <url> {
//		prefix <prefix>
//	}
func (s *RedisStore) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	var address string
	if !d.AllArgs(&address) {
		return d.Err("wrong arguments for 'store redis': expected `store redis <url>`, such as redis://127.0.0.1:6379")
	}
	s.URL = Secret(address)
	return s.block().parse(d)
}

func (s *RedisStore) block() block { return block{once("prefix <prefix>", text(&s.Prefix))} }

// Provision replaces the placeholders and checks the URL.
func (s *RedisStore) Provision(caddy.Context) error { return noted(s.provision()) }

func (s *RedisStore) provision() error {
	address, err := s.URL.reveal("url")
	if err = errors.Join(err, resolve(option{"prefix", &s.Prefix})); err != nil {
		return wording.About("store redis", err)
	}
	s.url, s.URL = address, ""
	store, err := s.open() // connects to nothing
	if err != nil {
		return wording.About("store redis", fmt.Errorf("url: %w", err))
	}
	return store.Close()
}

// key leaves user and password out: they can change.
func (s *RedisStore) key() string {
	u, err := url.Parse(s.url)
	if err != nil {
		return "redis " + digest(s.url, s.Prefix) // Provision refuses this URL
	}
	u.User = nil
	return "redis " + digest(u.String(), s.Prefix)
}

func (s *RedisStore) open() (closableStore, error) {
	return redisstore.Open(redisstore.Options{URL: s.url, Prefix: s.Prefix, Explain: wording.Network})
}

func (s *RedisStore) renew(open closableStore) {
	if redis, ok := open.(*redisstore.Store); ok {
		redis.LogInAs(s.url)
	}
}

func (*RedisStore) shared() bool { return true }

// digest identifies a list of values without showing them.
func digest(values ...string) string {
	h := sha256.New()
	for _, v := range values {
		_, _ = fmt.Fprintf(h, "%d:%s", len(v), v)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// Interface guards
var (
	_ storeModule           = (*BoltStore)(nil)
	_ storeModule           = (*RedisStore)(nil)
	_ caddyfile.Unmarshaler = (*BoltStore)(nil)
	_ caddyfile.Unmarshaler = (*RedisStore)(nil)
)
