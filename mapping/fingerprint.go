package mapping

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
)

// fingerprintVersion begins what is hashed. It changes when the encoding or
// the meaning of a line does, so that nothing derived under the old one is
// taken for the new.
const fingerprintVersion = "caddy-sso mapping 1"

// Fingerprint names the rule set: 64 hexadecimal digits that are equal for
// rules written alike, wherever they stand, and differ when a name, a kind of
// line or an order does. It is no secret and proves nothing.
func (s *RuleSet) Fingerprint() string { return s.fingerprint }

func fingerprint(lines []compiledLine) string {
	encoded := appendName(nil, fingerprintVersion)
	for _, line := range lines {
		encoded = appendLine(encoded, line)
	}
	sum := sha256.Sum256(encoded)
	return hex.EncodeToString(sum[:])
}

// appendLine encodes a line so that no two lines, and no two sequences of
// lines, look alike: every list begins with its length, every string too.
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
