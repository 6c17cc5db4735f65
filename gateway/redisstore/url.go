package redisstore

import (
	"cmp"
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
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil || len(query) > len(query["db"]) || len(query["db"]) > 1 {
		return nil, urlError("db is the only option after the question mark (one in a password must be percent-encoded)")
	}
	opt, db := &redis.Options{Username: u.User.Username()}, query.Get("db")
	opt.Password, _ = u.User.Password()
	switch u.Scheme {
	case "redis", "rediss":
		err = overTCP(opt, u)
		if path := strings.TrimPrefix(u.Path, "/"); path != "" {
			if db != "" {
				return nil, urlError("the database is given twice")
			}
			db = path
		}
	case "unix":
		opt.Network, opt.Addr = "unix", u.Path
		if u.Host != "" || !strings.HasPrefix(u.Path, "/") {
			err = urlError("expected an absolute path, as in unix:///run/redis.sock")
		}
	default:
		err = urlError("expected redis://, rediss:// or unix://, such as `redis://redis.example.com:6379`")
	}
	if err == nil && db != "" {
		var n uint64
		if n, err = strconv.ParseUint(db, 10, 16); err != nil {
			return nil, urlError("the database is not a number")
		}
		opt.DB = int(n)
	}
	return opt, err
}

// overTCP sets how a host is reached.
func overTCP(opt *redis.Options, u *url.URL) error {
	port := cmp.Or(u.Port(), "6379")
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || u.Hostname() == "" {
		return urlError("expected a host, and a port between 1 and 65535, as in redis://localhost:6379")
	}
	opt.Network, opt.Addr = "tcp", net.JoinHostPort(u.Hostname(), port)
	if u.Scheme == "rediss" {
		opt.TLSConfig = &tls.Config{ServerName: u.Hostname(), MinVersion: tls.VersionTLS12}
	}
	return nil
}

func urlError(fault string) error { return errors.New("reading the Redis URL: " + fault) }
