package gatewaytest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/store"
)

var storeIndexTests = []storeTest{
	{"Add and Remove", func(t *testing.T, a, b store.Store) {
		ctx := t.Context()
		wantRange(t, a, "index", "", "", 10)
		must(t, a.Add(ctx, "index", "b", "a", "b"))
		must(t, b.Add(ctx, "index", "b", "c"))
		wantRange(t, a, "index", "", "", 10, "a", "b", "c")
		must(t, b.Remove(ctx, "index", "b", "none"))
		must(t, b.Remove(ctx, "no such index", "b"))
		wantRange(t, a, "index", "", "", 10, "a", "c")
		must(t, b.Remove(ctx, "index", "a", "c"))
		wantRange(t, a, "index", "", "", 10)
	}},
	{"names do not meet", func(t *testing.T, a, b store.Store) {
		ctx := t.Context()
		for _, index := range []string{"a", "ab", "a\x00", "\x00", "\xff"} {
			must(t, a.Add(ctx, index, "in "+index))
			must(t, a.Put(ctx, index, []byte("under "+index), time.Minute))
		}
		must(t, a.Delete(ctx, "a"))
		must(t, a.Remove(ctx, "ab", "in ab"))
		must(t, a.Announce(ctx, []byte("message")))
		wantRange(t, b, "a", "", "", 10, "in a")
		wantRange(t, b, "ab", "", "", 10)
		wantRange(t, b, "a\x00", "", "", 10, "in a\x00")
		wantRange(t, b, "\xff", "", "", 10, "in \xff")
		wantValues(t, b, []string{"a", "ab", "stream"}, [][]byte{nil, []byte("under ab"), nil})
	}},
	{"Range by prefix and after", testRange},
	{"Range in pages", func(t *testing.T, a, b store.Store) {
		var want []string
		for i := range 1005 {
			want = append(want, fmt.Sprintf("user\x00%04d", i))
		}
		must(t, a.Add(t.Context(), "index", want...))
		must(t, a.Add(t.Context(), "index", "user", "user\x01", "use", "v"))
		var got []string
		for page, after := 0, ""; ; page++ {
			members, err := b.Range(t.Context(), "index", "user\x00", after, 100)
			must(t, err)
			if len(members) > 100 || page > len(want) {
				t.Fatalf("page %d has %d members", page, len(members))
			}
			if len(members) == 0 {
				break
			}
			got = append(got, members...)
			after = members[len(members)-1]
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %d members, want %d", len(got), len(want))
		}
	}},
	{"Range of none", func(t *testing.T, a, _ store.Store) {
		must(t, a.Add(t.Context(), "index", "a", "b"))
		wantRange(t, a, "index", "", "", 0)
		wantRange(t, a, "index", "", "", -1)
	}},
}

// testRange compares Range with a plain list, for all short members made of bytes
// that are bounds somewhere.
func testRange(t *testing.T, a, b store.Store) {
	var all []string
	for _, x := range []string{"\x00", "a", "\xfe", "\xff"} {
		all = append(all, x)
		for _, y := range []string{"\x00", "a", "\xff"} {
			all = append(all, x+y, x+y+"\x00", x+y+"\xff")
		}
	}
	members := slices.DeleteFunc(slices.Clone(all), func(s string) bool { return len(s) == 2 && s[1] == 'a' })
	must(t, a.Add(t.Context(), "index", members...))
	slices.Sort(members)
	for _, prefix := range append(all, "", "b", "[", "(", "-", "+") {
		for _, after := range append(all, "", "b", "\xff\xff\xff\xff") {
			var want []string
			for _, member := range members {
				if member > after && strings.HasPrefix(member, prefix) {
					want = append(want, member)
				}
			}
			wantRange(t, b, "index", prefix, after, len(members), want...)
			if len(want) > 2 {
				wantRange(t, b, "index", prefix, after, 2, want[:2]...)
			}
		}
	}
}

func wantRange(t *testing.T, s store.Store, index, prefix, after string, limit int, want ...string) {
	t.Helper()
	got, err := s.Range(t.Context(), index, prefix, after, limit)
	must(t, err)
	if !slices.Equal(got, want) {
		t.Errorf("members of %q that begin with %q after %q: %q, want %q", index, prefix, after, got, want)
	}
}
