package gateway

import (
	"net/http"
	"time"
)

// formTimeout bounds how long a form may take to come in.
const formTimeout = 15 * time.Second

// acsPath is the path of the AssertionConsumerService.
func (a *App) acsPath() string { return a.opts.Prefix + "/saml/acs" }

// metadataURL is the address of the site's SAML metadata. It is our default entity ID for
// all providers: no provider's name is in it, so a rename does not change it.
func (a *App) metadataURL(origin string) string { return origin + a.opts.Prefix + "/saml/metadata" }

// consumeAssertion is the AssertionConsumerService (SAML Profiles 4.1.4). It has no
// cross-origin check: the provider's page posts here, perhaps with the Origin "null".
// The browser cookie protects it instead.
func (x *request) consumeAssertion() error {
	// The server may have no deadline. This one also bounds what it reads of the body
	// after a refusal, and ends with the body. If it can't be set, the server's holds.
	_ = http.NewResponseController(x.w).SetReadDeadline(time.Now().Add(formTimeout))
	return x.callback(responsePost{})
}
