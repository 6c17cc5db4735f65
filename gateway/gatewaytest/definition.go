package gatewaytest

import (
	"reflect"
	"testing"
	"time"
)

// Defines requires that every field of a provider's configuration either is part of
// its definition (see provider.Definition), or is an exception with a reason. So a
// new option can't be forgotten. digest returns the definition's digest of a
// configuration. odd has the values to try for fields of unknown types.
func Defines[C any](tb testing.TB, config C, digest func(C) string, exceptions map[string]string, odd ...any) {
	tb.Helper()
	before, kind := digest(config), reflect.TypeFor[C]()
	if digest(config) != before {
		tb.Fatal("a configuration has two digests")
	}
	for i := range kind.NumField() {
		field, changed := kind.Field(i), config
		reflect.ValueOf(&changed).Elem().Field(i).Set(another(tb, field, odd))
		reason, excepted := exceptions[field.Name]
		switch part := digest(changed) != before; {
		case part == excepted:
			tb.Errorf("%s: part of the definition %t, an exception %t", field.Name, part, excepted)
		case excepted && reason == "":
			tb.Errorf("%s: is an exception without a reason", field.Name)
		}
	}
	for name := range exceptions {
		if _, ok := kind.FieldByName(name); !ok {
			tb.Errorf("%s: is an exception and no field", name)
		}
	}
}

// another returns a value that differs from the field's.
func another(tb testing.TB, field reflect.StructField, odd []any) reflect.Value {
	tb.Helper()
	for _, v := range odd {
		if reflect.TypeOf(v) == field.Type {
			return reflect.ValueOf(v)
		}
	}
	for _, v := range []any{true, "another", time.Duration(77), []string{"another"}, []byte("another"), 77} {
		if v := reflect.ValueOf(v); v.Type().ConvertibleTo(field.Type) && v.Kind() == field.Type.Kind() {
			return v.Convert(field.Type)
		}
	}
	tb.Fatalf("%s: there is no value to try it with", field.Name)
	return reflect.Value{}
}
