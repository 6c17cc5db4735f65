package oidcrp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/fetch"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/wording"
)

// A userInfo is an answer of the userinfo endpoint for checklist.userInfo.
type userInfo struct {
	claims   object
	signed   bool
	subject  string // the ID token's
	issuer   string
	clientID string
	now      time.Time
}

var userInfoKinds = []member{
	{"sub", aString},
	{"iss", aString},
	{"aud", someText},
}

// userInfo asks the userinfo endpoint (OIDC Core §5.3) about the person whom
// the ID token names.
func (p *Provider) userInfo(ctx context.Context, md *metadata, access, subject string) (object, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, md.userInfo, nil)
	if err != nil {
		return nil, fetch.Unavailable("asking userinfo: %w", errors.New("the address is malformed"))
	}
	req.Close = true // see tokenRequest
	req.Header.Set("Authorization", "Bearer "+access)
	req.Header.Set("Accept", "application/json, application/jwt")
	got, err := p.outbound.Do(req, maxUserInfo)
	if err != nil {
		return nil, fetch.Unavailable("asking userinfo: %w", err)
	}
	if err := p.checks.userInfoAnswer.Run(got); err != nil {
		return nil, p.userInfoSaid(got, access, err)
	}
	claims, err := p.userInfoClaims(ctx, md, got)
	if err != nil {
		return nil, err
	}
	info := &userInfo{claims, got.MediaType == jwtMediaType, subject, p.config.Issuer, p.config.ClientID, time.Now()}
	if err := p.checks.userInfo.Run(info); err != nil {
		return nil, err
	}
	return claims, nil
}

// userInfoSaid adds to a refusal what the provider says about it: in JSON, or in the
// challenge of a bearer token (RFC 6750 §3).
func (p *Provider) userInfoSaid(got *fetch.Response, access string, err error) error {
	words := ""
	if body, notJSON := p.checks.object(got.Body); notJSON == nil && body.str("error") != "" {
		words = said(body.str("error"), body.str("error_description"), access)
	} else if got.Challenge != "" {
		words = wording.Theirs(got.Challenge, access)
	}
	if words == "" {
		return err
	}
	return refusal.New(refusal.CodeOf(err), fmt.Errorf("%w; the provider says %s", refusal.From(err, refusal.Internal).Err, words))
}

const jwtMediaType = "application/jwt"

// userInfoClaims reads the answer: plain JSON, or a JWS by the provider's keys
// (OIDC Core §5.3.2).
func (p *Provider) userInfoClaims(ctx context.Context, md *metadata, got *fetch.Response) (object, error) {
	if got.MediaType != jwtMediaType {
		claims, err := p.checks.object(withoutMark(got.Body))
		if err != nil {
			if name, twice := errors.AsType[twiceError](err); !twice || name != "sub" { // two subjects were read
				err = unreadableError{err}
			}
			return nil, malformed(fmt.Errorf("reading userinfo: %w", err))
		}
		return claims.dropNulls(), nil
	}
	t, err := p.parseToken(string(got.Body), md.userInfoAlgs)
	if err != nil {
		return nil, err
	}
	if err := p.verifySignature(ctx, t); err != nil {
		return nil, err
	}
	return p.claims(t)
}

// An unreadableError is of an answer that can't be read, and so is about nobody else.
type unreadableError struct{ error }

func (e unreadableError) Unwrap() error { return e.error }

func userInfoStatus(f *fetch.Response) error {
	if err := statusOK(f); err != nil {
		return fmt.Errorf("asking userinfo: %w", err)
	}
	return nil
}

func userInfoMediaType(f *fetch.Response) error {
	if f.MediaType != "application/json" && f.MediaType != jwtMediaType {
		return lastingError{fmt.Errorf("asking userinfo: the content type is %s, neither application/json nor %s", wording.Quoted(f.ContentType), jwtMediaType)}
	}
	return nil
}

func userInfoTypes(u *userInfo) error { return u.claims.checkKinds(userInfoKinds) }

// userInfoSubject refuses the claims of another person (OIDC Core §5.3.2).
func userInfoSubject(u *userInfo) error {
	if u.claims.str("sub") != u.subject {
		return errors.New("checking userinfo: its sub is not the ID token's")
	}
	return nil
}

// userInfoIssuer: a signed answer must have iss and aud. A plain one comes straight from
// the endpoint.
func userInfoIssuer(u *userInfo) error {
	if u.signed && u.claims.str("iss") != u.issuer {
		return fmt.Errorf("checking userinfo: its iss is %s instead of %q", wording.Quoted(u.claims.str("iss")), u.issuer)
	}
	return nil
}

func userInfoAudience(u *userInfo) error {
	if u.signed && !slices.Contains(u.claims.strs("aud"), u.clientID) {
		return fmt.Errorf("checking userinfo: %q is not in its aud", u.clientID)
	}
	return nil
}

// userInfoTime checks exp and nbf of a signed answer (RFC 7519 §4.1.4, §4.1.5). Both are
// optional.
func userInfoTime(u *userInfo) error {
	if !u.signed {
		return nil
	}
	exp, ok := u.claims.date("exp")
	if u.claims.has("exp") && (!ok || !u.now.Before(exp.Add(skew))) {
		return fmt.Errorf("checking userinfo: exp is %s, now it is %s", provider.Moment(exp), provider.Moment(u.now))
	}
	nbf, ok := u.claims.date("nbf")
	if u.claims.has("nbf") && (!ok || nbf.After(u.now.Add(skew))) {
		return fmt.Errorf("checking userinfo: nbf is %s, now it is %s", provider.Moment(nbf), provider.Moment(u.now))
	}
	return nil
}
