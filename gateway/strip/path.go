package strip

import "net/http"

// TakePaths removes the headers by which a client names another path than its target
// to some apps, also from trailers, and returns their values.
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

// namesPath reports whether some apps read another path than the target from this
// header. Symfony and Laminas took X-Original-URL and X-Rewrite-URL for headers of
// IIS (CVE-2018-14773), and so do apps behind IIS. Gunicorn takes SCRIPT_NAME and
// PATH_INFO of a proxy on the same machine for those of WSGI, and apps of Flask often
// read X-Script-Name in the same way.
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

// NamesMethod reports whether some frameworks read the method from this header.
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
