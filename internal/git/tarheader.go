package git

import (
	"crypto/sha1" //nolint:gosec // a name, as git gives it
	"fmt"
	"strings"
)

// tarFile is what a header of an archive says.
type tarFile struct {
	name  string
	link  string // where a symbolic link leads
	kind  byte
	mode  int64
	size  int64
	mtime int64
}

// comment writes the header with which git archive names the commit of an archive.
func (t *tarWriter) comment(commit string, mtime int64) error {
	text := paxRecord("comment", commit)
	if err := t.block(tarFile{name: "pax_global_header", kind: 'g', mode: 0o666, size: int64(len(text)), mtime: mtime},
		"", "pax_global_header"); err != nil {
		return err
	}
	return t.content(strings.NewReader(text))
}

// header writes what precedes a file's content, byte for byte as git archive does; but for names that are too
// long for tar's own header git takes the id of the content, which is not known here.
func (t *tarWriter) header(f tarFile) error {
	prefix, name := "", f.name
	extended := ""
	id := fmt.Sprintf("%x", sha1.Sum([]byte(f.name))) //nolint:gosec // as above
	if len(name) > 100 {
		at := splitName(name)
		if rest := len(name) - at - 1; at > 0 && rest <= 100 {
			prefix, name = name[:at], name[at+1:]
		} else {
			extended += paxRecord("path", f.name)
			name = id + ".data"
		}
	}
	link := f.link
	if len(link) > 100 {
		extended += paxRecord("linkpath", link)
		link = "see " + id + ".paxheader"
	}
	if f.size > maxTarSize {
		extended += paxRecord("size", fmt.Sprint(f.size))
	}
	if extended != "" {
		if err := t.block(tarFile{kind: 'x', mode: 0o666, size: int64(len(extended)), mtime: f.mtime}, "",
			id+".paxheader"); err != nil {
			return err
		}
		if err := t.content(strings.NewReader(extended)); err != nil {
			return err
		}
	}
	f.link = link
	if f.size > maxTarSize {
		f.size = 0
	}
	return t.block(f, prefix, name)
}

// splitName is where a name is cut in two for a header that has room for 155 and 100 bytes.
func splitName(name string) int {
	i := len(name)
	if i > 1 && name[i-1] == '/' {
		i--
	}
	for i = min(i, 155) - 1; i > 0 && name[i] != '/'; {
		i--
	}
	return i
}

func paxRecord(key, value string) string {
	n := len(key) + len(value) + 3
	for size := n + len(fmt.Sprint(n)); ; size++ {
		if record := fmt.Sprintf("%d %s=%s\n", size, key, value); len(record) == size {
			return record
		}
	}
}

// block writes one header.
func (t *tarWriter) block(f tarFile, prefix, name string) error {
	var b [tarBlock]byte
	field := func(at, width int, text string) { copy(b[at:at+width], text) }
	field(0, 100, name)
	field(100, 8, fmt.Sprintf("%07o", f.mode))
	field(108, 8, "0000000")
	field(116, 8, "0000000")
	field(124, 12, fmt.Sprintf("%011o", f.size))
	field(136, 12, fmt.Sprintf("%011o", f.mtime))
	b[156] = f.kind
	field(157, 100, f.link)
	field(257, 8, "ustar\x0000")
	field(265, 32, "root")
	field(297, 32, "root")
	field(329, 8, "0000000")
	field(337, 8, "0000000")
	field(345, 155, prefix)
	copy(b[148:156], "        ")
	sum := 0
	for _, c := range b {
		sum += int(c)
	}
	copy(b[148:156], fmt.Sprintf("%07o\x00", sum))
	return t.write(b[:])
}
