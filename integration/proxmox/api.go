//go:build integration

package proxmox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

const maxForm = 512 << 10

// A failure is an error that a request is answered with.
type failure struct {
	status int
	text   string
	errors map[string]string // by parameter
	// proxy means that the proxy itself refuses: then there is no body.
	proxy bool
}

func (f *failure) Error() string {
	if f.errors != nil {
		return fmt.Sprintf("%s %v", f.text, f.errors)
	}
	return f.text
}

// A caller is who makes a request: a user, or one of its tokens.
type caller struct{ user, token string }

// A call is a request to the API.
type call struct {
	ctx    context.Context
	node   *Node
	who    caller
	vars   map[string]string // from the path
	params url.Values
	upload io.Reader
}

func (r *call) param(name string) string { return r.params.Get(name) }
func (r *call) has(name string) bool     { return r.params.Has(name) }

func (r *call) invalid(name, why string) error {
	return &failure{status: http.StatusBadRequest, text: "Parameter verification failed.", errors: map[string]string{name: why}}
}

// A route is a method of the API.
type route struct {
	method, path string
	// params are the parameters that it knows; ! is one that it needs.
	params string
	// needs is a privilege, or: world, for requests without a login; password, for the same but
	// never with a token; login, for any login; person, for any but tokens.
	needs string
	// remote means that it asks the OpenID provider, so it takes the lock itself.
	remote bool
	serve  func(*Cluster, *call) (any, error)
}

const userParams = " groups append email enable firstname lastname comment expire"

func routes() []route {
	const get, post, put, del = http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete
	return []route{
		{get, "/version", "", "login", false, func(*Cluster, *call) (any, error) {
			return map[string]string{"version": "9.2.11", "release": "9.2", "repoid": "double"}, nil
		}},
		{get, "/access/ticket", "", "world", false, func(*Cluster, *call) (any, error) { return nil, nil }}, //nolint:nilnil // the answer's data is null
		{post, "/access/ticket", "username! password! realm otp path privs new-format tfa-challenge", "password", false, (*Cluster).createTicket},
		{post, "/access/openid/auth-url", "realm! redirect-url!", "world", true, (*Cluster).authURL},
		{post, "/access/openid/login", "state! code! redirect-url!", "world", true, (*Cluster).login},
		{get, "/access/domains", "", "world", false, (*Cluster).listRealms},
		{post, "/access/domains", "realm! type! " + realmParams, "Realm.Allocate", false, (*Cluster).createRealm},
		{put, "/access/domains/{realm}", realmParams + " delete", "Realm.Allocate", false, (*Cluster).updateRealm},
		{get, "/access/users", "full enabled", "login", false, (*Cluster).listUsers},
		{post, "/access/users", "userid! password" + userParams, "User.Modify", false, (*Cluster).createUser},
		{get, "/access/users/{userid}", "", "login", false, (*Cluster).getUser},
		{put, "/access/users/{userid}", userParams, "User.Modify", false, (*Cluster).updateUser},
		{del, "/access/users/{userid}", "", "User.Modify", false, (*Cluster).deleteUser},
		{post, "/access/users/{userid}/token/{tokenid}", "privsep expire comment", "User.Modify", false, (*Cluster).createToken},
		{get, "/access/groups", "", "login", false, (*Cluster).listGroups},
		{post, "/access/groups", "groupid! comment", "Group.Allocate", false, (*Cluster).createGroup},
		{put, "/access/groups/{groupid}", "comment", "Group.Allocate", false, func(*Cluster, *call) (any, error) { return nil, nil }}, //nolint:nilnil // the answer's data is null
		{del, "/access/groups/{groupid}", "", "Group.Allocate", false, (*Cluster).deleteGroup},
		{get, "/access/acl", "", "login", false, (*Cluster).listACL},
		{put, "/access/acl", "path! roles! users groups tokens propagate delete", "Permissions.Modify", false, (*Cluster).updateACL},
		{put, "/access/password", "userid! password!", "person", false, (*Cluster).setPassword},
		{post, "/access/tfa/{userid}", "type! value description totp password", "person", false, (*Cluster).setSecondFactor},
		{get, "/nodes", "", "login", false, (*Cluster).listNodes},
		{get, "/nodes/{node}/vncwebsocket", "port vncticket", "Sys.Console", true, func(*Cluster, *call) (any, error) { return nil, nil }}, //nolint:nilnil // a console follows
		{post, "/nodes/{node}/storage/{storage}/upload", "content filename", "Datastore.AllocateTemplate", true, (*Cluster).upload},
	}
}

