package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// adoptOrphans makes this process the parent of every process below it whose
// own parent is gone, so that none can be left behind unseen.
func adoptOrphans() error {
	const prSetChildSubreaper = 36 // prctl(2)
	if _, _, errno := syscall.Syscall6(syscall.SYS_PRCTL, prSetChildSubreaper, 1, 0, 0, 0, 0); errno != 0 {
		return fmt.Errorf("becoming a subreaper: %w", errno)
	}
	return nil
}

// execute runs a command until it ends or ctx does, gives each line of its
// output to line, and returns how it ended. It leaves processes that the
// command left behind to endLeftovers.
func execute(ctx context.Context, line func([]byte), name string, args ...string) error {
	r, w := io.Pipe()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = w, w
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second // somebody left behind may hold the pipe

	done := make(chan struct{})
	go func() {
		defer close(done)
		sc := bufio.NewScanner(r)
		sc.Buffer(nil, 16<<20)
		for sc.Scan() {
			line(sc.Bytes())
		}
		_, _ = io.Copy(io.Discard, r) // a line beyond the buffer must not block the command
	}()
	err := cmd.Run()
	_ = w.Close()
	<-done
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if errors.Is(err, exec.ErrWaitDelay) {
		return fmt.Errorf("running %s: a process that it left behind holds its output", name)
	}
	if err != nil {
		return fmt.Errorf("running %s: %w", name, err)
	}
	return nil
}

// endLeftovers gives processes below this one a moment to end, kills the rest
// and returns what it had to kill. No command may be running.
func endLeftovers(grace time.Duration) []string {
	deadline := time.Now().Add(grace)
	for {
		left := descendants(os.Getpid())
		reap()
		if len(left) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return kill(left)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func kill(procs map[int]string) []string {
	var names []string
	for pid, comm := range procs {
		if syscall.Kill(pid, syscall.SIGKILL) == nil {
			names = append(names, fmt.Sprintf("%s (%d)", comm, pid))
		}
	}
	time.Sleep(100 * time.Millisecond)
	reap()
	return names
}

// reap collects orphans that have ended.
func reap() {
	for {
		pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		if err != nil || pid <= 0 {
			return
		}
	}
}

// descendants returns the living processes below root by id, with their names.
func descendants(root int) map[int]string {
	type proc struct {
		parent int
		comm   string
	}
	all := map[int]proc{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, stat := range stats {
		b, err := os.ReadFile(stat)
		if err != nil {
			continue // gone meanwhile
		}
		// pid (comm) state ppid …: comm may hold blanks and parentheses.
		head, tail, ok := cutLast(string(b), ") ")
		pid, comm, _ := strings.Cut(head, " (")
		fields := strings.Fields(tail)
		if !ok || len(fields) < 2 || fields[0] == "Z" || fields[0] == "X" {
			continue
		}
		id, _ := strconv.Atoi(pid)
		parent, _ := strconv.Atoi(fields[1])
		all[id] = proc{parent, comm}
	}
	below := map[int]string{}
	for id, p := range all {
		for up := p.parent; up > 1; up = all[up].parent {
			if up == root {
				below[id] = p.comm
				break
			}
		}
	}
	return below
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}
