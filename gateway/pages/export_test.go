package pages

// For the tests of this package.
var (
	English    = english
	FormAction = formAction
	Local      = local
	Within     = within
)
