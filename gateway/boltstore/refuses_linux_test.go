package boltstore_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/boltstore"
	"github.com/caddy-sso/caddy-sso/gateway/store"
)

// A file that can't be written is reported, and so is that it can again: nobody
// has to try to sign in for that.
func TestRefusesIsReported(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sso.db")
	s, err := boltstore.Open(path)
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	fd := descriptor(t, path)
	healthy, err := syscall.Dup(fd)
	must(t, err)
	sick, err := os.Open(path)
	must(t, err)
	t.Cleanup(func() { _ = sick.Close() })

	reports := make(chan error, 100)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { _ = s.Watch(ctx, "", func(c store.Change) { reports <- c.Refuses }) }()
	await := func(want bool) error {
		t.Helper()
		for deadline := time.After(20 * time.Second); ; {
			select {
			case err := <-reports:
				if (err != nil) == want {
					return err
				}
			case <-deadline:
				t.Fatalf("not reported: refuses %v", want)
			}
		}
	}
	_ = await(false)
	must(t, syscall.Dup3(int(sick.Fd()), fd, 0)) // read-only
	if err := s.Put(t.Context(), "key", []byte("value"), time.Minute); err == nil {
		t.Fatal("the fault did not happen")
	}
	if err := await(true); !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "df -h") {
		t.Errorf("it says %v", err)
	}
	must(t, syscall.Dup3(healthy, fd, 0))
	_ = await(false)
	must(t, s.Put(t.Context(), "key", []byte("value"), time.Minute))
}

// descriptor returns the file descriptor under which this process has a file open.
func descriptor(t *testing.T, path string) int {
	t.Helper()
	for fd := range 1024 {
		if to, err := os.Readlink(filepath.Join("/proc/self/fd", strconv.Itoa(fd))); err == nil && to == path {
			return fd
		}
	}
	t.Fatal("the file is not open")
	return 0
}
