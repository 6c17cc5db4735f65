package caddymodule_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// jsonWords are the handlers and matchers of TestRoutesInJSON.
var jsonWords = strings.NewReplacer(
	"SSO", `{"handler":"sso","inline":{"protocol":"oidc","issuer":"https://id.example.com","client_id":"app","client_secret":"s"},"role":[{"to":["User"],"from":["*"]}]}`,
	"TOP", `{"handler":"sso","base_url":"http://app.localhost","inline":{"protocol":"oidc","issuer":"https://id.example.com","client_id":"app","client_secret":"s"},"role":[{"to":["User"],"from":["*"]}]}`,
	"INNAMED", `{"handler":"sso","nested":true,"base_url":"http://app.localhost","inline":{"protocol":"oidc","issuer":"https://id.example.com","client_id":"app","client_secret":"s"},"role":[{"to":["User"],"from":["*"]}]}`,
	"NESTED", `{"handler":"sso","nested":true,"prefix":"/api/.sso","inline":{"protocol":"oidc","issuer":"https://id.example.com","client_id":"app","client_secret":"s"},"role":[{"to":["User"],"from":["*"]}]}`,
	"STRIP", `{"handler":"sso_strip"}`,
	"PROXY", `{"handler":"reverse_proxy","upstreams":[{"dial":"localhost:8080"}]}`,
	"FILES", `{"handler":"file_server"}`,
	"PAGE", `{"handler":"rewrite","uri":"/error.html"}`,
	"FOUND", `{"handler":"rewrite","uri":"{http.matchers.file.relative}"}`,
	"PLUGIN", `{"handler":"wild_plugin"}`,
	"WILD", `{"match":[{"host":["*.localhost"]}],"handle":[{"handler":"subroute","routes":[{"handle":[{"handler":"sso","inline":{"protocol":"oidc","issuer":"https://id.example.com","client_id":"app","client_secret":"s"},"role":[{"to":["User"],"from":["*"]}]}]}]}],"terminal":true}`,
	"MAPPED", `{"handler":"map","source":"{http.request.uri.query.f}","mappings":[{"input_regexp":"(.*)","outputs":["$1"]}],"destinations":`,
	"TEXT", `{"handler":"static_response","body":"x"}`,
	"HOST", `"host":["app.localhost"]`,
	"PATH", `"path":["/api/*"]`,
	"SITE", `{"match":[{"host":["app.localhost"]}],"handle":[{"handler":"subroute","routes":[{"handle":[{"handler":"sso","inline":{"protocol":"oidc","issuer":"https://id.example.com","client_id":"app","client_secret":"s"},"role":[{"to":["User"],"from":["*"]}]}]}]}],"terminal":true}`,
)

