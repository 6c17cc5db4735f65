package gatewaytest

import (
	"fmt"
	"net"
	"os"
	"sync"
)

var ports struct {
	sync.Mutex
	next int
}

// FreePort returns an unused port on loopback. It lies below the range of the
// system's ephemeral ports, so that no client takes it meanwhile, and no other test
// of this process gets it.
func FreePort() int {
	const low, high = 20000, 32000
	ports.Lock()
	defer ports.Unlock()
	if ports.next == 0 {
		ports.next = low + os.Getpid()*61%(high-low) // another process begins elsewhere
	}
	for range high - low {
		port := ports.next
		ports.next++
		if ports.next == high {
			ports.next = low
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			_ = l.Close()
			return port
		}
	}
	panic("no port is free")
}
