package repo

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/rpmflow/rpmflow/internal/rpmfile"
)

// FindRevision is a revision as the two repomd.xml in its directory describe it, for a repository whose state is lost.
// Whether it was pinned is not known.
func FindRevision(repomd, flatRepomd []byte) (Revision, error) {
	type data struct {
		Type     string `xml:"type,attr"`
		Checksum string `xml:"checksum"`
		Location struct {
			Href string `xml:"href,attr"`
		} `xml:"location"`
		Timestamp int64 `xml:"timestamp"`
		Size      int64 `xml:"size"`
	}
	type document struct {
		Revision int64  `xml:"revision"`
		Data     []data `xml:"data"`
	}
	fail := func(why string) (Revision, error) { return Revision{}, fmt.Errorf("repomd.xml: %s", why) }
	var byRevision, byDirectory document
	if err := errors.Join(xml.Unmarshal(repomd, &byRevision), xml.Unmarshal(flatRepomd, &byDirectory)); err != nil {
		return fail(err.Error())
	}
	if len(byRevision.Data) != int(flat) || len(byDirectory.Data) != int(flat) || byRevision.Revision <= 0 ||
		byRevision.Revision != byDirectory.Revision {
		return fail("it does not describe a revision")
	}
	sum := sha256.Sum256(repomd)
	r := Revision{Number: byRevision.Revision, Repomd: hex.EncodeToString(sum[:]),
		Published: time.Unix(byRevision.Data[0].Timestamp, 0).UTC()}
	for k, d := range append(byRevision.Data, byDirectory.Data[0]) {
		name := path.Base(d.Location.Href)
		if d.Type != kind(k).name() || d.Location.Href != "repodata/"+name || d.Size <= 0 || !isSHA256(d.Checksum) ||
			!strings.HasPrefix(name, d.Checksum+"-"+d.Type+".xml") {
			return fail(fmt.Sprintf("it names %.200q as %q", d.Location.Href, d.Type))
		}
		r.Files = append(r.Files, FileInfo{name, d.Size, d.Checksum})
	}
	return r, nil
}

func isSHA256(sum string) bool {
	raw, err := hex.DecodeString(sum)
	return err == nil && len(raw) == 32 && hex.EncodeToString(raw) == sum
}

// FindEntries are the packages that a revision's first file of metadata, given by its name, describes. Metadata do not
// say which builds have made them.
func FindEntries(name string, r io.Reader) (entries []Entry, err error) {
	if r, err = decompress(name, r); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	type pkg struct {
		Name    string `xml:"name"`
		Arch    string `xml:"arch"`
		Version struct {
			Epoch int    `xml:"epoch,attr"`
			Ver   string `xml:"ver,attr"`
			Rel   string `xml:"rel,attr"`
		} `xml:"version"`
		Checksum string `xml:"checksum"`
		Time     struct {
			File int64 `xml:"file,attr"`
		} `xml:"time"`
		Size struct {
			Package int64 `xml:"package,attr"`
		} `xml:"size"`
		Location struct {
			Href string `xml:"href,attr"`
		} `xml:"location"`
	}
	d := xml.NewDecoder(io.LimitReader(r, maxOpen))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return entries, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		start, ok := token.(xml.StartElement)
		if !ok || start.Name.Local != "package" {
			continue
		}
		var p pkg
		if err := d.DecodeElement(&p, &start); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		e := Entry{Origin: Origin{Built: time.Unix(p.Time.File, 0).UTC()}}
		e.ID = ID{rpmfile.NEVRA{Name: p.Name, Epoch: p.Version.Epoch, Version: p.Version.Ver, Release: p.Version.Rel,
			Arch: p.Arch}, p.Checksum, p.Size.Package}
		if !isSHA256(e.Checksum) || p.Location.Href != "../../"+e.Object() {
			return nil, fmt.Errorf("%s: the package %.200q is damaged", name, e.NEVRA)
		}
		entries = append(entries, e)
	}
}

func decompress(name string, r io.Reader) (io.Reader, error) {
	if strings.HasSuffix(name, Gzip.suffix()) {
		return gzip.NewReader(r)
	}
	d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxOpen))
	if err != nil {
		return nil, err
	}
	return d, nil // without goroutines, nothing is left of it
}

// Restart is the state from which a repository is made again as its next revision: with the revisions that there are
// and without packages. Those that it has had are like ones that are removed now: their files stay as long as a client
// may ask for them, and one that is added again is not removed.
func (s *State) Restart(c Compression, arches []string, now time.Time) *State {
	n := *s
	n.Compression, n.Arches, n.Frames = c, arches, nil
	n.Removed = slices.Clone(s.Removed)
	for _, e := range s.Entries() {
		n.Removed = append(n.Removed, Removed{e, s.Revision + 1, now.UTC().Truncate(time.Second)})
	}
	return &n
}

// Found puts a state together from the revisions that were found, and the packages of each, by the revision's number.
// The packages of the newest one are in no frame, and so in none of the state's entries: it can only be restarted.
func Found(revisions []Revision, packages map[int64][]Entry, last int64, now time.Time) *State {
	s := &State{Format: 1, Revision: last, Revisions: slices.Clone(revisions)}
	slices.SortFunc(s.Revisions, func(a, b Revision) int { return cmp.Compare(a.Number, b.Number) })
	known := map[string]int{} // where in Removed, by object
	for i, r := range s.Revisions {
		without, at := last+1, now.UTC().Truncate(time.Second)
		if i+1 < len(s.Revisions) {
			without, at = s.Revisions[i+1].Number, s.Revisions[i+1].Published
		}
		for _, e := range packages[r.Number] {
			j, ok := known[e.Object()]
			if !ok {
				j = len(s.Removed)
				known[e.Object()] = j
				e.Since = r.Number
				s.Removed = append(s.Removed, Removed{Entry: e})
			}
			s.Removed[j].Revision, s.Removed[j].At = without, at
		}
	}
	return s
}
