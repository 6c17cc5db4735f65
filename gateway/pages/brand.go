package pages

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"image/png"
	"strings"
)

// A Brand is how an app looks on our pages. All of it is optional.
type Brand struct {
	// Title is shown instead of the app's host.
	Title string
	// Logo is shown instead of our icon.
	Logo *Logo
	// Help says where people get help. If it is an http(s) URL or an e-mail address,
	// it becomes a link.
	Help string
}

// A Logo is a picture that the site itself serves. Pages show it by <img>, where
// browsers run no script of an SVG and load nothing for it.
type Logo struct{ asset }

// MaxLogo is the largest size of a logo in bytes. Pages have to be small.
const MaxLogo = 64 << 10

// logoName is where a logo is, below Prefix/assets/.
const logoName = "logo"

// NewLogo returns the picture in body, a PNG or an SVG file of at most MaxLogo bytes.
func NewLogo(body []byte) (*Logo, error) {
	if len(body) > MaxLogo {
		return nil, fmt.Errorf("the picture is larger than %d KiB", MaxLogo>>10)
	}
	if _, err := png.DecodeConfig(bytes.NewReader(body)); err == nil {
		return &Logo{newAsset("image/png", body)}, nil
	}
	if bytes.HasPrefix(body, []byte("\xef\xbb\xbf")) || bytes.HasPrefix(body, []byte("\xff\xfe")) || bytes.HasPrefix(body, []byte("\xfe\xff")) {
		return nil, errors.New("the file begins with a byte order mark: save it as UTF-8 without one")
	}
	if root := rootOf(body); root != (xml.Name{Space: svg, Local: "svg"}) {
		return nil, fmt.Errorf("the file is no picture: expected PNG, or SVG that begins with <svg xmlns=%q>", svg)
	}
	return &Logo{newAsset("image/svg+xml", body)}, nil
}

// svg is the namespace of SVG. Browsers show no picture without it.
const svg = "http://www.w3.org/2000/svg"

// rootOf returns the name of the root of an XML document, or no name.
func rootOf(body []byte) (name xml.Name) {
	for d := xml.NewDecoder(bytes.NewReader(body)); ; {
		token, err := d.Token()
		switch token := token.(type) {
		case xml.StartElement:
			return token.Name
		case xml.CharData:
			if len(bytes.TrimSpace(token)) > 0 { // text that names the tag
				return name
			}
		}
		if err != nil {
			return name
		}
	}
}

// icon returns the address of the picture in the head of a page.
func (rd *Renderer) icon(c Chrome) (string, error) {
	if c.Logo == nil {
		return rd.assetURL(c.Prefix, "icon.svg")
	}
	return c.Logo.url(c.Prefix, logoName), nil
}

// helpURL returns what Help links to, or "" if it is a text.
func helpURL(help string) string {
	switch address := strings.TrimPrefix(help, "mailto:"); {
	case away(help) != "#":
		return help
	case strings.Count(address, "@") == 1 && !strings.ContainsAny(address, " \t:/"):
		return "mailto:" + address
	}
	return ""
}

// helpText returns what people read of Help.
func helpText(help string) string {
	return strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(help, "mailto:"), "https://"), "/")
}
