//go:build integration

package proxmox

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	ticketLife  = 7200 * time.Second
	ticketEarly = 300 * time.Second // how far a ticket may lie in the future
)

// An authKey signs tickets.
type authKey struct {
	*rsa.PrivateKey
	made time.Time
}

var (
	ticketForm = regexp.MustCompile(`^(PVE:(\S+):([0-9A-F]{8}))::([A-Za-z0-9+/]+={0,2})$`)
	errTicket  = errors.New("invalid PVE ticket")
)

// signTicket makes a ticket of a user ID, or a half-authenticated one of a challenge, which
// only works together with its user.
func signTicket(key *rsa.PrivateKey, subject, challenged string, at time.Time) (string, error) {
	plain := fmt.Sprintf("PVE:%s:%08X", strings.ReplaceAll(subject, ":", "%3A"), at.Unix())
	sum := digest(plain, challenged)
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA1, sum[:])
	if err != nil {
		return "", fmt.Errorf("signing a ticket: %w", err)
	}
	return plain + "::" + base64.StdEncoding.EncodeToString(signature), nil
}

// digest is what is signed. A half-authenticated ticket is signed together with its user, so
// it is no ticket without that name.
func digest(plain, challenged string) [sha1.Size]byte {
	if challenged != "" {
		plain += ":" + challenged
	}
	return sha1.Sum([]byte(plain))
}

// verifyTicket returns whom a ticket is for. The user may be unknown. The first key is the
// one of today.
func verifyTicket(keys []authKey, ticket, challenged string, now time.Time) (subject string, err error) {
	m := ticketForm.FindStringSubmatch(ticket)
	if m == nil {
		return "", errTicket
	}
	signature, err := base64.StdEncoding.DecodeString(m[4])
	if err != nil {
		return "", errTicket
	}
	sum := digest(m[1], challenged)
	for i, key := range keys {
		youngest, oldest := -ticketEarly, ticketLife
		if i > 0 { // it signs nothing since the newer one was made
			youngest = now.Sub(keys[0].made) - ticketEarly
		} else {
			oldest = min(oldest, now.Sub(key.made)+ticketEarly)
		}
		if rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA1, sum[:], signature) == nil && within(m[3], now, youngest, oldest) {
			return url.PathUnescape(m[2]) // all escapes, though only colons are written so
		}
	}
	return "", errTicket
}

// within says whether a stamp's age lies between two ages, in whole seconds.
func within(stamp string, now time.Time, youngest, oldest time.Duration) bool {
	made, err := strconv.ParseInt(stamp, 16, 64)
	age := time.Duration(now.Unix()-made) * time.Second
	return err == nil && age > youngest.Truncate(time.Second) && age < oldest.Truncate(time.Second)
}

// csrfToken makes the token of a user that writes need together with a ticket.
func csrfToken(key []byte, userID, stamp string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(stamp + ":" + userID))
	return stamp + ":" + base64.RawStdEncoding.EncodeToString(mac.Sum(nil))
}

func csrfValid(key []byte, userID, token string, now time.Time) bool {
	stamp, _, _ := strings.Cut(token, ":")
	return len(stamp) == 8 && hmac.Equal([]byte(csrfToken(key, userID, stamp)), []byte(token)) && within(stamp, now, -ticketEarly, ticketLife)
}
