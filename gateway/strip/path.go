package strip

import "net/http"

// TakePaths removes the headers by which a client tells some apps another path
// than its target, also from trailers, and returns what they say.
func TakePaths(r *http.Request) (paths []string) {
	for name, values := range r.Header {
		if namesPath(name) {
			paths = append(paths, values...)
			delete(r.Header, name)
		}
	}
	for name := range r.Trailer {
		if namesPath(name) {
			delete(r.Trailer, name)
		}
	}
	return paths
}

// namesPath says whether a header of that name tells the app another path than
// the target. Symfony and Laminas took X-Original-URL and X-Rewrite-URL for what
// IIS says (CVE-2018-14773), and so does what runs behind IIS.
func namesPath(header string) bool {
	if len(header) > len("X-Original-URL") || len(header) < len("X-Rewrite-URL") {
		return false
	}
	var buf [len("X-Original-URL")]byte
	name := string(AppendNormal(buf[:0], header))
	return name == "x-original-url" || name == "x-rewrite-url"
}
