package samlsp_test

import (
	"encoding/binary"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/caddy-sso/caddy-sso/gateway/samlsp"
)

// utf16Of returns a text in UTF-16.
func utf16Of(order binary.AppendByteOrder, text string) string {
	var b []byte
	for _, unit := range utf16.Encode([]rune(text)) {
		b = order.AppendUint16(b, unit)
	}
	return string(b)
}

func latin1(text string) string {
	var b []byte
	for _, r := range text {
		b = append(b, byte(r))
	}
	return string(b)
}

// TestMetadataEncodings reads metadata as editors and servers write them. What is
// beyond ASCII in them must come out right.
func TestMetadataEncodings(t *testing.T) {
	t.Parallel()
	const entityID = "https://idp.example.com/Ångström"
	e := goodEntity()
	e.entityID = entityID
	plain := e.xml()
	ascii := goodEntity().xml()
	declared := func(encoding string) string { return `<?xml version="1.0" encoding="` + encoding + `"?>` + "\n" }
	for name, tt := range map[string]struct{ doc, want string }{
		"UTF-8":                               {plain, entityID},
		"UTF-16, little endian, with a mark":  {utf16Of(binary.LittleEndian, "\ufeff"+declared("UTF-16")+plain), entityID},
		"UTF-16, big endian, with a mark":     {utf16Of(binary.BigEndian, "\ufeff"+declared("utf-16")+plain), entityID},
		"UTF-16, a mark, not declared":        {utf16Of(binary.LittleEndian, "\ufeff"+plain), entityID},
		"UTF-16, declared, no mark":           {utf16Of(binary.BigEndian, declared("UTF-16BE")+plain), entityID},
		"ISO-8859-1":                          {latin1(declared("ISO-8859-1") + plain), entityID},
		"ISO-8859-1, in lower case":           {latin1(strings.ReplaceAll(declared("iso-8859-1"), `"`, "'") + plain), entityID},
		"ISO-8859-1, standalone":              {latin1(`<?xml version = "1.0" encoding = "ISO-8859-1" standalone="yes" ?>` + plain), entityID},
		"US-ASCII":                            {declared("us-ascii") + ascii, idpEntityID},
		"a stylesheet":                        {declared("UTF-8") + `<?xml-stylesheet type="text/xsl" href="https://evil.test/x.xsl"?>` + plain, entityID},
		"instructions all over":               {"<?a?><?b c?>" + strings.Replace(plain, "<md:IDPSSODescriptor", "<?x y='>'?>\n<md:IDPSSODescriptor", 1) + "<?z\n?>", entityID},
		"blanks around the entity ID":         {strings.Replace(ascii, `entityID="`, `entityID=" `, 1), idpEntityID},
		"blanks around a binding":             {strings.Replace(ascii, `Binding="`, `Binding=" `, 1), idpEntityID},
		"an instruction within a certificate": {strings.Replace(ascii, "<ds:X509Certificate>M", "<ds:X509Certificate>M<?x?>", 1), idpEntityID},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := samlsp.ReadMetadata(reader(t), []byte(tt.doc))
			if err != nil {
				t.Fatal(err)
			}
			if got.EntityID != tt.want || !holds(got, rsaKey().Public()) {
				t.Errorf("got %+v", got)
			}
		})
	}
	for name, tt := range map[string]struct{ doc, want string }{
		"UTF-16 that calls itself UTF-8":      {utf16Of(binary.LittleEndian, "\ufeff"+declared("UTF-8")+plain), "is declared as"},
		"UTF-8 that calls itself UTF-16":      {declared("UTF-16") + plain, "but is something else"},
		"UTF-8's mark before ISO-8859-1":      {"\ufeff" + declared("ISO-8859-1") + ascii, "begins with the mark of UTF-8"},
		"US-ASCII with more":                  {declared("US-ASCII") + plain, "declared as US-ASCII"},
		"UTF-7":                               {declared("UTF-7") + ascii, "is none of UTF-8"},
		"half a character":                    {utf16Of(binary.LittleEndian, "\ufeff"+plain) + "x", "ends within a character"},
		"half of a surrogate pair":            {utf16Of(binary.LittleEndian, "\ufeff"+plain) + "\x00\xd8", "surrogate pair"},
		"a DOCTYPE in UTF-16":                 {utf16Of(binary.LittleEndian, "\ufeff<!DOCTYPE a>"+plain), "document type declaration"},
		"an XML declaration inside":           {"<!-- x --><?xml version=\"1.0\"?>" + plain, "the XML declaration is not at the very start"},
		"an instruction without an end":       {"<?x " + strings.ReplaceAll(plain, "?>", ""), "or no end"},
		"an instruction of the name XML":      {"<?XML x?>" + plain, "the name xml"},
		"a placeholder for the tenant":        {strings.Replace(ascii, idpEntityID, "https://sts.windows.net/{tenantid}/", 1), "these are the metadata for all tenants"},
		"a placeholder of another name":       {strings.Replace(ascii, idpEntityID, "https://sts.windows.net/{tenant}/", 1), "of your own tenant"},
		"UTF-16 of a web page":                {utf16Of(binary.LittleEndian, "\ufeff<!DOCTYPE html><html></html>"), "it is a web page"},
		"JSON, with a mark of UTF-16":         {utf16Of(binary.BigEndian, "\ufeff{}"), "it is JSON"},
		"an encoding by a declared expansion": {`<?xml version="1.0" encoding="ISO-8859-1" encoding="UTF-8"?>` + ascii, "the XML declaration has an unknown form"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, err := samlsp.ReadMetadata(reader(t), []byte(tt.doc)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %+v, %v, want %q", got, err, tt.want)
			}
		})
	}
}
