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

// adoptOrphans makes this process the parent of every descendant whose own parent has
// ended. So endLeftovers finds all of them.
func adoptOrphans() error {
	const prSetChildSubreaper = 36 // prctl(2)
	if _, _, errno := syscall.Syscall6(syscall.SYS_PRCTL, prSetChildSubreaper, 1, 0, 0, 0, 0); errno != 0 {
		return fmt.Errorf("becoming a subreaper: %w", errno)
	}
	return nil
}

// execute runs a command until it or ctx ends, and passes each line of its output to line.
// Processes that the command leaves behind are for endLeftovers.
func execute(ctx context.Context, line func([]byte), name string, args ...string) error {
	r, w := io.Pipe()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = w, w
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second // a process that was left behind may hold the pipe

	done := make(chan struct{})
	go func() {
		defer close(done)
		sc := bufio.NewScanner(r)
		sc.Buffer(nil, 16<<20)
		for sc.Scan() {
			line(sc.Bytes())
		}
		_, _ = io.Copy(io.Discard, r) // a line longer than the buffer must not block the command
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

// endLeftovers waits for all descendants to end, kills the rest after grace, and returns
// their names. Call it only when no command is running.
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

// reap waits for orphans that have ended, so that no zombie remains.
func reap() {
	for {
		pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		if err != nil || pid <= 0 {
			return
		}
	}
}

// descendants returns the names of the running processes below root, by id.
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
			continue // it has ended
		}
		// pid (comm) state ppid …; comm may have blanks and parentheses in it.
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
