package oidcrp_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// A mutator makes an OP misbehave as an attack's file says.
type mutator struct {
	op         *gatewaytest.OP
	statements []statement
	inForce    []statement

	mu     sync.Mutex
	did    map[string]bool // by line
	faults []string
	seen   string // the newest ID token
}

// newMutator reads a mutation for op.
func newMutator(op *gatewaytest.OP, body string) (*mutator, error) {
	m := &mutator{op: op, did: map[string]bool{}}
	var err error
	m.statements, err = readMutation(body, m.expand)
	return m, err
}

// play puts the statements in force: the control's alone, or all.
func (m *mutator) play(all bool) {
	m.inForce = slices.DeleteFunc(slices.Clone(m.statements), func(st statement) bool { return !all && !st.control })
	m.op.SetHooks(m.hooks())
}

// complaints are the faults, and the statements of which nothing came.
func (m *mutator) complaints() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := slices.Clone(m.faults)
	for _, st := range m.statements {
		if !m.did[st.line] {
			list = append(list, fmt.Sprintf("nothing came of %.80q", st.line))
		}
	}
	return list
}

func (m *mutator) fault(st statement, why string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults = append(m.faults, fmt.Sprintf("%.80q: %s", st.line, why))
}

// expand knows what may stand between ${ and } besides repetitions.
func (m *mutator) expand(name string) (string, bool) {
	word, rest, _ := strings.Cut(name, " ")
	switch {
	case name == "issuer":
		return m.op.Issuer, true
	case name == "client_id":
		return m.op.ClientID, true
	case name == "client_secret":
		return m.op.ClientSecret, true
	case name == "public_key":
		der, err := x509.MarshalPKIXPublicKey(m.op.Key.Signer.Public())
		return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), err == nil
	case name == "header", name == "payload", name == "signature":
		return "${" + name + "}", true // jws and input have them later
	case word == "jwk":
		alg, kid, _ := strings.Cut(rest, " ")
		key, ok := keyNamed(alg, kid)
		return jsonOf(key), ok
	case word == "members": // of the JWK, to put others beside them
		alg, kid, _ := strings.Cut(rest, " ")
		key, ok := keyNamed(alg, kid)
		return strings.Trim(jsonOf(key), "{}"), ok
	}
	after, ok := strings.CutPrefix(name, "now")
	seconds, err := strconv.Atoi("0" + strings.TrimLeft(after, "+-"))
	if strings.HasPrefix(after, "-") {
		seconds = -seconds
	}
	return strconv.FormatInt(time.Now().Unix()+int64(seconds), 10), ok && err == nil
}

func jsonOf(key gatewaytest.OPKey) string {
	if key.Signer == nil {
		return ""
	}
	data, err := json.Marshal(key.JWK())
	if err != nil {
		panic(err)
	}
	return string(data)
}

// keyNamed is a key that is not the OP's own. The RSA key rsa1024 has so many
// bits.
func keyNamed(alg, kid string) (gatewaytest.OPKey, bool) {
	if !slices.Contains(gatewaytest.OPAlgs, alg) || kid == "" {
		return gatewaytest.OPKey{}, false
	}
	if kid == "rsa1024" {
		return gatewaytest.OPKey{KID: kid, Alg: alg, Signer: weakKey()}, true
	}
	return gatewaytest.NewOPKey(alg, kid), true
}

var weakKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 1024) // weak on purpose
	if err != nil {
		panic(err)
	}
	return key
})

// each calls do for the statements that change doc by one of the verbs.
func (m *mutator) each(doc, verbs string, do func(statement)) {
	for _, st := range m.inForce {
		if st.doc == doc && slices.Contains(strings.Fields(verbs), st.verb) {
			m.mu.Lock()
			m.did[st.line] = true
			m.mu.Unlock()
			do(st)
		}
	}
}

func (m *mutator) has(doc, verbs string) bool {
	return slices.ContainsFunc(m.inForce, func(st statement) bool {
		return st.doc == doc && slices.Contains(strings.Fields(verbs), st.verb)
	})
}

