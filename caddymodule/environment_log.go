package caddymodule

import (
	"errors"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-sso/caddy-sso/gateway/wording"
)

// configuring is the environment that configures this process: a sidecar's, or nil.
var configuring atomic.Pointer[environment]

// loggerOf returns the log of a module. In a sidecar its lines name variables in place of options.
func loggerOf(ctx caddy.Context) *zap.Logger {
	env := configuring.Load()
	if env == nil {
		return ctx.Logger()
	}
	return ctx.Logger().WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core {
		return variableCore{Core: core, env: env}
	}))
}

// inSyntax returns the text for a Caddyfile, or that for variables.
func inSyntax(caddyfile, variables string) string {
	if configuring.Load() != nil {
		return variables
	}
	return caddyfile
}

// A variableCore names variables where a line of the log has options between backquotes.
type variableCore struct {
	zapcore.Core
	env      *environment
	provider *envProvider // whom the lines are about, or nil
}

// With adds fields to each line.
func (c variableCore) With(fields []zapcore.Field) zapcore.Core {
	own, fields := c.words(fields)
	return variableCore{c.Core.With(fields), c.env, own.provider}
}

// Check adds this core to an entry.
func (c variableCore) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(entry.Level) {
		return checked.AddCore(entry, c)
	}
	return checked
}

// Write writes a line if the core below wants it.
func (c variableCore) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	own, fields := c.words(fields)
	entry.Message = own.text(entry.Message)
	if checked := c.Core.Check(entry, nil); checked != nil {
		checked.Write(fields...)
	}
	return nil
}

// words returns the core for the provider that fields name, and the fields in its words.
func (c variableCore) words(fields []zapcore.Field) (variableCore, []zapcore.Field) {
	for _, f := range fields {
		if f.Key == "provider" {
			c.provider = c.env.provider(f.String)
		}
	}
	own := make([]zapcore.Field, len(fields))
	for i, f := range fields {
		err, isError := f.Interface.(error)
		switch {
		case f.Type == zapcore.ErrorType && isError:
			f = zap.NamedError(f.Key, errors.New(c.text(err.Error())))
		case f.Key == "option":
			f.String = strings.Trim(c.text("`"+f.String+"`"), "`")
		case slices.Contains([]string{"fix", "risk", "reason", "protected"}, f.Key):
			f.String = c.text(f.String)
		}
		own[i] = f
	}
	return c, own
}

// text replaces each option between backquotes by its variable. It changes nothing between
// quotation marks, because that is data.
func (c variableCore) text(text string) string {
	var b strings.Builder
	for {
		at := strings.IndexAny(text, "`\"")
		end := -1
		if at >= 0 {
			end = closing(text[at:])
		}
		if end < 0 {
			return b.String() + text
		}
		quoted := text[at : at+end+1]
		word, args, _ := strings.Cut(strings.Trim(quoted, "`"), " ")
		b.WriteString(text[:at])
		if quoted[0] == '"' || word == "" {
			b.WriteString(quoted)
		} else {
			b.WriteString(c.env.mention(wording.Option{Word: word, Args: args}, c.provider))
		}
		text = text[at+end+1:]
	}
}

// closing returns where the mark at the start of a text comes again, or -1. Between quotation
// marks, a backslash escapes the next character.
func closing(text string) int {
	for i := 1; i < len(text); i++ {
		switch {
		case text[i] == text[0]:
			return i
		case text[i] == '\\' && text[0] == '"':
			i++
		}
	}
	return -1
}
