package repo

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/rpmflow/rpmflow/internal/rpmfile"
)

// File is what is known of the file of a package without reading it.
type File struct {
	Checksum string    // SHA-256, hexadecimal
	Size     int64     // bytes
	Time     time.Time // from when it is
}

// Package is what the metadata of a repository say about one package. It is made once, stored beside the package, and
// put into the metadata of any repository as it is.
type Package struct {
	ID
	Primary   string // the elements <package> of the three files of metadata
	Filelists string
	Other     string
}

// ID says which package it is, byte for byte.
type ID struct {
	rpmfile.NEVRA
	Checksum string // SHA-256 of the file, which metadata call pkgid
	Size     int64  // of the file
}

// Describe makes the metadata of a package from its header, and reads no more of it. They are those of createrepo_c 1.2
// in content. A file that is not a package, or one with names that a client must not be shown, is an error.
func Describe(r io.Reader, f File) (*Package, error) {
	if sum, err := hex.DecodeString(f.Checksum); err != nil || hex.EncodeToString(sum) != f.Checksum || len(sum) != 32 {
		return nil, fmt.Errorf("describe package: %.100q is not a SHA-256", f.Checksum)
	}
	p := &Package{ID: ID{Checksum: f.Checksum, Size: f.Size}}
	var bad error
	err := rpmfile.ReadTags(r, func(tags *rpmfile.Tags) (err error) {
		if p.NEVRA, err = tags.NEVRA(); err != nil {
			return err
		}
		if !rpmfile.ValidName(p.fileName()) {
			bad = errors.New("no file of a package may be called like that")
			return nil
		}
		h := &header{Tags: tags}
		files := h.files()
		bad = errors.Join(p.primary(h, files, f), p.filelists(files), p.other(h), h.err, h.Err())
		return nil
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("describe package: %w", err)
	case bad != nil:
		return nil, fmt.Errorf("describe package %.200q: %w", p.NEVRA, bad)
	}
	return p, nil
}

func (p ID) fileName() string {
	return p.Name + "-" + p.Version + "-" + p.Release + "." + p.Arch + ".rpm"
}

// Object is where the package's file is stored, below the repository's directory. Storage services and proxies disagree
// about "+" and the like in URLs, and clients do not encode what metadata name, so the name is without these.
func (p ID) Object() string {
	return packagesDir + p.Checksum[:8] + "/" + strings.Map(func(r rune) rune {
		if strings.ContainsRune("._~-", r) || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' {
			return r
		}
		return '_'
	}, p.fileName())
}

// A package is found from a revision's directory, r/<n>/, by toPackages, and from the repository's by packagesDir.
const packagesDir, toPackages = "Packages/", "../../Packages/"

func decimal[N int | int64 | uint64](n N) string { return strconv.FormatInt(int64(n), 10) }

func (p *Package) version() []string {
	return []string{"epoch", decimal(p.Epoch), "ver", p.Version, "rel", p.Release}
}

func (p *Package) primary(h *header, files []file, f File) error {
	var w writer
	w.begin("package", "type", "rpm")
	w.element("name", p.Name)
	w.element("arch", p.Arch)
	w.element("version", "", p.version()...)
	w.element("checksum", p.Checksum, "type", "sha256", "pkgid", "YES")
	w.element("summary", h.Text(tagSummary))
	w.element("description", h.Text(tagDescription))
	w.element("packager", h.Text(tagPackager))
	w.element("url", h.Text(tagURL))
	w.element("time", "", "file", decimal(f.Time.Unix()), "build", decimal(h.Number(tagBuildTime)))
	w.element("size", "", "package", decimal(f.Size), "installed", decimal(h.Number(tagLongSize, tagSize)),
		"archive", decimal(h.Number(tagLongArchiveSize, tagArchiveSize, tagPayloadSize)))
	w.element("location", "", "href", toPackages+strings.TrimPrefix(p.Object(), packagesDir))
	w.begin("format")
	w.element("rpm:license", h.Text(tagLicense))
	w.element("rpm:vendor", h.Text(tagVendor))
	w.element("rpm:group", h.Text(tagGroup))
	w.element("rpm:buildhost", h.Text(tagBuildHost))
	w.element("rpm:sourcerpm", h.Text(tagSourceRPM))
	start, end := h.Range()
	w.element("rpm:header-range", "", "start", decimal(start), "end", decimal(end))
	dependencies := h.dependencies(files)
	for _, l := range lists() {
		if len(dependencies[l.element]) == 0 {
			continue
		}
		w.begin("rpm:" + l.element)
		for _, d := range dependencies[l.element] {
			d.write(&w)
		}
		w.end("rpm:" + l.element)
	}
	for _, f := range files {
		if isPrimary(f.name) {
			f.write(&w)
		}
	}
	w.end("format")
	w.end("package")
	p.Primary = w.String()
	return w.err
}

