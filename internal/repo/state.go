package repo

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// State is everything about a repository that is not in its packages: which packages it has, where in the files of
// metadata they are, and what may be removed when. It is one object in the storage, written on the condition that it is
// still the one that was read.
type State struct {
	Format      int // of this object: 1
	Compression Compression
	Arches      []string   // of the packages that it takes, such as x86_64 and noarch, or src
	Revision    int64      // the number of the newest revision; 0 before the first
	Back        int64      `json:",omitempty"` // the number of the revision that clients see; 0: the newest
	Revisions   []Revision // those that are still there, oldest first
	Frames      []Frame    // in the order in which their packages were added
	Heads       [kinds]int64
	Removed     []Removed // packages whose files are still there
	// Leaving are objects that nothing names any more, with the time at which their removal has begun. They may go at
	// any moment, so that nobody may use them.
	Leaving map[string]time.Time `json:",omitempty"`
}

// Revision is the metadata of one publication.
type Revision struct {
	Number    int64
	Repomd    string // SHA-256 of its repomd.xml
	Published time.Time
	Pinned    bool `json:",omitempty"` // kept until it is not
	Files     []FileInfo
}

// Name is what the revision's directory is called. Two programs that make a revision of the same number at once write
// to different directories, and one of them wins.
func (r Revision) Name() string { return fmt.Sprintf("%d-%.8s", r.Number, r.Repomd) }

// Newest is the newest revision; the zero value if there is none.
func (s *State) Newest() Revision {
	if len(s.Revisions) == 0 {
		return Revision{}
	}
	return s.Revisions[len(s.Revisions)-1]
}

// Shown is the revision that clients see.
func (s *State) Shown() Revision {
	for _, r := range s.Revisions {
		if r.Number == s.Back {
			return r
		}
	}
	return s.Newest()
}

// FileInfo is one file of metadata.
type FileInfo struct {
	Name   string
	Size   int64
	SHA256 string
}

// Entry is a package in a repository.
type Entry struct {
	ID
	Origin
	Since int64 // the first revision that has it
}

// Origin is where a package comes from.
type Origin struct {
	Package string    // what the spec that made it is called in the project
	Build   string    // id
	Built   time.Time // when the build ended
}

// Removed is a package that the newest revision does not have.
type Removed struct {
	Entry
	Revision int64 // the first without it
	At       time.Time
}

// Frame is a run of packages whose metadata are compressed together, one after another in each of the files.
type Frame struct {
	Entries []Entry
	Parts   [kinds]Part
}

// Part is a frame in one of the files.
type Part struct {
	Size int64  // compressed
	Open int64  // not compressed
	CRC  uint32 // Castagnoli's, of the compressed bytes
}

// kind is one of the files of metadata, in the order in which they are written.
type kind int

// The packages, their files, their changelogs; and the packages as they are found from the repository's directory.
const (
	primary kind = iota
	filelists
	other
	flat
	kinds
)

// New is the state of a repository that has no revision yet.
func New(c Compression, arches ...string) *State {
	return &State{Format: 1, Compression: c, Arches: arches}
}

// ErrNewer means that a later version of this program has made a state.
var ErrNewer = errors.New("a newer version of rpmflow has made it")

// ParseState reads what Bytes has made.
func ParseState(stored []byte) (*State, error) {
	s := &State{}
	err := unpack(stored, s, func(d *json.Decoder) error {
		var f Frame
		if err := d.Decode(&f); err != nil {
			return err
		}
		s.Frames = append(s.Frames, f)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("state of a repository: %w", err)
	}
	if s.Format > 1 {
		return nil, fmt.Errorf("state of a repository: format %d: %w", s.Format, ErrNewer)
	}
	if s.Format != 1 {
		return nil, errors.New("state of a repository: it has no format")
	}
	if _, err := newCodec(s.Compression); err != nil {
		return nil, fmt.Errorf("state of a repository: %w", err)
	}
	if files := s.Files(); s.Revision < 0 || s.Revision > 0 && len(files) != int(kinds) ||
		s.Revision == 0 && len(s.Frames) > 0 {
		return nil, fmt.Errorf("state of a repository: revision %d has %d files", s.Revision, len(files))
	}
	for i, f := range s.Frames {
		for k, p := range f.Parts {
			if len(f.Entries) == 0 || p.Size <= 0 || p.Size > maxOpen || p.Open <= 0 || s.Heads[k] <= 0 {
				return nil, fmt.Errorf("state of a repository: frame %d is damaged", i)
			}
		}
	}
	entries := s.Entries()
	for _, r := range s.Removed {
		entries = append(entries, r.Entry)
	}
	for _, e := range entries {
		if len(e.Checksum) != 2*sha256.Size { // it is part of names
			return nil, fmt.Errorf("state of a repository: %s has the checksum %.80q", e.NEVRA, e.Checksum)
		}
	}
	return s, nil
}

// Files are those of the newest revision, which Publish makes the next one of.
func (s *State) Files() []FileInfo {
	if len(s.Revisions) == 0 {
		return nil
	}
	return s.Revisions[len(s.Revisions)-1].Files
}

// Bytes is the state as an object to store, compressed: everything but the frames, and then each of them, since all
// packages of a large repository are tens of megabytes of JSON.
func (s *State) Bytes() ([]byte, error) {
	head := *s
	head.Frames = nil
	values := []any{&head}
	for i := range s.Frames {
		values = append(values, &s.Frames[i])
	}
	return pack(values...)
}

// Entries are the packages, in the order in which they were added.
func (s *State) Entries() []Entry {
	n := 0
	for _, f := range s.Frames {
		n += len(f.Entries)
	}
	all := make([]Entry, 0, n)
	for _, f := range s.Frames {
		all = append(all, f.Entries...)
	}
	return all
}

// Swept is a state without what nobody needs any more: revisions that were replaced at least this long ago, except the
// newest `revisions` and pinned ones, and packages that were removed as long ago and are in no revision that stays. The
// caller notes in Leaving what it deletes, stores the state, and then deletes.
func (s *State) Swept(now time.Time, after time.Duration, revisions int) *State {
	n := *s
	n.Revisions, n.Removed = nil, nil
	for i, r := range s.Revisions {
		replaced := i+1 < len(s.Revisions) && now.Sub(s.Revisions[i+1].Published) >= after
		if !replaced || r.Pinned || r.Number == s.Back || len(s.Revisions)-i <= revisions {
			n.Revisions = append(n.Revisions, r)
		}
	}
	for _, r := range s.Removed {
		in := func(v Revision) bool { return r.Since <= v.Number && v.Number < r.Revision }
		if now.Sub(r.At) < after || slices.ContainsFunc(n.Revisions, in) {
			n.Removed = append(n.Removed, r)
		}
	}
	return &n
}
