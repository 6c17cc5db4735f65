package samlsp_test

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/beevik/etree"

	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/samlsp"
)

// A plan is the mutation of one attack. Its language is described in
// testdata/attacks/README.md.
type plan struct {
	config samlsp.Config
	signs  []string // the paths of what the control signs
	forced bool
	front  refusal.Code // of the gateway, which refuses it before the provider does
	steps  [][]string
}

// parsePlan reads a mutation: first what holds for the control too, then steps.
func parsePlan(body string) (*plan, error) {
	p := &plan{config: baseConfig(), signs: []string{"saml:Assertion"}}
	for line := range strings.SplitSeq(body, "\n") {
		words, err := split(line)
		if err != nil {
			return nil, fmt.Errorf("reading %q: %w", line, err)
		}
		if len(words) == 0 {
			continue
		}
		done, err := p.set(words)
		if err != nil {
			return nil, fmt.Errorf("reading %q: %w", line, err)
		}
		if done && len(p.steps) > 0 {
			return nil, fmt.Errorf("reading %q: it stands behind a step", line)
		}
		if !done {
			p.steps = append(p.steps, words)
		}
	}
	if len(p.steps) == 0 {
		return nil, fmt.Errorf("there is no step")
	}
	return p, nil
}

// split takes a line apart at blanks; what is in quotes stays together and is
// unquoted as in Go.
func split(line string) (words []string, err error) {
	for line = strings.TrimLeft(line, " "); line != ""; line = strings.TrimLeft(line, " ") {
		if line[0] != '"' && line[0] != '`' {
			word, rest, _ := strings.Cut(line, " ")
			words, line = append(words, word), rest
			continue
		}
		quoted, err := strconv.QuotedPrefix(line)
		if err != nil {
			return nil, err
		}
		word, err := strconv.Unquote(quoted)
		if err != nil {
			return nil, err
		}
		words, line = append(words, word), line[len(quoted):]
	}
	return words, nil
}

// set takes a word that holds for the control too.
func (p *plan) set(words []string) (bool, error) {
	signs := map[string][]string{"response": {"."}, "assertion": {"saml:Assertion"}, "both": {"saml:Assertion", "."}}
	switch {
	case words[0] == "force" && len(words) == 1:
		p.forced = true
	case words[0] == "front" && len(words) == 2:
		p.front = refusal.Code(words[1])
	case words[0] == "signed" && len(words) == 2 && signs[words[1]] != nil:
		p.signs = signs[words[1]]
	case words[0] == "option" && len(words) == 3:
		options := map[string]*string{
			"want_assertions_signed": (*string)(&p.config.WantAssertionsSigned), "id_attribute": &p.config.IDAttribute,
			"username_attribute": &p.config.UsernameAttribute, "email_attribute": &p.config.EmailAttribute,
			"groups_attribute": &p.config.GroupsAttribute, "sp_entity_id": &p.config.SPEntityID, "name_id_format": &p.config.NameIDFormat,
		}
		if options[words[1]] == nil {
			return false, fmt.Errorf("there is no option %s", words[1])
		}
		*options[words[1]] = words[2]
	case (words[0] == "certificates" || words[0] == "metadata") && len(words) > 1:
		return true, p.certify(words[0], words[1:])
	case words[0] == "force" || words[0] == "front" || words[0] == "signed" || words[0] == "option":
		return false, fmt.Errorf("%s can't have these words", words[0])
	default:
		return false, nil
	}
	return true, nil
}

// control is the form of the login without the mutation.
func (p *plan) control(l login) (url.Values, error) {
	return (&plan{config: p.config, signs: p.signs}).message(l)
}

// message plays the steps.
func (p *plan) message(l login) (url.Values, error) {
	m := &message{plan: p, login: l, text: l.fill(controlFor(p.config.NameIDFormat)), kept: map[string][]*etree.Element{}}
	for _, words := range p.steps {
		if err := m.play(words); err != nil {
			return nil, fmt.Errorf("playing %q: %w", words, err)
		}
	}
	if !m.signed {
		if err := m.sign(nil); err != nil {
			return nil, err
		}
	}
	for name := range m.kept {
		if !m.pasted[name] {
			return nil, fmt.Errorf("%s is kept for nothing", name)
		}
	}
	if m.form == nil {
		m.form = url.Values{"SAMLResponse": {base64.StdEncoding.EncodeToString([]byte(m.text))}}
	}
	return m.form, nil
}

