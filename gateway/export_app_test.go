package gateway

// NameFilter is what FuzzNameFilter holds against an oracle.
type NameFilter = nameFilter

// NewNameFilter makes a filter as a Gateway does.
func NewNameFilter(sets ...HeaderNames) *NameFilter { return newNameFilter(sets...) }

// Has says whether a header of that name is ours.
func (f *nameFilter) Has(name string) bool { return f.has(name) }
