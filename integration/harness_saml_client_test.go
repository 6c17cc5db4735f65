//go:build integration

package integration

import "strings"

// carry posts the messages that pages ask the browser to post, by whichever
// binding and page, until one asks for something else. What the form of the
// identity provider asks for is not filled in.
func (c *client) carry(p *page) *page {
	c.t.Helper()
	hops := c.hops
	for range 8 {
		f := p.message()
		if f == nil {
			c.hops = hops
			return p
		}
		p = c.send(f)
		hops = append(hops, c.hops...)
	}
	c.t.Fatalf("the messages go round in circles: %s", strings.Join(hops, " → "))
	return nil
}

// message returns the page's form that holds a SAML message, or nil.
func (p *page) message() *form {
	for _, field := range []string{"SAMLResponse", "SAMLRequest"} {
		if f := p.formWith(field); f != nil {
			return f
		}
	}
	return nil
}

// samlForm opens a URL and goes on to the identity provider's form.
func (c *client) samlForm(target string) *page {
	c.t.Helper()
	return c.carry(c.navigate(target))
}

// samlAnswer fills in the identity provider's form and returns its answer,
// which the browser is about to post.
func (c *client) samlAnswer(login *page, user string) *form {
	c.t.Helper()
	p := c.enterAnywhere(login, user, user)
	f := p.formWith("SAMLResponse")
	if f == nil {
		c.t.Fatalf("expected an answer of the provider, got %s\nby %s", p, strings.Join(c.hops, " → "))
	}
	return f
}

// samlSignIn opens a URL, signs in at the identity provider, and returns what
// that ended with.
func (c *client) samlSignIn(target, user string) *page {
	c.t.Helper()
	return c.carry(c.enterAnywhere(c.samlForm(target), user, user))
}

// enterAnywhere fills in the form of either identity provider.
func (c *client) enterAnywhere(login *page, user, password string) *page {
	c.t.Helper()
	if f := login.formWith("AuthState"); f != nil {
		f.fields.Set("username", user)
		f.fields.Set("password", password)
		return c.send(f)
	}
	return c.enter(login, user, password)
}
