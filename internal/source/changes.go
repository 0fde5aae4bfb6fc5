package source

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/git"
)

// Changed lists the paths of the files that differ between a commit of the repository and the one that the request
// names.
func (s *Store) Changed(ctx context.Context, req Request, before string) ([]string, error) {
	changed, err := s.mirrors.Changed(ctx, req.commit(), before)
	if err != nil {
		return nil, fmt.Errorf("project %q: %w", req.Project, err)
	}
	return changed, nil
}

// SRPMFile is an SRPM in a repository.
type SRPMFile struct {
	Path string
	Name string // as its header says; empty where it has none that can be read
}

// SourcePackages lists the source packages of a commit that are built one by one. In layout auto there are none where
// the tree has a spec.
func (s *Store) SourcePackages(ctx context.Context, req Request) ([]SRPMFile, error) {
	var list []SRPMFile
	err := s.mirrors.Read(ctx, req.commit(), func(c *git.Commit) error {
		list = nil
		at, err := findDirectory(c, req.Sources.Directory)
		if err != nil {
			return err
		}
		if req.Layout != rpmflow.LayoutSRPM {
			var nothing *nothingFound
			if _, err := findSpec(ctx, c, at, req.Spec); !errors.As(err, &nothing) {
				return err // nil where there is one
			}
		}
		files, err := findSRPMs(ctx, c, at, req.Sources.SRPMs)
		if err != nil {
			return err
		}
		for _, f := range files {
			in, err := c.Open(f.Entry)
			if err != nil {
				return err
			}
			list = append(list, SRPMFile{f.Path, headerName(in)})
			_ = in.Close() // it was read only
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("project %q: %w", req.Project, err)
	}
	return list, nil
}

// headerName reads the name from the beginning of a package: a lead of 96 bytes, the header of signatures, padded to 8
// bytes, and the header with the tags ("RPM Package File Structure" in rpm's documentation). Empty where that is not
// what is there.
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
