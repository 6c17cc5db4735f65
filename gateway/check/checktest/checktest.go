// Package checktest drops checks, to show which of them stops an attack. Only tests
// import it; the architecture test enforces that.
package checktest

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/check"
)

// Names returns the names of all checks in checklist, a pointer to a struct with
// fields of type check.List, also in nested structs and pointers. It panics if two
// checks have one name, or a list is empty.
func Names(checklist any) []string {
	var names []string
	for _, list := range lists(reflect.ValueOf(checklist)) {
		if list.Len() == 0 {
			panic("there is no check in a list")
		}
		for i := range list.Len() {
			name := nameOf(list.Index(i))
			if slices.Contains(names, name) {
				panic("two checks are called " + name)
			}
			names = append(names, name)
		}
	}
	return names
}

// Drop removes the named checks from checklist (see Names), which must not be in use.
// It panics if a check does not exist: a test must not pass silently after a check
// was renamed.
func Drop(checklist any, names ...string) {
	left := map[string]bool{}
	for _, name := range names {
		left[name] = true
	}
	for _, list := range lists(reflect.ValueOf(checklist)) {
		kept := reflect.MakeSlice(list.Type(), 0, list.Len())
		for i := range list.Len() {
			name := nameOf(list.Index(i))
			if !slices.Contains(names, name) {
				kept = reflect.Append(kept, list.Index(i))
			}
			delete(left, name)
		}
		list.Set(kept)
	}
	if len(left) > 0 {
		panic(fmt.Sprintf("no such check: %q", slices.Sorted(maps.Keys(left))))
	}
}

// StoppedBy requires that something is stopped by the named checks together, and by
// each of them alone. try runs it without some checks.
func StoppedBy(tb testing.TB, names []string, try func(without ...string) error) {
	tb.Helper()
	if err := try(names...); err != nil {
		tb.Errorf("is still refused without %q: %v", names, err)
	}
	for i, name := range names {
		if try(slices.Delete(slices.Clone(names), i, i+1)...) == nil {
			tb.Errorf("gets in though %q is there", name)
		}
	}
}

// lists returns the settable slices of checks in v and below.
func lists(v reflect.Value) (found []reflect.Value) {
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct {
		return nil
	}
	if v.Type().PkgPath() == reflect.TypeFor[check.List[int]]().PkgPath() && strings.HasPrefix(v.Type().Name(), "List[") {
		return []reflect.Value{accessible(v.Field(0))}
	}
	for i := range v.NumField() {
		found = append(found, lists(accessible(v.Field(i)))...)
	}
	return found
}

// accessible makes an unexported field readable and settable, which reflect does not.
func accessible(field reflect.Value) reflect.Value {
	return reflect.NewAt(field.Type(), field.Addr().UnsafePointer()).Elem()
}

func nameOf(check reflect.Value) string { return check.FieldByName("name").String() }
