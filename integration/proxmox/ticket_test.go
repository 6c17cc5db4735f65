//go:build integration

package proxmox

import (
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// vectorTime is when the tickets below were made: 0x6B49D200 seconds after 1970.
var vectorTime = time.Unix(0x6B49D200, 0)

// vectors are tickets of vectorKey. RSASSA-PKCS1-v1_5 has no random part, so each ticket follows
// from its plain text: TestProxmoxDoubleVectors makes them again, and has openssl verify them.
var vectors = map[string]struct{ subject, plain, signature string }{
	"a user": {
		"alice@gw", "PVE:alice@gw:6B49D200",
		"JFpk3x2bvE7+rX+WDXuvQejAbQU7+sBJgKQC7Q/QB5cgFRcGWzKBH8cja72Yi7pnCYHiv0KGRhoW3amwHPydgJC8ZU264dhRJzfUpehG+oDB8ozJ3IZLrtepv8m1viEg" +
			"lsMwTqkAfe015eItJw7kQvk3sZSH8688Bm1GXgTKvKWyoLnAITXRqW3ZE2rNWZ3AIeWgmNZGFSElqkPtq5Tq3SSunqS0+0SFnJD9Oqr0D1Hv9PLrVAopBNWC0aAbJP6r" +
			"Ku9dRhiAf2usrcYwVWed751TT0PG6b7OB3zZ51+uXXnKyLlqDlRBu2ZAViadZHxEffwQXhD+iEhFzoykINbwFA==",
	},
	"a user with an @": {
		"a@example.com@gw", "PVE:a@example.com@gw:6B49D200",
		"EAx+FYX4CbhqM8dczG77sFaDHibHERCi/p5rgcQC0PpS3+1bqelPWNm7kRlFX1HVDzr8eSyUhyGPkPGuFlR3aemjGUZLIMBaL/cpKOgeLXDagWFaoIJbfVyeevUcdcQ6" +
			"XOhcn2LnM2nN+GVaFYmw1r8jxQLnJbu8w5N/VmqYBC6axz4Q9JwqEDSPzkg0lAY9CpT+ToRO83ugoyV6LmM7OmA1/g/EEKpiraQSBGqsZgDpdb7UVOGoF8oNRk0jsRbr" +
			"ew7jR03xttcaJQ9NggWnGrWMWXM67vkWjN+3o//JZLMBi2S9+l8av1ve8RwxGlskhUCJJDhQRlYX6qWxxodJKA==",
	},
	"root": {
		"root@pam", "PVE:root@pam:6B49D200",
		"JHYluoQAK1BKdOLM1tqLSHpwZdgSsul7EIOou86XtYG7kIUb/z2EB5qBLJ6nLfCPRncY4Q7bu2Uc884ZXYJyVqqY9RB5fLihn/dbBgZsBG9vy/l/84Na5wPOt1wDxFio" +
			"6o3W0zi8Tbbj9ORqRdulbruCjqKvMM0nd86NltntRbkYKEloV6xTqpNgz5x8m+AnpjWRJYcsknsjKKX9469PF8OnnMzPuNyvnwNgmK+bUZ2Ri1N4Tj741b0CIYuN5BMW" +
			"GnyKI8ROTA7sPQ4J6otDZL/KqQxJmIfhYkyOx1E/K6ZAAjNe2k05gl/gnDLn1NQ+QEdipOlsdslJui2KkQI29w==",
	},
	"a colon": {
		`!tfa!{"totp":true}`, `PVE:!tfa!{"totp"%3Atrue}:6B49D200`,
		"ZL4X3qYvQnJxS42VKSs805GVjwSK9RRDMFfOKfsyho0mAhnFSXeNhAGo5LPXznnnbcIMoN0prpMvVOxtRKSeLj4ze641ZnZ+f3f18uOL5aimqZsZ06xCSlJCiJ1FZQ71" +
			"Rm7hsCbxaUYA3aneJOyTTE5wpZqWBbSI+QuTuaF6ExmwPFT4Ad8NqQjal6jyRQ+tQHsitpLzKc78+KGGXxFO4t+VjOuzhMGqKTXFBFqOatf6e3zU36/EdxAlVq5mv8ZS" +
			"6tLtzAs+PTweTwN8nS3fyljK7APpAQP7XpsnXYpbp9otBK5+tI+3TazkE7TaLS2R/MVNPRdvAC3s2QuLcOIAfQ==",
	},
}

// derivedPrime derives a prime of 1024 bits from a text: the 128 bytes are SHA-256 of the text
// with a byte 0, 1, 2 and 3 behind it; the two highest bits and the lowest are set; the prime is
// the next one. That search takes long, so its distance is known.
func derivedPrime(text string, distance int64) *big.Int {
	var digits []byte
	for i := range byte(4) {
		sum := sha256.Sum256(append([]byte(text), i))
		digits = append(digits, sum[:]...)
	}
	digits[0] |= 0xC0
	digits[127] |= 1
	return new(big.Int).Add(new(big.Int).SetBytes(digits), big.NewInt(distance))
}

// derivedKey is an RSA key of two derived primes, with 65537 as its exponent.
func derivedKey(text string, distanceP, distanceQ int64) *rsa.PrivateKey {
	p, q, one := derivedPrime(text+" p", distanceP), derivedPrime(text+" q", distanceQ), big.NewInt(1)
	phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
	key := &rsa.PrivateKey{
		PublicKey: rsa.PublicKey{N: new(big.Int).Mul(p, q), E: 65537},
		D:         new(big.Int).ModInverse(big.NewInt(65537), phi), Primes: []*big.Int{p, q},
	}
	key.Precompute()
	return key
}

// vectorKey is the key of the vectors.
func vectorKey() *rsa.PrivateKey { return derivedKey("caddy-sso proxmox vectors", 166, 1046) }

func TestProxmoxDoubleVectors(t *testing.T) {
	t.Parallel()
	key := vectorKey()
	if err := key.Validate(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := func(name string, text []byte) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	publicFile := file("public.pem", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))
	keys := []authKey{{key, vectorTime.Add(-24 * time.Hour)}}
	if len(vectors) != 4 {
		t.Fatalf("%d vectors", len(vectors))
	}
	for name, v := range vectors {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			made, err := signTicket(key, v.subject, "", vectorTime)
			if ticket := v.plain + "::" + v.signature; err != nil || made != ticket {
				t.Errorf("made %q, %v", made, err)
			} else if subject, err := verifyTicket(keys, ticket, "", vectorTime); err != nil || subject != v.subject {
				t.Errorf("is for %q, %v", subject, err)
			}
			signature, err := base64.StdEncoding.DecodeString(v.signature)
			if err != nil {
				t.Fatal(err)
			}
			out, err := exec.Command("openssl", "dgst", "-sha1", "-verify", publicFile,
				"-signature", file(name+".sig", signature), file(name+".txt", []byte(v.plain))).CombinedOutput()
			if err != nil || string(out) != "Verified OK\n" {
				t.Errorf("openssl: %s, %v", out, err)
			}
		})
	}
}

