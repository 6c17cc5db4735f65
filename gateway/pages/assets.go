package pages

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"time"
)

//go:embed assets
var assetFiles embed.FS

// Style is the style sheet of the pages.
//
//go:embed assets/style.css
var Style string

// An asset is one static file.
type asset struct {
	contentType string
	body        []byte
	// version is a hash of body: part of the URL, and the entity tag.
	version string
}

// assetTypes are the kinds of assets there may be. The system's own table of
// types must not decide what browsers are told.
var assetTypes = map[string]string{
	".css": "text/css; charset=utf-8",
	".js":  "text/javascript; charset=utf-8",
	".svg": "image/svg+xml",
}

func loadAssets() (map[string]asset, error) {
	assets := map[string]asset{}
	files, err := fs.Glob(assetFiles, "assets/*")
	for _, file := range files {
		contentType, ok := assetTypes[path.Ext(file)]
		if !ok {
			return nil, fmt.Errorf("reading the asset %s: its type is not known", file)
		}
		var body []byte
		if body, err = assetFiles.ReadFile(file); err != nil {
			return nil, fmt.Errorf("reading the asset %s: %w", file, err)
		}
		assets[path.Base(file)] = newAsset(contentType, body)
	}
	return assets, err
}

func newAsset(contentType string, body []byte) asset {
	sum := sha256.Sum256(body)
	return asset{contentType, body, hex.EncodeToString(sum[:8])}
}

// assetURL returns the address of one of our own assets.
func (rd *Renderer) assetURL(prefix, name string) (string, error) {
	a, ok := rd.assets[name]
	if !ok {
		return "", fmt.Errorf("linking the asset %s: there is none", name)
	}
	return a.url(prefix, name), nil
}

// url returns the address of an asset for the pages. The version stands in the query
// and not in the name: while nodes of two releases serve one site, a page of the
// other release still gets a style sheet, which it then doesn't keep.
func (a asset) url(prefix, name string) string {
	return local(prefix + "/assets/" + name + "?v=" + a.version)
}

// Asset serves an asset by its name below Prefix/assets/. Under its current version it may
// be kept for a year; otherwise it is revalidated each time. An unknown name is 404, and a
// method other than GET and HEAD is 405.
func (rd *Renderer) Asset(w http.ResponseWriter, r *http.Request, b Brand, name string) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	// If a person opens a logo by its address, no script in it runs.
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; sandbox")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		refuseAsset(w, r, http.StatusMethodNotAllowed)
		return
	}
	a, ok := rd.assets[name]
	if b.Logo != nil && name == logoName {
		a, ok = b.Logo.asset, true
	}
	if !ok {
		refuseAsset(w, r, http.StatusNotFound)
		return
	}
	if r.URL.Query().Get("v") == a.version {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	} else {
		h.Set("Cache-Control", "no-cache")
	}
	h.Set("Content-Type", a.contentType)
	h.Set("ETag", `"`+a.version+`"`)
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(a.body))
}

func refuseAsset(w http.ResponseWriter, r *http.Request, status int) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	write(w, r, status, []byte(http.StatusText(status)+"\n"))
}
