package usernames_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/usernames"
)

func prefix(text string) usernames.Space { return usernames.Space{Prefix: text} }
func suffix(text string) usernames.Space { return usernames.Space{Suffix: text} }
func domain(text string) usernames.Space { return usernames.Space{Domain: text} }

var main = usernames.Space{}

// pair divides a site between two providers, a and b, that are different people.
func pair(t *testing.T, a, b usernames.Space) (*usernames.People, *usernames.People) {
	t.Helper()
	all, err := usernames.Divide([]usernames.Member{{Name: "a", Space: a}, {Name: "b", Space: b}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return all[0], all[1]
}

// TestNames has one provider's user names beside another provider's name space.
func TestNames(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		own, other usernames.Space
		username   string
		want       string // empty: refused by err
		err        error
	}{
		"main":                          {main, prefix("partner-"), "alice", "alice", nil},
		"prefix":                        {prefix("partner-"), main, "alice", "partner-alice", nil},
		"suffix":                        {suffix("@partner"), main, "alice", "alice@partner", nil},
		"domain adds nothing":           {domain("partner.example"), main, "alice@partner.example", "alice@partner.example", nil},
		"domain in another case":        {domain("partner.example"), main, "Alice@PARTNER.Example", "Alice@PARTNER.Example", nil},
		"prefix on top of a prefix":     {prefix("p-"), prefix("q-"), "q-alice", "p-q-alice", nil},
		"not quite the other's prefix":  {main, prefix("partner-"), "partneralice", "partneralice", nil},
		"the other's prefix inside":     {main, prefix("partner-"), "a-partner-b", "a-partner-b", nil},
		"the other's domain as a name":  {main, domain("partner.example"), "partner.example", "partner.example", nil},
		"a subdomain is another domain": {main, domain("partner.example"), "a@sub.partner.example", "a@sub.partner.example", nil},
		"so is the parent":              {main, domain("sub.partner.example"), "a@partner.example", "a@partner.example", nil},
		"letters of another script":     {main, prefix("partner-"), "рartner-bob", "рartner-bob", nil}, // Cyrillic er
		"accents elsewhere":             {main, prefix("partner-"), "Ångström", "Ångström", nil},
		"domain in Unicode":             {domain("xn--bcher-kva.example"), main, "a@bücher.example", "a@bücher.example", nil},
		"domain said in Unicode":        {domain("bücher.example"), main, "a@XN--bcher-KVA.example", "a@XN--bcher-KVA.example", nil},
		"both in Unicode":               {domain("bücher.Example"), main, "a@bücher.EXAMPLE", "a@bücher.EXAMPLE", nil},
		"a sharp s is a letter":         {domain("xn--strae-oqa.example"), main, "a@straße.example", "a@straße.example", nil},
		"another domain in Unicode":     {main, domain("bücher.example"), "a@büchner.example", "a@büchner.example", nil},

		"two s are not one":    {main, prefix("bos-"), "boss-alice", "boss-alice", nil},
		"nor one two":          {main, suffix("@boss"), "alice@bos", "alice@bos", nil},
		"nor in a row of them": {main, prefix("bos-"), "bosß-alice", "bosß-alice", nil},

		"prefix with a stroke":      {main, prefix("corp-"), "c\u00f8rp-bob", "", usernames.ErrTaken},
		"prefix with an ae":         {main, prefix("caesar-"), "c\u00e6sar-bob", "", usernames.ErrTaken},
		"prefix with a minus sign":  {main, prefix("corp-"), "corp\u2212bob", "", usernames.ErrTaken},
		"suffix with a dot behind":  {main, suffix("@corp.example"), "bob@corp.example.", "", usernames.ErrTaken},
		"domain with a blank look":  {main, domain("corp.example"), "bob@corp.example\u2800", "", usernames.ErrTaken},
		"other's prefix":            {main, prefix("partner-"), "partner-bob", "", usernames.ErrTaken},
		"nothing but the prefix":    {main, prefix("partner-"), "partner-", "", usernames.ErrTaken},
		"prefix in capitals":        {main, prefix("partner-"), "PARTNER-bob", "", usernames.ErrTaken},
		"prefix said in capitals":   {main, prefix("PARTNER\\"), "partner\\bob", "", usernames.ErrTaken},
		"prefix with a Kelvin sign": {main, prefix("kiosk-"), "\u212aiosk-bob", "", usernames.ErrTaken},
		"prefix with a long s":      {main, prefix("staff-"), "ſtaff-bob", "", usernames.ErrTaken},
		"prefix with a sharp s":     {main, prefix("boss-"), "boß-bob", "", usernames.ErrTaken},
		"prefix, one s as a sharp":  {main, prefix("bos-"), "boß-alice", "", usernames.ErrTaken},
		"prefix, a capital sharp s": {main, prefix("bos-"), "BOẞ-alice", "", usernames.ErrTaken},
		"suffix with a sharp s":     {main, suffix("@partners"), "alice@partnerß", "", usernames.ErrTaken},
		"suffix, two s as a sharp":  {main, suffix("@boss"), "alice@BOẞ", "", usernames.ErrTaken},
		"suffix, accent on a sharp": {main, suffix("@partners"), "alice@partnerß\u0301", "", usernames.ErrTaken},
		"domain with a sharp s":     {main, domain("bos.example"), "alice@boß.example", "", usernames.ErrTaken},
		"domain, sharp in ASCII":    {main, domain("strase.example"), "alice@xn--strae-oqa.example", "", usernames.ErrTaken},
		"sharp domain, one s":       {main, domain("straße.example"), "alice@strase.example", "", usernames.ErrTaken},
		"sharp domain, two s":       {main, domain("straße.example"), "alice@strasse.example", "", usernames.ErrTaken},
		"prefix with a dotless i":   {main, prefix("intern-"), "ıntern-bob", "", usernames.ErrTaken},
		"prefix with a dotted I":    {main, prefix("intern-"), "İntern-bob", "", usernames.ErrTaken},
		"prefix with a ligature":    {main, prefix("staff-"), "staﬀ-bob", "", usernames.ErrTaken},
		"prefix in full width":      {main, prefix("partner-"), "ｐａｒｔｎｅｒ－bob", "", usernames.ErrTaken},
		"prefix with an accent":     {main, prefix("partner-"), "pártner-bob", "", usernames.ErrTaken},
		"prefix, accent apart":      {main, prefix("partner-"), "pa\u0301rtner-bob", "", usernames.ErrTaken},
		"prefix, accent at its end": {main, prefix("partner-"), "partner-\u0301bob", "", usernames.ErrTaken},
		"prefix behind a blank":     {main, prefix("partner-"), " partner-bob", "", usernames.ErrTaken},
		"prefix, zero width":        {main, prefix("partner-"), "part\u200bner-bob", "", usernames.ErrTaken},
		"prefix, soft hyphen":       {main, prefix("partner-"), "part\u00adner-bob", "", usernames.ErrTaken},
		"prefix, Hangul filler":     {main, prefix("partner-"), "part\u3164ner-bob", "", usernames.ErrTaken},
		"prefix, another dash":      {main, prefix("partner-"), "partner\u2011bob", "", usernames.ErrTaken},
		"other's suffix":            {main, suffix("@x"), "alice@x", "", usernames.ErrTaken},
		"suffix in capitals":        {main, suffix("@x"), "alice@X", "", usernames.ErrTaken},
		"suffix and a blank":        {main, suffix("@x"), "alice@x ", "", usernames.ErrTaken},
		"suffix, full width @":      {main, suffix("@x"), "alice＠x", "", usernames.ErrTaken},
		"other's domain":            {main, domain("partner.example"), "bob@partner.example", "", usernames.ErrTaken},
		"domain in capitals":        {main, domain("partner.example"), "bob@PARTNER.EXAMPLE", "", usernames.ErrTaken},
		"domain with a dot":         {main, domain("partner.example"), "bob@partner.example.", "", usernames.ErrTaken},
		"domain with dots":          {main, domain("partner.example"), "bob@partner.example。．", "", usernames.ErrTaken},
		"domain behind two @":       {main, domain("partner.example"), "bob@corp.example@partner.example", "", usernames.ErrTaken},
		"domain without a name":     {main, domain("partner.example"), "@partner.example", "", usernames.ErrTaken},
		"added prefix meets suffix": {prefix("p-"), suffix("-x"), "alice-x", "", usernames.ErrTaken},
		"added suffix meets prefix": {suffix("-x"), prefix("p-"), "p-alice", "", usernames.ErrTaken},
		"added prefix meets domain": {prefix("p-"), domain("d.example"), "bob@d.example", "", usernames.ErrTaken},
		"domain meets prefix":       {domain("d.example"), prefix("p-"), "p-bob@d.example", "", usernames.ErrTaken},

		"other's domain in Unicode":          {main, domain("xn--bcher-kva.example"), "a@bücher.example", "", usernames.ErrTaken},
		"other's domain in capitals":         {main, domain("xn--bcher-kva.example"), "a@BÜCHER.example", "", usernames.ErrTaken},
		"other's domain, accent apart":       {main, domain("xn--bcher-kva.example"), "a@bu\u0308cher.example.", "", usernames.ErrTaken},
		"other's domain said in Unicode":     {main, domain("bücher.example"), "a@xn--bcher-kva.example", "", usernames.ErrTaken},
		"other's domain in ASCII, with dots": {main, domain("bücher.example"), "a@XN--BCHER-KVA.example..", "", usernames.ErrTaken},
		"other's suffix in Unicode":          {main, suffix("@xn--bcher-kva.example"), "a@bücher.example", "", usernames.ErrTaken},
		"suffix of a domain, with a dot":     {main, suffix(".xn--bcher-kva.example"), "a@x.xn--bcher-kva.example.", "", usernames.ErrTaken},

		"Unicode in capitals":      {domain("xn--bcher-kva.example"), main, "a@BÜCHER.example", "", usernames.ErrOutside},
		"Unicode, accent apart":    {domain("xn--bcher-kva.example"), main, "a@bu\u0308cher.example", "", usernames.ErrOutside},
		"Unicode without accent":   {domain("xn--bcher-kva.example"), main, "a@bucher.example", "", usernames.ErrOutside},
		"Unicode in full width":    {domain("xn--bcher-kva.example"), main, "a@bücher.ｅxample", "", usernames.ErrOutside},
		"Unicode, ideographic dot": {domain("xn--bcher-kva.example"), main, "a@bücher。example", "", usernames.ErrOutside},
		"Unicode, zero width":      {domain("xn--bcher-kva.example"), main, "a@bü\u200bcher.example", "", usernames.ErrOutside},
		"no address":               {domain("partner.example"), main, "alice", "", usernames.ErrOutside},
		"nothing":                  {domain("partner.example"), main, "", "", usernames.ErrOutside},
		"address without a name":   {domain("partner.example"), main, "@partner.example", "", usernames.ErrOutside},
		"a blank for a name":       {domain("partner.example"), main, " @partner.example", "", usernames.ErrOutside},
		"a subdomain":              {domain("partner.example"), main, "a@sub.partner.example", "", usernames.ErrOutside},
		"the parent":               {domain("sub.partner.example"), main, "a@partner.example", "", usernames.ErrOutside},
		"a longer domain":          {domain("partner.example"), main, "a@notpartner.example", "", usernames.ErrOutside},
		"a dot at the end":         {domain("partner.example"), main, "a@partner.example.", "", usernames.ErrOutside},
		"a blank at the end":       {domain("partner.example"), main, "a@partner.example ", "", usernames.ErrOutside},
		"two @":                    {domain("partner.example"), main, "a@corp.example@partner.example", "", usernames.ErrOutside},
		"two @, one of full width": {domain("partner.example"), main, "a＠corp.example@partner.example", "", usernames.ErrOutside},
		"@ of full width alone":    {domain("partner.example"), main, "a＠partner.example", "", usernames.ErrOutside},
		"domain with Kelvin sign":  {domain("kiosk.example"), main, "a@\u212aiosk.example", "", usernames.ErrOutside},
	} {
		a, _ := pair(t, tc.own, tc.other)
		got, err := a.Username(tc.username)
		if got != tc.want || !errors.Is(err, tc.err) {
			t.Errorf("%s: %q of %s beside %s is %q, %v; want %q, %v", name, tc.username, tc.own, tc.other, got, err, tc.want, tc.err)
		}
	}
}

// TestDivideRefuses has configurations that can't keep people apart, or that say
// of people both that they are the same and that they are not.
func TestDivideRefuses(t *testing.T) {
	t.Parallel()
	member := func(name string, space usernames.Space, domains ...string) usernames.Member {
		return usernames.Member{Name: name, Space: space, EmailDomains: domains}
	}
	for name, tc := range map[string]struct {
		members []usernames.Member
		same    [][]string
		want    string // in the error; empty: taken
	}{
		"one":                           {[]usernames.Member{member("corp", main)}, nil, ""},
		"one with a space":              {[]usernames.Member{member("corp", prefix("p-"))}, nil, ""},
		"two, nothing said":             {[]usernames.Member{member("corp", main), member("entra", main)}, nil, "`same_people corp entra`"},
		"two, the other fix":            {[]usernames.Member{member("corp", main), member("entra", main)}, nil, "`users prefix entra-` in the block of provider entra"},
		"two, where the rules go":       {[]usernames.Member{member("corp", main), member("entra", main)}, nil, "`from corp { … }` and `from entra { … }`"},
		"two of the same people":        {[]usernames.Member{member("corp", main), member("entra", main)}, [][]string{{"entra", "corp"}}, ""},
		"two, one with a prefix":        {[]usernames.Member{member("corp", main), member("p", prefix("p-"))}, nil, ""},
		"three, two without":            {[]usernames.Member{member("a", main), member("b", main), member("c", prefix("c-"))}, nil, "`same_people a b`"},
		"three, two the same":           {[]usernames.Member{member("a", main), member("b", main), member("c", prefix("c-"))}, [][]string{{"a", "b"}}, ""},
		"three by two lists":            {[]usernames.Member{member("a", main), member("b", main), member("c", main)}, [][]string{{"c", "b"}, {"a", "b"}}, ""},
		"four by two lists and a third": {[]usernames.Member{member("a", main), member("b", main), member("c", main), member("d", main)}, [][]string{{"a", "b"}, {"c", "d"}, {"b", "d"}}, ""},
		"a list of others":              {[]usernames.Member{member("a", main), member("b", main)}, [][]string{{"a", "x"}, {"x", "b"}}, "`same_people a b`"},
		"two pairs":                     {[]usernames.Member{member("a", main), member("b", main), member("c", main), member("d", main)}, [][]string{{"a", "b"}, {"c", "d"}}, "`users prefix c-` in the block of provider c, `users prefix c-` in the block of provider d"},
		"same people, other names":      {[]usernames.Member{member("a", main), member("b", prefix("b-"))}, [][]string{{"a", "b"}}, "(no `users`, and `users prefix b-`)"},
		"same people, same prefix":      {[]usernames.Member{member("m", main), member("a", prefix("b-")), member("b", prefix("b-"))}, [][]string{{"a", "b"}}, ""},
		"one prefix twice":              {[]usernames.Member{member("a", prefix("p-")), member("b", prefix("P-"))}, nil, "overlap"},
		"a prefix of a prefix":          {[]usernames.Member{member("a", prefix("p-")), member("b", prefix("p-x-"))}, nil, "overlap"},
		"and the other way round":       {[]usernames.Member{member("a", prefix("p-x-")), member("b", prefix("p-"))}, nil, "overlap"},
		"prefixes side by side":         {[]usernames.Member{member("a", prefix("p-")), member("b", prefix("px-"))}, nil, ""},
		"a suffix of a suffix":          {[]usernames.Member{member("a", suffix("-x")), member("b", suffix("-y-X"))}, nil, "overlap"},
		"suffix and its domain":         {[]usernames.Member{member("a", suffix("@d.example")), member("b", domain("d.example"))}, nil, "overlap"},
		"suffix and more than a domain": {[]usernames.Member{member("a", suffix(".x@d.example")), member("b", domain("D.example"))}, nil, "overlap"},
		"suffix and part of a domain":   {[]usernames.Member{member("a", suffix(".example")), member("b", domain("d.example"))}, nil, "overlap"},
		"one domain twice":              {[]usernames.Member{member("a", domain("d.example")), member("b", domain("D.Example"))}, nil, "overlap"},
		"one domain, in Unicode":        {[]usernames.Member{member("a", domain("bücher.example")), member("b", domain("xn--bcher-kva.example"))}, nil, "overlap"},
		"addresses, in Unicode":         {[]usernames.Member{member("a", main, "bücher.example"), member("b", prefix("b-"), "XN--bcher-kva.example")}, nil, "email_domains: providers a and b both have XN--bcher-kva.example"},
		"the same people, in Unicode":   {[]usernames.Member{member("a", domain("bücher.example")), member("b", domain("xn--bcher-kva.example"))}, [][]string{{"a", "b"}}, ""},
		"domain and subdomain":          {[]usernames.Member{member("a", domain("d.example")), member("b", domain("x.d.example"))}, nil, ""},
		"prefix and suffix":             {[]usernames.Member{member("a", prefix("p-")), member("b", suffix("-x"))}, nil, ""},
		"addresses of both":             {[]usernames.Member{member("a", main, "a.example", "D.example"), member("b", prefix("b-"), "d.Example")}, nil, "email_domains: providers a and b both have d.Example"},
		"addresses of the same people":  {[]usernames.Member{member("a", main, "d.example"), member("b", main, "d.example"), member("c", prefix("c-"))}, [][]string{{"a", "b"}}, ""},
		"one issuer, two spaces":        {[]usernames.Member{{Name: "a", Issuer: "oidc https://i"}, {Name: "b", Issuer: "oidc https://i", Space: prefix("b-")}}, nil, "`same_people a b`"},
		"one issuer, one space":         {[]usernames.Member{{Name: "a", Issuer: "oidc https://i"}, {Name: "b", Issuer: "oidc https://i"}}, nil, "`same_people a b` in the block of this site's `sso` (or, for all sites, in the global option sso)$"},
		"one issuer, addresses of both": {[]usernames.Member{{Name: "a", Issuer: "oidc https://i", EmailDomains: []string{"d.example"}}, {Name: "b", Issuer: "oidc https://i", Space: prefix("b-"), EmailDomains: []string{"d.example"}}}, nil, "the same `users` for both$"},
		"one issuer, and another":       {[]usernames.Member{{Name: "a", Issuer: "oidc https://i"}, {Name: "b", Issuer: "oidc https://j"}, {Name: "c", Issuer: "oidc https://i"}}, nil, "if not, write `users prefix b-` in the block of provider b (or"},
		"one issuer three times":        {[]usernames.Member{{Name: "a", Issuer: "oidc https://i"}, {Name: "b", Issuer: "oidc https://i"}, {Name: "c", Issuer: "oidc https://i"}}, nil, "providers a and c are one"},
	} {
		_, err := usernames.Divide(tc.members, tc.same)
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error()+"$", tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}

func TestCheckSame(t *testing.T) {
	t.Parallel()
	all := []string{"corp", "entra", "partner"}
	for want, same := range map[string][]string{
		"": {"corp", "entra"},
		`no provider "x" here: write one of corp`: {"corp", "x"},
		`partner; see above`:                      {"x"},
		`"corp" is named twice`:                   {"corp", "entra", "corp"},
		"names of two providers or more":          {"corp"},
		"same_people: expected the names":         nil,
	} {
		err := usernames.CheckSame(same, all, "; see above")
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", same, err, want)
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for _, good := range []usernames.Space{main, prefix("p"), prefix(`PARTNER\`), suffix("@partner"), suffix("#ext#"), domain("partner.example"), domain("partner"), domain("xn--mnchen-3ya.example"), domain("münchen.example")} {
		if err := good.Check(); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []usernames.Space{
		{Prefix: "a", Suffix: "b"},
		{Prefix: "a", Domain: "b.example"},
		prefix("a b"), prefix(" "), prefix("ü-"), prefix("a,"), prefix("50%"), prefix("{env.X}"), prefix("a\n"), prefix("\u200b"), suffix("\x7f"), suffix(strings.Repeat("x", 101)),
		domain("@partner.example"), domain("partner.example."), domain(".partner.example"), domain("*.example"), domain("MÜNCHEN.example"), domain("*.münchen.example"), domain("mu\u0308nchen.example"), domain("a@münchen.example"), domain("mün chen.example"), domain(strings.Repeat("ü", 64)), domain("a b"), domain("a..b"), domain("-a.example"), domain(strings.Repeat("a.", 130) + "a"),
	} {
		if err := bad.Check(); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
}

// TestEmails has addresses that a provider may, and may not, name where there
// are several name spaces.
func TestEmails(t *testing.T) {
	t.Parallel()
	all, err := usernames.Divide([]usernames.Member{
		{Name: "corp", EmailDomains: []string{"corp.example", "kiosk.example", "xn--bcher-kva.example", "münchen.example"}},
		{Name: "partner", Space: prefix("partner-")},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]bool{
		"a@corp.example": true, "A@Corp.EXAMPLE": true, "a@kiosk.example": true,
		"a@sub.corp.example": false, "a@example": false, "a@corp.example.": false, "a@notcorp.example": false, "a@partner.example": false,
		"a@bücher.example": true, "a@xn--mnchen-3ya.example": true, "a@BÜCHER.example": false, "a@x.bücher.example": false, "a@bucher.example": false,
		"a@\u212aiosk.example": false, "a@corp.example@x": false, "a@x@corp.example": false, "@corp.example": false, "corp.example": false, "": false,
	} {
		if got := all[0].Speaks(address); got != want {
			t.Errorf("%q: %t", address, got)
		}
		if all[1].Speaks(address) {
			t.Errorf("a provider without email_domains names %q", address)
		}
	}
	alone, err := usernames.Divide([]usernames.Member{{Name: "corp", EmailDomains: []string{"corp.example"}}}, nil)
	if err != nil || !alone[0].Speaks("a@elsewhere.example") || alone[0].Apart() {
		t.Errorf("a provider alone may not name an address: %v", err)
	}
}

// FuzzApart holds that no two providers of a site ever have one name between
// them, not even to an app that compares without case.
func FuzzApart(f *testing.F) {
	spaces := []usernames.Space{main, prefix("p-"), suffix("-x"), domain("d.example"), prefix(`K\`), suffix("@x")}
	for _, seed := range [][2]string{
		{"alice", "alice"},
		{"p-alice", "alice"},
		{"P-ALICE", "alice"},
		{"alice-x", "p-alice"},
		{"bob@D.example", "bob@d.example"},
		{"\u212a\\bob", "bob"},
		{"p-\u0301a", "\u0301a"},
		{"ſ", "ß"},
		{"", ""},
		{"p-", ""},
		{"\xff", "\xff"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, one, other string) {
		for i, a := range spaces {
			for k, b := range spaces {
				if i == k {
					continue
				}
				all, err := usernames.Divide([]usernames.Member{{Name: "a", Space: a}, {Name: "b", Space: b}}, nil)
				if err != nil {
					t.Fatalf("%s beside %s: %v", a, b, err)
				}
				x, errX := all[0].Username(one)
				y, errY := all[1].Username(other)
				if errX != nil || errY != nil {
					continue
				}
				upper := strings.ToUpper // finds more than EqualFold: that of ı is I
				if strings.EqualFold(x, y) || strings.EqualFold(strings.TrimSpace(x), strings.TrimSpace(y)) || upper(x) == upper(y) {
					t.Errorf("%q of %s is %q, and %q of %s is %q", one, a, x, other, b, y)
				}
			}
		}
	})
}
