package pages

// For the tests of this package.
var (
	Texts  = texts
	Away   = away
	Local  = local
	Within = within
)
