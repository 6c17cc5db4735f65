package gateway

import (
	"strconv"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

// retryLater hands on what a provider said about when to come back. Everything
// else that is unavailable has a time of its own.
func (x *exchange) retryLater(err *refusal.Error) {
	if after := refusal.RetryAfter(err); after > 0 && err.Code == refusal.ProviderUnavailable {
		x.w.Header().Set("Retry-After", strconv.Itoa(int((after+time.Second-1)/time.Second)))
	}
}
