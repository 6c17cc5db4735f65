// Package pages renders what people see of the gateway: the chooser, refusals,
// the session, the forms that go on by themselves, and signing out.
//
// The pages have no inline script or style and nothing from another host, and
// their Content-Security-Policy holds them to that. The pages that go on by
// themselves have a script for it, and a button. The chooser and the refusals have
// one that keeps the fragment of the address, and the session has one that shows times
// in the reader's zone; the others have none. Values are
// escaped by html/template; an address that does not stay on the own origin is
// replaced by "#", but for the provider's that a person is sent to. No page may be
// stored, framed, or indexed. Only "sign in first" may be framed, by pages of the same
// origin: a frame of the app shows it when the session is over.
//
// The policy is set on the pages alone and not on the answers of the app.
package pages

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"strconv"

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

// A Renderer implements gateway.Pages. It is safe for concurrent use.
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
	for _, name := range []string{chooserFile, refusalFile, sessionFile, formFile, repostFile, logoutFile, otherFile, leaveFile, loggedOutFile} {
		t, err := layout.Clone()
		if err == nil {
			t, err = t.ParseFS(templateFiles, "templates/"+name)
		}
		if err != nil {
			return nil, fmt.Errorf("parsing the template %s: %w", name, err)
		}
		rd.templates[name] = t
	}
	return rd, nil
}

// The templates, by file.
const (
	chooserFile   = "chooser.html"
	refusalFile   = "refusal.html"
	sessionFile   = "session.html"
	formFile      = "form.html"
	repostFile    = "repost.html"
	logoutFile    = "logout.html"
	otherFile     = "other.html"
	leaveFile     = "leave.html"
	loggedOutFile = "loggedout.html"
)

// A view is what a template is executed on.
type view struct {
	Chrome
	Text *catalogue
	// Heading is the page's one h1, and its title.
	Heading string
	// Page is one of the page types of types.go.
	Page any

	file string
	// policy is the part of the page's CSP that not all pages have.
	policy string
	// framed says that pages of the same origin may show this one in a frame.
	framed bool
}

// viewOf reports false if page is not one of the page types.
func viewOf(page any) (view, bool) {
	v := view{Text: &english, Page: page, policy: noForm}
	switch p := page.(type) {
	case Chooser:
		v.Chrome, v.Heading, v.file = p.Chrome, english.ChooserTitle, chooserFile
		if len(p.Choices) > 0 {
			v.policy = scriptedLinks
		}
	case Refusal:
		v.Chrome, v.Heading, v.file, v.framed = p.Chrome, p.Code.Meaning().Title, refusalFile, p.SignInURL != ""
		if p.HasScript() {
			v.policy = scriptedLinks
		}
	case Session:
		v.Chrome, v.Heading, v.file = p.Chrome, english.SessionTitle, sessionFile
		v.policy = scriptedLinks
	case Form:
		v.Chrome, v.Heading, v.file, v.policy = p.Chrome, english.FormTitle, formFile, postingForm
		if len(p.Fields) == 0 {
			v.policy = scriptedLinks
		}
	case Repost:
		v.Chrome, v.Heading, v.file, v.policy = p.Chrome, english.RepostTitle, repostFile, postingForm
	case Logout:
		v.Chrome, v.Heading, v.file = p.Chrome, english.LogoutTitle, logoutFile
		v.policy = ownForm
	case Other:
		v.Chrome, v.Heading, v.file, v.policy = p.Chrome, english.OtherTitle, otherFile, leadingForm
	case Leave:
		v.Chrome, v.Heading, v.file = p.Chrome, english.LeaveTitle, leaveFile
	case LoggedOut:
		v.Chrome, v.Heading, v.file = p.Chrome, english.LoggedOutTitle, loggedOutFile
	default:
		return view{}, false
	}
	return v, true
}

// Page implements gateway.Pages. page is a value, not a pointer. If page is none, or
// can't be rendered, that is logged, and the answer is 500 with the text of Internal.
func (rd *Renderer) Page(w http.ResponseWriter, r *http.Request, status int, page any) {
	body, v, err := rd.render(page)
	if err != nil {
		rd.log.Error("rendering a page failed", zap.Error(err))
		internal := refusal.Internal.Meaning()
		setPageHeaders(w.Header(), noForm, false)
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		write(w, r, internal.Status, []byte(internal.Title+"\n"))
		return
	}
	setPageHeaders(w.Header(), v.policy, v.framed)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	write(w, r, status, body)
}

// render writes the page into memory first: a fault half way must not become
// half a page with a good status. No page is a template to a handler around the gateway,
// such as Caddy's templates: names of people and paths of clients would be executed.
func (rd *Renderer) render(page any) (body []byte, v view, err error) {
	v, ok := viewOf(page)
	if !ok {
		return nil, v, fmt.Errorf("rendering a %T: no such page", page)
	}
	var b bytes.Buffer
	if err := rd.templates[v.file].Execute(&b, v); err != nil {
		return nil, v, fmt.Errorf("rendering a %T: %w", page, err)
	}
	return bytes.ReplaceAll(b.Bytes(), []byte("{{"), []byte("&#123;&#123;")), v, nil
}

func write(w http.ResponseWriter, r *http.Request, status int, body []byte) {
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // a client that went away is nobody's fault
	}
}
