package session

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway/store"
	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

// The indexes serve listings alone: nothing is decided by them. A member is the user
// name in lower case, NUL, the time of creation (unix seconds in hex), NUL, and the
// key of the record. So a reader of the store sees the user names; SECURITY.md says
// so. A member of indexEpochs is only the record's key.
const (
	indexLogins   = "index:logins"
	indexAccounts = "index:accounts"
	indexEpochs   = "index:epochs"
)

func indexMember(username string, created time.Time, key string) string {
	return indexName(username) + "\x00" + strconv.FormatInt(created.Unix(), 16) + "\x00" + key
}

func loginMember(l *Login, key string) string {
	return indexMember(l.Identity.Username, l.Created, key)
}

func accountMember(a *account, key string) string { return indexMember(a.Username, a.Created, key) }

func indexName(username string) string {
	return strings.ToLower(strings.ReplaceAll(username, "\x00", ""))
}

// pruneAfter is the age at which a member without a record is removed. A younger one
// may belong to a record that is about to be written.
const pruneAfter = time.Minute

// A LoginInfo describes a login for administrators.
type LoginInfo struct {
	// ID identifies the login for RevokeLogin. It opens nothing.
	ID      string
	Account AccountKey
	// Provider is the provider's name at the time of the login.
	Provider string
	// Username and Email are as of the login.
	Username string
	Email    string
	// Created is when the person signed in, Expires when the login ends; an idle
	// limit may end it earlier.
	Created time.Time
	Expires time.Time
}

// A ListQuery selects a page of a listing.
type ListQuery struct {
	// Username selects user names with this prefix, ignoring case. Empty: all.
	Username string
	// Exact selects the one user name, ignoring case.
	Exact bool
	// After is the next of the page before.
	After string
	// Limit is the size of the page, 1 to 1000. Default 100.
	Limit int
}

// Logins lists the valid logins by user name. next continues the listing and is empty
// at the end; a page before it can be empty. Unreadable records are left out and
// logged: one damaged record must not hide the others.
func (s *Node) Logins(ctx context.Context, q ListQuery) (page []LoginInfo, next string, err error) {
	next, err = s.list(ctx, indexLogins, kindLogin, q, func(member string, rec *vault.Record) (string, error) {
		l, err := decode[Login](rec)
		if err != nil {
			return "", err
		}
		switch err := s.checkLogin(ctx, l); {
		case errors.Is(err, ErrNone): // over, though its record has not expired
			return loginMember(l, rec.Key), nil
		case err != nil:
			return "", err
		}
		if right := loginMember(l, rec.Key); right != member {
			return right, nil
		}
		page = append(page, LoginInfo{rec.Key, l.Account, l.Provider, l.Identity.Username, l.Identity.Email, l.Created, l.Expires})
		return member, nil
	})
	return page, next, err
}

// An AccountInfo describes an account for administrators.
type AccountInfo struct {
	Key AccountKey
	// Provider, Username and Email are as of the last login.
	Provider string
	Username string
	Email    string
	// Created is the time of the first login, LastLogin that of the last, with a
	// precision of ten seconds.
	Created   time.Time
	LastLogin time.Time
	// Blocked is set if the account can't sign in.
	Blocked bool
}

// Accounts lists accounts by user name, as Logins does.
func (s *Node) Accounts(ctx context.Context, q ListQuery) (page []AccountInfo, next string, err error) {
	next, err = s.list(ctx, indexAccounts, kindAccount, q, func(member string, rec *vault.Record) (string, error) {
		a, err := decode[account](rec)
		if err != nil {
			return "", err
		}
		right := accountMember(a, rec.Key)
		if right == member { // otherwise it is also listed under its other name
			page = append(page, AccountInfo{a.Key, a.Provider, a.Username, a.Email, a.Created, a.LastLogin, a.Blocked})
		}
		return right, nil
	})
	return page, next, err
}

// list walks one page of an index and hands the records to each, which returns the
// right member of the record. A member without a record, or with a wrong name, is
// removed.
func (s *Node) list(ctx context.Context, index string, kind vault.Kind, q ListQuery, each func(member string, rec *vault.Record) (string, error)) (next string, err error) {
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
	var wrong, right []string
	for _, m := range members {
		should, err := s.lookUp(ctx, kind, m, each)
		switch {
		case errors.Is(err, vault.ErrRecord):
			s.log.Warn("a listed record can't be read: it is left as it is", zap.String("kind", string(kind)), zap.Error(err))
		case err != nil:
			return "", err
		case should == "":
			wrong = append(wrong, m)
		case should != m:
			wrong, right = append(wrong, m), append(right, should)
		}
	}
	if err := s.mend(ctx, index, right, wrong); err != nil {
		return "", err
	}
	if len(members) == limit {
		next = members[limit-1]
	}
	return next, nil
}

// lookUp finds the record of a member and returns its right member, or "" if there is
// no record. An epoch stays listed: one that is not resealed locks its people out.
func (s *Node) lookUp(ctx context.Context, kind vault.Kind, member string, each func(member string, rec *vault.Record) (string, error)) (string, error) {
	created, key, ok := splitMember(member)
	if kind == kindEpoch {
		created, key, ok = time.Now(), member, true
	}
	if !ok {
		return "", nil
	}
	rec, err := s.vault.GetAt(ctx, kind, key)
	switch {
	case errors.Is(err, store.ErrNotFound) && time.Since(created) < pruneAfter:
		return member, nil
	case errors.Is(err, store.ErrNotFound):
		return "", nil
	case err != nil:
		return "", err
	}
	return each(member, rec)
}

// mend corrects an index. It adds before it removes, so that a record that is being
// renamed is never unlisted.
func (s *Node) mend(ctx context.Context, index string, right, wrong []string) error {
	if len(right) > 0 {
		if err := s.store.Add(ctx, index, right...); err != nil {
			return err
		}
	}
	if len(wrong) > 0 {
		return s.store.Remove(ctx, index, wrong...)
	}
	return nil
}

func splitMember(m string) (created time.Time, key string, ok bool) {
	_, rest, ok1 := strings.Cut(m, "\x00")
	at, key, ok2 := strings.Cut(rest, "\x00")
	sec, err := strconv.ParseInt(at, 16, 64)
	return time.Unix(sec, 0), key, ok1 && ok2 && err == nil
}

// walk hands each record of an index to each.
func (s *Node) walk(ctx context.Context, index string, kind vault.Kind, each func(member string, rec *vault.Record) (string, error)) error {
	q := ListQuery{Limit: 200}
	for {
		next, err := s.list(ctx, index, kind, q, each)
		if err != nil || next == "" {
			return err
		}
		q.After = next
	}
}
