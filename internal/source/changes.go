package source

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path"
	"unicode/utf8"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/rpmflow/rpmflow"
)

// Changed lists the paths of the files that differ between a commit of the repository and the one that the request names: those that
// were added, modified or deleted, a renamed one under both of its names. Whether the one comes from the other does not matter.
func (s *Store) Changed(ctx context.Context, req Request, before string) ([]string, error) {
	var after plumbing.Hash
	err := s.read(ctx, req, func(snap *snapshot) error {
		after = snap.commit.TreeHash
		return nil
	})
	var changed []string
	if err == nil {
		old := req
		old.Ref, old.Commit = "", before // no ref has it any more
		err = s.read(ctx, old, func(snap *snapshot) error {
			changed = nil // a second round begins anew
			return snap.diff(ctx, after, func(name string) { changed = append(changed, name) })
		})
	}
	if err != nil {
		return nil, fmt.Errorf("project %q: %w", req.Project, err)
	}
	return changed, nil
}

// diff calls f for each file in which another tree differs.
func (s *snapshot) diff(ctx context.Context, other plumbing.Hash, f func(name string)) error {
	seen := 0
	var visit func(dir string, old, now plumbing.Hash, depth int) error
	visit = func(dir string, old, now plumbing.Hash, depth int) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		before, err := s.entriesOf(old)
		if err != nil {
			return err
		}
		after, err := s.entriesOf(now)
		if err != nil {
			return err
		}
		if seen += len(before) + len(after); seen > maxEntries || depth > maxDepth {
			return rpmflow.Fail(rpmflow.FailureSource, "push less at once", "too much has changed to be looked at (more than %d entries or %d levels)", maxEntries, maxDepth)
		}
		was := make(map[string]object.TreeEntry, len(before))
		for _, e := range before {
			was[e.Name] = e
		}
		one := func(name string, from, to object.TreeEntry) error {
			var old, now plumbing.Hash
			if from.Mode == filemode.Dir {
				old = from.Hash
			}
			if to.Mode == filemode.Dir {
				now = to.Hash
			}
			if isFile(from) || isFile(to) {
				f(name)
			}
			if old == now {
				return nil
			}
			return visit(name, old, now, depth+1)
		}
		for _, e := range after {
			from := was[e.Name]
			delete(was, e.Name)
			if from.Hash == e.Hash && from.Mode == e.Mode {
				continue
			}
			if err := one(path.Join(dir, e.Name), from, e); err != nil {
				return err
			}
		}
		for _, e := range before {
			if _, gone := was[e.Name]; !gone {
				continue
			}
			if err := one(path.Join(dir, e.Name), e, object.TreeEntry{}); err != nil {
				return err
			}
		}
		return nil
	}
	return visit("", s.commit.TreeHash, other, 0)
}

// isFile says whether an entry is there and no directory.
func isFile(e object.TreeEntry) bool { return e.Mode != filemode.Empty && e.Mode != filemode.Dir }

// entriesOf lists a directory, also one that is not there.
func (s *snapshot) entriesOf(tree plumbing.Hash) ([]object.TreeEntry, error) {
	if tree.IsZero() {
		return nil, nil
	}
	return s.entries(tree)
}

// SRPMFile is an SRPM in a repository.
type SRPMFile struct {
	Path string
	Name string // as its header says; empty where it has none that can be read
}

// SourcePackages lists the source packages of a commit that are built one by one. In layout auto there are none where the tree has a spec.
func (s *Store) SourcePackages(ctx context.Context, req Request) ([]SRPMFile, error) {
	var list []SRPMFile
	err := s.read(ctx, req, func(snap *snapshot) error {
		list = nil
		at, err := snap.directory(req.Sources.Directory)
		if err != nil {
			return err
		}
		if req.Layout != rpmflow.LayoutSRPM {
			var nothing *none
			if _, err := findSpec(ctx, snap, at, req.Spec); !errors.As(err, &nothing) {
				return err // nil where there is one
			}
		}
		files, err := snap.srpms(ctx, at, req.Sources.SRPMs)
		if err != nil {
			return err
		}
		for _, f := range files {
			name, err := snap.packageName(f)
			if err != nil {
				return err
			}
			list = append(list, SRPMFile{f.path, name})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("project %q: %w", req.Project, err)
	}
	return list, nil
}

// packageName reads a source package's name out of the mirror.
func (s *snapshot) packageName(f file) (string, error) {
	blob, err := s.repo.BlobObject(f.hash)
	if err != nil {
		return "", &damage{fmt.Errorf("blob %s: %w", short(f.hash.String()), err)}
	}
	r, err := blob.Reader()
	if err != nil {
		return "", &damage{fmt.Errorf("blob %s: %w", short(f.hash.String()), err)}
	}
	defer func() { _ = r.Close() }()
	return headerName(r), nil
}

// headerName reads the name from the beginning of a package: a lead of 96 bytes, the header of signatures, padded to 8 bytes, and the header
// with the tags ("RPM Package File Structure" in rpm's documentation). Empty where that is not what is there.
func headerName(r io.Reader) string {
	const (
		lead, tagName, typeString, typeI18N = 96, 1000, 6, 9
		maxTags, maxData                    = 0xffff, 256 << 20 // rpm's own bounds of a header
		maxName                             = 128
	)
	magic := [4]byte{0x8e, 0xad, 0xe8, 1}
	skip := func(n int64) bool {
		_, err := io.CopyN(io.Discard, r, n)
		return err == nil
	}
	intro := func() (tags, data int64, ok bool) {
		var b [16]byte
		if _, err := io.ReadFull(r, b[:]); err != nil || [4]byte(b[:4]) != magic {
			return 0, 0, false
		}
		tags, data = int64(binary.BigEndian.Uint32(b[8:])), int64(binary.BigEndian.Uint32(b[12:]))
		return tags, data, tags <= maxTags && data <= maxData
	}
	if !skip(lead) {
		return ""
	}
	tags, data, ok := intro()
	if !ok || !skip(tags*16+(data+7)/8*8) {
		return ""
	}
	if tags, data, ok = intro(); !ok {
		return ""
	}
	at := int64(-1)
	for range tags {
		var b [16]byte
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return ""
		}
		tag, kind, offset := binary.BigEndian.Uint32(b[:]), binary.BigEndian.Uint32(b[4:]), int64(binary.BigEndian.Uint32(b[8:]))
		if tag == tagName && (kind == typeString || kind == typeI18N) && offset < data {
			at = offset
		}
	}
	if at < 0 || !skip(at) {
		return ""
	}
	text, err := io.ReadAll(io.LimitReader(r, min(data-at, maxName+1)))
	if err != nil {
		return ""
	}
	for i, c := range text {
		if c == 0 && utf8.Valid(text[:i]) {
			return string(text[:i])
		}
	}
	return ""
}
