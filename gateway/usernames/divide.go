package usernames

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/caddy-sso/caddy-sso/gateway/wording"
)

// A Member is one of a site's providers.
type Member struct {
	// Name is the provider's name in the configuration.
	Name string
	// Issuer identifies the provider: protocol and issuer. Empty while unknown.
	Issuer string
	Space  Space
	// EmailDomains are the domains whose addresses are accepted from the provider, if
	// the site has several name spaces.
	EmailDomains []string
}

// People are the people of one provider at one site.
type People struct {
	space   Space
	others  []Space // of the site's other people
	domains []string
	group   int
	apart   bool
}

// ErrTaken means that a user name falls into the space of another provider.
var ErrTaken = errors.New("the user name lies in the name space of another provider of this site")

// Username returns the provider's user name as the app gets it, or ErrOutside or
// ErrTaken.
func (p *People) Username(username string) (string, error) {
	name, err := p.space.Name(username)
	if err != nil {
		return "", err
	}
	for _, other := range p.others {
		if other.Holds(name) {
			return "", fmt.Errorf("%w: %s", ErrTaken, other)
		}
	}
	return name, nil
}

// Speaks reports whether the provider may name an e-mail address at the site.
func (p *People) Speaks(address string) bool {
	return !p.apart || slices.ContainsFunc(p.domains, func(domain string) bool { return inDomain(address, domain) })
}

// Apart reports whether the site has several name spaces.
func (p *People) Apart() bool { return p.apart }

// Same reports whether two providers of one site have the same people.
func (p *People) Same(other *People) bool { return p.group == other.group }

// Divide returns the People of each of a site's providers. same lists providers with
// the same people; it may name providers of other sites. The error says which lines
// to write.
func Divide(members []Member, same [][]string) ([]*People, error) {
	members = slices.Clone(members)
	for i := range members {
		members[i].Space = members[i].Space.inASCII()
	}
	groups := group(members, same)
	apart := len(slices.Compact(slices.Sorted(slices.Values(groups)))) > 1
	if err := errors.Join(checkSame(members, groups), checkApart(members, groups, apart)); err != nil {
		return nil, err
	}
	all := make([]*People, len(members))
	for i, m := range members {
		p := &People{space: m.Space, domains: m.EmailDomains, group: groups[i], apart: apart}
		for k, other := range members {
			if groups[k] != groups[i] && other.Space != (Space{}) {
				p.others = append(p.others, other.Space)
			}
		}
		all[i] = p
	}
	return all, nil
}

// CheckSame refuses a list of same that names a provider not in all, names one twice,
// or has fewer than two. hint ends the message about an unknown one.
func CheckSame(same, all []string, hint string) error {
	for i, name := range same {
		switch {
		case !slices.Contains(all, name):
			return wording.Aboutf("same_people", "there is no provider %q here: write one of %s%s", name, strings.Join(all, ", "), hint)
		case slices.Contains(same[:i], name):
			return wording.Aboutf("same_people", "provider %q is named twice: write each name once", name)
		}
	}
	if len(same) < 2 {
		return wording.Aboutf("same_people", "expected the names of two providers or more")
	}
	return nil
}

// group numbers the members: equal numbers mean the same people.
func group(members []Member, same [][]string) []int {
	groups := make([]int, len(members))
	for i := range groups {
		groups[i] = i
	}
	for _, names := range same {
		first := -1
		for i, m := range members {
			switch {
			case !slices.Contains(names, m.Name):
			case first < 0:
				first = groups[i]
			default:
				join(groups, groups[i], first)
			}
		}
	}
	return groups
}

// join makes one group of two.
func join(groups []int, one, into int) {
	for i, g := range groups {
		if g == one {
			groups[i] = into
		}
	}
}