// TestRoutesInJSON checks the tree of routes, whatever it was written in.
func TestRoutesInJSON(t *testing.T) {
	const beside = "does not see, session cookie, forged identity headers and all"
	const first, passes, files, unknown, chooses, executed = "comes before 'sso'", "gets requests as clients send them", "serves any file", "a handler that sso does not know", "by which a client chooses the file", "has text of the client in it"
	for _, tt := range []struct {
		name, routes, errors, named string
		want                        string // empty: it starts
	}{
		{name: "a site", routes: `SITE`},
		{name: "a proxy for all before the site", routes: `{"handle":[PROXY]},SITE`, want: first},
		{name: "a proxy for the host before the site", routes: `{"match":[{HOST}],"handle":[PROXY]},SITE`, want: first},
		{name: "a proxy for a path before the site", routes: `{"match":[{HOST,PATH}],"handle":[PROXY]},SITE`, want: beside},
		{name: "a proxy for a path of all hosts", routes: `{"match":[{PATH}],"handle":[PROXY]},SITE`, want: beside},
		{name: "a named route for a path", routes: `{"match":[{HOST,PATH}],"handle":[{"handler":"invoke","name":"n"}]},SITE`, named: `"n":{"handle":[PROXY]}`, want: beside},
		{name: "a proxy for a path, stripped", routes: `{"match":[{HOST,PATH}],"handle":[STRIP,PROXY]},SITE`},
		{name: "a proxy for a path of another host", routes: `{"match":[{"host":["b.localhost"],PATH}],"handle":[PROXY]},SITE`},
		{name: "a proxy for a path behind sso", routes: `{"match":[{HOST}],"handle":[SSO]},{"match":[{HOST,PATH}],"handle":[PROXY]}`},
		{name: "a proxy for a path behind the site", routes: `SITE,{"match":[{HOST,PATH}],"handle":[PROXY]}`},
		{name: "a proxy for all behind two with sso", routes: `{"match":[{HOST}],"handle":[{"handler":"subroute","routes":[{"handle":[SSO]}]}]},{"match":[{"host":["b.localhost"]}],"handle":[{"handler":"subroute","routes":[{"handle":[SSO]}]}]},{"handle":[PROXY]}`},
		{name: "files for a path before the site", routes: `{"match":[{HOST,PATH}],"handle":[FILES]},SITE`},
		{name: "a plugin for a path before the site", routes: `{"match":[{HOST,PATH}],"handle":[PLUGIN]},SITE`},
		{name: "two wildcards with a path", routes: `{"match":[{"host":["a.*.localhost"],PATH}],"handle":[PROXY]},{"match":[{"host":["*.b.localhost"]}],"handle":[SSO]}`, want: beside},
		{name: "a proxy in the route of the site", routes: `{"match":[{HOST}],"handle":[PROXY,{"handler":"subroute","routes":[{"handle":[SSO]}]}]}`, want: first},
		{name: "a named route before sso", routes: `{"match":[{HOST}],"handle":[{"handler":"invoke","name":"n"},SSO]}`, named: `"n":{"handle":[PROXY]}`, want: first},
		{name: "a named route in a named route before sso", routes: `{"match":[{HOST}],"handle":[{"handler":"invoke","name":"n"},SSO]}`, named: `"n":{"handle":[{"handler":"invoke","name":"m"}]},"m":{"handle":[{"handler":"invoke","name":"n"},FILES]}`, want: first},
		{name: "a named route that redirects before sso", routes: `{"match":[{HOST}],"handle":[{"handler":"invoke","name":"n"},SSO]}`, named: `"n":{"handle":[{"handler":"invoke","name":"n"}]}`},

		{name: "one above another without a host", routes: `{"handle":[TOP]},{"match":[{PATH}],"handle":[{"handler":"subroute","routes":[{"handle":[NESTED]}]}]}`, want: "only people whom the first lets in would reach the second"},
		{name: "one beside another host's", routes: `{"match":[{HOST}],"handle":[SSO]},{"match":[{"host":["b.localhost"]}],"handle":[{"handler":"subroute","routes":[{"match":[{PATH}],"handle":[NESTED]}]}]}`},
		{name: "stripped before sso", routes: `{"match":[{HOST}],"handle":[STRIP,SSO]}`, want: "'sso_strip' comes before 'sso'"},
		{name: "stripped before a nested one", routes: `{"match":[{HOST}],"handle":[STRIP]},{"match":[{HOST}],"handle":[STRIP,{"handler":"subroute","routes":[{"match":[{PATH}],"handle":[NESTED]}]}]}`, want: "'sso_strip' comes before 'sso'"},
		{name: "stripped beside a nested one", routes: `{"match":[{HOST}],"handle":[{"handler":"subroute","routes":[{"group":"g","match":[{PATH}],"handle":[NESTED,PROXY]},{"group":"g","handle":[STRIP,PROXY]}]}]}`},
		{name: "stripped behind sso", routes: `{"match":[{HOST}],"handle":[SSO,STRIP,PROXY]}`, want: "takes the person's identity away from the app"},
		{name: "a wildcard's proxy before", routes: `{"match":[{"host":["*.localhost"]}],"handle":[PROXY]},SITE`, want: first},
		{name: "some hosts of a wildcard site before", routes: `{"match":[{"host":["*.localhost"]}],"handle":[{"handler":"subroute","routes":[{"match":[{"host":["a.localhost"]}],"handle":[PROXY]},{"handle":[SSO]}]}]}`, want: first},
		{name: "an exact site before a wildcard one", routes: `{"match":[{"host":["a.localhost"]}],"handle":[PROXY]},{"match":[{"host":["*.localhost"]}],"handle":[SSO,PROXY]}`},
		{name: "a wildcard's files before", routes: `{"match":[{"host":["*.localhost"]}],"handle":[FILES]},SITE`, want: first},
		{name: "what a file matcher did not find", routes: `SITE`, errors: `{"match":[{"not":[{"file":{"try_files":["/e.html"]}}]}],"handle":[FOUND,FILES]}`, want: files},
		{name: "a file matcher or another", routes: `SITE`, errors: `{"match":[{"file":{"try_files":["/e.html"]}},{PATH}],"handle":[FOUND,FILES]}`, want: files},
		{name: "a root of the client's", routes: `SITE`, errors: `{"handle":[{"handler":"vars","root":"/srv/{http.request.header.X}"},PAGE,FILES]}`, want: chooses},
		{name: "a root by the host", routes: `SITE`, errors: `{"match":[{HOST}],"handle":[{"handler":"vars","root":"/srv/{http.request.host}"},PAGE,FILES]}`},
		{name: "a root by a host of a wildcard", routes: `WILD`, errors: `{"match":[{"host":["*.localhost"]}],"handle":[{"handler":"vars","root":"/srv/{http.request.host}"},PAGE,FILES]}`, want: chooses},
		{name: "a root by a label of a wildcard", routes: `WILD`, errors: `{"handle":[{"handler":"vars","root":"/srv/{http.request.host.labels.1}"},PAGE,FILES]}`, want: chooses},
		{name: "a fs by a host of a wildcard", routes: `WILD`, errors: `{"handle":[{"handler":"vars","fs":"{http.request.host}"},PAGE,FILES]}`, want: chooses},
		{name: "a root of the site by a host of a wildcard", routes: `{"match":[{"host":["*.localhost"]}],"handle":[{"handler":"vars","root":"/srv/{http.request.host}"},SSO]}`, errors: `{"handle":[PAGE,FILES]}`, want: chooses},
		{name: "a root by any host", routes: `SITE`, errors: `{"handle":[{"handler":"vars","root":"/srv/{http.request.host}"},PAGE,FILES]}`, want: chooses},
		{name: "a matcher's root of the client's", routes: `SITE`, errors: `{"match":[{"file":{"try_files":["/e.html"],"root":"/{http.request.uri.path}"}}],"handle":[{"handler":"rewrite","uri":"{http.matchers.file.absolute}"},FILES]}`, want: files},

		{name: "errors to a proxy", routes: `SITE`, errors: `{"handle":[PROXY]}`, want: passes},
		{name: "errors to a plugin", routes: `SITE`, errors: `{"handle":[PLUGIN]}`, want: unknown},
		{name: "errors of another host", routes: `SITE`, errors: `{"match":[{"host":["other.localhost"]}],"handle":[PROXY]}`},
		{name: "errors of a wildcard", routes: `SITE`, errors: `{"match":[{"host":["*.localhost"]}],"handle":[PROXY]}`, want: passes},
		{name: "errors of all but the guarded", routes: `SITE`, errors: `{"match":[{HOST}],"handle":[TEXT],"terminal":true},{"handle":[PROXY]}`},
		{name: "errors of all but some of the guarded", routes: `SITE`, errors: `{"match":[{HOST,PATH}],"handle":[TEXT],"terminal":true},{"handle":[PROXY]}`, want: passes},
		{name: "errors of all and the guarded", routes: `SITE`, errors: `{"match":[{HOST}],"handle":[TEXT]},{"handle":[PROXY]}`, want: passes},
		{name: "errors of the others in a group", routes: `SITE`, errors: `{"group":"g","match":[{HOST}],"handle":[TEXT]},{"group":"g","handle":[PROXY]}`},
		{name: "errors of a longer wildcard", routes: `SITE`, errors: `{"match":[{"host":["*.app.localhost"]}],"handle":[PROXY]}`},
		{name: "errors of either", routes: `SITE`, errors: `{"match":[{"host":["other.localhost"]},{PATH}],"handle":[PROXY]}`, want: passes},
		{name: "errors of a site with sso in a named route", routes: `{"match":[{HOST}],"handle":[{"handler":"invoke","name":"n"},TEXT]}`, named: `"n":{"handle":[INNAMED]}`, errors: `{"handle":[PROXY]}`, want: passes},
		{name: "stripped in a route before", routes: `SITE`, errors: `{"handle":[STRIP]},{"match":[{PATH}],"handle":[PROXY]}`},
		{name: "stripped in a subroute before", routes: `SITE`, errors: `{"handle":[{"handler":"subroute","routes":[{"handle":[STRIP]}]},PROXY]}`},
		{name: "stripped for a path only", routes: `SITE`, errors: `{"match":[{PATH}],"handle":[STRIP]},{"handle":[PROXY]}`, want: passes},
		{name: "stripped for a path in a subroute", routes: `SITE`, errors: `{"handle":[{"handler":"subroute","routes":[{"match":[{PATH}],"handle":[STRIP]}]},PROXY]}`, want: passes},
		{name: "stripped behind the proxy", routes: `SITE`, errors: `{"handle":[PROXY,STRIP]}`, want: passes},
		{name: "stripped by one of a group", routes: `SITE`, errors: `{"group":"g","match":[{PATH}],"handle":[PAGE]},{"group":"g","handle":[STRIP]},{"handle":[PROXY]}`, want: passes},
		{name: "stripped by all of a group", routes: `SITE`, errors: `{"group":"g","match":[{PATH}],"handle":[STRIP]},{"group":"g","handle":[STRIP]},{"handle":[PROXY]}`},
		{name: "stripped by a named route", routes: `SITE`, errors: `{"handle":[{"handler":"invoke","name":"n"},PROXY]}`, named: `"n":{"handle":[STRIP]}`},
		{name: "stripped by a named route for a path", routes: `SITE`, errors: `{"handle":[{"handler":"invoke","name":"n"},PROXY]}`, named: `"n":{"match":[{PATH}],"handle":[STRIP]}`, want: passes},
		{name: "errors to a named route in itself", routes: `SITE`, errors: `{"handle":[{"handler":"invoke","name":"n"}]}`, named: `"n":{"handle":[{"handler":"invoke","name":"n"},PROXY]}`, want: passes},
		{name: "errors to a named route that does not exist", routes: `SITE`, errors: `{"handle":[{"handler":"invoke","name":"n"},TEXT]}`},

		{name: "a page", routes: `SITE`, errors: `{"handle":[PAGE,FILES]}`},
		{name: "a page for a path only", routes: `SITE`, errors: `{"match":[{PATH}],"handle":[PAGE]},{"handle":[FILES]}`, want: files},
		{name: "a page that is found", routes: `SITE`, errors: `{"match":[{"file":{"try_files":["/{http.error.status_code}.html"]}}],"handle":[FOUND,FILES]}`},
		{name: "a page that the client names", routes: `SITE`, errors: `{"match":[{"file":{"try_files":["/e.html","{http.request.uri.path}"]}}],"handle":[FOUND,FILES]}`, want: files},
		{name: "the file matcher's own choice", routes: `SITE`, errors: `{"match":[{"file":{}}],"handle":[FOUND,FILES]}`, want: files},
		{name: "two file matchers", routes: `SITE`, errors: `{"match":[{"file":{"try_files":["/e.html"]}}],"handle":[{"handler":"subroute","routes":[{"match":[{"file":{}}],"handle":[TEXT]}]},FOUND,FILES]}`, want: files},
		{name: "a file matcher in an expression", routes: `SITE`, errors: `{"match":[{"file":{"try_files":["/e.html"]}}],"handle":[{"handler":"subroute","routes":[{"match":[{"expression":"file({'try_files': ['{http.request.uri.path}']}) && false"}],"handle":[TEXT]}]},FOUND,FILES]}`, want: files},
		{name: "a file matcher that must not match", routes: `SITE`, errors: `{"match":[{"file":{"try_files":["/e.html"]}}],"handle":[{"handler":"subroute","routes":[{"match":[{"not":[{"file":{}}]}],"handle":[TEXT]}]},FOUND,FILES]}`, want: files},
		{name: "a page by a variable", routes: `SITE`, errors: `{"handle":[{"handler":"rewrite","uri":"/{http.vars.page}"},FILES]}`, want: files},
		{name: "a page with the client's query", routes: `SITE`, errors: `{"handle":[{"handler":"rewrite","uri":"/e.html?{http.request.uri.query}"},FILES]}`},
		{name: "a root that the client names", routes: `SITE`, errors: `{"handle":[PAGE,{"handler":"file_server","root":"/srv/{http.request.uri.path}"}]}`, want: chooses},
		{name: "a root of the client's before a fs", routes: `SITE`, errors: `{"handle":[{"handler":"vars","root":"/srv/{http.request.header.X}"},{"handler":"vars","fs":"x"},PAGE,FILES]}`, want: chooses},
		{name: "a fs of the client's before a root", routes: `SITE`, errors: `{"handle":[{"handler":"vars","fs":"{http.request.uri.query.x}","root":"/srv"},PAGE,FILES]}`, want: chooses},
		{name: "a root of the client's and another", routes: `SITE`, errors: `{"handle":[{"handler":"vars","root":"/srv/{http.request.header.X}"},{"handler":"vars","root":"/srv"},PAGE,FILES]}`},
		{name: "a variable that the client names", routes: `SITE`, errors: `{"handle":[{"handler":"vars","{http.request.uri.query.x}":"/"},PAGE,FILES]}`, want: chooses},
		{name: "a root of the client's before sso", routes: `{"match":[{HOST}],"handle":[{"handler":"vars","root":"/srv/{http.request.header.X}"},SSO]}`, errors: `{"handle":[PAGE,FILES]}`, want: chooses},
		{name: "a root of the client's before sso and another", routes: `{"match":[{HOST}],"handle":[{"handler":"vars","root":"/srv/{http.request.header.X}"},SSO]}`, errors: `{"handle":[{"handler":"vars","root":"/e"},PAGE,FILES]}`},
		{name: "a root of the client's behind sso", routes: `{"match":[{HOST}],"handle":[SSO,{"handler":"vars","root":"/srv/{http.request.header.X}"}]}`, errors: `{"handle":[PAGE,FILES]}`},
		{name: "a root of the client's in a subroute with errors", routes: `{"match":[{HOST}],"handle":[{"handler":"subroute","routes":[{"handle":[{"handler":"vars","root":"/srv/{http.request.header.X}"},SSO]}],"errors":{"routes":[{"handle":[PAGE,FILES]}]}}]}`, want: chooses},
		{name: "a root of the client's behind an intercept", routes: `{"match":[{HOST}],"handle":[{"handler":"intercept","handle_response":[{"routes":[{"handle":[PAGE,FILES]}]}]},{"handler":"vars","root":"/srv/{http.request.header.X}"},SSO]}`, want: chooses},
		{name: "a status that is mapped behind an intercept", routes: `{"match":[{HOST}],"handle":[{"handler":"intercept","handle_response":[{"routes":[{"handle":[{"handler":"rewrite","uri":"/{http.error.status_code}"},FILES]}]}]},MAPPED["{http.error.status_code}"]},SSO]}`, want: files},
		{name: "a root behind an intercept", routes: `{"match":[{HOST}],"handle":[{"handler":"intercept","handle_response":[{"routes":[{"handle":[PAGE,FILES]}]}]},{"handler":"vars","root":"/srv"},SSO]}`},
		{name: "a root of the client's of another host", routes: `{"match":[{"host":["b.localhost"]}],"handle":[{"handler":"vars","root":"/srv/{http.request.header.X}"},TEXT]},SITE`, errors: `{"match":[{HOST}],"handle":[PAGE,FILES]}`},
		{name: "a fs that the client names", routes: `SITE`, errors: `{"handle":[PAGE,{"handler":"file_server","fs":"{http.request.uri.query.x}"}]}`, want: chooses},
		{name: "an index that the client names", routes: `SITE`, errors: `{"handle":[PAGE,{"handler":"file_server","index_names":["index.html","{http.request.uri.query.f}"]}]}`, want: chooses},
		{name: "an index by the status", routes: `SITE`, errors: `{"handle":[PAGE,{"handler":"file_server","index_names":["{http.error.status_code}.html"],"status_code":"{http.error.status_code}"}]}`},
		{name: "what the client hides", routes: `SITE`, errors: `{"handle":[PAGE,{"handler":"file_server","hide":["{http.request.uri.query.f}"]}]}`, want: chooses},
		{name: "a status of the client's", routes: `SITE`, errors: `{"handle":[PAGE,{"handler":"file_server","status_code":"{http.request.uri.query.s}"}]}`, want: chooses},
		{name: "a list by a file of the client's", routes: `SITE`, errors: `{"handle":[PAGE,{"handler":"file_server","browse":{"template_file":"{http.request.uri.query.f}"}}]}`, want: chooses},
		{name: "an index by a variable", routes: `SITE`, errors: `{"handle":[{"handler":"vars","f":"{http.request.uri.query.f}"},PAGE,{"handler":"file_server","index_names":["{http.vars.f}"]}]}`, want: chooses},
		{name: "an index by a map", routes: `SITE`, errors: `{"handle":[{"handler":"map","source":"{http.request.uri.query.f}","destinations":["{f}"],"mappings":[{"input_regexp":"(.*)","outputs":["$1"]}]},PAGE,{"handler":"file_server","index_names":["{f}"]}]}`, want: chooses},
		{name: "a part of the page that the client takes out", routes: `SITE`, errors: `{"handle":[PAGE,{"handler":"rewrite","uri_substring":[{"find":"{http.request.uri.query.x}","replace":""}]},FILES]}`, want: files},
		{name: "a matcher's fs of the client's", routes: `SITE`, errors: `{"match":[{"file":{"try_files":["/e.html"],"fs":"{http.request.uri.query.x}"}}],"handle":[FOUND,FILES]}`, want: files},
		{name: "templates that include what the client names", routes: `SITE`, errors: `{"handle":[PAGE,{"handler":"templates","file_root":"/srv/{http.request.uri.query.x}"},FILES]}`, want: "that a client chooses"},
		{name: "templates with a root of the client's", routes: `SITE`, errors: `{"handle":[{"handler":"vars","root":"{http.request.uri.query.x}"},{"handler":"templates"},TEXT]}`, want: "that a client chooses"},
		{name: "a template that the client sends", routes: `SITE`, errors: `{"handle":[{"handler":"templates"},{"handler":"static_response","body":"no {http.request.uri.path}"}]}`, want: "has text of the client in it"},
		{name: "a template that the client sends, stripped", routes: `SITE`, errors: `{"handle":[STRIP,{"handler":"templates"},{"handler":"static_response","body":"no {http.request.uri.path}"}]}`},
		{name: "a template of the configuration", routes: `SITE`, errors: `{"match":[{HOST}],"handle":[{"handler":"templates"},{"handler":"static_response","body":"{http.error.status_code} at {http.request.host}"}]}`},
		{name: "a template with any host", routes: `SITE`, errors: `{"handle":[{"handler":"templates"},{"handler":"static_response","body":"{http.error.status_code} at {http.request.host}"}]}`, want: executed},
		{name: "a template with a host or another", routes: `SITE`, errors: `{"match":[{HOST},{PATH}],"handle":[{"handler":"templates"},{"handler":"static_response","body":"{http.request.host}"}]}`, want: executed},
		{name: "a template with a host of a wildcard", routes: `WILD`, errors: `{"match":[{"host":["*.localhost"]}],"handle":[{"handler":"templates"},{"handler":"static_response","body":"{http.error.status_code} at {http.request.host}"}]}`, want: executed},
		{name: "a template with a label of a wildcard", routes: `WILD`, errors: `{"match":[{HOST,"path":["/"]},{"host":["*.localhost"]}],"handle":[{"handler":"templates"},{"handler":"static_response","body":"{http.request.host.labels.1}"}]}`, want: executed},
		{name: "a template with an exact host of a wildcard", routes: `WILD`, errors: `{"match":[{"host":["*.localhost"]}],"handle":[{"handler":"subroute","routes":[{"match":[{HOST}],"handle":[{"handler":"templates"},{"handler":"static_response","body":"{http.request.host}"}]}]}]}`},
		{name: "a template with a host behind that of another", routes: `SITE`, errors: `{"handle":[{"handler":"templates"}]},{"match":[{HOST}],"handle":[{"handler":"vars","x":"y"}]},{"handle":[{"handler":"static_response","body":"{http.request.host}"}]}`, want: executed},
		{name: "a template with a host in a named route", routes: `WILD`, errors: `{"match":[{HOST}],"handle":[{"handler":"invoke","name":"n"}]}`, named: `"n":{"handle":[{"handler":"templates"},{"handler":"static_response","body":"{http.request.host}"}]}`},
		{name: "a template with a host that a header names", routes: `SITE`, errors: `{"match":[{HOST}],"handle":[{"handler":"headers","request":{"set":{"host":["{http.request.uri.query.x}"]}}},{"handler":"templates"},{"handler":"static_response","body":"{http.request.host}"}]}`, want: executed},
		{name: "a template with a host that headers change", routes: `SITE`, errors: `{"match":[{HOST}],"handle":[{"handler":"headers","request":{"replace":{"*":[{"search":"a","replace":"{http.request.uri.query.x}"}]}}},{"handler":"templates"},{"handler":"static_response","body":"{http.request.host}"}]}`, want: executed},
		{name: "a template with a host that the site's header names", routes: `{"match":[{HOST}],"handle":[{"handler":"subroute","routes":[{"handle":[{"handler":"headers","request":{"add":{"Host":["{http.request.uri.query.x}"]}}},SSO]}],"errors":{"routes":[{"handle":[{"handler":"templates"},{"handler":"static_response","body":"{http.request.host}"}]}]}}]}`, want: executed},
		{name: "a template with a host that no header names", routes: `{"match":[{HOST}],"handle":[{"handler":"subroute","routes":[{"handle":[{"handler":"headers","request":{"set":{"X-Host":["{http.request.uri.query.x}"]},"delete":["X-*"]}},SSO]}],"errors":{"routes":[{"handle":[{"handler":"templates"},{"handler":"static_response","body":"{http.request.host}"}]}]}}]}`},
		{name: "a template with the message of an error", routes: `SITE`, errors: `{"handle":[{"handler":"templates"},{"handler":"static_response","body":"{http.error.message}"}]}`, want: executed},
		{name: "a template with the trace of an error", routes: `SITE`, errors: `{"handle":[{"handler":"templates"},{"handler":"static_response","body":"{http.error.trace}"}]}`, want: executed},
		{name: "a template with an error", routes: `SITE`, errors: `{"handle":[{"handler":"templates"},{"handler":"static_response","body":"{http.error}"}]}`, want: executed},
		{name: "a template with a message of a subroute's", routes: `SITE`, errors: `{"handle":[{"handler":"templates"},{"handler":"subroute","routes":[{"handle":[{"handler":"error","error":"no {http.request.uri}"}]}],"errors":{"routes":[{"handle":[{"handler":"static_response","body":"{http.error.message}"}]}]}}]}`, want: executed},
		{name: "a header of a template with text of the client", routes: `SITE`, errors: `{"handle":[{"handler":"templates"},{"handler":"static_response","headers":{"X-Path":["{http.request.uri.path}"]},"body":"x"}]}`},
		{name: "a template with a mapped status", routes: `SITE`, errors: `{"handle":[{"handler":"templates"},MAPPED["{http.error.status_code}"]},{"handler":"static_response","body":"{http.error.status_code}"}]}`, want: executed},
		{name: "a page by a mapped status", routes: `SITE`, errors: `{"handle":[MAPPED["{http.error.status_code}"]},{"handler":"rewrite","uri":"/{http.error.status_code}"},FILES]}`, want: files},
		{name: "a page by a mapped status of the site", routes: `{"match":[{HOST}],"handle":[MAPPED["{http.error.status_code}"]},SSO]}`, errors: `{"handle":[{"handler":"rewrite","uri":"/{http.error.status_code}"},FILES]}`, want: files},
		{name: "a page by a status that is mapped behind sso", routes: `{"match":[{HOST}],"handle":[SSO,MAPPED["{http.error.status_code}"]}]}`, errors: `{"handle":[{"handler":"rewrite","uri":"/{http.error.status_code}"},FILES]}`, want: files},
		{name: "a page by a mapped id", routes: `SITE`, errors: `{"handle":[MAPPED["{http.error.id}"]},{"handler":"rewrite","uri":"/{http.error.id}"},FILES]}`, want: files},
		{name: "a page by a mapped code", routes: `SITE`, errors: `{"handle":[MAPPED["{http.error.sso.code}"]},{"handler":"rewrite","uri":"/{http.error.sso.code}"},FILES]}`, want: files},
		{name: "a page by a mapped text", routes: `SITE`, errors: `{"match":[{PATH}],"handle":[MAPPED["{http.error.status_text}"]}]},{"handle":[{"handler":"rewrite","uri":"/{http.error.status_text}"},FILES]}`, want: files},
		{name: "a root by a mapped variable of the system", routes: `SITE`, errors: `{"handle":[MAPPED["{system.x}"]},{"handler":"vars","root":"/srv/{system.x}"},PAGE,FILES]}`, want: chooses},
		{name: "an index by a mapped variable of the environment", routes: `SITE`, errors: `{"handle":[MAPPED["{env.X}"]},PAGE,{"handler":"file_server","index_names":["{env.X}"]}]}`, want: chooses},
		{name: "a page that is found by a mapped status", routes: `SITE`, errors: `{"handle":[MAPPED["{http.error.status_code}"]}]},{"match":[{"file":{"try_files":["/{http.error.status_code}.html"]}}],"handle":[FOUND,FILES]}`, want: files},
		{name: "a page beside a map", routes: `SITE`, errors: `{"handle":[MAPPED["{x}"]},{"handler":"rewrite","uri":"/{http.error.status_code}.html"},FILES]}`},
		{name: "text of the client", routes: `SITE`, errors: `{"handle":[{"handler":"error","error":"no {http.request.uri}"},{"handler":"static_response","body":"no {http.request.uri.path}"}]}`},

		{name: "errors of a subroute around sso", routes: `{"match":[{HOST}],"handle":[{"handler":"subroute","routes":[{"handle":[SSO]}],"errors":{"routes":[{"handle":[PROXY]}]}}]}`, want: passes},
		{name: "errors of a subroute around sso, stripped", routes: `{"match":[{HOST}],"handle":[{"handler":"subroute","routes":[{"handle":[SSO]}],"errors":{"routes":[{"handle":[STRIP,PROXY]}]}}]}`},
		{name: "errors of a subroute behind sso", routes: `{"match":[{HOST}],"handle":[SSO,{"handler":"subroute","routes":[{"handle":[PROXY]}],"errors":{"routes":[{"handle":[PROXY]}]}}]}`},
		{name: "errors of a subroute in errors", routes: `SITE`, errors: `{"handle":[{"handler":"subroute","routes":[{"handle":[STRIP]}],"errors":{"routes":[{"handle":[PROXY]}]}}]}`, want: passes},
		{name: "intercept around sso", routes: `{"match":[{HOST}],"handle":[{"handler":"intercept","handle_response":[{"routes":[{"handle":[PROXY]}]}]},SSO]}`, want: passes},
		{name: "intercept behind sso", routes: `{"match":[{HOST}],"handle":[SSO,{"handler":"intercept","handle_response":[{"routes":[{"handle":[PROXY]}]}]},TEXT]}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			t.Setenv("XDG_DATA_HOME", dir)
			config := jsonWords.Replace(fmt.Sprintf(`{"admin":{"disabled":true,"config":{"persist":false}},"storage":{"module":"file_system","root":%q},
				"apps":{"http":{"servers":{"s":{"listen":["127.0.0.1:%d"],"automatic_https":{"disable":true},
				"routes":[%s],"errors":{"routes":[%s]},"named_routes":{%s}}}}}}`, dir, gatewaytest.FreePort(), tt.routes, tt.errors, tt.named))
			if got := loadBoth(t, []byte(config)); tt.want == "" && got != starts || !strings.Contains(got, tt.want) {
				t.Errorf("got %s, want %q", got, tt.want)
			}
		})
	}
}

// forge puts all into a request that only the gateway may say.
func forge(r *http.Request, cookie string) {
	for _, n := range []string{"Remote-User", "remote_groups", "X-Sso-Assertion", "X_Sso_Anything", "X-Webauth-User", "X-Forwarded-User"} {
		r.Header[n] = []string{"mallory"}
	}
	r.Header.Set("Connection", "Remote-User, X-Kept")
	r.Header.Set("Upgrade", "h2c")
	r.Header.Set("Cookie", "app=1; sso="+cookie+"; __Host-sso="+cookie+"; sso-b="+cookie)
	r.Trailer = http.Header{"Remote-User": {"mallory"}, "X-Sum": {"1"}}
}

// mustBeStripped looks for what was forged in what an app got.
func mustBeStripped(t *testing.T, got *http.Request, secrets ...string) {
	t.Helper()
	if got == nil {
		t.Fatal("the app was not reached")
	}
	all := fmt.Sprint(got.Method, got.RequestURI, got.Header, got.Trailer, got.Form)
	for _, secret := range append(secrets, "mallory") {
		if strings.Contains(all, secret) {
			t.Errorf("the app got %q: %s", secret, all)
		}
	}
	if c := got.Header.Get("Cookie"); c != "app=1" && c != "" {
		t.Errorf("the app got the cookies %q", c)
	}
}

// TestErrorBeforeSSO has a matcher before sso that fails on what the client sends.
// Caddy then runs the error routes on the request as it came.
func TestErrorBeforeSSO(t *testing.T) {
	app := newUpstream(t, "sso=x", "__Host-sso-b=x", "page=1")
	const before = "@many expression `int({http.request.header.X-Number}) > 3`\n\theader @many X-Many yes\n\t"
	const rest = "\tPROVIDER\n\t\trole User *\n\t\theaders user X-Webauth-User\n\t}\n\treverse_proxy APP\n}\n"
	w := newWorld(t)
	unstripped := strings.ReplaceAll("ORIGIN {\n\t"+before+"handle_errors {\n\t\treverse_proxy APP\n\t}\n"+rest, "APP", app.addr())
	if err := w.load(w.global("") + unstripped); err == nil || !strings.Contains(err.Error(), "write the line `sso_strip` before it") {
		t.Fatalf("without sso_strip: %v", err)
	}
	w.mustLoad(w.global("") + strings.Replace(unstripped, "handle_errors {\n", "handle_errors {\n\t\tsso_strip\n", 1))
	b := newBrowser(t)
	signIn := mustRequest(t, w.origin()+"/")
	signIn.Header = http.Header{"Accept": {"text/html"}, "Sec-Fetch-Mode": {"navigate"}, "X-Number": {"1"}}
	if status, body := b.do(signIn); status != http.StatusOK || app.last().Header.Get("X-Webauth-User") != "alice" {
		t.Fatalf("the control: %d %s", status, body)
	}
	r, err := http.NewRequest(http.MethodPost, w.origin()+"/page?q=1", io.NopCloser(strings.NewReader("body")))
	if err != nil {
		t.Fatal(err)
	}
	forge(r, b.cookie(w.origin()))
	r.Header.Set("X-Number", "none")
	resp, err := gatewaytest.Transport(t).RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	mustBeStripped(t, app.last(), b.cookie(w.origin()))
	if got := app.last(); got.RequestURI != "/page?q=1" || got.Header.Get("Cookie") != "app=1" {
		t.Errorf("the app got %s %q", got.RequestURI, got.Header.Get("Cookie"))
	}
	if got := resp.Header["Set-Cookie"]; len(got) != 1 || got[0] != "page=1" {
		t.Errorf("the app set %q", got)
	}
}

// TestErrorOfStrictSNI asks for another host than the TLS name is: 421 comes before
// all routes.
func TestErrorOfStrictSNI(t *testing.T) {
	app := newUpstream(t)
	w := newWorld(t)
	secure := gatewaytest.FreePort()
	global := strings.Replace(w.global(""), "\tadmin off\n", fmt.Sprintf("\tadmin off\n\tskip_install_trust\n\thttp_port %d\n\thttps_port %d\n\tservers {\n\t\tstrict_sni_host on\n\t}\n", w.port, secure), 1)
	config := global + `
https://app.localhost, https://b.localhost {
	log
	CERTIFICATE
	handle_errors {
		reverse_proxy APP
	}
	PROVIDER
		role User *
	}
	reverse_proxy APP
}
`
	config = strings.NewReplacer("APP", app.addr(), "CERTIFICATE", w.certificate("app.localhost", "b.localhost")).Replace(config)
	if err := w.load(config); err == nil || !strings.Contains(err.Error(), "write the line `sso_strip` before it") {
		t.Fatalf("without sso_strip: %v", err)
	}
	w.mustLoad(strings.Replace(config, "handle_errors {\n", "handle_errors {\n\t\tsso_strip\n", 1))
	client := &http.Transport{
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true, ServerName: "app.localhost"},
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, fmt.Sprintf("127.0.0.1:%d", secure))
		},
	}
	for _, target := range []string{"/page", "/.sso/oidc/callback?code=canarycode&state=canarystate"} {
		r := mustRequest(t, fmt.Sprintf("https://b.localhost:%d%s", secure, target))
		forge(r, "canary")
		r.Trailer = nil
		resp, err := client.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		mustBeStripped(t, app.last(), "canary")
	}
	for line := range strings.Lines(w.logs()) {
		if strings.Contains(line, "handled request") && strings.Contains(line, "canary") {
			t.Errorf("the access log has a code: %s", line)
		}
	}
	if !strings.Contains(w.logs(), `"uri":"/.sso/oidc/callback","redacted":true`) {
		t.Error("no line stands for the callback")
	}
	if !strings.Contains(w.logs(), "strict host matching") {
		t.Error("it was not that error")
	}
}

// TestRefusedGoNoFurther hands refusals to error routes with an app in them: a
// code that nobody has used stays here, and the log warns that the app is open.
func TestRefusedGoNoFurther(t *testing.T) {
	app := newUpstream(t)
	w := newWorld(t)
	config := strings.ReplaceAll(`ORIGIN {
	handle_errors {
		reverse_proxy APP {
			header_up X-Uri "{uri} {http.request.orig_uri} {http.request.orig_uri.query} {query} {http.request.body} {http.request.uri.query.code}"
		}
	}
	PROVIDER
		role User *
		errors caddy
	}
	reverse_proxy APP
}
`, "APP", app.addr())
	if err := w.load(w.global("") + config); err == nil || !strings.Contains(err.Error(), "write the line `sso_strip` before it") {
		t.Fatalf("without sso_strip: %v", err)
	}
	w.mustLoad(w.global("") + strings.Replace(config, "handle_errors {\n", "handle_errors {\n\t\tsso_strip\n", 1))
	if !strings.Contains(w.logs(), "everybody gets in to what is behind these handlers") {
		t.Error("there was no warning")
	}
	form := url.Values{"code": {"canarycode"}, "state": {"canarystate"}}
	for _, r := range []*http.Request{
		mustRequest(t, w.origin()+"/.sso/oidc/callback?"+form.Encode()),
		mustRequest(t, w.origin()+"/.sso/saml/acs?"+form.Encode()),
		mustPost(t, w.origin()+"/.sso/oidc/callback", form),
		mustPost(t, w.origin()+"/.sso/saml/acs", url.Values{"SAMLResponse": {"canary"}, "RelayState": {"canary"}}),
		mustRequest(t, w.origin()+"/page"),
	} {
		t.Run(r.Method+r.URL.Path, func(t *testing.T) {
			forge(r, "canary")
			r.Trailer = nil
			resp, err := gatewaytest.Transport(t).RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			got := app.last()
			mustBeStripped(t, got, "canary")
			if got.URL.Path != r.URL.Path {
				t.Errorf("the app was asked for %s", got.URL.Path)
			}
		})
	}
}

func mustPost(t *testing.T, address string, form url.Values) *http.Request {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

// TestWarnsOfUnknownHandlers names the handlers before sso that it does not know.
func TestWarnsOfUnknownHandlers(t *testing.T) {
	for global, want := range map[string]bool{"order wild_plugin before sso": true, "": false} {
		w := newWorld(t)
		w.mustLoad(strings.Replace(w.global(""), "\tadmin off\n", "\tadmin off\n\t"+global+"\n", 1) + "ORIGIN {\n\tPROVIDER\n\t\trole User *\n\t}\n\twild_plugin\n\trespond ok\n}\n")
		if got := strings.Contains(w.logs(), `"handlers":["wild_plugin"]`); got != want {
			t.Errorf("%q: warned: %t", global, got)
		}
	}
}
