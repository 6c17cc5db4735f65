package oidcrp

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"math"
	"mime"
	"net/http"
	"strings"

	"github.com/caddy-sso/caddy-sso/gateway/fetch"
)

// The layers are what reads and fetches, below the checks. Drop replaces each by
// one that is as lax as implementations have been.
const (
	layerNames     = "JSON names exact"   // encoding/json: whatever the case
	layerAlone     = "JSON alone"         // json.Decoder: whatever comes behind
	layerObject    = "JSON object"        // an array or garbage as an empty object
	layerValues    = "JSON values"        // however many
	layerSplit     = "JWS compact alone"  // JSON serialisations, blanks, padding, no JWS at all
	layerRedirects = "outbound redirects" // http.Client: followed
	layerSize      = "outbound size"      // io.ReadAll: whatever the size
	layerPKCE      = "PKCE"               // none
	layerURL       = "outbound URL"       // whatever the scheme
)

// LayerNames returns the names of the layers.
func LayerNames() []string {
	return []string{layerNames, layerAlone, layerObject, layerValues, layerSplit, layerRedirects, layerSize, layerURL, layerPKCE}
}

func take(left map[string]bool, name string) bool {
	defer delete(left, name)
	return left[name]
}

// A jsonReader reads JSON as laxly as it is told.
type jsonReader struct{ anyCase, anythingBehind, anyRoot, anyNumber bool }

func laxJSON(left map[string]bool) jsonReader {
	return jsonReader{take(left, layerNames), take(left, layerAlone), take(left, layerObject), take(left, layerValues)}
}

func (r jsonReader) read(data []byte) (*document, error) {
	if r.anythingBehind {
		var first json.RawMessage
		if json.NewDecoder(bytes.NewReader(data)).Decode(&first) == nil {
			data = first
		}
	}
	limit := maxValues
	if r.anyNumber {
		limit = math.MaxInt
	}
	doc, err := readWithin(data, limit)
	if err != nil {
		doc = &document{}
	}
	switch _, isObject := doc.root.(object); {
	case !isObject && r.anyRoot:
		return &document{root: object{}}, nil
	case isObject && r.anyCase:
		doc.root = inLowerCase(doc.root)
	}
	return doc, err
}

func inLowerCase(v any) any {
	obj, ok := v.(object)
	if !ok {
		return v
	}
	folded := object{}
	for name, value := range obj {
		folded[strings.ToLower(name)] = value
	}
	return folded
}

func laxSplit(left map[string]bool) func(string) (string, string, string) {
	if !take(left, layerSplit) {
		return splitCompact
	}
	return func(raw string) (string, string, string) {
		raw = strings.TrimRight(strings.TrimSpace(raw), "=")
		if !strings.HasPrefix(raw, "{") {
			return splitCompact(raw)
		}
		var flat struct {
			Protected, Payload, Signature string
			Signatures                    []struct{ Protected, Signature string }
		}
		if json.Unmarshal([]byte(raw), &flat) != nil || flat.Payload == "" {
			b64 := base64.RawURLEncoding.EncodeToString
			return b64([]byte("{}")), b64([]byte(raw)), ""
		}
		if len(flat.Signatures) > 0 {
			return flat.Signatures[0].Protected, flat.Payload, flat.Signatures[0].Signature
		}
		return flat.Protected, flat.Payload, flat.Signature
	}
}

// A fetcher fetches as laxly as it is told. CheckURL stays as strict as it was.
type fetcher struct {
	outbound
	client          http.Client
	anySize, anyURL bool
}

func laxOutbound(left map[string]bool, strict outbound, transport http.RoundTripper) outbound {
	follows, anySize, anyURL := take(left, layerRedirects), take(left, layerSize), take(left, layerURL)
	if !follows && !anySize && !anyURL {
		return strict
	}
	f := fetcher{outbound: strict, client: http.Client{Transport: transport}, anySize: anySize, anyURL: anyURL}
	if !follows {
		f.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
	return f
}

func (f fetcher) Do(r *http.Request, limit int64) (*fetch.Response, error) {
	if err := f.CheckURL(r.URL.String()); err != nil && !f.anyURL {
		return nil, err
	}
	resp, err := f.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err == nil && int64(len(body)) > limit && !f.anySize {
		err = errors.New("too large")
	}
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	return &fetch.Response{Status: resp.StatusCode, MediaType: media, Body: body}, err
}
