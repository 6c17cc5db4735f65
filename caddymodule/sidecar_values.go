package caddymodule

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-sso/caddy-sso/gateway/fetch"
)

func checkHealth(text string) error {
	if text == "off" {
		return nil
	}
	return checkListen(text)
}

func checkListen(text string) error {
	if host, port, err := net.SplitHostPort(text); err != nil || host != "" && !validHost(host) || !validPort(port) {
		return fmt.Errorf("'%s' is no address to listen at: expected one such as :8080 or 127.0.0.1:8080", text)
	}
	return nil
}

// validHost reports whether host is an IP address or the name of a host.
func validHost(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	const signs = "abcdefghijklmnopqrstuvwxyz0123456789-_."
	host = strings.ToLower(host)
	return host != "" && strings.Trim(host, signs) == "" && !strings.ContainsAny(host[:1], "-.") && !endsInNumber(host)
}

// endsInNumber reports whether the last label of a host is a number: some read 127.1 or 0x7f000001
// as an IP address.
func endsInNumber(host string) bool {
	host = strings.TrimSuffix(host, ".")
	_, err := strconv.ParseUint(host[strings.LastIndex(host, ".")+1:], 0, 64)
	return err == nil
}

func validPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0 && port[0] != '0'
}

func checkUpstream(text string) error {
	expected := func(address string) error {
		return fmt.Errorf("'%s' is no address of an app: expected one such as 127.0.0.1:3000, https://app.internal:8443 or unix//run/app.sock, and nothing behind it", address)
	}
	if strings.Contains(text, "@") && !strings.HasPrefix(text, "unix/") {
		return errors.New("it has a user name or password in it, which an app is not sent: remove it")
	}
	if path, ok := strings.CutPrefix(text, "unix/"); ok {
		if !strings.HasPrefix(path, "/") || strings.HasSuffix(path, "/") || strings.ContainsAny(path, " \t\r\n|{}") {
			return expected(text)
		}
		return nil
	}
	scheme, address, found := strings.Cut(text, "://")
	switch {
	case !found:
		address = text
	case scheme != "http" && scheme != "https":
		return fmt.Errorf("the scheme '%s' can't be used: expected http, https or none", scheme)
	case validHost(address):
		return nil // the scheme says the port
	}
	if host, port, err := net.SplitHostPort(address); err != nil || !validHost(host) || !validPort(port) {
		return expected(text)
	}
	return nil
}

// apart refuses addresses of the sidecar that are the same, or the app's.
func apart(listen, health, upstream string) error {
	scheme, app, found := strings.Cut(upstream, "://")
	switch {
	case !found:
		app = upstream
	case validHost(app): // without a port
		app = net.JoinHostPort(app, map[string]string{"http": "80", "https": "443"}[scheme])
	}
	switch {
	case collide(listen, health):
		return fmt.Errorf("SSO_LISTEN and SSO_HEALTH_LISTEN collide (%s, %s): give one of them another port", listen, health)
	case collide(listen, app), collide(health, app):
		return fmt.Errorf("SSO_UPSTREAM: the sidecar itself listens there (SSO_LISTEN %s, SSO_HEALTH_LISTEN %s): write the address of the app, or move one of them to another port", listen, health)
	}
	return nil
}

// collide reports whether a listener at one of two addresses gets what is sent to the other. Of
// this machine's addresses, only those on loopback are known.
func collide(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil || portA != portB {
		return false
	}
	hostA, hostB = plainHost(hostA), plainHost(hostB)
	local := func(host string) bool { return host == "" || fetch.IsLoopback(host) }
	wide := func(host string) bool { return host == "" || host == "localhost" }
	return hostA == hostB || wide(hostA) && local(hostB) || wide(hostB) && local(hostA)
}

// plainHost is the one form of a host that can be written in several. It is empty if the host
// stands for all addresses of this machine.
func plainHost(host string) string {
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return strings.ToLower(strings.TrimSuffix(host, "."))
	}
	if addr = addr.Unmap().WithZone(""); addr.IsUnspecified() {
		return ""
	}
	return addr.String()
}

func checkDuration(text string) error {
	if d, err := caddy.ParseDuration(text); err != nil || d < 0 || d > time.Hour {
		return fmt.Errorf("'%s' is no duration such as 5s, of one hour at most", text)
	}
	return nil
}

func checkLevel(text string) error {
	switch strings.ToUpper(text) {
	case "DEBUG", "INFO", "WARN", "ERROR":
		return nil
	}
	return fmt.Errorf("it can be DEBUG, INFO, WARN or ERROR, not '%s'", text)
}

func checkRanges(text string) error {
	ranges, err := rangesIn(text)
	if err != nil {
		return err
	}
	if cover(ranges, internet[4]...) || cover(ranges, internet[6]...) {
		return fmt.Errorf("'%s' are all addresses of the internet, so each client could say by X-Forwarded-For who it is: write those of the proxies alone", text)
	}
	return nil
}

// rangesIn reads ranges of addresses, and leaves out private_ranges.
func rangesIn(text string) (ranges []netip.Prefix, err error) {
	for _, r := range strings.Fields(text) {
		if addr, err := netip.ParseAddr(r); err == nil {
			ranges = append(ranges, netip.PrefixFrom(addr, addr.BitLen()))
			continue
		}
		prefix, err := netip.ParsePrefix(r)
		switch {
		case err == nil:
			ranges = append(ranges, prefix.Masked())
		case r != "private_ranges":
			return nil, fmt.Errorf("'%s' is neither an address, such as 10.0.0.0/8, nor private_ranges: blanks separate several", r)
		}
	}
	return ranges, nil
}

// internet are all addresses of machines, for each version of IP.
var internet = map[int][]netip.Prefix{
	4: {netip.MustParsePrefix("0.0.0.0/1"), netip.MustParsePrefix("128.0.0.0/2"), netip.MustParsePrefix("192.0.0.0/3")},
	6: {netip.MustParsePrefix("2000::/3")},
}

// cover reports whether ranges together have all addresses of some networks, which are apart.
func cover(ranges []netip.Prefix, networks ...netip.Prefix) bool {
	slices.SortFunc(ranges, func(a, b netip.Prefix) int { return a.Bits() - b.Bits() })
	missing := 0.0
	for _, network := range networks {
		missing += math.Exp2(-float64(network.Bits()))
	}
	var apart []netip.Prefix // two ranges are apart, or one is within the other
	for _, r := range ranges {
		if slices.ContainsFunc(apart, r.Overlaps) {
			continue
		}
		apart = append(apart, r)
		for _, network := range networks {
			if network.Overlaps(r) {
				missing -= math.Exp2(-float64(max(r.Bits(), network.Bits())))
			}
		}
	}
	return missing <= 0
}