// checkSame requires one space of providers with the same people.
func checkSame(members []Member, groups []int) error {
	var errs []error
	for i, m := range members {
		first := slices.Index(groups, groups[i])
		if other := members[first]; other.Space != m.Space {
			errs = append(errs, wording.Aboutf("same_people", "providers %s and %s are the same people, but their names differ (%s, and %s): give both the same %s", other.Name, m.Name, other.Space.option(), m.Space.option(), wording.Option{Word: "users"}))
		}
	}
	return errors.Join(errs...)
}

// checkApart requires disjoint spaces and e-mail domains of different people.
func checkApart(members []Member, groups []int, apart bool) error {
	if !apart {
		return nil
	}
	errs, groups := checkIssuers(members, groups)
	if err := checkMain(members, groups); err != nil {
		errs = append(errs, err)
	}
	for i, m := range members {
		for k, other := range members[:i] {
			if groups[i] == groups[k] {
				continue
			}
			if m.Space.meets(other.Space) {
				errs = append(errs, wording.Aboutf("users", "the name spaces of providers %s (%s) and %s (%s) overlap: give one of them another", other.Name, other.Space.option(), m.Name, m.Space.option()))
			}
			for _, domain := range m.EmailDomains {
				if slices.ContainsFunc(other.EmailDomains, func(d string) bool { return inDomain("a@"+d, domain) }) {
					errs = append(errs, wording.Aboutf("email_domains", "providers %s and %s both have %s, so that each could send the addresses of the other's people: remove it from one of them", other.Name, m.Name, domain))
				}
			}
		}
	}
	return errors.Join(errs...)
}

// checkIssuers requires that providers of one issuer have the same people. It returns
// the groups with those joined, so that later checks report no faults that follow
// from this one.
func checkIssuers(members []Member, groups []int) ([]error, []int) {
	var errs []error
	joined := slices.Clone(groups)
	for i, m := range members {
		for k, other := range members[:i] {
			if m.Issuer == "" || m.Issuer != other.Issuer || joined[i] == joined[k] {
				continue
			}
			format, args := "providers %s and %s are one, by protocol and issuer, so their people are the same: write %s%s",
				[]any{other.Name, m.Name, samePeople(other.Name, m.Name), inBlock}
			if m.Space != other.Space {
				format, args = format+", and the same %s for both", append(args, wording.Option{Word: "users"})
			}
			errs = append(errs, wording.Errorf(format, args...))
			join(joined, joined[i], joined[k])
		}
	}
	return errs, joined
}

// checkMain requires that only one group has the main space.
func checkMain(members []Member, groups []int) error {
	var main []int // the groups of the main space
	for i, m := range members {
		if m.Space == (Space{}) && !slices.Contains(main, groups[i]) {
			main = append(main, groups[i])
		}
	}
	if len(main) < 2 {
		return nil
	}
	var names, blocks []string
	lines := wording.Options{Between: ", "}
	for n, g := range main {
		var of []string
		for i, m := range members {
			if groups[i] == g {
				of = append(of, m.Name)
			}
		}
		names = append(names, of...)
		blocks = append(blocks, strings.Join(of, " "))
		for _, name := range of {
			if n > 0 {
				lines.List = append(lines.List, wording.Option{Word: "users", Args: "prefix " + of[0] + "-", Provider: name})
			}
		}
	}
	return wording.Errorf("an app knows people by their user names, and could confuse those of the providers %s: if they are the same people, write %s%s; "+
		"if not, write %s (or %s, or %s), and the rules in %s; then e-mail addresses are sent only if their domain is among the provider's %s",
		strings.Join(names, ", "), samePeople(names...), inBlock,
		lines, wording.Option{Word: "users", Args: "suffix …"}, wording.Option{Word: "users", Args: "domain …"}, wording.Blocks(" and ", blocks...),
		wording.Option{Word: "email_domains"})
}

func samePeople(names ...string) wording.Option {
	return wording.Option{Word: "same_people", Args: strings.Join(names, " ")}
}

// inBlock says where same_people stands.
var inBlock = wording.Choice{Caddyfile: " in the block of this site's `sso` (or, for all sites, in the global option sso)"}
