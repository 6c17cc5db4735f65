package boltstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
)

func FuzzDecodeRecord(f *testing.F) {
	for _, seed := range []string{"", "\x01", "\x01\x00\x00\x00\x00\x00\x00\x00\x00", "\x01\xff\xff\xff\xff\xff\xff\xff\xffvalue", "\x02\x00\x00\x00\x00\x00\x00\x00\x00value"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		expires, value, err := decodeRecord(raw)
		if err != nil {
			if !errors.Is(err, errDamaged) || value != nil {
				t.Errorf("value %q with the error %v", value, err)
			}
			return
		}
		again := append(binary.BigEndian.AppendUint64([]byte{recordFormat}, expires), value...)
		if !bytes.Equal(again, raw) {
			t.Errorf("%q was read as %d and %q", raw, expires, value)
		}
	})
}
