// Package lfs has what Git LFS leaves in a repository: pointers in place of files, and where the files are. The text of
// a pointer comes in; its checksum and size go out, and *rpmflow.Failure if it is malformed. Packages git, source and
// fetch import it; it imports leaf libraries and the domain's words only.
package lfs

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/checksum"
	"github.com/rpmflow/rpmflow/internal/printable"
)

// MaxPointer is the size below which a file can be a pointer (git-lfs/docs/spec.md).
const MaxPointer = 1024

// Pointer stands in a tree for a file that Git LFS keeps elsewhere.
type Pointer struct {
	Path string // in the tree
	OID  string // SHA-256 of the content, in hex
	Size int64  // of the content, in bytes
}

// Checksums are what the content must have.
func (p Pointer) Checksums() []checksum.Checksum {
	return []checksum.Checksum{{Algorithm: "sha256", Hex: p.OID}}
}

// IsPointer reports whether a file with this content is a pointer.
func IsPointer(text []byte) bool {
	return len(text) < MaxPointer && bytes.HasPrefix(text, []byte("version https://git-lfs.github.com/spec/v1")) &&
		bytes.Contains(text, []byte("\noid sha256:"))
}

// ParsePointer reads a pointer: lines of a key and a value.
func ParsePointer(path string, text []byte) (Pointer, error) {
	p := Pointer{Path: path, Size: -1}
	refuse := func(why string) (Pointer, error) {
		return Pointer{}, rpmflow.Fail(rpmflow.FailureSource, "write it again with git lfs, or commit the file itself",
			"%s is a malformed pointer of Git LFS: %s", printable.Name(path), why)
	}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
		switch {
		case key == "oid":
			sum, err := checksum.New("sha256", strings.TrimPrefix(value, "sha256:"))
			if err != nil || p.OID != "" {
				return refuse("its oid is not a SHA-256 checksum")
			}
			p.OID = sum.Hex
		case key == "size":
			size, err := strconv.ParseInt(value, 10, 64)
			if err != nil || size < 0 || p.Size >= 0 {
				return refuse("its size is not a number")
			}
			p.Size = size
		case strings.HasPrefix(key, "ext-"):
			return refuse("it was written with an extension, " + printable.Name(key) + ", whose program is not here")
		}
	}
	if p.OID == "" || p.Size < 0 {
		return refuse("it has no oid or no size")
	}
	return p, nil
}

// Server is where the files are that a repository has pointers to.
type Server struct {
	Local    string // a repository on this machine; "" if the files are on a server
	Endpoint string // the server's address without a slash at its end: https://host/repository.git/info/lfs
	Ref      string // the pushed ref, on which some servers base their rights; may be empty
	// Trusted means that it is the project's own server: its address need not be public.
	Trusted bool
	// Authorization is sent to the endpoint's scheme, host and port, and nowhere else; empty: nothing is.
	Authorization string
}
