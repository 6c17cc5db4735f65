package redisstore

import (
	"crypto/tls"
	"errors"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// parseURL reads Options.URL. Its errors quote nothing of the URL: wherever it
// is broken, what is quoted may be a part of the password.
func parseURL(raw string) (*redis.Options, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Fragment != "" || strings.Contains(raw, "#") {
		return nil, urlError("it is no URL: special characters in user and password must be percent-encoded")
	}
	opt := &redis.Options{Username: u.User.Username()}
	opt.Password, _ = u.User.Password()
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil || len(query) > len(query["db"]) || len(query["db"]) > 1 {
		return nil, urlError("db is the only option after the question mark (one in a password must be percent-encoded)")
	}
	db := query.Get("db")
	switch u.Scheme {
	case "redis", "rediss":
		port := u.Port()
		if port == "" {
			port = "6379"
		}
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || u.Hostname() == "" {
			return nil, urlError("expected a host, and a port between 1 and 65535, as in redis://localhost:6379")
		}
		opt.Network, opt.Addr = "tcp", net.JoinHostPort(u.Hostname(), port)
		if u.Scheme == "rediss" {
			opt.TLSConfig = &tls.Config{ServerName: u.Hostname(), MinVersion: tls.VersionTLS12}
		}
		if path := strings.TrimPrefix(u.Path, "/"); path != "" {
			if db != "" {
				return nil, urlError("the database is given twice")
			}
			db = path
		}
	case "unix":
		if u.Host != "" || !strings.HasPrefix(u.Path, "/") {
			return nil, urlError("expected an absolute path, as in unix:///run/redis.sock")
		}
		opt.Network, opt.Addr = "unix", u.Path
	default:
		return nil, urlError("expected redis://, rediss:// or unix://")
	}
	if db != "" {
		n, err := strconv.ParseUint(db, 10, 16)
		if err != nil {
			return nil, urlError("the database is not a number")
		}
		opt.DB = int(n)
	}
	return opt, nil
}

func urlError(fault string) error { return errors.New("reading the Redis URL: " + fault) }
