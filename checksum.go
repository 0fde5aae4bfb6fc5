package rpmflow

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
	Algorithm string // one of ChecksumAlgorithms
	Hex       string // lower case
}

// ChecksumAlgorithms lists what lists of sources are written with, the strongest first.
var ChecksumAlgorithms = []string{"sha512", "sha384", "sha256", "sha224", "sha1", "md5"}

// NewChecksum checks an algorithm's name, in any case, and a digest.
func NewChecksum(algorithm, digest string) (Checksum, error) {
	c := Checksum{strings.ToLower(algorithm), strings.ToLower(digest)}
	h := c.New()
	if h == nil {
		return Checksum{}, fmt.Errorf("checksum algorithm %q is none of %s", algorithm, strings.Join(ChecksumAlgorithms, ", "))
	}
	if raw, err := hex.DecodeString(c.Hex); err != nil || len(raw) != h.Size() {
		return Checksum{}, fmt.Errorf("%q is no %s checksum, which has %d hexadecimal digits", digest, c.Algorithm, 2*h.Size())
	}
	return c, nil
}

// ChecksumOf tells the algorithm by the digest's length, as lists without an algorithm's name want it.
func ChecksumOf(digest string) (Checksum, error) {
	for _, algorithm := range ChecksumAlgorithms {
		if (Checksum{Algorithm: algorithm}).New().Size()*2 == len(digest) {
			return NewChecksum(algorithm, digest)
		}
	}
	return Checksum{}, fmt.Errorf("%q has the length of no checksum (%s)", digest, strings.Join(ChecksumAlgorithms, ", "))
}

// New gives the hash to compare with, nil for an unknown algorithm.
func (c Checksum) New() hash.Hash {
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

// ParseFileChecksum reads what a project says of one source: "sha256:digest file".
func ParseFileChecksum(text string) (file string, c Checksum, err error) {
	const write = "write sha256:DIGEST FILE"
	sum, file, ok := strings.Cut(strings.TrimSpace(text), " ")
	algorithm, digest, colon := strings.Cut(sum, ":")
	if file = strings.TrimSpace(file); !ok || !colon || file == "" {
		return "", Checksum{}, fmt.Errorf("%q is no checksum of a file: %s", text, write)
	}
	if c, err = NewChecksum(algorithm, digest); err != nil {
		return "", Checksum{}, fmt.Errorf("%w: %s", err, write)
	}
	return file, c, CheckFileName(file)
}

// CheckFileName says whether a source may have this name: one that stays in the directory that it is put into.
func CheckFileName(name string) error {
	switch {
	case name == "", name == ".", name == "..", strings.ContainsAny(name, "/\x00"):
		return fmt.Errorf("%q is no plain file name: %w", name, ErrName)
	case len(name) > 255:
		return fmt.Errorf("file name %.40q… has %d bytes: %w: 255 are the most", name, len(name), ErrName)
	case !utf8.ValidString(name):
		return fmt.Errorf("file name %q is not UTF-8: %w", name, ErrName)
	case slices.ContainsFunc([]byte(name), func(b byte) bool { return b < ' ' || b == 0x7f }):
		return fmt.Errorf("file name %q has control characters: %w", name, ErrName)
	}
	return nil
}
