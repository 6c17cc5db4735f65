package check_test

import (
	"errors"
	"reflect"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/check"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

func TestRun(t *testing.T) {
	t.Parallel()
	var ran []string
	step := func(name string, code refusal.Code, err error) check.Check[int] {
		return check.That(name, code, func(n int) error {
			if n != 7 {
				t.Errorf("%s got %d", name, n)
			}
			ran = append(ran, name)
			return err
		})
	}
	plain, own := errors.New("plain"), refusal.New(refusal.TooLarge, errors.New("own"))
	for _, tt := range []struct {
		name string
		list check.List[int]
		ran  int
		code refusal.Code
		is   error
	}{
		{"all hold", check.All(step("a", refusal.SAMLTime, nil), step("b", "", nil)), 2, "", nil},
		{"the first that does not", check.All(step("a", refusal.SAMLTime, plain), step("b", refusal.TooLarge, plain)), 1, refusal.SAMLTime, plain},
		{"in order", check.All(step("a", refusal.TooLarge, nil), step("b", refusal.SAMLTime, plain)), 2, refusal.SAMLTime, plain},
		{"a code of its own", check.All(step("a", refusal.SAMLTime, own)), 1, refusal.TooLarge, own},
		{"no code", check.All(step("a", "", plain)), 1, "", plain},
	} {
		ran = nil
		err := tt.list.Run(7)
		coded, _ := errors.AsType[*refusal.Error](err)
		if len(ran) != tt.ran || !errors.Is(err, tt.is) || (coded != nil) != (tt.code != "") || coded != nil && coded.Code != tt.code {
			t.Errorf("%s: ran %q, got %v", tt.name, ran, err)
		}
		if failed, ok := errors.AsType[*check.FailedError](err); ok != (err != nil && coded == nil) || ok && (failed.Name != ran[len(ran)-1] || err.Error() != plain.Error()) {
			t.Errorf("%s: the check that failed is %+v", tt.name, failed)
		}
	}
}

// TestListIsSealed holds that there is no way into a list but Run: no method
// and no field.
func TestListIsSealed(t *testing.T) {
	t.Parallel()
	for _, typ := range []reflect.Type{reflect.TypeFor[check.List[int]](), reflect.TypeFor[check.Check[int]]()} {
		for _, m := range []reflect.Type{typ, reflect.PointerTo(typ)} {
			for i := range m.NumMethod() {
				if m.Method(i).Name != "Run" {
					t.Errorf("%s has the method %s", m, m.Method(i).Name)
				}
			}
		}
		for i := range typ.NumField() {
			if typ.Field(i).IsExported() {
				t.Errorf("%s has the field %s", typ, typ.Field(i).Name)
			}
		}
	}
}
