package samlsp_test

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"
	"unicode/utf16"
)

// encode changes the octets of the document.
func (m *message) encode(args []string) error {
	units := utf16.Encode([]rune(m.text))
	var b []byte
	switch args[0] {
	case "utf-16le":
		b = append(b, 0xff, 0xfe)
		for _, u := range units {
			b = append(b, byte(u), byte(u>>8))
		}
	case "utf-16be":
		b = append(b, 0xfe, 0xff)
		for _, u := range units {
			b = append(b, byte(u>>8), byte(u))
		}
	case "utf-32be":
		for _, r := range m.text {
			b = append(b, byte(r>>24), byte(r>>16), byte(r>>8), byte(r))
		}
	case "utf-7":
		b = []byte(strings.NewReplacer("<", "+ADw-", ">", "+AD4-", `"`, "+ACI-").Replace(m.text))
	case "latin-1":
		for _, r := range m.text {
			b = append(b, byte(r))
		}
	case "deflate":
		var out bytes.Buffer
		w, err := flate.NewWriter(&out, flate.BestCompression)
		if err != nil {
			return err
		}
		if _, err := w.Write([]byte(m.text)); err != nil {
			return err
		}
		if err := w.Close(); err != nil {
			return err
		}
		b = out.Bytes()
	default:
		return fmt.Errorf("there is no encoding %s", args[0])
	}
	m.text = string(b)
	return nil
}

// base64 encodes the document in another way than is due.
func (m *message) base64(args []string) error {
	plain := base64.StdEncoding.EncodeToString([]byte(m.text))
	switch args[0] {
	case "again":
		m.form = url.Values{"SAMLResponse": {plain, plain}}
		return nil
	case "url":
		plain = base64.URLEncoding.EncodeToString([]byte(m.text))
	case "unpadded":
		plain = strings.TrimRight(plain, "=")
	case "trailing-bits":
		end := strings.TrimRight(plain, "=")
		if end == plain {
			return fmt.Errorf("there is no padding: change the length of the document")
		}
		last := strings.IndexByte(alphabet, end[len(end)-1])
		plain = end[:len(end)-1] + string(alphabet[last+1]) + plain[len(end):]
	case "garbage":
		plain = plain[:100] + "*" + plain[100:]
	case "behind-padding":
		plain += "AAAA"
	case "twice":
		plain = base64.StdEncoding.EncodeToString([]byte(plain))
	case "none":
		plain = m.text
	case "empty":
		plain = ""
	default:
		return fmt.Errorf("there is no such way")
	}
	m.form = url.Values{"SAMLResponse": {plain}}
	return nil
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
