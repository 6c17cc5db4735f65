package xmlsec_test

import "testing"

// BenchmarkResponse is what of a sign-in's cost arises here: a real answer of
// Keycloak's is read, and both of its signatures are verified.
func BenchmarkResponse(b *testing.B) {
	doc, key := keycloak(b)
	checks := all()
	root, err := checks.read(doc)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := checks.read(doc); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("verify both", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			for _, el := range signedElements(root) {
				if _, err := checks.verify(el, key); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}