// A message is what the steps work on.
type message struct {
	*plan
	login
	text   string
	kept   map[string][]*etree.Element
	pasted map[string]bool
	signed bool
	form   url.Values // once it is encoded
}

// steps have the number of their arguments; -1 is any.
var steps = map[string]struct {
	args int
	play func(m *message, args []string) error
}{
	"set":         {2, (*message).set},
	"unset":       {1, (*message).unset},
	"remove":      {1, (*message).remove},
	"rename":      {2, (*message).rename},
	"insert":      {3, (*message).insert},
	"cut":         {2, (*message).cut},
	"copy":        {2, (*message).copy},
	"paste":       {3, (*message).paste},
	"replace":     {2, (*message).replace},
	"replace-all": {2, (*message).replaceAll},
	"prepend":     {1, func(m *message, a []string) error { m.text = a[0] + m.text; return nil }},
	"append":      {1, func(m *message, a []string) error { m.text += a[0]; return nil }},
	"pad":         {1, (*message).pad},
	"sign":        {-1, (*message).sign},
	"encode":      {1, (*message).encode},
	"base64":      {1, (*message).base64},
}

func (m *message) play(words []string) error {
	step, ok := steps[words[0]]
	if !ok {
		return fmt.Errorf("there is no such step")
	}
	args := words[1:]
	if step.args >= 0 && len(args) != step.args {
		return fmt.Errorf("it has %d words behind it, not %d", step.args, len(args))
	}
	if m.form != nil {
		return fmt.Errorf("the message is encoded already")
	}
	filled := make([]string, len(args))
	for i, a := range args {
		filled[i] = m.login.fill(a)
	}
	return step.play(m, filled)
}

// at changes the elements at a path: names with the prefixes that control has,
// with slashes between them. A full stop is the root.
func (m *message) at(path string, change func(el *etree.Element) error) error {
	doc := etree.NewDocument()
	doc.ReadSettings.PreserveCData = true
	if err := doc.ReadFromString(m.text); err != nil {
		return err
	}
	el := doc.Root()
	if path != "." {
		el = el.FindElement("./" + path)
	}
	if el == nil {
		return fmt.Errorf("there is no %s", path)
	}
	if err := change(el); err != nil {
		return err
	}
	var err error
	m.text, err = doc.WriteToString()
	return err
}

func (m *message) set(args []string) error {
	path, name, isAttr := strings.Cut(args[0], "@")
	return m.at(path, func(el *etree.Element) error {
		if isAttr {
			el.CreateAttr(name, args[1])
		} else {
			el.SetText(args[1])
		}
		return nil
	})
}

func (m *message) unset(args []string) error {
	path, name, _ := strings.Cut(args[0], "@")
	return m.at(path, func(el *etree.Element) error {
		if el.RemoveAttr(name) == nil {
			return fmt.Errorf("there is no attribute %q", name)
		}
		return nil
	})
}

func (m *message) remove(args []string) error {
	return m.at(args[0], func(el *etree.Element) error { el.Parent().RemoveChild(el); return nil })
}

func (m *message) rename(args []string) error {
	return m.at(args[0], func(el *etree.Element) error {
		prefix, tag, ok := strings.Cut(args[1], ":")
		if !ok {
			prefix, tag = "", args[1]
		}
		el.Space, el.Tag = prefix, tag
		return nil
	})
}

// place puts elements into el, or first in it, before it or after it.
func place(where string, el *etree.Element, list []*etree.Element) error {
	for i, item := range list {
		switch where {
		case "into":
			el.AddChild(item)
		case "first":
			el.InsertChildAt(i, item)
		case "before":
			el.Parent().InsertChildAt(el.Index(), item)
		case "after":
			el.Parent().InsertChildAt(el.Index()+1+i, item)
		default:
			return fmt.Errorf("%q is no place", where)
		}
	}
	return nil
}