// ServeHTTP answers one request.
func (n *Node) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := n.cluster
	c.mu.Lock()
	c.seen = append(c.seen, Request{n.Name, r.Method, r.URL.Path, r.Header.Clone()})
	answer := c.answer
	c.mu.Unlock()
	w.Header().Set("Server", "pve-api-daemon/3.0")
	w.Header().Set("Date", c.Now().UTC().Format(http.TimeFormat))
	if answer != nil && answer(w, r) {
		return
	}
	switch path := r.URL.Path; {
	case path == "/" && r.Method == http.MethodGet:
		n.index(w, r)
	case strings.HasPrefix(path, "/pve-docs/") || strings.HasPrefix(path, "/pve2/"):
		_, _ = fmt.Fprintf(w, "static: %s\n", path)
	case strings.HasPrefix(path, "/api2"):
		n.api(w, r)
	default:
		fail(w, http.StatusInternalServerError, "no such file '"+path+"'")
	}
}

// fail answers with an error, in the status line as pveproxy does.
func fail(w http.ResponseWriter, status int, text string) {
	if own, ok := w.(*response); ok {
		own.fail(status, text)
	}
}

// index renders the interface: it is signed in if the cookie is good, by nothing else.
func (n *Node) index(w http.ResponseWriter, r *http.Request) {
	c := n.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	name, token := "", "null"
	if ticket := authValue(r.Header.Get("Cookie"), "PVEAuthCookie"); ticket != "" {
		if subject, err := verifyTicket(c.keys, ticket, "", c.now()); err == nil && userForm.MatchString(subject) {
			name, token = subject, csrfToken(c.csrfKey, subject, stamp(c.now()))
		}
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = fmt.Fprintf(w, `<!DOCTYPE html>
<html><head><title>%s - Proxmox Virtual Environment</title>
<script>
Proxmox = {
    Setup: { auth_cookie_name: 'PVEAuthCookie' },
    NodeName: '%s',
    UserName: '%s',
    CSRFPreventionToken: '%s'
};
</script></head><body>Proxmox VE</body></html>
`, n.Name, n.Name, name, token)
}

// api answers a request to the API, in the form json or extjs.
func (n *Node) api(w http.ResponseWriter, r *http.Request) {
	format, path, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/api2/"), "/")
	if format != "json" && format != "extjs" {
		fail(w, http.StatusNotImplemented, "no such uri")
		return
	}
	to, vars := find(r.Method, "/"+path)
	data, err := n.call(w, r, to, vars)
	var f *failure
	if err != nil && !errors.As(err, &f) {
		f = &failure{status: http.StatusInternalServerError, text: err.Error()}
	}
	if f != nil && f.status == http.StatusUnauthorized {
		n.pause()
	}
	if own, ok := w.(*response); ok && own.hijacked {
		return
	}
	if f != nil && (f.proxy || format == "json") {
		fail(w, f.status, f.text)
	}
	if f == nil || !f.proxy {
		w.Header().Set("Content-Type", "application/json;charset=UTF-8")
		_ = json.NewEncoder(w).Encode(answer(format, data, f))
	}
}

// answer is the body of an answer. In the form extjs, which the interface asks for, it has the
// status, and the response is always 200.
func answer(format string, data any, f *failure) map[string]any {
	body := map[string]any{"data": data}
	if f != nil {
		body = map[string]any{"data": nil, "message": f.text + "\n"}
		if f.errors != nil {
			body["errors"] = f.errors
		}
	}
	if format == "extjs" {
		body["success"] = number(f == nil)
		if f != nil {
			body["status"] = f.status
		}
	}
	return body
}

// find returns the route of a request.
func find(method, path string) (to *route, vars map[string]string) {
	parts := strings.Split(path, "/")
next:
	for _, candidate := range routes() {
		want := strings.Split(candidate.path, "/")
		if candidate.method != method || len(want) != len(parts) {
			continue
		}
		vars = map[string]string{}
		for i, w := range want {
			if name, ok := strings.CutPrefix(w, "{"); ok {
				vars[strings.TrimSuffix(name, "}")] = parts[i]
			} else if w != parts[i] {
				continue next
			}
		}
		return &candidate, vars
	}
	return nil, nil
}

// call finds out who calls, reads the parameters and serves the route.
func (n *Node) call(w http.ResponseWriter, r *http.Request, to *route, vars map[string]string) (any, error) {
	in := &call{ctx: r.Context(), node: n, vars: vars}
	if token := authValue(r.Header.Get("Authorization"), "PVEAPIToken"); to == nil || to.needs != "world" && (to.needs != "password" || token != "") {
		who, err := n.cluster.authenticate(r, to != nil && strings.HasSuffix(to.path, "/upload"))
		if err != nil {
			return nil, &failure{status: http.StatusUnauthorized, text: err.Error(), proxy: true}
		}
		in.who = who
	}
	if to == nil {
		return nil, &failure{status: http.StatusNotImplemented, text: fmt.Sprintf("Method '%s %s' not implemented", r.Method, r.URL.Path)}
	}
	if err := in.read(r); err != nil {
		return nil, err
	}
	data, err := n.cluster.run(to, in)
	if err == nil && strings.EqualFold(r.Header.Get("Upgrade"), "websocket") && strings.HasSuffix(to.path, "websocket") {
		n.console(w, r)
	}
	return data, err
}

// read reads the parameters, or leaves the body as an upload.
func (r *call) read(from *http.Request) (err error) {
	r.params = from.URL.Query()
	kind, _, _ := mime.ParseMediaType(from.Header.Get("Content-Type"))
	switch {
	case from.ContentLength <= 0:
	case kind == "multipart/form-data" && strings.HasSuffix(from.URL.Path, "/upload"):
		reader, err := from.MultipartReader()
		if err != nil {
			return fmt.Errorf("reading an upload: %w", err)
		}
		part, err := reader.NextPart()
		for ; err == nil && part.FileName() == ""; part, err = reader.NextPart() {
			text, _ := io.ReadAll(part)
			r.params.Set(part.FormName(), string(text))
		}
		r.upload = part
		return err
	case from.ContentLength > maxForm:
		return &failure{status: http.StatusNotImplemented, text: "for data too large", proxy: true}
	case kind != "" && kind != "application/x-www-form-urlencoded" && kind != "application/json":
		return &failure{status: http.StatusVariantAlsoNegotiates, text: "upload 'Content-Type '" + kind + "' not implemented", proxy: true}
	default:
		text, _ := io.ReadAll(from.Body)
		form := url.Values{}
		if kind == "application/json" {
			err = readJSON(text, form)
		} else {
			form, err = url.ParseQuery(string(text))
		}
		for name := range form {
			r.params[name] = form[name]
		}
	}
	r.params.Del("_dc")
	return err
}

func readJSON(text []byte, into url.Values) error {
	var fields map[string]any
	err := json.Unmarshal(text, &fields)
	for name, value := range fields {
		into.Set(name, fmt.Sprint(value))
	}
	return err
}

// run checks a call's parameters and rights, and serves it.
func (c *Cluster) run(to *route, in *call) (any, error) {
	wrong, known := map[string]string{}, strings.Fields(to.params)
	for _, name := range known {
		if needed, ok := strings.CutSuffix(name, "!"); ok && !in.has(needed) {
			wrong[needed] = "property is missing and it is not optional"
		}
	}
	for name := range in.params {
		if !slices.Contains(known, name) && !slices.Contains(known, name+"!") || c.settings.Old && newOption(name) {
			wrong[name] = "property is not defined in schema and the schema does not allow additional properties"
		}
	}
	if len(wrong) > 0 {
		return nil, &failure{status: http.StatusBadRequest, text: "Parameter verification failed.", errors: wrong}
	}
	c.mu.Lock()
	allowed := true
	switch to.needs {
	case "world", "login":
	case "password", "person":
		allowed = in.who.token == ""
	default:
		allowed = c.may(in.who, to.needs)
	}
	if !allowed {
		c.mu.Unlock()
		return nil, &failure{status: http.StatusForbidden, text: "Permission check failed (/, " + to.needs + ")"}
	}
	if to.remote {
		c.mu.Unlock()
		return to.serve(c, in)
	}
	defer c.mu.Unlock()
	return to.serve(c, in)
}
