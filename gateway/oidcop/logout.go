package oidcop

// A Logout is a request to log out.
type Logout struct {
	// Client is the client that asks, for the page; "" if it did not say.
	Client string
}

// Ends reports whether the client knows the login: it sent an ID token of it. Without
// that, the person is asked.
func (l *Logout) Ends(login string) bool { panic("not yet") }

// ReturnTo returns the registered URL, with the client's state, to which the browser
// returns; or "".
func (l *Logout) ReturnTo() string { panic("not yet") }
