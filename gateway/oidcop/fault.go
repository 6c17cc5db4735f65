package oidcop

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"
)

// An oauthError is an error in the words of OAuth, for the client (RFC 6749 §4.1.2.1 and
// §5.2). Its description never repeats what the caller sent.
type oauthError struct {
	Code        string `json:"error"`
	Description string `json:"error_description,omitempty"`
}

func (e *oauthError) Error() string { return e.Code + ": " + e.Description }

func invalidRequest(description string) error { return &oauthError{"invalid_request", description} }
func invalidClient(description string) error  { return &oauthError{"invalid_client", description} }
func invalidGrant(description string) error   { return &oauthError{"invalid_grant", description} }
func invalidToken(description string) error   { return &oauthError{"invalid_token", description} }

// asOAuth returns the error in the words of OAuth, if it is one.
func asOAuth(err error) (*oauthError, bool) { return errors.AsType[*oauthError](err) }

// unavailable is what a client hears of a fault.
var unavailable = &oauthError{"temporarily_unavailable", "the provider can't decide at the moment"}

// statuses are those of RFC 6749 §5.2 and RFC 6750 §3.1; others are 400.
var statuses = map[string]int{
	"invalid_client": http.StatusUnauthorized, "invalid_token": http.StatusUnauthorized,
	"temporarily_unavailable": http.StatusServiceUnavailable,
}

// challenges of a 401. A request without any token gets no error (RFC 6750 §3.1).
const (
	basicChallenge  = `Basic realm="openid"`
	bearerChallenge = `Bearer realm="openid"`
)

// errNoToken means that a request has no access token.
var errNoToken = &oauthError{}

// A RefusedError is why a client's request was refused, for the log. Nothing in it is secret.
type RefusedError struct {
	// Client is the client's id, or "" if that is unknown.
	Client string
	// Code is the error in the words of OAuth, Check the name of the check that failed, or "".
	Code, Check string
	// Waits says that the caller has failed too often to authenticate.
	Waits bool
	// Silent says that the client asked with prompt=none.
	Silent bool
	// Fault is why the provider can't decide, or nil: then the client is at fault.
	Fault              error
	description, cause string
}

func (r *RefusedError) Error() string {
	text := r.Code + ": " + r.description
	if r.Check != "" {
		text += `; the check "` + r.Check + `" failed`
	}
	if r.cause != "" {
		text += ": " + r.cause
	}
	return text
}

// Reused reports whether a code or refresh token was used a second time: it may be stolen.
func (r *RefusedError) Reused() bool {
	return r.Check == checkCodeOnce || r.Check == checkRefreshNewest
}

// waits is the error of a client that has to wait, because the caller has failed too often
// to authenticate.
type waits struct {
	wait   time.Duration
	client string
	cause  error
}

func (w *waits) Error() string { return w.cause.Error() }

// A notedError adds to an error what only the log hears: the client, the name of the check
// that failed, and the cause. The cause is bounded and escaped.
type notedError struct {
	error
	client, check, cause string
}

func (n *notedError) Unwrap() error { return n.error }

// note adds the client, the check and the cause to an error, for the log alone. It changes none that
// the error has already.
func note(err error, client, check, cause string) error {
	if err == nil {
		return nil
	}
	was := notesOf(err)
	return &notedError{err, cmp.Or(was.client, client), cmp.Or(was.check, check), cmp.Or(was.cause, cause)}
}

// notesOf returns what is noted about an error.
func notesOf(err error) (notes notedError) {
	if noted, ok := errors.AsType[*notedError](err); ok {
		notes = *noted
	}
	notes.check = cmp.Or(notes.check, failedCheck(err))
	return notes
}

// toldAs returns told, which the client hears, with what is noted about err.
func toldAs(told, err error) error {
	n := notesOf(err)
	return note(told, n.client, n.check, n.cause)
}

// of says which client an error is about.
func (c *client) of(err error) error { return note(err, c.ID, "", "") }

// refusedBy returns the error for the log.
func (e *oauthError) refusedBy(err error) *RefusedError {
	n := notesOf(err)
	return &RefusedError{Client: n.client, Code: e.Code, Check: n.check, description: e.Description, cause: n.cause}
}

// fail responds with err. It returns nil if a request has no token, which is normal.
func (p *Provider) fail(w http.ResponseWriter, err error) *RefusedError {
	h := w.Header()
	if limited, ok := errors.AsType[*waits](err); ok {
		h.Set("Retry-After", strconv.Itoa(int((limited.wait+time.Second-1)/time.Second)))
		writeJSON(w, http.StatusTooManyRequests, &oauthError{unavailable.Code, "too many requests of this client from this address failed to authenticate"})
		return &RefusedError{Client: limited.client, Code: unavailable.Code, Waits: true, description: limited.Error()}
	}
	told, ok := asOAuth(err)
	if !ok {
		told = unavailable
	}
	switch told.Code {
	case unavailable.Code:
		h.Set("Retry-After", "2")
	case "invalid_client":
		h.Set("WWW-Authenticate", basicChallenge)
	case "invalid_token":
		h.Set("WWW-Authenticate", bearerChallenge+`, error="invalid_token", error_description="`+told.Description+`"`)
	case "":
		h.Set("WWW-Authenticate", bearerChallenge)
		h.Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusUnauthorized)
		return nil
	}
	status := statuses[told.Code]
	if status == 0 {
		status = http.StatusBadRequest
	}
	writeJSON(w, status, told)
	refused := told.refusedBy(err)
	if !ok {
		refused.Fault = err
	}
	return refused
}

// writeJSON writes a response that no cache may keep (RFC 6749 §5.1).
func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"error":"server_error"}`)
	}
	write(w, status, "application/json", body)
}

func write(w http.ResponseWriter, status int, mediaType string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", mediaType)
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
