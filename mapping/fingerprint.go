package mapping

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
)

// fingerprintVersion begins the hashed text. Change it when the encoding or the
// meaning of a line changes, so that old fingerprints do not count as new ones.
const fingerprintVersion = "caddy-sso mapping 1"

// Fingerprint identifies the rule set by 64 hexadecimal digits. They are equal for
// equal rules, whatever the lines' positions, and differ if a name, a kind of line or
// an order differs. It is not secret and proves nothing.
func (s *RuleSet) Fingerprint() string { return s.fingerprint }

func fingerprint(lines []compiledLine) string {
	encoded := appendName(nil, fingerprintVersion)
	for _, line := range lines {
		encoded = appendLine(encoded, line)
	}
	sum := sha256.Sum256(encoded)
	return hex.EncodeToString(sum[:])
}

// appendLine encodes a line. A length before every list and string makes the encoding
// of a sequence of lines unique.
func appendLine(b []byte, line compiledLine) []byte {
	b = appendName(b, string(line.kind))
	for _, names := range [][]string{line.To, line.From} {
		b = binary.BigEndian.AppendUint64(b, uint64(len(names)))
		for _, name := range names {
			b = appendName(b, name)
		}
	}
	return b
}

func appendName(b []byte, name string) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(len(name)))
	return append(b, name...)
}