func (m *message) insert(args []string) error {
	return m.at(args[1], func(el *etree.Element) error { return place(args[0], el, fragment(args[2])) })
}

func (m *message) copy(args []string) error {
	return m.at(args[1], func(el *etree.Element) error { m.kept[args[0]] = []*etree.Element{el.Copy()}; return nil })
}

func (m *message) cut(args []string) error {
	if err := m.copy(args); err != nil {
		return err
	}
	return m.remove(args[1:])
}

func (m *message) paste(args []string) error {
	if m.kept[args[0]] == nil {
		return fmt.Errorf("nothing is kept as %s", args[0])
	}
	if m.pasted == nil {
		m.pasted = map[string]bool{}
	}
	m.pasted[args[0]] = true
	return m.at(args[2], func(el *etree.Element) error {
		return place(args[1], el, []*etree.Element{m.kept[args[0]][0].Copy()})
	})
}

// pad appends blanks until the length leaves a rest when it is divided by three:
// Base64 has padding then.
func (m *message) pad(args []string) error {
	for strconv.Itoa(len(m.text)%3) != args[0] {
		m.text += " "
	}
	return nil
}

func (m *message) replace(args []string) error {
	if n := strings.Count(m.text, args[0]); n != 1 {
		return fmt.Errorf("%q is there %d times, not once", args[0], n)
	}
	return m.replaceAll(args)
}

func (m *message) replaceAll(args []string) error {
	if !strings.Contains(m.text, args[0]) {
		return fmt.Errorf("there is no %q", args[0])
	}
	m.text = strings.ReplaceAll(m.text, args[0], args[1])
	return nil
}

// sign signs as the control does, or the element at a path with other settings.
func (m *message) sign(args []string) error {
	m.signed = true
	paths, s := m.signs, defaultSigner()
	if len(args) > 0 {
		if args[0] == "nothing" {
			return nil
		}
		paths = args[:1]
		for _, setting := range args[1:] {
			if err := s.set(setting); err != nil {
				return err
			}
		}
	}
	for _, path := range paths {
		if err := m.at(path, func(el *etree.Element) error { s.sign(el); return nil }); err != nil {
			return err
		}
	}
	return nil
}

func (s *signer) set(setting string) error {
	name, value, _ := strings.Cut(setting, "=")
	switch name {
	case "alg":
		s.alg = value
	case "digest":
		s.digest = value
	case "c14n":
		s.c14n = value
	case "key":
		s.key = value
	case "uri":
		s.uri = value
	case "transforms":
		s.transforms = strings.Split(value, ",")
	case "extra":
		s.extra = value
	default:
		return fmt.Errorf("there is no setting %q", name)
	}
	return nil
}

// TestPlanRefuses holds that a slip in a file can't make an attack harmless.
func TestPlanRefuses(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"no step":                    "option id_attribute uid",
		"an unknown step":            "shake saml:Assertion",
		"an unknown option":          "option debug on\nsign",
		"an option behind a step":    "sign\noption id_attribute uid",
		"too few words":              "set saml:Assertion@ID",
		"too many words":             "remove saml:Assertion now",
		"open quotes":                "append \"x",
		"a path that leads nowhere":  "remove saml:Assertion/saml:Assertion",
		"an attribute that is none":  "unset saml:Assertion@x",
		"a text that is not there":   "replace nobody mallory",
		"a text that is there twice": "replace {idp} mallory",
		"something kept for nothing": "copy a saml:Assertion",
		"something never kept":       "paste a into .",
		"an unknown place":           "insert beside . <x/>",
		"an unknown setting":         "sign . salt=1",
		"an unknown signed":          "signed nothing\nsign",
		"an unknown certificate":     "certificates idp+nobody\nsign",
		"a step behind the encoding": "base64 twice\nsign",
		"an unknown encoding":        "encode ebcdic",
	} {
		p, err := parsePlan(body)
		if err == nil {
			_, err = p.message(newLogin())
		}
		if err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}
