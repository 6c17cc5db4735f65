package gateway

// Sessions is this node's view of the store (being written).
type Sessions struct{}
