package samlsp

import (
	"errors"
	"strings"

	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

// malformed returns the error for a message that is not what the profile has.
func malformed(what string) *refusal.Error {
	return refusal.New(refusal.SAMLMalformed, errors.New(what))
}

// oneLine joins faults in one line, as the log has it.
func oneLine(faults ...error) error {
	return errors.New(strings.ReplaceAll(errors.Join(faults...).Error(), "\n", "; "))
}
