package vault

import "context"

// NameKeyAt is where the name key lies.
const NameKeyAt = nameKeyAt

// KeyOf returns where a record lies.
func (v *Vault) KeyOf(kind Kind, name string) string {
	key, err := v.Key(context.Background(), kind, name)
	if err != nil {
		panic(err)
	}
	return key
}
