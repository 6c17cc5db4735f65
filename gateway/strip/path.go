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
// IIS says (CVE-2018-14773), and so does what runs behind IIS. Gunicorn takes
// SCRIPT_NAME and PATH_INFO of a proxy on the same machine for those of WSGI, and
// apps of Flask are often made to do so with X-Script-Name.
func namesPath(header string) bool {
	if len(header) > len("X-Original-URL") || len(header) < len("Path-Info") {
		return false
	}
	var buf [len("X-Original-URL")]byte
	switch string(AppendNormal(buf[:0], header)) {
	case "x-original-url", "x-rewrite-url", "script-name", "x-script-name", "path-info":
		return true
	}
	return false
}

// NamesMethod says whether some frameworks take a header of that name for the method.
func NamesMethod(header string) bool {
	if len(header) > len("X-HTTP-Method-Override") || len(header) < len("X-HTTP-Method") {
		return false
	}
	var buf [len("X-HTTP-Method-Override")]byte
	switch string(AppendNormal(buf[:0], header)) {
	case "x-http-method-override", "x-http-method", "x-method-override":
		return true
	}
	return false
}
