package target_test

import (
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/target"
)

func TestParseOrigin(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"https://app.example":       "https://app.example",
		"https://App.Example/":      "https://app.example",
		"https://app.example:443":   "https://app.example",
		"https://app.example:80":    "https://app.example:80",
		"http://app.example:80":     "http://app.example",
		"http://[::1]:8080":         "http://[::1]:8080",
		"":                          "",
		"app.example":               "",
		"//app.example":             "",
		"ftp://app.example":         "",
		"https://":                  "",
		"https://app.example/path":  "",
		"https://app.example/?x":    "",
		"https://app.example?x=1":   "",
		"https://app.example#x":     "",
		"https://alice@app.example": "",
		"https://app example":       "",
		"https://app.example:65535": "https://app.example:65535",
		"https://app.example:65536": "",
		"https://app.example:0":     "",
		"https://app.example:08080": "", // browsers write 8080
	} {
		u, err := target.ParseOrigin(text)
		switch {
		case want == "" && err == nil:
			t.Errorf("%q was taken for %s", text, u)
		case want != "" && (err != nil || u.String() != want):
			t.Errorf("%q is %v (%v), want %s", text, u, err, want)
		}
	}
}
