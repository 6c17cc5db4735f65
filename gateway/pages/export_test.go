package pages

// For the tests of this package.
var (
	English = english
	Away    = away
	Local   = local
	Within  = within
)
