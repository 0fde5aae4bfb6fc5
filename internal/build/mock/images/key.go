package images

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
)

// KeyLength is how much of a digest is enough to name an image on one engine.
const KeyLength = 32

// RootKey names the root that is made from a configuration with this digest. Other installations have other roots.
func (s *Store) RootKey(config string) string {
	sum := sha256.Sum256([]byte(s.s.Installation + " " + config))
	return hex.EncodeToString(sum[:])[:KeyLength]
}

// Requirements are what is installed into a root for a package.
type Requirements struct {
	Project, Package string
	NEVRA            string   // if the root's BuildRequires depend on the package's name, else empty
	Requires         []string // with versions
	Repositories     []string // configuration of the build's own repositories
}

// DependenciesKey distinguishes what is installed into an image: by the image, the package and its requirements. No
// package shares an image with another: its own code makes the list of its requirements.
func (s *Store) DependenciesKey(from Image, r Requirements) string {
	h := sha256.New()
	fmt.Fprintf(h, "%q %q %q %q", s.s.Installation, from.ID, r.Project, r.Package)
	if r.NEVRA != "" {
		fmt.Fprintf(h, " %q", r.NEVRA)
	}
	fmt.Fprintf(h, " %q", slices.Compact(slices.Sorted(slices.Values(r.Requires))))
	for _, content := range r.Repositories {
		fmt.Fprintf(h, " %q", content)
	}
	return hex.EncodeToString(h.Sum(nil))[:KeyLength]
}
