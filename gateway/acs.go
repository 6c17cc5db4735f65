package gateway

import (
	"net/http"
	"time"
)

// formTimeout bounds how long a form may take to come in.
const formTimeout = 15 * time.Second

// acsPath is the path of the AssertionConsumerService.
func (a *App) acsPath() string { return a.opts.Prefix + "/saml/acs" }

// metadataURL is where the site's SAML metadata are. It is our default entity
// ID towards all providers, so that it outlives their names.
func (a *App) metadataURL(origin string) string { return origin + a.opts.Prefix + "/saml/metadata" }

// consumeAssertion is the AssertionConsumerService (SAML Profiles 4.1.4). It has
// no cross-origin check: the provider's page posts here, with the Origin "null"
// if it hides where it is from. The browser cookie guards this path.
func (x *exchange) consumeAssertion() error {
	// Where there are no deadlines, those of the host server hold. This one is
	// for what the server reads of the body after a refusal, too, and ends with
	// the body.
	_ = http.NewResponseController(x.w).SetReadDeadline(time.Now().Add(formTimeout))
	return x.callback(responsePost{})
}
