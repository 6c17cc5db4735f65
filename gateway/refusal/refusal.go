// Package refusal has the codes of refusals, and one table that says what each means to
// the client, to the person at the browser, and to the operator.
package refusal

import (
	"errors"
	"fmt"
	"strings"
)

// A Code names one way in which a request can be refused. It is stable: it
// stands in log lines, JSON problems, pages and docs/errors.md.
type Code string

// An Error is a refusal or a fault with its documented code. The code picks
// the HTTP status, the text for the browser and the fix for the operator; Err
// is for the log alone and is never shown to a browser.
//
// Err never carries a secret, a token, an assertion or a response body.
type Error struct {
	Code Code
	Err  error
	// Check is the name of the check that failed, or "": it tells causes with one code apart.
	Check string
	// Reference is the id under which the refusal was logged and shown. It is
	// set on errors that App.ServeHTTP returns.
	Reference string
}

// New returns an Error. err may be nil.
func New(code Code, err error) *Error { return &Error{Code: code, Err: err} }

// Error implements error for the log.
func (e *Error) Error() string {
	if e.Err == nil {
		return string(e.Code)
	}
	text, code := e.Err.Error(), string(e.Code)+": "
	if strings.HasPrefix(text, code) { // the cause is a refusal by the same code
		return text
	}
	return code + text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// CodeOf returns the code of err: its own if it is or wraps an *Error, else
// Internal.
func CodeOf(err error) Code { return From(err, Internal).Code }

// From returns err itself if it is or wraps an *Error, else an Error with the code
// otherwise. A store, for example, has no codes: its errors mean that it is unavailable.
func From(err error, otherwise Code) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return New(otherwise, err)
}

// About adds the subject of the person to the cause of a refusal, so that the log says
// whose account has to be mended. It returns other errors as they are.
func About(subject string, err error) error {
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Err == nil {
		return err
	}
	return New(e.Code, fmt.Errorf("signing in the subject %+.100q: %w", subject, e.Err))
}

// The codes. table.go says what each means.
const (
	Internal            Code = "internal"
	NotReady            Code = "not_ready"
	StoreUnavailable    Code = "store_unavailable"
	StoreReplaced       Code = "store_replaced"
	ProviderUnavailable Code = "provider_unavailable"
	ProviderUnknown     Code = "provider_unknown"

	Unauthenticated  Code = "unauthenticated"
	AccessDenied     Code = "access_denied"
	AccountBlocked   Code = "account_blocked"
	NoUsername       Code = "no_username"
	UsernameForeign  Code = "username_foreign"
	BadCharacters    Code = "bad_characters"
	NotFound         Code = "not_found"
	MethodNotAllowed Code = "method_not_allowed"
	CrossSite        Code = "cross_site"
	ForeignOrigin    Code = "foreign_origin"
	UnknownHost      Code = "unknown_host"
	InsecureHTTP     Code = "insecure_http"
	TooLarge         Code = "too_large"
	BadRequest       Code = "bad_request"
	TooManyAttempts  Code = "too_many_attempts"
	ClientRefused    Code = "client_refused"
	TokenReused      Code = "token_reused"
	HeaderTooLarge   Code = "header_too_large"

	ProxmoxUnavailable Code = "proxmox_unavailable"
	ProxmoxRealm       Code = "proxmox_realm"
	ProxmoxIssuer      Code = "proxmox_issuer"
	ProxmoxDiscovery   Code = "proxmox_discovery"
	ProxmoxSecret      Code = "proxmox_secret"
	ProxmoxClock       Code = "proxmox_clock"
	ProxmoxGroups      Code = "proxmox_groups"
	ProxmoxUser        Code = "proxmox_user"
	ProxmoxRefused     Code = "proxmox_refused"

	FlowUnknown      Code = "flow_unknown"
	FlowOtherBrowser Code = "flow_other_browser"
	CookiesBlocked   Code = "cookies_blocked"
	RedirectLoop     Code = "redirect_loop"
	AppLoop          Code = "app_loop"
	AnswerLost       Code = "answer_lost"
	AnswerReplayed   Code = "answer_replayed"
	ProviderRefused  Code = "provider_refused"

	OIDCAnswerInvalid   Code = "oidc_answer_invalid"
	OIDCIssuerMismatch  Code = "oidc_issuer_mismatch"
	OIDCCodeRejected    Code = "oidc_code_rejected"
	OIDCClientRejected  Code = "oidc_client_rejected"
	OIDCTokenMalformed  Code = "oidc_token_malformed"
	OIDCSignature       Code = "oidc_signature_invalid"
	OIDCAlgorithm       Code = "oidc_algorithm_refused"
	OIDCAudience        Code = "oidc_audience_mismatch"
	OIDCTime            Code = "oidc_time_invalid"
	OIDCNonce           Code = "oidc_nonce_mismatch"
	OIDCClaimInvalid    Code = "oidc_claim_invalid"
	OIDCEmailUnverified Code = "oidc_email_unverified"
	OIDCSubjectMismatch Code = "oidc_subject_mismatch"

	SAMLMalformed       Code = "saml_malformed"
	SAMLUnsigned        Code = "saml_unsigned"
	SAMLSignature       Code = "saml_signature_invalid"
	SAMLAlgorithm       Code = "saml_algorithm_refused"
	SAMLEncrypted       Code = "saml_encrypted"
	SAMLIssuerMismatch  Code = "saml_issuer_mismatch"
	SAMLDestination     Code = "saml_destination_mismatch"
	SAMLRequestMismatch Code = "saml_request_mismatch"
	SAMLAudience        Code = "saml_audience_mismatch"
	SAMLTime            Code = "saml_time_invalid"
	SAMLSubject         Code = "saml_subject_invalid"
	SAMLCondition       Code = "saml_condition_refused"
	SAMLAttribute       Code = "saml_attribute_invalid"
)

// A Meaning is a row of the table.
type Meaning struct {
	Code Code
	// Status is the HTTP status of the answer.
	Status int
	// Title and Text are for the person at the browser: what happened, and
	// what they can do.
	Title, Text string
	// Fix is for the operator, in the log and the documentation.
	Fix string
}

// Meaning returns the table's row of a code. An unknown code has the row of
// Internal.
func (c Code) Meaning() Meaning {
	for _, m := range table {
		if m.Code == c {
			return m
		}
	}
	return table[0]
}

// A Problem is the JSON form of a refusal (RFC 9457).
type Problem struct {
	Type      string `json:"type"`
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail"`
	Code      Code   `json:"code"`
	Reference string `json:"reference"`
	// Login is the address where a person can sign in, if that helps, or "".
	Login string `json:"login,omitempty"`
}

// Problem returns the JSON form of a refusal with a reference.
func (c Code) Problem(reference string) *Problem {
	m := c.Meaning()
	return &Problem{Type: "urn:caddy-sso:" + string(c), Title: m.Title, Status: m.Status, Detail: m.Text, Code: c, Reference: reference}
}

// Codes returns every code in the order of the documentation.
func Codes() (codes []Code) {
	for _, m := range table {
		codes = append(codes, m.Code)
	}
	return codes
}
