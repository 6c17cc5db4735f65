package fetch

import "time"

// SetFetched says when the document was fetched.
func (d *Document[T]) SetFetched(at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fetched = at
}
