package repo

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"
)

// A frame is full with this many packages, or bytes before compression. A larger one is compressed a little better, and
// costs more when one of its packages changes.
const (
	fullPackages = 128
	fullBytes    = 4 << 20
)

// Publication is a revision that is made and not stored yet.
type Publication struct {
	State          *State
	Files          []Metadata
	Repomd         []byte // for the revision's directory, r/<n>/repodata
	FlatRepomd     []byte // for the repository's directory, from which packages are found by other names
	Added, Removed []Entry
}

// Metadata is one file of metadata, most of which is a copy of what was there before.
type Metadata struct {
	FileInfo
	chunks []chunk
}

// Open reads the file, any number of times. The reader is not an io.WriterTo, with which io.Copy into a file has a new
// buffer for each chunk.
func (m Metadata) Open() io.Reader {
	all := make([]io.Reader, len(m.chunks))
	for i, c := range m.chunks {
		all[i] = io.NewSectionReader(c.from, c.at, c.size)
	}
	return struct{ io.Reader }{io.MultiReader(all...)}
}

// chunk is a frame, where it is.
type chunk struct {
	from     io.ReaderAt
	at, size int64
	crc      uint32
}

// assembly makes the files of the next revision, frame by frame.
type assembly struct {
	*codec
	table  *crc32.Table
	frames []Frame
	chunks [kinds][]chunk

	// The frame in the making. Kind flat is made of primary.
	entries []Entry
	open    [flat][]byte
}

// Publish makes the next revision from the files of the newest one, which are given in the order of its Files. Of these
// it reads what it copies, and opens only the frames that change: the last if packages are added, and those of packages
// that are removed.
func (d *Draft) Publish(current []io.ReaderAt, now time.Time) (*Publication, error) {
	s := d.state
	if len(s.Frames) > 0 && len(current) != int(kinds) {
		return nil, fmt.Errorf("publish revision %d: %d of %d files are given", s.Revision+1, len(current), kinds)
	}
	codec, err := newCodec(s.Compression)
	if err != nil {
		return nil, err
	}
	now = now.UTC().Truncate(time.Second)
	a := &assembly{codec: codec, table: crc32.MakeTable(crc32.Castagnoli)}
	next := *s
	next.Revision++
	next.Back = 0
	p := &Publication{State: &next}
	if p.Removed, err = a.carryOver(d, current); err != nil {
		return nil, fmt.Errorf("publish revision %d: %w", next.Revision, err)
	}
	removed := append([]Removed{}, s.Removed...)
	for _, e := range p.Removed {
		removed = append(removed, Removed{e, next.Revision, now})
	}
	next.Removed = d.takeBack(removed)
	if err := a.append(d.added); err != nil {
		return nil, fmt.Errorf("publish revision %d: %w", next.Revision, err)
	}
	for _, add := range d.added {
		p.Added = append(p.Added, *add.entry)
	}
	next.Frames = a.frames
	if p.Files, err = a.files(&next); err != nil {
		return nil, fmt.Errorf("publish revision %d: %w", next.Revision, err)
	}
	p.Repomd, p.FlatRepomd = repomd(p.Files, primary, next.Revision, now), repomd(p.Files, flat, next.Revision, now)
	sum := sha256.Sum256(p.Repomd)
	r := Revision{Number: next.Revision, Repomd: hex.EncodeToString(sum[:]), Published: now}
	for _, f := range p.Files {
		r.Files = append(r.Files, f.FileInfo)
	}
	next.Revisions = append(next.Revisions[:len(next.Revisions):len(next.Revisions)], r)
	return p, nil
}

// takeBack leaves out files that packages which are added have again. Old revisions may have had them before.
func (d *Draft) takeBack(removed []Removed) (left []Removed) {
	added := map[string]*Entry{}
	for _, a := range d.added {
		added[a.Object()] = a.entry
	}
	for _, r := range removed {
		if e := added[r.Object()]; e != nil {
			e.Since = min(e.Since, r.Since)
		} else {
			left = append(left, r)
		}
	}
	return left
}

// carryOver copies the frames that stay as they are, and makes the others again.
func (a *assembly) carryOver(d *Draft, current []io.ReaderAt) (removed []Entry, err error) {
	at := d.state.Heads
	changes := changing(d)
	for i, f := range d.state.Frames {
		var chunks [kinds]chunk
		for k, part := range f.Parts {
			chunks[k] = chunk{current[k], at[k], part.Size, part.CRC}
			at[k] += part.Size
		}
		if !changes[i] {
			if err := a.flush(); err != nil {
				return nil, err
			}
			a.keep(f, chunks)
			continue
		}
		var all [flat][][]byte
		for k := range all {
			if all[k], err = a.read(f, chunks[k], f.Parts[k].Open); err != nil {
				return nil, fmt.Errorf("frame %d of %s: %w", i, kind(k).name(), err)
			}
		}
		for j, e := range f.Entries {
			if d.removed[e.NEVRA] {
				removed = append(removed, e)
			} else if err := a.add(e, [flat][]byte{all[primary][j], all[filelists][j], all[other][j]}); err != nil {
				return nil, err
			}
		}
	}
	return removed, nil
}

