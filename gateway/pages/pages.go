// Package pages renders what people see of the gateway: the chooser, refusals,
// the session, the forms that go on by themselves, and signing out.
//
// The pages have no inline script or style and nothing from another host, and
// their Content-Security-Policy holds them to that. The pages that go on by
// themselves have a script for it, and a button. The chooser and the refusals have
// one that keeps the fragment of the address, and the session has one that shows times
// in the reader's zone; the others have none. Values are escaped by html/template. An
// address of another origin is replaced by "#", unless it is the provider's that the
// person is sent to. No page may be stored, framed, or indexed. Only "sign in first" may
// be framed, by pages of the same origin: a frame of the app shows it when the session is
// over.
//
// The policy is set on the pages alone and not on the answers of the app.
package pages

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"

	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

//go:embed templates
var templateFiles embed.FS

// Options are what a Renderer is made of.
type Options struct {
	// Logger is told of pages that could not be rendered: faults of the
	// program. Default: none.
	Logger *zap.Logger
}

// A Renderer renders the pages. It is safe for concurrent use.
type Renderer struct {
	log       *zap.Logger
	templates map[string]*template.Template
	assets    map[string]asset
}

// New returns a Renderer. Its error means that the built-in templates or
// assets are broken.
func New(opts Options) (*Renderer, error) {
	rd := &Renderer{log: opts.Logger, templates: map[string]*template.Template{}}
	if rd.log == nil {
		rd.log = zap.NewNop()
	}
	var err error
	if rd.assets, err = loadAssets(); err != nil {
		return nil, err
	}
	layout, err := template.New("layout.html").Funcs(rd.funcs()).ParseFS(templateFiles, "templates/layout.html")
	if err != nil {
		return nil, fmt.Errorf("parsing the layout: %w", err)
	}
	names, err := fs.Glob(templateFiles, "templates/*.html")
	for _, name := range names {
		var t *template.Template
		if t, err = layout.Clone(); err == nil {
			t, err = t.Option("missingkey=error").ParseFS(templateFiles, name)
		}
		if err != nil {
			return nil, fmt.Errorf("parsing the template %s: %w", name, err)
		}
		rd.templates[path.Base(name)] = t
	}
	return rd, err
}

// A view is what a template is executed on.
type view struct {
	Chrome
	Text map[string]sentence
	// Heading is the page's one h1, and its title.
	Heading string
	// Page is one of the page types of types.go. Its template bears the name of its type.
	Page any
}

// policyOf returns the part of the CSP that not all pages have.
func policyOf(page any) string {
	switch p := page.(type) {
	case Chooser:
		if len(p.Choices) > 0 {
			return scriptedLinks
		}
	case Refusal:
		if p.HasScript() {
			return scriptedLinks
		}
	case Session:
		return scriptedLinks
	case Form:
		if len(p.Fields) == 0 {
			return scriptedLinks
		}
		return postingForm
	case Repost:
		return postingForm
	case Logout:
		return ownForm
	case Other:
		return leadingForm
	}
	return noForm
}

// Page writes page, one of the types of types.go, as HTML, with all headers. If it is none
// of them, such as a pointer to one, or can't be rendered, that is logged, and the response
// is 500 with the title of Internal.
func (rd *Renderer) Page(w http.ResponseWriter, r *http.Request, status int, page any) {
	body, err := rd.render(page)
	if err != nil {
		rd.log.Error("rendering a page failed", zap.Error(err))
		internal := refusal.Internal.Meaning()
		setPageHeaders(w.Header(), noForm, false)
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		write(w, r, internal.Status, []byte(internal.Title+"\n"))
		return
	}
	refused, _ := page.(Refusal)
	setPageHeaders(w.Header(), policyOf(page), refused.SignInURL != "")
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	write(w, r, status, body)
}

// render writes the page into memory first: a fault half way must not become
// half a page with a good status. A handler around the gateway, such as Caddy's templates,
// must find no template in a page: it would execute names of people and paths of clients.
func (rd *Renderer) render(page any) ([]byte, error) {
	p, ok := page.(interface{ chrome() Chrome })
	name := fmt.Sprintf("%T", page)
	kind := strings.TrimPrefix(name, "pages.")
	t := rd.templates[strings.ToLower(kind)+".html"]
	if !ok || t == nil {
		return nil, fmt.Errorf("rendering a %s: no such page", name)
	}
	v := view{Chrome: p.chrome(), Text: texts, Heading: string(texts[kind+"Title"]), Page: page}
	if refused, ok := page.(Refusal); ok {
		v.Heading = refused.Code.Meaning().Title
	}
	var b bytes.Buffer
	if err := t.Execute(&b, v); err != nil {
		return nil, fmt.Errorf("rendering a %s: %w", name, err)
	}
	return bytes.ReplaceAll(b.Bytes(), []byte("{{"), []byte("&#123;&#123;")), nil
}

func write(w http.ResponseWriter, r *http.Request, status int, body []byte) {
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // a client that went away is nobody's fault
	}
}
