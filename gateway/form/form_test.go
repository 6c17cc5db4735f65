package form_test

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/form"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

const formType = "application/x-www-form-urlencoded"

// read posts a body, and has the fields a and b read out of it.
func read(body string, change ...func(*http.Request)) (map[string]string, *refusal.Error) {
	r := httptest.NewRequest(http.MethodPost, "/.sso/saml/acs", strings.NewReader(body))
	r.Header.Set("Content-Type", formType)
	for _, c := range change {
		c(r)
	}
	return form.Read(httptest.NewRecorder(), r, "a", "b")
}

func contentType(types ...string) func(*http.Request) {
	return func(r *http.Request) { r.Header["Content-Type"] = types }
}

func TestRead(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		body   string
		change func(*http.Request)
		want   map[string]string
		code   refusal.Code
	}{
		"both":                      {body: "a=1&b=2", want: map[string]string{"a": "1", "b": "2"}},
		"one of them":               {body: "b=%2B+%C3%A4", want: map[string]string{"b": "+ ä"}},
		"none":                      {body: "", want: map[string]string{}},
		"empty":                     {body: "a=&b", want: map[string]string{"a": "", "b": ""}},
		"another field":             {body: "a=1&c=2", want: map[string]string{"a": "1"}},
		"another, malformed":        {body: "a=1&c=%zz", want: map[string]string{"a": "1"}},
		"another, twice":            {body: "a=1&c=2&c=3", want: map[string]string{"a": "1"}},
		"of another case":           {body: "a=1&A=2", want: map[string]string{"a": "1"}},
		"with a charset":            {body: "a=1", change: contentType(formType + "; charset=UTF-8"), want: map[string]string{"a": "1"}},
		"sixteen fields":            {body: "a=1" + strings.Repeat("&c", 15), want: map[string]string{"a": "1"}},
		"of the largest size":       {body: "a=" + strings.Repeat("x", 2<<20-2), want: map[string]string{"a": strings.Repeat("x", 2<<20-2)}},
		"seventeen fields":          {body: "a=1" + strings.Repeat("&c", 16), code: refusal.BadRequest},
		"twice":                     {body: "a=1&a=1", code: refusal.BadRequest},
		"twice, in two spellings":   {body: "a=1&%61=2", code: refusal.BadRequest},
		"a malformed name":          {body: "a=1&%zz=2", code: refusal.BadRequest},
		"a malformed value":         {body: "a=%zz", code: refusal.BadRequest},
		"a semicolon":               {body: "a=1;b=2", code: refusal.BadRequest},
		"a query":                   {body: "a=1", change: func(r *http.Request) { r.URL.RawQuery = "b=2" }, code: refusal.BadRequest},
		"no type":                   {body: "a=1", change: contentType(), code: refusal.BadRequest},
		"two types":                 {body: "a=1", change: contentType(formType, formType), code: refusal.BadRequest},
		"another type":              {body: "a=1", change: contentType("text/plain"), code: refusal.BadRequest},
		"a semicolon elsewhere":     {body: "a=1&c=1;a=2", code: refusal.BadRequest},
		"a type in capitals":        {body: "a=1", change: contentType("Application/X-WWW-Form-URLEncoded"), want: map[string]string{"a": "1"}},
		"a broken type":             {body: "a=1", change: contentType(formType + "; charset"), code: refusal.BadRequest},
		"a multipart form":          {body: "a=1", change: contentType("multipart/form-data; boundary=x"), code: refusal.BadRequest},
		"too large":                 {body: strings.Repeat("c", 2<<20+1), code: refusal.TooLarge},
		"too large, length unknown": {body: strings.Repeat("c", 2<<20+1), change: func(r *http.Request) { r.ContentLength = -1 }, code: refusal.TooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tc.change == nil {
				tc.change = func(*http.Request) {}
			}
			got, refused := read(tc.body, tc.change)
			switch {
			case tc.code == "" && refused != nil:
				t.Errorf("refused: %v", refused)
			case tc.code != "" && (refused == nil || refused.Code != tc.code):
				t.Errorf("got %v and %v, want %s", got, refused, tc.code)
			case tc.code == "" && !maps.Equal(got, tc.want):
				t.Errorf("got %.99v, want %.99v", got, tc.want)
			}
		})
	}
}

func TestIsBase64(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"": true, "abz+AYZ/019=": true, "ab\r\n cd\t==": true,
		"a-b": false, "a_b": false, "<a>": false, "a\x00": false, "ä": false, "a%": false,
	} {
		if got := form.IsBase64(text); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// FuzzRead holds each field against net/url, which reads it alike and has no second
// value of it.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		"", "a=1&b=2", "a=1&a=2", "a=%61&%61=b", "a", "a=&b", "=x", "&&", "a;b=1", "a=1;b=2", "a=%zz", "b=%2", "c=+%2B%00&a=ä", "a=1&A=2", "a=b=c", "%2", strings.Repeat("c&", 20),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		got, refused := read(body)
		if refused != nil {
			return
		}
		if strings.Count(body, "&") >= 16 {
			t.Fatalf("%d fields were taken", strings.Count(body, "&")+1)
		}
		// Fields of other names are not decoded: their values may be broken.
		want, _ := url.ParseQuery(body)
		for _, name := range []string{"a", "b"} {
			value, ok := got[name]
			if n := len(want[name]); n > 1 || ok != (n == 1) || ok && want[name][0] != value {
				t.Fatalf("%q of %q is %q (%v), net/url has %q", name, body, value, ok, want[name])
			}
		}
		if len(got) > 2 {
			t.Fatalf("%q gives %v", body, got)
		}
	})
}