// changing are the frames that are made again: those that lose packages, the last one if it takes more, and neighbours
// of these if the two together are half full at most, so that there are never many small ones.
func changing(d *Draft) []bool {
	n := len(d.state.Frames)
	changes, left, size := make([]bool, n), make([]int, n), make([]int64, n)
	for i, f := range d.state.Frames {
		size[i] = f.Parts[primary].Open + f.Parts[filelists].Open + f.Parts[other].Open
		for _, e := range f.Entries {
			if !d.removed[e.NEVRA] {
				left[i]++
			}
		}
		changes[i] = left[i] < len(f.Entries) ||
			i == n-1 && len(d.added) > 0 && len(f.Entries) < fullPackages && size[i] < fullBytes
	}
	also := make([]bool, n)
	for i := range n {
		for _, j := range []int{i - 1, i + 1} {
			also[i] = also[i] || j >= 0 && j < n && changes[j] && left[i]+left[j] <= fullPackages/2 &&
				size[i]+size[j] <= fullBytes/2
		}
	}
	for i := range n {
		changes[i] = changes[i] || also[i]
	}
	return changes
}

func (a *assembly) keep(f Frame, chunks [kinds]chunk) {
	a.frames = append(a.frames, f)
	for k, c := range chunks {
		a.chunks[k] = append(a.chunks[k], c)
	}
}

// read opens one part of a frame, and gives what it says of each package.
func (a *assembly) read(f Frame, c chunk, open int64) ([][]byte, error) {
	compressed, err := io.ReadAll(io.NewSectionReader(c.from, c.at, c.size))
	if err != nil {
		return nil, err
	}
	if crc32.Checksum(compressed, a.table) != c.crc {
		return nil, errDamaged
	}
	content, err := a.codec.open(compressed)
	if err != nil {
		return nil, err
	}
	all := fragments(content)
	if int64(len(content)) != open || len(all) != len(f.Entries) {
		return nil, errDamaged
	}
	for i, e := range f.Entries {
		if !bytes.Contains(all[i], []byte(e.Checksum)) {
			return nil, errDamaged
		}
	}
	return all, nil
}

var errDamaged = errors.New("the file is not the one that was published: rebuild the repository")

func (a *assembly) append(added []addition) error {
	for _, p := range added {
		fragments := [flat][]byte{[]byte(p.Primary), []byte(p.Filelists), []byte(p.Other)}
		if err := a.add(*p.entry, fragments); err != nil {
			return err
		}
	}
	return a.flush()
}

func (a *assembly) add(e Entry, fragments [flat][]byte) error {
	size := 0
	for k, f := range fragments {
		size += len(a.open[k]) + len(f)
	}
	if len(a.entries) >= fullPackages || len(a.entries) > 0 && size > fullBytes {
		if err := a.flush(); err != nil {
			return err
		}
	}
	a.entries = append(a.entries, e)
	for k, f := range fragments {
		a.open[k] = append(a.open[k], f...)
	}
	return nil
}

// flush ends the frame in the making.
func (a *assembly) flush() error {
	if len(a.entries) == 0 {
		return nil
	}
	f := Frame{Entries: a.entries}
	var chunks [kinds]chunk
	for k := range kinds {
		content := a.open[min(k, other)]
		if k == flat {
			content = bytes.ReplaceAll(a.open[primary], []byte(`<location href="`+toPackages),
				[]byte(`<location href="`+packagesDir))
		}
		compressed, err := a.compress(content)
		if err != nil {
			return err
		}
		chunks[k] = a.chunk(compressed)
		f.Parts[k] = Part{Size: chunks[k].size, Open: int64(len(content)), CRC: chunks[k].crc}
	}
	a.keep(f, chunks)
	a.entries = nil
	for k := range a.open {
		a.open[k] = a.open[k][:0]
	}
	return nil
}

func (a *assembly) chunk(frame []byte) chunk {
	return chunk{bytes.NewReader(frame), 0, int64(len(frame)), crc32.Checksum(frame, a.table)}
}

// files puts a head and an end around the frames, and names each file by its checksum.
func (a *assembly) files(next *State) ([]Metadata, error) {
	packages := 0
	for _, f := range a.frames {
		packages += len(f.Entries)
	}
	var all []Metadata
	buffer := make([]byte, 64<<10)
	for k := range kinds {
		begin, end := k.around(packages)
		head, err := a.compress([]byte(begin))
		if err != nil {
			return nil, err
		}
		tail, err := a.compress([]byte(end))
		if err != nil {
			return nil, err
		}
		next.Heads[k] = int64(len(head))
		m := Metadata{chunks: append(append([]chunk{a.chunk(head)}, a.chunks[k]...), a.chunk(tail))}
		sum := sha256.New()
		for _, c := range m.chunks {
			crc := crc32.New(a.table)
			n, err := io.CopyBuffer(io.MultiWriter(sum, crc), io.NewSectionReader(c.from, c.at, c.size), buffer)
			if err != nil {
				return nil, fmt.Errorf("read %s: %w", k.name(), err)
			}
			if n != c.size || crc.Sum32() != c.crc {
				return nil, fmt.Errorf("read %s: %w", k.name(), errDamaged)
			}
			m.Size += n
		}
		m.SHA256 = hex.EncodeToString(sum.Sum(nil))
		m.Name = m.SHA256 + "-" + k.name() + ".xml" + next.Compression.suffix()
		all = append(all, m)
	}
	return all, nil
}
