//go:build integration

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// turnTime bounds one turn.
const turnTime = time.Minute

// staticUser is whom the control with static headers names.
const staticUser = "person-0000"

// eachUser stands for the session's own user.
const eachUser = "*"

// requestOf returns a request as a browser sends it: 15 header fields with the
// Host, 1.5 kB of cookies.
func requestOf(host, path, cookie string) []byte {
	return []byte(strings.ReplaceAll("GET "+path+" HTTP/1.1\nHost: "+host+`
Connection: keep-alive
Cache-Control: max-age=0
Sec-Ch-Ua: "Chromium";v="142", "Not_A Brand";v="99"
Sec-Ch-Ua-Mobile: ?0
Sec-Ch-Ua-Platform: "Linux"
Upgrade-Insecure-Requests: 1
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8
Sec-Fetch-Site: same-origin
Sec-Fetch-Mode: navigate
Sec-Fetch-Dest: document
Referer: http://localhost/dashboards
Accept-Language: en-GB,en;q=0.9
Cookie: `+cookie+"\n\n", "\n", "\r\n"))
}

// cookieLine puts our cookie among those of an app.
func cookieLine(own string) string {
	var pairs []string
	for i := range 12 {
		if i == 6 {
			pairs = append(pairs, own)
		}
		pairs = append(pairs, fmt.Sprintf("app_cookie_%02d=%s", i, strings.Repeat("0123456789", 10)))
	}
	return strings.Join(pairs, "; ")
}

// turn sends one round of requests to a proxy. It fails unless every answer is
// the one expected.
func (b *lab) turn(p *proxy) (sample, error) {
	before, err := p.cpu()
	if err != nil {
		return sample{}, err
	}
	began := time.Now()
	var next atomic.Int64
	errs := make([]error, connections)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = b.send(p, &next) })
	}
	wg.Wait()
	took := time.Since(began)
	after, err := p.cpu()
	return sample{cpu: after - before, wall: took, requests: *requests}, errors.Join(err, errors.Join(errs...))
}

// send sends requests over one connection until all of the turn are sent.
func (b *lab) send(p *proxy, next *atomic.Int64) error {
	conn, err := net.DialTimeout("tcp", p.address(), 5*time.Second)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(turnTime)); err != nil {
		return err
	}
	in := bufio.NewReader(conn)
	for {
		n := int(next.Add(1)) - 1
		if n >= *requests {
			return nil
		}
		i := n % len(p.sent)
		if _, err := conn.Write(p.sent[i]); err != nil {
			return fmt.Errorf("sending request %d: %w", n, err)
		}
		if err := expect(in, p.expected[i]); err != nil {
			return fmt.Errorf("request %d: %w", n, err)
		}
	}
}

// expect reads one answer and compares it.
func expect(in *bufio.Reader, want string) error {
	var body []byte
	resp, err := http.ReadResponse(in, nil)
	if err == nil {
		body, err = io.ReadAll(resp.Body)
		_ = resp.Body.Close()
	}
	if err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK || string(body) != want {
		first, _, _ := strings.Cut(string(body), "\n")
		return fmt.Errorf("answered %d, %q", resp.StatusCode, first)
	}
	return nil
}
