package target

import "slices"

// PlainForms are the names of the forms of plain paths.
func PlainForms() (names []string) {
	for _, f := range forms {
		names = append(names, f.name)
	}
	return names
}

// ForgetForm makes o not know one of the forms.
func ForgetForm(o *Open, name string) {
	list := o.protect.list
	o.protect = newProtected(slices.DeleteFunc(slices.Clone(forms), func(f form) bool { return f.name == name }))
	o.protect.list = list
}

// Oddity is oddity.
var Oddity = oddity
