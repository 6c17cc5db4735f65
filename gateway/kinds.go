package gateway

// The kinds of records. docs/store.md describes them all.
const (
	kindLogin   Kind = "login"
	kindFlow    Kind = "flow"
	kindAccount Kind = "account"
	kindEpoch   Kind = "epoch"
	kindReplay  Kind = "replay"

	// kindLimit names counters, which are not sealed.
	kindLimit Kind = "limit"
)