func (f file) write(w *writer) {
	if f.kind == "" {
		w.element("file", f.name)
		return
	}
	w.element("file", f.name, "type", f.kind)
}

func (p *Package) beginOther(w *writer) {
	w.begin("package", "pkgid", p.Checksum, "name", p.Name, "arch", p.Arch)
	w.element("version", "", p.version()...)
}

func (p *Package) filelists(files []file) error {
	var w writer
	p.beginOther(&w)
	for _, f := range files {
		f.write(&w)
	}
	w.end("package")
	p.Filelists = w.String()
	return w.err
}

func (p *Package) other(h *header) error {
	var w writer
	p.beginOther(&w)
	for _, c := range h.changes() {
		w.element("changelog", c.text, "author", c.author, "date", decimal(c.time))
	}
	w.end("package")
	p.Other = w.String()
	return w.err
}

// Bytes is the package as a value to store, compressed.
func (p *Package) Bytes() ([]byte, error) { return pack(p) }

// ParsePackage reads what Bytes has made.
func ParsePackage(stored []byte) (*Package, error) {
	p := &Package{}
	err := unpack(stored, p, func(d *json.Decoder) error {
		if err := d.Decode(&struct{}{}); err != nil {
			return err
		}
		return errors.New("there is another value")
	})
	if err != nil {
		return nil, fmt.Errorf("stored metadata of a package: %w", err)
	}
	for _, fragment := range []string{p.Primary, p.Filelists, p.Other} {
		if all := fragments([]byte(fragment)); len(all) != 1 || !bytes.Contains(all[0], []byte(p.Checksum)) ||
			len(p.Checksum) != 64 {
			return nil, fmt.Errorf("stored metadata of package %s: damaged", p.NEVRA)
		}
	}
	return p, nil
}

// fragments cuts the elements of packages apart: "<" and ">" are escaped in all texts.
func fragments(content []byte) [][]byte {
	all := bytes.SplitAfter(content, []byte("</package>\n"))
	if len(all[len(all)-1]) != 0 {
		return nil
	}
	return all[:len(all)-1]
}

// pack makes compressed JSON of some values, one after another: the encoder holds one of them at a time.
func pack(values ...any) ([]byte, error) {
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(window))
	if err != nil {
		return nil, err
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false) // the values are full of "<"
	for _, v := range values {
		err = errors.Join(err, e.Encode(v))
	}
	err = errors.Join(err, w.Close())
	return b.Bytes(), err
}

// unpack reads the first value, and has next decode the others until it returns io.EOF.
func unpack(stored []byte, v any, next func(*json.Decoder) error) error {
	r, err := zstd.NewReader(bytes.NewReader(stored), zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderMaxMemory(maxOpen), zstd.WithDecoderLowmem(true))
	if err != nil {
		return err
	}
	defer r.Close()
	d := json.NewDecoder(io.LimitReader(r, maxOpen))
	if err := d.Decode(v); err != nil {
		return err
	}
	for {
		if err := next(d); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}
