package host

import "golang.org/x/sys/unix"

// steerSocket has the kernel give new connections to one of the sockets that
// share an address with this one, counted from 0 by age, and choose itself if
// there are fewer (SO_ATTACH_REUSEPORT_CBPF in socket(7)). It holds for all of
// them, until it is called anew. Sockets with Multipath TCP don't know it.
func steerSocket(fd, to int) error {
	program := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: uint32(to)}}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF,
		&unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
}