// TestProxmoxDoubleTicket holds what a ticket may look like, and how old it may be.
func TestProxmoxDoubleTicket(t *testing.T) {
	t.Parallel()
	key := vectorKey()
	valid, err := signTicket(key, "alice@gw", "", vectorTime)
	if err != nil {
		t.Fatal(err)
	}
	half, err := signTicket(key, `!tfa!{"totp":true}`, "alice@gw", vectorTime)
	if err != nil {
		t.Fatal(err)
	}
	plain, signature, _ := strings.Cut(valid, "::")
	another := derivedKey("caddy-sso proxmox another", 606, 1270)
	newer := func(after time.Duration) authKey { return authKey{another, vectorTime.Add(after)} }
	old := authKey{key, vectorTime.Add(-24 * time.Hour)}
	for name, c := range map[string]struct {
		ticket string
		age    time.Duration
		keys   []authKey
		wanted string
	}{
		"valid":                         {valid, 0, nil, "alice@gw"},
		"just below two hours":          {valid, 7199 * time.Second, nil, "alice@gw"},
		"two hours":                     {valid, 7200 * time.Second, nil, ""},
		"300 s ahead":                   {valid, -299 * time.Second, nil, "alice@gw"},
		"more than that ahead":          {valid, -300 * time.Second, nil, ""},
		"lower-case time":               {strings.ToLower(plain) + "::" + signature, 0, nil, ""},
		"another user":                  {strings.Replace(valid, "alice", "bob", 1), 0, nil, ""},
		"another realm":                 {strings.Replace(valid, "@gw", "@pam", 1), 0, nil, ""},
		"another time":                  {strings.Replace(valid, "6B49D200", "6B49D201", 1), 0, nil, ""},
		"another prefix":                {strings.Replace(valid, "PVE:", "PBS:", 1), 0, nil, ""},
		"no signature":                  {plain + "::", 0, nil, ""},
		"a signature of other bytes":    {plain + "::" + strings.Repeat("A", 342) + "==", 0, nil, ""},
		"a half-authenticated one":      {half, 0, nil, ""},
		"its user put into it":          {strings.Replace(half, `!tfa!{"totp"%3Atrue}`, "alice@gw", 1), 0, nil, ""},
		"key of ten minutes":            {valid, 899 * time.Second, []authKey{{key, vectorTime.Add(299 * time.Second)}}, "alice@gw"},
		"older than such a key + 300 s": {valid, 900 * time.Second, []authKey{{key, vectorTime.Add(300 * time.Second)}}, ""},
		"after a rotation":              {valid, 7199 * time.Second, []authKey{newer(time.Hour), old}, "alice@gw"},
		"made 300 s after a rotation":   {valid, 0, []authKey{newer(-300 * time.Second), old}, ""},
		"two rotations later":           {valid, 0, []authKey{newer(0)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.keys == nil {
				c.keys = []authKey{old}
			}
			subject, err := verifyTicket(c.keys, c.ticket, "", vectorTime.Add(c.age))
			if subject != c.wanted || (err == nil) != (c.wanted != "") {
				t.Errorf("is for %q, %v; want %q", subject, err, c.wanted)
			}
		})
	}
	t.Run("a half-authenticated one, with its user", func(t *testing.T) {
		t.Parallel()
		if subject, err := verifyTicket([]authKey{old}, half, "alice@gw", vectorTime); err != nil || subject != `!tfa!{"totp":true}` {
			t.Errorf("is for %q, %v", subject, err)
		}
	})
}

func TestProxmoxDoubleCSRF(t *testing.T) {
	t.Parallel()
	key := []byte("a key of the cluster")
	token := csrfToken(key, "alice@gw", stamp(vectorTime))
	for name, c := range map[string]struct {
		token, user string
		age         time.Duration
		valid       bool
	}{
		"valid":                 {token, "alice@gw", 0, true},
		"just below two hours":  {token, "alice@gw", 7199 * time.Second, true},
		"two hours":             {token, "alice@gw", 7200 * time.Second, false},
		"300 s ahead":           {token, "alice@gw", -299 * time.Second, true},
		"more than that ahead":  {token, "alice@gw", -300 * time.Second, false},
		"of another user":       {token, "bob@gw", 0, false},
		"of another time":       {"6B49D201" + token[8:], "alice@gw", 0, false},
		"none":                  {"", "alice@gw", 0, false},
		"a time without a code": {"6B49D200:", "alice@gw", 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if csrfValid(key, c.user, c.token, vectorTime.Add(c.age)) != c.valid {
				t.Errorf("valid = %t", !c.valid)
			}
		})
	}
}
