package pages

import (
	"maps"
	"net/url"
	"slices"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

// Of all pages, Provider is a display name, and an address is a path of the same origin,
// with or without a query, unless its comment says otherwise.

// Chrome is what every page needs.
type Chrome struct {
	// Prefix is the gateway's own path on this site, "/.sso" unless set.
	Prefix string
	// App is what the page calls the app: its title, else its host.
	App string
	// Host is the site's. A session is of one host, not of all that share a title.
	Host string
	Brand
}

func (c Chrome) chrome() Chrome { return c }

// Site names the app and, if its title hides it, its host.
func (c Chrome) Site() string {
	if c.Title == "" || c.Host == "" || c.Title == c.Host {
		return c.App
	}
	return c.Title + " (" + c.Host + ")"
}

// A Chooser lets a person pick where to sign in.
type Chooser struct {
	Chrome
	Choices []Choice
}

// A Choice is one provider to sign in at.
type Choice struct {
	Name, Label string
	// Last marks where this browser signed in last.
	Last bool
	// URL starts the login there.
	URL string
}

// A Refusal says that a request was refused and what can be done.
type Refusal struct {
	Chrome
	Code      refusal.Code
	Reference string
	// Username is that of the person who is signed in or tried to sign in, if it is known.
	// Provider is where they tried, or "".
	Username, Provider string
	// Client is the application of the OpenID provider that sent the person here, or "".
	Client string
	// Seen helps a person to see why the request failed. Zero: not shown.
	Seen Seen
	// Links, each if not empty: to sign in (in the whole window, if a page of the same
	// origin shows this one in a frame), to sign in as somebody else, to start anew, to
	// sign out, to open the app's front page.
	SignInURL, OtherURL, RetryURL, LogoutURL, HomeURL string
	// Address is where the page can be loaded again, if the browser must not repeat the
	// request that led here, or "".
	Address string
}

// HasScript says whether the page needs its script.
func (p Refusal) HasScript() bool { return p.SignInURL != "" || p.Address != "" }

// Seen says how a request looked to the gateway, if that may be the cause: cookies get lost, http stands for https, a site has two names.
type Seen struct {
	// Here is the origin that the request came to, Site the site's own.
	Here, Site string
}

// A Session shows a person their own session at this app.
type Session struct {
	Chrome
	Username, Email, Name, Provider string
	// Roles, Groups and Template are the app's own words.
	Roles, Groups []string
	Template      string
	// Since is when the person signed in, Expires when the session ends at the
	// latest.
	Since, Expires time.Time
	LogoutURL      string
	// NoApp says that the site has no app of its own to open.
	NoApp bool
}

// A Logout asks before it ends the session: a GET changes nothing.
type Logout struct {
	Chrome
	Username, Provider string
	// AtProvider says that the provider's session ends too.
	AtProvider bool
	// Action is where the form posts to.
	Action string
}

// An Other asks before somebody else may sign in: a link of another site may have led
// here.
type Other struct {
	Chrome
	Username string // that of the session
	// Choices are where to sign in. A form posts to the URL of one.
	Choices []Choice
	// StayURL is where the person goes on instead.
	StayURL string
}

// A Leave goes on by itself: to the provider, to end its session too, or back to the
// client that asked for the logout. It is no redirect: Chromium applies form-action to
// every redirect that follows a form, and the provider may redirect to any host.
type Leave struct {
	Chrome
	// Provider is the client's host, or own scheme, if the page goes Back to one.
	Provider string
	Back     bool
	// URL is where the page goes on to: an absolute URL of theirs. A client has registered it.
	URL string
}

// A Form goes on to the provider with the request of a login: it posts it (SAML Bindings
// 3.5.4), or follows a link if there are no Fields. It does so by itself. If its
// script does not run, the link is followed all the same, and the form has a button.
type Form struct {
	Chrome
	Provider string
	// Action is where the page goes on to: an absolute URL of the provider's.
	Action string
	Fields []Field
	// AgainURL is where the login begins anew, for a browser with a fragment in its
	// address: the page appends it, percent-encoded. It may be "".
	AgainURL string
}

// A Repost posts the fields that came with a request once more to the same path. Browsers
// send our cookies with what this page posts, and not with what a foreign page does
// (SameSite=Lax). It posts by itself; without scripts there is a button.
type Repost struct {
	Chrome
	Action string
	Fields []Field
}

// A Field is a hidden field of a form.
type Field struct{ Name, Value string }

// FieldsOf returns the fields of a form in the order of their names.
func FieldsOf(form url.Values) []Field {
	var fields []Field
	for _, name := range slices.Sorted(maps.Keys(form)) {
		for _, value := range form[name] {
			fields = append(fields, Field{name, value})
		}
	}
	return fields
}

// A LoggedOut says that the session has ended.
type LoggedOut struct {
	Chrome
	SignInURL string
}
