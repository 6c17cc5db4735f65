package oidcrp_test

import "testing"

// known stands for what a mutator knows.
func known(name string) (string, bool) { return "<" + name + ">", name == "issuer" }

func TestReadMutationRefuses(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"nothing":                    "",
		"the control alone":          "control force",
		"an unknown verb":            "Set claims/sub 1",
		"an unknown document":        "set claim/sub 1",
		"a document of other verbs":  "add claims/sub 1",
		"no member":                  "set claims 1",
		"an empty member":            "set claims/ 1",
		"a member where none may be": "replay claims/sub",
		"no value":                   "set claims/sub",
		"a value that is no JSON":    "set claims/sub x",
		"two values":                 "set claims/sub 1 2",
		"a text without quotes":      "text claims x",
		"a text in single quotes":    "text claims 'x'",
		"one text of two":            `forge claims "x"`,
		"a text too many":            `text claims "x" "y"`,
		"a word too many":            "delete claims/sub now",
		"no number":                  "status token ok",
		"an unknown placeholder":     `set claims/sub "${Issuer}"`,
		"an empty placeholder":       `text claims "${}"`,
		"a huge repetition":          `text claims "${9999999*x}"`,
		"many repetitions":           `text claims "${3000000*x}${3000000*x}"`,
		"an option for half of it":   "option username_claim email",
		"an unknown option":          "control option client_id x\nforce",
		"a user for half of it":      `user "bob"`,
		"the usual user":             "control user \"alice\"\nforce",
		"two blanks":                 "set  claims/sub 1",
		"a blank in front":           " force",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, err := readMutation(body, known); err == nil {
				t.Errorf("is taken: %+v", got)
			}
		})
	}
}

// TestMutatorReports holds that what changes nothing is a fault.
func TestMutatorReports(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"a member that is not there":    "delete claims/nobody",
		"below a member that is none":   "set claims/sub/x 1",
		"an array that is none":         "append claims/sub 1",
		"a parameter that is not there": "delete answer/nobody",
		"a text that is not there":      `forge claims "nobody" "somebody"`,
		"a key that is none":            "sign claims XS256 evil",
		"what is never asked":           "status userinfo 500",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			op := inProcess(t)
			m, err := newMutator(op, body)
			if err != nil {
				t.Fatal(err)
			}
			m.play(true)
			_, _ = op.Login(t.Context(), newProvider(t, op))
			if len(m.complaints()) == 0 {
				t.Error("nobody complains")
			}
		})
	}
}

func FuzzMutation(f *testing.F) {
	for _, a := range corpus(f) {
		f.Add(a.Body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		list, err := readMutation(body, known)
		if err != nil {
			return
		}
		for _, st := range list {
			if _, ok := forms[st.verb]; !ok || len(st.args) != len(forms[st.verb].args) {
				t.Errorf("is taken: %+v", st)
			}
		}
	})
}
