package program

import "golang.org/x/sys/unix"

// steerSocket makes the kernel give new connections to one of the sockets that share an
// address with fd (SO_ATTACH_REUSEPORT_CBPF in socket(7)). to is its index by age, from 0.
// If there are fewer sockets, the kernel chooses one. This holds for all of the sockets,
// until the next call. Sockets with Multipath TCP do not support it.
func steerSocket(fd, to int) error {
	program := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: uint32(to)}}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF,
		&unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
}
