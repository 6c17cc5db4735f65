// Package demo has the providers and apps for a demo of the gateway: an OpenID and a SAML
// identity provider without passwords, and two apps that verify the assertion and show all
// that they get.
//
// Everything listens on loopback and stays in memory. Never use it for real accounts:
// anybody who can reach the providers can sign in as anybody.
package demo

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"time"
)

// A Person is somebody who can sign in at both providers.
type Person struct {
	// Username identifies the person.
	Username string
	// Name and Email describe the person.
	Name, Email string
	// Groups are the person's groups at both providers.
	Groups []string
}

// People can sign in.
var People = []Person{
	{"alice", "Alice Ångström", "alice@example.com", []string{"admins", "staff"}},
	{"bob", "Bob Builder", "bob@example.com", []string{"viewers"}},
	{"carol", "Carol Newcomer", "carol@example.com", nil},
}

func find(username string) *Person {
	for i := range People {
		if People[i].Username == username {
			return &People[i]
		}
	}
	return nil
}

// A Site is one protected app.
type Site struct {
	// Origin is what browsers open: scheme, host and port, such as http://localhost:8080.
	Origin string
	// ID is the app's name at the gateway, the audience of its assertions.
	ID string
	// Title is the app's name. There is a logo for each ID.
	Title string
	// Upstream is where the app itself listens: host and port. Start sets it.
	Upstream string
	// Others are the other sites, for links. Start sets them.
	Others []*Site
}

// Logo returns the app's picture, an SVG document.
func (s *Site) Logo() ([]byte, error) { return files.ReadFile(s.ID + ".svg") }

// A Demo is the running providers and apps. Close ends it.
type Demo struct {
	// Issuer, ClientID and ClientSecret are what the gateway needs for the
	// OpenID Provider.
	Issuer, ClientID, ClientSecret string
	// Metadata is the URL of the SAML provider's metadata.
	Metadata string

	style   string
	servers []*http.Server
}

// Start starts the providers and the apps of sites, each on its own port. The caller runs
// the gateway at the origins of sites; apps and providers fetch its keys and metadata when
// they need them. style is the CSS of the gateway's pages, so that all pages look the
// same. ctx bounds only the start.
func Start(ctx context.Context, sites []*Site, style string) (*Demo, error) {
	own, err := files.ReadFile("demo.css")
	if err != nil {
		return nil, err
	}
	d := &Demo{ClientID: "demo", ClientSecret: rand.Text(), style: style + string(own)}
	if err := d.start(ctx, sites); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func (d *Demo) start(ctx context.Context, sites []*Site) error {
	_, err := d.serve(ctx, func(address string) (http.Handler, error) {
		d.Issuer = "http://" + address
		return d.openID(sites)
	})
	if err != nil {
		return err
	}
	_, err = d.serve(ctx, func(address string) (http.Handler, error) {
		d.Metadata = "http://" + address + metadataPath
		return newSAML("http://"+address, sites)
	})
	if err != nil {
		return err
	}
	for _, s := range sites {
		for _, other := range sites {
			if other != s {
				s.Others = append(s.Others, other)
			}
		}
		if s.Upstream, err = d.serve(ctx, func(string) (http.Handler, error) { return newApp(s) }); err != nil {
			return err
		}
	}
	return nil
}

// serve serves what handler returns for an address on loopback, with the name localhost,
// and the style and icon of its pages. It returns the address.
func (d *Demo) serve(ctx context.Context, handler func(address string) (http.Handler, error)) (address string, err error) {
	var config net.ListenConfig
	ln, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("listening on loopback: %w", err)
	}
	_, port, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		return "", errors.Join(err, ln.Close())
	}
	address = net.JoinHostPort("localhost", port)
	pages, err := handler(address)
	if err != nil {
		return "", errors.Join(err, ln.Close())
	}
	mux := http.NewServeMux()
	mux.Handle("/", pages)
	mux.HandleFunc("GET /demo/style.css", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/css; charset=utf-8")
		_, _ = io.WriteString(w, d.style)
	})
	mux.HandleFunc("GET /demo/provider.svg", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFileFS(w, r, files, "provider.svg")
	})
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	d.servers = append(d.servers, srv)
	go func() { _ = srv.Serve(ln) }() // ends with Close
	return address, nil
}

// Close ends everything that Start started.
func (d *Demo) Close() error {
	var errs []error
	for _, srv := range d.servers {
		errs = append(errs, srv.Close())
	}
	return errors.Join(errs...)
}

// loopbackClient connects to loopback for every name, because some resolvers don't know
// localhost.
var loopbackClient = &http.Client{
	Timeout: 30 * time.Second, // the gateway may be making its SAML key
	Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			_, port, err := net.SplitHostPort(addr)
			if err != nil {
				return nil, err
			}
			var dialer net.Dialer
			return dialer.DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
		},
	},
}