var paths = map[string]string{
	"discovery": gatewaytest.OPDiscoveryPath, "jwks": gatewaytest.OPJWKSPath,
	"token": gatewaytest.OPTokenPath, "userinfo": gatewaytest.OPUserInfoPath,
}

func (m *mutator) hooks() gatewaytest.OPHooks {
	edits := func(doc string) func(map[string]any) { return func(obj map[string]any) { m.edit(doc, obj) } }
	h := gatewaytest.OPHooks{
		Discovery: edits("discovery"), JWKS: edits("jwks"), Header: edits("header"), Claims: edits("claims"),
		Token: edits("token"), UserInfo: edits("userinfo"),
		Payload: func(p []byte) []byte { return m.raw("claims", p) },
		IDToken: m.idToken,
		Answer:  func(v url.Values) { m.params("answer", v) },
		Code: func(code string) string {
			m.each("", "code", func(st statement) { code = st.args[0] })
			return code
		},
		Serve: map[string]http.HandlerFunc{},
	}
	if key := m.key("claims"); key.KID != m.op.Key.KID {
		h.Key = &key
	}
	for doc, path := range paths {
		if m.has(doc, "front back behind text status type redirect jwt") {
			h.Serve[path] = func(w http.ResponseWriter, r *http.Request) { m.serve(doc, w, r) }
			h.Serve[path+"/moved"] = func(w http.ResponseWriter, r *http.Request) {
				moved := r.Clone(r.Context())
				moved.URL.Path = path
				m.op.ServeAltered(w, moved, http.StatusOK, "application/json")
			}
		}
	}
	return h
}

// key is what signs a token.
func (m *mutator) key(doc string) gatewaytest.OPKey {
	key := m.op.Key
	m.each(doc, "sign", func(st statement) {
		signer, ok := keyNamed(st.args[0], st.args[1])
		if !ok {
			m.fault(st, "there is no such key")
		}
		key = signer
	})
	return key
}

// edit changes a JSON object.
func (m *mutator) edit(doc string, root map[string]any) {
	m.each(doc, "set delete rename wrap append", func(st statement) {
		if err := st.edit(root); err != nil {
			m.fault(st, err.Error())
		}
	})
}

func (st statement) edit(root map[string]any) error {
	at, last := any(root), st.path[len(st.path)-1]
	for _, name := range st.path[:len(st.path)-1] {
		at = member(at, name)
	}
	parent, ok := at.(map[string]any)
	if !ok {
		return fmt.Errorf("there is no object at %q", st.path)
	}
	old, there := parent[last]
	if !there && st.verb != "set" {
		return fmt.Errorf("there is no %q", st.path)
	}
	var value any
	if st.verb == "set" || st.verb == "append" {
		dec := json.NewDecoder(strings.NewReader(st.args[0]))
		dec.UseNumber()
		if err := dec.Decode(&value); err != nil {
			return err
		}
	}
	switch st.verb {
	case "set":
		parent[last] = value
	case "delete":
		delete(parent, last)
	case "rename":
		delete(parent, last)
		parent[st.args[0]] = old
	case "wrap":
		parent[last] = []any{old}
	case "append":
		list, ok := old.([]any)
		if !ok {
			return fmt.Errorf("there is no array at %q", st.path)
		}
		parent[last] = append(list, value)
	}
	return nil
}

func member(of any, name string) any {
	switch of := of.(type) {
	case map[string]any:
		return of[name]
	case []any:
		if i, err := strconv.Atoi(name); err == nil && i >= 0 && i < len(of) {
			return of[i]
		}
	}
	return nil
}

// params changes the parameters of a request or an answer.
func (m *mutator) params(doc string, v url.Values) {
	m.each(doc, "set add delete rename", func(st statement) {
		name, value := st.path[0], ""
		if st.verb == "set" || st.verb == "add" {
			if json.Unmarshal([]byte(st.args[0]), &value) != nil {
				m.fault(st, "a parameter is a string")
			}
		} else if !v.Has(name) {
			m.fault(st, "there is no such parameter")
		}
		switch st.verb {
		case "set":
			v.Set(name, value)
		case "add":
			v.Add(name, value)
		case "delete":
			v.Del(name)
		case "rename":
			v[st.args[0]] = v[name]
			v.Del(name)
		}
	})
}

