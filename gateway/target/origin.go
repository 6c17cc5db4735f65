package target

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// Origin returns an origin as browsers write it: in lower case, without the scheme's
// default port.
func Origin(scheme, host string) string {
	host = strings.ToLower(host)
	if scheme == "https" {
		return "https://" + strings.TrimSuffix(host, ":443")
	}
	return scheme + "://" + strings.TrimSuffix(host, ":80")
}

// ParseOrigin reads an origin of a configuration, with or without a slash at its end.
func ParseOrigin(s string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSuffix(s, "/"))
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || Hostname(u.Host) == "" || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil || !isPort(u.Port()) {
		return nil, fmt.Errorf("origin %q: expected scheme, host and port at most, such as https://app.example.com", s)
	}
	return url.Parse(Origin(u.Scheme, u.Host))
}

// isPort reports whether a port is none, or one as browsers write it.
func isPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return port == "" || err == nil && n > 0 && port[0] != '0'
}

// MatchesWild reports whether host matches a name with wildcards, each of which
// stands for one label.
func MatchesWild(wild, host string) bool {
	labels, names := strings.Split(strings.ToLower(wild), "."), strings.Split(host, ".")
	if len(labels) != len(names) {
		return false
	}
	for i, label := range labels {
		if label != "*" && label != names[i] {
			return false
		}
	}
	return true
}

// CheckPrefix refuses a path that is not plain, or ends with a slash.
func CheckPrefix(p string) error {
	if !Plain(p) || strings.HasSuffix(p, "/") || strings.Contains(p, "*") {
		return fmt.Errorf("path %q: expected a plain path that begins with a slash and ends without one, such as /.sso", p)
	}
	return nil
}
