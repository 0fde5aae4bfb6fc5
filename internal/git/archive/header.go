package archive

import (
	"crypto/sha1" //nolint:gosec // a name, as git gives it
	"fmt"
	"strings"
)

// File is what a header of an archive says.
type File struct {
	Name  string
	Link  string // where a symbolic link leads
	Kind  byte   // as in archive/tar
	Mode  int64
	Size  int64
	MTime int64
}

// Comment writes the header with which git archive names the commit of an archive.
func (t *TarWriter) Comment(commit string, mtime int64) error {
	text := paxRecord("comment", commit)
	if err := t.block(File{Name: "pax_global_header", Kind: 'g', Mode: 0o666, Size: int64(len(text)), MTime: mtime},
		"", "pax_global_header"); err != nil {
		return err
	}
	return t.Content(strings.NewReader(text))
}

// Header writes what precedes a file's content, byte for byte as git archive does; but for names that are too
// long for tar's own header git takes the id of the content, which is not known here.
func (t *TarWriter) Header(f File) error {
	prefix, name := "", f.Name
	extended := ""
	id := fmt.Sprintf("%x", sha1.Sum([]byte(f.Name))) //nolint:gosec // as above
	if len(name) > 100 {
		at := splitName(name)
		if rest := len(name) - at - 1; at > 0 && rest <= 100 {
			prefix, name = name[:at], name[at+1:]
		} else {
			extended += paxRecord("path", f.Name)
			name = id + ".data"
		}
	}
	link := f.Link
	if len(link) > 100 {
		extended += paxRecord("linkpath", link)
		link = "see " + id + ".paxheader"
	}
	if f.Size > maxTarSize {
		extended += paxRecord("size", fmt.Sprint(f.Size))
	}
	if extended != "" {
		if err := t.block(File{Kind: 'x', Mode: 0o666, Size: int64(len(extended)), MTime: f.MTime}, "",
			id+".paxheader"); err != nil {
			return err
		}
		if err := t.Content(strings.NewReader(extended)); err != nil {
			return err
		}
	}
	f.Link = link
	if f.Size > maxTarSize {
		f.Size = 0
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
func (t *TarWriter) block(f File, prefix, name string) error {
	var b [tarBlock]byte
	field := func(at, width int, text string) { copy(b[at:at+width], text) }
	field(0, 100, name)
	field(100, 8, fmt.Sprintf("%07o", f.Mode))
	field(108, 8, "0000000")
	field(116, 8, "0000000")
	field(124, 12, fmt.Sprintf("%011o", f.Size))
	field(136, 12, fmt.Sprintf("%011o", f.MTime))
	b[156] = f.Kind
	field(157, 100, f.Link)
	field(257, 8, "ustar\x0000")
	field(265, 32, "root")
	field(297, 32, "root")
	field(329, 8, "0000000")
	field(337, 8, "0000000")
	field(345, 155, prefix)
	sign(b[:])
	return t.write(b[:])
}

// sign writes the checksum of a header into it.
func sign(header []byte) {
	copy(header[148:156], "        ")
	sum := 0
	for _, c := range header {
		sum += int(c)
	}
	copy(header[148:156], fmt.Sprintf("%07o\x00", sum))
}
