package repo

// Packed is a value as it is stored, or nothing if it is not JSON.
func Packed(v any) []byte {
	stored, _ := pack(v)
	return stored
}
