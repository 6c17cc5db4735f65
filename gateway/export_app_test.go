package gateway

// NameFilter is what FuzzNameFilter holds against an oracle.
type NameFilter = nameFilter

// NewNameFilter makes a filter as a Gateway does.
func NewNameFilter(sets ...HeaderNames) *NameFilter { return newNameFilter(sets...) }

// Has says whether a header of that name is ours.
func (f *nameFilter) Has(name string) bool { return f.has(name) }

// CachedViews returns how many views the login with the most of them has.
func (s *Sessions) CachedViews() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	most := 0
	for _, ses := range s.byKey {
		if st := ses.state.Load(); st != nil {
			n := 0
			first, _ := st.memo.Load().(*view)
			for v := first; v != nil; v = v.next {
				n++
			}
			most = max(most, n)
		}
	}
	return most
}

// ParseForm is what FuzzParseForm holds against net/url.
func ParseForm(body string, names ...string) (map[string]string, error) {
	return parseForm(body, names...)
}
