package samlsp_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// file returns a captured document. A test calls it in a bubble.
func file(t testing.TB, name string) []byte {
	t.Helper()
	doc, _ := gatewaytest.Captured(t, "testdata/"+name)
	return doc
}

func replace(old, with string) func(string) string {
	return func(s string) string {
		if !strings.Contains(s, old) {
			panic("nothing to replace: " + old)
		}
		return strings.Replace(s, old, with, 1)
	}
}

func many(n int, format string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}
