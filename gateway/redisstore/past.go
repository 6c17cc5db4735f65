package redisstore

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
)

// errRewound is returned until Watch has reported it.
var errRewound = fault("it went back in time: it lacks changes that it had taken, as after a restart from a snapshot or a failover to a replica that lagged")

// A position is an entry of the stream, and how many were added up to it (Redis
// 7), or 0 if that is not known.
type position struct {
	id    string
	added int64
}

// String is what parsePosition reads.
func (p position) String() string { return p.id + " " + strconv.FormatInt(p.added, 10) }

// parsePosition returns the zero position for a text that String does not write.
func parsePosition(text string) position {
	id, rest, _ := strings.Cut(text, " ")
	added, err := strconv.ParseInt(rest, 10, 64)
	if _, _, ok := parseID(id); !ok || err != nil || added < 0 {
		return position{}
	}
	return position{id, added}
}

func parseID(id string) (ms, seq uint64, ok bool) {
	first, second, _ := strings.Cut(id, "-")
	ms, err := strconv.ParseUint(first, 10, 64)
	if err != nil {
		return 0, 0, false
	}
	seq, err = strconv.ParseUint(second, 10, 64)
	return ms, seq, err == nil
}

// older reports whether an entry came before another. An id that can't be read came before
// none.
func older(a, b string) bool {
	am, as, ok := parseID(a)
	bm, bs, ok2 := parseID(b)
	return ok && ok2 && (am < bm || am == bm && as < bs)
}

// A past is what this node knows of the stream. On every new connection it must still be
// there. Else a snapshot, or a replica that lagged, has replaced the server's data, and
// logins that have ended since would live again.
type past struct {
	mu   sync.Mutex
	seen position // the newest that was read
	own  string   // the newest that this node wrote, maybe not read yet

	// dealing permits connections while Watch reports it.
	dealing atomic.Bool
}

// begin starts anew.
func (p *past) begin(at position) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen, p.own = at, ""
}

// reach notes a position, unless a newer one is known.
func (p *past) reach(at position) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.seen.id == "" || older(p.seen.id, at.id) {
		p.seen = at
	}
}

func (p *past) wrote(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.own == "" || older(p.own, id) {
		p.own = id
	}
}

func (p *past) known() (known []position) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.seen.id != "" {
		known = append(known, p.seen)
	}
	if p.own != "" && older(p.seen.id, p.own) {
		known = append(known, position{id: p.own})
	}
	return known
}

// onConnect refuses new connections to a server that went back in time, until Watch has
// reported it: no login that has ended may be served.
func (s *Store) onConnect(ctx context.Context, conn *redis.Conn) error {
	if s.past.dealing.Load() {
		return nil
	}
	return s.past.check(ctx, conn, s.stream())
}

// check returns errRewound if what this node knows is not in the stream and was not
// trimmed.
func (p *past) check(ctx context.Context, conn *redis.Conn, stream string) error {
	for _, at := range p.known() {
		found, err := conn.XRangeN(ctx, stream, at.id, at.id, 1).Result()
		if err != nil {
			return err
		}
		if len(found) == 1 && found[0].ID == at.id {
			continue
		}
		switch ok, err := excused(ctx, conn, stream, at); {
		case err != nil:
			return err
		case !ok:
			return errRewound
		}
	}
	return nil
}

// excused reports whether a position may be missing: it was trimmed, or another node has
// reported that the stream went back.
func excused(ctx context.Context, conn *redis.Conn, stream string, at position) (bool, error) {
	entries, err := conn.XRangeN(ctx, stream, "-", "+", streamLength).Result()
	if err != nil {
		return false, err
	}
	if len(entries) > 0 && older(at.id, entries[0].ID) && trimmed(at, len(entries), added(ctx, conn, stream)) {
		return true, nil
	}
	for _, entry := range entries {
		if _, dealtWith := entry.Values[fieldBack]; dealtWith && older(at.id, entry.ID) {
			return true, nil
		}
	}
	return false, nil
}

// trimmed says whether a stream that begins after a position may have held it.
func trimmed(at position, length int, added int64) bool {
	if at.added > 0 && added > 0 {
		return added >= at.added
	}
	return length >= streamLength
}

// added returns how many entries the stream ever took, or 0 if the server does
// not say: before Redis 7, or if the user may not ask.
func added(ctx context.Context, conn *redis.Conn, stream string) int64 {
	info, err := conn.XInfoStream(ctx, stream).Result()
	if err != nil {
		return 0
	}
	return info.EntriesAdded
}

// durability says what the server may lose by its settings, or "". If the server does not
// tell them, they count as safe.
func durability(ctx context.Context, conn *redis.Conn) string {
	text, err := conn.Info(ctx, "persistence").Result()
	if err != nil {
		return ""
	}
	switch parseInfo(text)["aof_enabled"] {
	case "0":
		return "Redis has no append-only file: when it stops, it loses everything since its last snapshot, logouts and blocks too, and then everybody has to sign in again. Set appendonly yes and appendfsync always"
	case "1":
		policy, err := conn.ConfigGet(ctx, "appendfsync").Result()
		switch {
		case err != nil:
		case policy["appendfsync"] == "everysec":
			return "Redis writes to its disk once a second (appendfsync everysec): when its machine stops, it can lose the last second, logouts and blocks too, and then everybody has to sign in again. Set appendfsync always"
		case policy["appendfsync"] == "no":
			return "Redis leaves it to the system when to write to the disk (appendfsync no): when its machine stops, it can lose half a minute, logouts and blocks too, and then everybody has to sign in again. Set appendfsync always"
		}
	}
	return ""
}
