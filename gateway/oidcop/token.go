package oidcop

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// idTokenTTL is the lifetime of an ID token, which the client reads at once.
const idTokenTTL = 5 * time.Minute

// token is the token endpoint (OIDC Core §3.1.3).
func (p *Provider) token(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxRequest)
	mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || mediaType != "application/x-www-form-urlencoded" || r.ParseForm() != nil || repeated(r.PostForm) {
		fail(w, http.StatusBadRequest, "invalid_request")
		return
	}
	client, ok := p.client(r)
	if !ok {
		w.Header().Set("WWW-Authenticate", `Basic realm="token"`)
		fail(w, http.StatusUnauthorized, "invalid_client")
		return
	}
	if r.PostForm.Get("grant_type") != "authorization_code" {
		fail(w, http.StatusBadRequest, "unsupported_grant_type")
		return
	}
	g, ok := p.redeem(client, r.PostForm)
	if !ok {
		fail(w, http.StatusBadRequest, "invalid_grant")
		return
	}
	access, ok := p.grants.add(g)
	if !ok {
		fail(w, http.StatusServiceUnavailable, "temporarily_unavailable")
		return
	}
	id, err := p.idToken(g, access)
	if err != nil {
		fail(w, http.StatusServiceUnavailable, "temporarily_unavailable")
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"token_type": "Bearer", "access_token": access, "expires_in": int(grantTTL / time.Second), "id_token": id,
	})
}

// redeem takes the code of a request, and reports whether the client may use it. It uses
// it up in either case: else the code has leaked (RFC 6749 §4.1.2).
func (p *Provider) redeem(client Client, form url.Values) (g grant, ok bool) {
	g, ok = p.grants.take(form.Get("code"))
	ok = ok && g.challenge != "" && g.client == client.ID && g.redirectURI == form.Get("redirect_uri") &&
		verifies(form.Get("code_verifier"), g.challenge)
	g.challenge = "" // so that an access token can't be used as a code
	return g, ok
}

// client authenticates the caller of the token endpoint, in one way only (RFC 6749
// §2.3).
func (p *Provider) client(r *http.Request) (Client, bool) {
	id, secret := r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	if user, password, basic := r.BasicAuth(); basic {
		// §2.3.1: both are encoded as in a form.
		name, err1 := url.QueryUnescape(user)
		pass, err2 := url.QueryUnescape(password)
		if err1 != nil || err2 != nil || secret != "" || id != "" && id != name {
			return Client{}, false
		}
		id, secret = name, pass
	} else if r.Header.Get("Authorization") != "" {
		return Client{}, false
	}
	c, known := p.clients[id]
	return c, known && c.proves(secret)
}

// verifies reports whether a code verifier belongs to a challenge (RFC 7636 §4.6).
func verifies(verifier, challenge string) bool {
	sum := sha256.Sum256([]byte(verifier))
	return len(verifier) >= 43 && len(verifier) <= 128 &&
		subtle.ConstantTimeCompare([]byte(base64.RawURLEncoding.EncodeToString(sum[:])), []byte(challenge)) == 1
}

func (p *Provider) idToken(g grant, access string) (string, error) {
	now := time.Now()
	sum := sha256.Sum256([]byte(access))
	claims := g.person.claims()
	claims["iss"], claims["aud"] = p.issuer, g.client
	claims["iat"], claims["exp"] = now.Unix(), now.Add(idTokenTTL).Unix()
	claims["auth_time"] = g.authTime.Unix()
	claims["at_hash"] = base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2]) // OIDC Core §3.1.3.6
	if g.nonce != "" {
		claims["nonce"] = g.nonce
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	return p.signer.Sign(payload)
}

// claims are the claims about a person, in the ID token and at userinfo (OIDC Core
// §5.1).
func (p Person) claims() map[string]any {
	claims := map[string]any{"sub": p.Subject}
	for name, value := range map[string]string{"preferred_username": p.Username, "name": p.Name, "email": p.Email} {
		if value != "" {
			claims[name] = value
		}
	}
	if p.Email != "" {
		claims["email_verified"] = p.EmailVerified
	}
	if len(p.Groups) > 0 {
		claims["groups"] = p.Groups
	}
	return claims
}

// userInfo is the userinfo endpoint (OIDC Core §5.3).
func (p *Provider) userInfo(w http.ResponseWriter, r *http.Request) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	g, ok := p.grants.find(token)
	if !ok || g.challenge != "" || !strings.EqualFold(scheme, "Bearer") {
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`) // RFC 6750 §3
		fail(w, http.StatusUnauthorized, "invalid_token")
		return
	}
	writeJSON(w, http.StatusOK, g.person.claims())
}

func fail(w http.ResponseWriter, status int, code string) {
	writeJSON(w, status, map[string]string{"error": code})
}
