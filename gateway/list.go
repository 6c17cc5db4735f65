package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The indexes. They are for listing alone: nothing is decided by them. A
// member is the user name in lower case, NUL, the time of its making (unix
// seconds in hex), NUL, and the key of the record. So the names stand in the
// clear for who reads the store; SECURITY.md says so.
const (
	indexLogins   = "index:logins"
	indexAccounts = "index:accounts"
)

func indexMember(username string, created time.Time, key string) string {
	return indexName(username) + "\x00" + strconv.FormatInt(created.Unix(), 16) + "\x00" + key
}

func indexName(username string) string {
	return strings.ToLower(strings.ReplaceAll(username, "\x00", ""))
}

// pruneAfter is how old a member must be to be taken out when its record is
// missing: it is written before the record.
const pruneAfter = time.Minute

// A LoginInfo describes a login to an administrator.
type LoginInfo struct {
	// ID names the login for RevokeLogin. It opens nothing.
	ID       string
	Account  AccountKey
	Provider string
	Username string
	Email    string
	Created  time.Time
	Expires  time.Time
}

// A ListQuery picks a page of a listing.
type ListQuery struct {
	// Username picks names that begin with it, regardless of case; with Exact,
	// the one name.
	Username string
	Exact    bool
	// After continues behind a page: its Next.
	After string
	// Limit bounds the page, 1 to 1000. Default 100.
	Limit int
}

// Logins lists the logins that are not over, by user name. next continues the
// listing; it is empty at the end. A page can be empty before the end.
func (s *Sessions) Logins(ctx context.Context, q ListQuery) (page []LoginInfo, next string, err error) {
	next, err = s.list(ctx, indexLogins, kindLogin, q, func(name, key string, value []byte) (bool, error) {
		var l login
		if err := json.Unmarshal(value, &l); err != nil {
			return false, fmt.Errorf("reading a login: %w", err)
		}
		switch err := s.checkLogin(ctx, &l); {
		case errors.Is(err, errNoSession):
			return true, nil // over, but its record still has a while
		case err != nil:
			return false, err
		}
		page = append(page, LoginInfo{key, l.Account, l.Provider, l.Identity.Username, l.Identity.Email, l.Created, l.Expires})
		return true, nil
	})
	return page, next, err
}

// An AccountInfo describes an account to an administrator.
type AccountInfo struct {
	Key       AccountKey
	Provider  string
	Username  string
	Email     string
	Created   time.Time
	LastLogin time.Time
	Blocked   bool
}

// Accounts lists accounts by user name, as Logins does.
func (s *Sessions) Accounts(ctx context.Context, q ListQuery) (page []AccountInfo, next string, err error) {
	next, err = s.list(ctx, indexAccounts, kindAccount, q, func(name, _ string, value []byte) (bool, error) {
		var a account
		if err := json.Unmarshal(value, &a); err != nil {
			return false, fmt.Errorf("reading an account: %w", err)
		}
		if indexName(a.Username) != name {
			return false, nil // renamed since: it is listed under the new name
		}
		page = append(page, AccountInfo{a.Key, a.Provider, a.Username, a.Email, a.Created, a.LastLogin, a.Blocked})
		return true, nil
	})
	return page, next, err
}

// list walks one page of an index, hands the records to each, and takes out
// members whose record is gone or that each disowns.
func (s *Sessions) list(ctx context.Context, index string, kind Kind, q ListQuery, each func(name, key string, value []byte) (bool, error)) (next string, err error) {
	limit := q.Limit
	if limit < 1 || limit > 1000 {
		limit = 100
	}
	prefix := indexName(q.Username)
	if q.Exact {
		prefix += "\x00"
	}
	members, err := s.store.Range(ctx, index, prefix, q.After, limit)
	if err != nil {
		return "", err
	}
	var stale []string
	for _, m := range members {
		name, created, key, ok := splitMember(m)
		var rec *Record
		if ok {
			if rec, err = s.vault.getKey(ctx, kind, key); err != nil && !errors.Is(err, ErrNotFound) {
				return "", err
			}
		}
		keep := rec == nil && time.Since(created) < pruneAfter
		if rec != nil {
			if keep, err = each(name, key, rec.Value); err != nil {
				return "", err
			}
		}
		if !keep {
			stale = append(stale, m)
		}
	}
	if len(stale) > 0 {
		if err := s.store.Remove(ctx, index, stale...); err != nil {
			return "", err
		}
	}
	if len(members) == limit {
		next = members[limit-1]
	}
	return next, nil
}

func splitMember(m string) (name string, created time.Time, key string, ok bool) {
	name, rest, ok1 := strings.Cut(m, "\x00")
	at, key, ok2 := strings.Cut(rest, "\x00")
	sec, err := strconv.ParseInt(at, 16, 64)
	return name, time.Unix(sec, 0), key, ok1 && ok2 && err == nil
}

// prune walks both indexes once.
func (s *Sessions) prune(ctx context.Context) error {
	for _, walk := range []func(context.Context, ListQuery) (string, error){
		func(ctx context.Context, q ListQuery) (string, error) {
			_, next, err := s.Logins(ctx, q)
			return next, err
		},
		func(ctx context.Context, q ListQuery) (string, error) {
			_, next, err := s.Accounts(ctx, q)
			return next, err
		},
	} {
		q := ListQuery{Limit: 200}
		for more := true; more; more = q.After != "" {
			next, err := walk(ctx, q)
			if err != nil {
				return err
			}
			q.After = next
		}
	}
	return nil
}
