package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// switches returns the settings that switch providers off.
func (env *environment) switches() []setting {
	var list []setting
	for _, s := range env.settings {
		if on, err := s.truth(); s.name == "ENABLED" && err == nil && !on {
			list = append(list, s)
		}
	}
	return list
}

// noteSwitches names switches that are not set, if others are true: then the variables may come
// from the DNS console, where a provider is off unless all its switches are true.
func (env *environment) noteSwitches() {
	set := map[string]bool{}
	console := false
	for _, s := range env.settings {
		if s.name == "ENABLED" {
			on, _ := s.truth()
			set[s.full], console = true, console || on && s.owner != ofApp
		}
	}
	if !console {
		return
	}
	for _, p := range env.providers {
		for _, name := range []string{variablePrefix + upper(p.protocol) + "_ENABLED", p.prefix() + "ENABLED"} {
			if set[name] || set[name+"__FILE"] {
				continue
			}
			set[name] = true
			env.notes = append(env.notes, Note{Variable: name, Why: "a provider is on without it: write false if nobody should sign in there", absent: true})
		}
	}
}

// covers reports whether a switch is for a provider.
func (s setting) covers(protocol, provider string) bool {
	return (s.protocol == "" || s.protocol == protocol) && (s.provider == "" || s.provider == provider)
}

// hits reports whether a switch is for a provider of the environment.
func (env *environment) hits(s setting) bool {
	for _, other := range env.settings {
		if other.owner == ofProvider && other.name != s.name && s.covers(other.protocol, other.provider) {
			return true
		}
	}
	return false
}

// checkSwitches refuses a switch that seems to be for a provider of the configuration, and
// would leave it on.
func (env *environment) checkSwitches(configured []json.RawMessage) error {
	var errs []error
	for _, s := range env.switches() {
		wrong := !env.hits(s)
		for _, raw := range configured {
			var p struct{ Name, Protocol string }
			if err := json.Unmarshal(raw, &p); err != nil {
				return err
			}
			wrong = wrong || s.covers(p.Protocol, strings.ToUpper(p.Name))
		}
		if wrong {
			errs = append(errs, fmt.Errorf("%s: it switches off providers of the environment alone: remove it, and remove from the configuration what should be off", s.full))
		}
	}
	return errors.Join(errs...)
}
