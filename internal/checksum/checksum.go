// Package checksum has the digests that source files must have, as lists of sources write them.
//
// Text comes in; a checked Checksum or an error that says what to write goes out. It imports nothing of ours, and every
// package may import it.
package checksum

import (
	"crypto/md5"  //nolint:gosec // old lists of sources have nothing better; they are compared, never made
	"crypto/sha1" //nolint:gosec // as above
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"hash"
	"slices"
	"strings"
	"unicode/utf8"
)

// Checksum is the digest that a source file must have.
type Checksum struct {
	Algorithm string // one of Algorithms
	Hex       string // lower case
}

// Algorithms lists what lists of sources are written with, the strongest first.
func Algorithms() []string { return []string{"sha512", "sha384", "sha256", "sha224", "sha1", "md5"} }

// New checks an algorithm's name, in any case, and a digest.
func New(algorithm, digest string) (Checksum, error) {
	c := Checksum{strings.ToLower(algorithm), strings.ToLower(digest)}
	h := c.Hash()
	if h == nil {
		return Checksum{}, fmt.Errorf("checksum algorithm %q is not one of %s", algorithm,
			strings.Join(Algorithms(), ", "))
	}
	if raw, err := hex.DecodeString(c.Hex); err != nil || len(raw) != h.Size() {
		return Checksum{}, fmt.Errorf("%q is not a %s checksum, which has %d hexadecimal digits", digest, c.Algorithm,
			2*h.Size())
	}
	return c, nil
}

// Of returns the algorithm by the digest's length, for lists without an algorithm's name.
func Of(digest string) (Checksum, error) {
	for _, algorithm := range Algorithms() {
		if (Checksum{Algorithm: algorithm}).Hash().Size()*2 == len(digest) {
			return New(algorithm, digest)
		}
	}
	return Checksum{}, fmt.Errorf("%q does not have the length of a checksum (%s)", digest,
		strings.Join(Algorithms(), ", "))
}

// Hash returns the hash to compare with, nil for an unknown algorithm.
func (c Checksum) Hash() hash.Hash {
	switch c.Algorithm {
	case "sha512":
		return sha512.New()
	case "sha384":
		return sha512.New384()
	case "sha256":
		return sha256.New()
	case "sha224":
		return sha256.New224()
	case "sha1":
		return sha1.New() //nolint:gosec // see above
	case "md5":
		return md5.New() //nolint:gosec // see above
	}
	return nil
}

// String is algorithm:digest.
func (c Checksum) String() string { return c.Algorithm + ":" + c.Hex }

// ParseFile reads what a project says of one source: "sha256:digest file".
func ParseFile(text string) (file string, c Checksum, err error) {
	const write = "write sha256:DIGEST FILE"
	sum, file, ok := strings.Cut(strings.TrimSpace(text), " ")
	algorithm, digest, colon := strings.Cut(sum, ":")
	if file = strings.TrimSpace(file); !ok || !colon || file == "" {
		return "", Checksum{}, fmt.Errorf("%q is not a checksum and a file: %s", text, write)
	}
	if c, err = New(algorithm, digest); err != nil {
		return "", Checksum{}, fmt.Errorf("%w: %s", err, write)
	}
	return file, c, CheckFileName(file)
}

// CheckFileName reports whether a source may have this name: one that stays in the directory that it is put into.
func CheckFileName(name string) error {
	switch {
	case name == "", name == ".", name == "..", strings.ContainsAny(name, "/\x00"):
		return fmt.Errorf("%q is not a plain file name: write one without slashes", name)
	case len(name) > 255:
		return fmt.Errorf("file name %.40q… has %d bytes, and may have 255", name, len(name))
	case !utf8.ValidString(name):
		return fmt.Errorf("file name %q is not UTF-8", name)
	case slices.ContainsFunc([]byte(name), func(b byte) bool { return b < ' ' || b == 0x7f }):
		return fmt.Errorf("file name %q has control characters", name)
	}
	return nil
}