// raw changes an encoded object.
func (m *mutator) raw(doc string, body []byte) []byte {
	m.each(doc, "front back behind text", func(st statement) {
		text := []byte(st.args[0])
		switch body = bytes.TrimSpace(body); st.verb {
		case "front":
			body = slices.Concat([]byte("{"), text, []byte(","), body[1:])
		case "back":
			body = slices.Concat(body[:len(body)-1], []byte(","), text, []byte("}"))
		case "behind":
			body = append(body, text...)
		case "text":
			body = text
		}
	})
	return body
}

// serve answers at an endpoint in another way than the OP would.
func (m *mutator) serve(doc string, w http.ResponseWriter, r *http.Request) {
	status, contentType, body := http.StatusOK, "application/json", []byte(nil)
	if !m.has(doc, "jwt redirect") {
		rec := httptest.NewRecorder()
		m.op.ServeAltered(rec, r, status, contentType)
		body = rec.Body.Bytes()
	}
	m.each(doc, "jwt", func(statement) { contentType, body = "application/jwt", []byte(m.userInfo()) })
	body = m.raw(doc, body)
	m.each(doc, "type", func(st statement) { contentType = st.args[0] })
	m.each(doc, "status", func(st statement) { status, _ = strconv.Atoi(st.args[0]) })
	m.each(doc, "redirect", func(st statement) {
		status, _ = strconv.Atoi(st.args[0])
		contentType = "text/html"
		w.Header().Set("Location", m.op.Issuer+paths[doc]+"/moved")
	})
	w.Header()["Content-Type"] = nil
	if contentType != "" {
		w.Header().Set("Content-Type", contentType)
	}
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// userInfo is a signed answer of userinfo (OIDC Core §5.3.2).
func (m *mutator) userInfo() string {
	key := m.key("userinfo")
	header := map[string]any{"alg": key.Alg, "kid": key.KID}
	m.edit("userinfo-header", header)
	claims := m.op.Person()
	claims["iss"], claims["aud"] = m.op.Issuer, m.op.ClientID
	m.edit("userinfo", claims)
	payload, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	return m.finish("userinfo", gatewaytest.SignJWS(header, payload, key.Signer))
}

func (m *mutator) idToken(jws string) string {
	m.mu.Lock()
	earlier := m.seen
	m.seen = jws
	m.mu.Unlock()
	m.each("claims", "replay", func(statement) { jws = earlier })
	m.each("header", "text", func(st statement) {
		jws = gatewaytest.SignRawJWS([]byte(st.args[0]), payloadOf(jws), m.key("claims").Alg, m.key("claims").Signer)
	})
	return m.finish("claims", jws)
}

// finish does to a token what is done after it was signed, or signs it in
// another way.
func (m *mutator) finish(doc, jws string) string {
	m.each(doc, "hmac input forge jws", func(st statement) {
		parts := strings.SplitN(jws, ".", 3)
		fill := strings.NewReplacer("${header}", parts[0], "${payload}", parts[1], "${signature}", parts[2])
		switch st.verb {
		case "hmac":
			jws = gatewaytest.SignJWSInput(parts[0]+"."+parts[1], "HS256", []byte(st.args[0]))
		case "input":
			jws = gatewaytest.SignJWSInput(fill.Replace(st.args[0]), m.key(doc).Alg, m.key(doc).Signer)
		case "forge":
			forged := bytes.ReplaceAll(payloadOf(jws), []byte(st.args[0]), []byte(st.args[1]))
			if bytes.Equal(forged, payloadOf(jws)) {
				m.fault(st, "nothing is replaced")
			}
			jws = parts[0] + "." + base64.RawURLEncoding.EncodeToString(forged) + "." + parts[2]
		case "jws":
			jws = fill.Replace(st.args[0])
		}
	})
	return jws
}

func payloadOf(jws string) []byte {
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(jws, ".")[1])
	if err != nil {
		panic(err)
	}
	return payload
}
