package gatewaytest

import (
	"errors"
	"slices"
	"sync"
)

// ErrFault is the error of Faulty.
var ErrFault = errors.New("the test lets the store fail")

// Faulty returns a hook for MemStore that makes the named methods fail, or all
// without names.
func Faulty(methods ...string) func(MemOp) error {
	return func(op MemOp) error {
		if len(methods) == 0 || slices.Contains(methods, op.Method) {
			return ErrFault
		}
		return nil
	}
}

// Counting returns a hook for MemStore that counts calls of a method in n, guarded by
// mu.
func Counting(method string, n *int, mu *sync.Mutex) func(MemOp) error {
	return func(op MemOp) error {
		if op.Method == method && !op.Done {
			mu.Lock()
			defer mu.Unlock()
			*n++
		}
		return nil
	}
}
