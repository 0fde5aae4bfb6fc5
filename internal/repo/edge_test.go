package repo_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow/internal/build/enginetest"
	"github.com/rpmflow/rpmflow/internal/repo"
	"github.com/rpmflow/rpmflow/internal/rpmfile"
	"github.com/rpmflow/rpmflow/internal/rpmfile/rpmtest"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

func sum(content string) string {
	s := sha256.Sum256([]byte(content))
	return hex.EncodeToString(s[:])
}

func TestDescribeRefuses(t *testing.T) {
	t.Parallel()
	files := func(dir, name string, in ...uint32) []byte {
		return rpmtest.Package(rpmtest.Basic("x"), rpmtest.Files([]string{dir}, []string{name}, in, 0o100755, 0))
	}
	named := func(dir, name string) []byte { return files(dir, name, 0) }
	with := func(tags rpmtest.Tags) []byte { return rpmtest.Package(rpmtest.Basic("x"), tags) }
	good := named("/usr/bin/", "x")
	for name, c := range map[string]struct {
		content []byte
		why     string
	}{
		"nothing":                    {nil, "not a valid RPM"},
		"text":                       {[]byte(strings.Repeat("this is not a package ", 20)), "not a valid RPM"},
		"cut in the header":          {good[:len(good)-40], "not a valid RPM"},
		"a newline in a name":        {named("/usr/bin/", "a\nb"), "has a control character"},
		"an escape in a name":        {named("/usr/bin/", "\x1b[2J"), "has a control character"},
		"another directory":          {named("/usr/bin/../../etc/", "shadow"), `has ".." or "." in it`},
		"up":                         {named("/usr/", ".."), `has ".." or "." in it`},
		"a path for a name":          {named("/usr/", "a/b"), "is not one of a file in a directory"},
		"no name":                    {named("/usr/", ""), "is not one of a file in a directory"},
		"relative":                   {named("usr/", "x"), "is not absolute"},
		"a directory without an end": {named("/usr", "x"), "is not absolute"},
		"a wild directory":           {files("/a/", "x", 7), `"x" is in directory 7 of 1`},
		"a list that is too short":   {files("/a/", "x"), "files: lists of 1 and 0"},
		"a control character in the changelog": {with(rpmtest.Tags{1080: []uint32{1}, 1081: []string{"me"},
			1082: []string{"- form\ffeed"}}), `changelog has the control character '\f'`},
		"a control character in a requirement": {with(rpmtest.Tags{1049: []string{"a\x01"}, 1048: []uint32{0},
			1050: []string{""}}), `rpm:entry name has the control character '\x01'`},
		"a tag of another type": {with(rpmtest.Tags{1080: "x"}), "tag 1080"},
		"requirements without ends": {with(rpmtest.Tags{1049: []string{"a"}, 1048: []uint32{0, 0},
			1050: []string{""}}), "requires: lists of 1 and 2"},
		"a name that is a path": {with(rpmtest.Tags{1000: "../x"}), "no file of a package may be called like that"},
		"no version":            {rpmtest.Package(rpmtest.Tags{1000: "x", 1022: "noarch"}), "not a valid RPM"},
	} {
		p, err := repo.Describe(bytes.NewReader(c.content), repo.File{Checksum: sum(name)})
		if err == nil || !strings.Contains(err.Error(), c.why) || !strings.HasPrefix(err.Error(), "describe package") {
			t.Errorf("%s: %v, %v", name, p, err)
		}
		if wrong := strings.Contains(c.why, "not a valid RPM"); errors.Is(err, rpmfile.ErrNotRPM) != wrong {
			t.Errorf("%s: an ErrNotRPM: %v", name, !wrong)
		}
	}
	for _, checksum := range []string{"", "x", sum("x")[1:], strings.ToUpper(sum("x"))} {
		if _, err := repo.Describe(bytes.NewReader(good), repo.File{Checksum: checksum}); err == nil {
			t.Errorf("described with the checksum %q", checksum)
		}
	}
}

// What XML cannot hold, or a reader would change, is escaped; what is not UTF-8 becomes it.
func TestTexts(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"a & b <c> \"d\" 'e'": "a & b <c> \"d\" 'e'",
		"\ta\r\nb\n":          "\ta\r\nb\n",
		"ünï €":               "ünï €",
		"caf\xe9":             "café",
		"\xc3\xa9 and \xe9":   "Ã and é", // not UTF-8 as a whole; what Latin-1 does not define is left out
		"\xed\xa0\x80":        "í",       // a surrogate
		"\xef\xbf\xbf":        "ï",       // U+FFFF is not a character
		"]]>":                 "]]>",
	} {
		header := rpmtest.Package(rpmtest.Basic("x"), rpmtest.Tags{1020: in, 1080: []uint32{1},
			1081: []string{in + "|"}, 1082: []string{in}})
		p, err := repo.Describe(bytes.NewReader(header), repo.File{Checksum: sum("x"), Size: 7 << 30,
			Time: time.Unix(1, 0)})
		testkit.Must(t, err)
		var primary struct {
			URL  string `xml:"url"`
			Size struct {
				Package int64 `xml:"package,attr"`
			} `xml:"size"`
		}
		var other struct {
			Changelog struct {
				Author string `xml:"author,attr"`
				Text   string `xml:",chardata"`
			} `xml:"changelog"`
		}
		testkit.Must(t, xml.Unmarshal([]byte(p.Primary), &primary))
		testkit.Must(t, xml.Unmarshal([]byte(p.Other), &other))
		if primary.URL != want || other.Changelog.Text != want || other.Changelog.Author != want+"|" {
			t.Errorf("%q is %q, %q and %q", in, primary.URL, other.Changelog.Text, other.Changelog.Author)
		}
		if primary.Size.Package != 7<<30 {
			t.Errorf("size %d", primary.Size.Package)
		}
	}
}

func TestObject(t *testing.T) {
	t.Parallel()
	p := repo.ID{Checksum: sum("x")}
	p.NEVRA = rpmfile.NEVRA{Name: "gcc-c++", Epoch: 1, Version: "1.0~rc1^git%20", Release: "1", Arch: "x86_64"}
	if got, want := p.Object(), "Packages/"+sum("x")[:8]+"/gcc-c__-1.0~rc1_git_20-1.x86_64.rpm"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestStoredPackage(t *testing.T) {
	t.Parallel()
	p := synthetic(t, "x", "1", "")
	stored := testkit.Value(p.Bytes())(t)
	again, err := repo.ParsePackage(stored)
	if err != nil || *again != *p {
		t.Errorf("%+v, %v", again, err)
	}
	two := *p
	two.Other += p.Other
	for name, bad := range map[string][]byte{"nothing": nil, "cut": stored[:len(stored)-9], "text": []byte("x"),
		"two packages": testkit.Value(two.Bytes())(t), "empty": testkit.Value((&repo.Package{}).Bytes())(t)} {
		if p, err := repo.ParsePackage(bad); err == nil || !strings.HasPrefix(err.Error(), "stored metadata of ") {
			t.Errorf("%s: %v, %v", name, p, err)
		}
	}
}

func TestStoredState(t *testing.T) {
	t.Parallel()
	of := func(s repo.State) []byte { return testkit.Value(s.Bytes())(t) }
	published := repo.State{Format: 1, Compression: repo.Zstd, Revision: 1, Frames: make([]repo.Frame, 1),
		Revisions: []repo.Revision{{Number: 1, Files: make([]repo.FileInfo, 4)}}}
	for name, bad := range map[string][]byte{"nothing": nil, "text": []byte("x"),
		"of tomorrow":          of(repo.State{Format: 2, Compression: repo.Zstd}),
		"a compression":        of(repo.State{Format: 1, Compression: "lzma"}),
		"a frame of no length": of(published),
		"a checksum, cut":      of(repo.State{Format: 1, Compression: repo.Zstd, Removed: make([]repo.Removed, 1)}),
		"no files":             of(repo.State{Format: 1, Compression: repo.Zstd, Revision: 1}),
	} {
		if s, err := repo.ParseState(bad); err == nil || !strings.HasPrefix(err.Error(), "state of a repository: ") {
			t.Errorf("%s: %v, %v", name, s, err)
		}
	}
}

// A package is what a foreign build has made: its metadata are well-formed, or it is refused.
func FuzzDescribe(f *testing.F) {
	f.Add(rpmtest.Package(rpmtest.Basic("x"), rpmtest.Files([]string{"/usr/bin/", "/etc/"}, []string{"x", "y"},
		[]uint32{0, 1}, 0o100755, 64)))
	f.Add(rpmtest.Package(rpmtest.Basic("x"), rpmtest.Tags{1048: []uint32{8, 1 << 9},
		1049: []string{"a", "libc.so.6(GLIBC_2.4)(64bit)"}, 1050: []string{"1:2-3", ""}, 1080: []uint32{5, 5},
		1081: []string{"me ", "\xe9"}, 1082: []string{"<x>", "\r"}}))
	f.Add(enginetest.Package("hello", "src"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, content []byte) {
		p, err := repo.Describe(bytes.NewReader(content), repo.File{Checksum: sum("x")})
		if err != nil {
			return
		}
		if p.Arch == "src" {
			p.Arch = "noarch"
		}
		for _, fragment := range []string{p.Primary, p.Filelists, p.Other} {
			d := xml.NewDecoder(strings.NewReader(fragment))
			for err == nil {
				_, err = d.Token()
			}
			if !errors.Is(err, io.EOF) {
				t.Errorf("%v in %q", err, fragment)
			}
			err = nil
		}
		s := repo.New(repo.Zstd, p.Arch)
		draft := s.Edit()
		testkit.Must(t, draft.Add(p, repo.Origin{}, repo.Rules{}))
		published, err := draft.Publish(nil, day)
		testkit.Must(t, err)
		var files []io.ReaderAt
		for _, m := range published.Files {
			files = append(files, bytes.NewReader(testkit.Value(io.ReadAll(m.Open()))(t)))
		}
		if p.Arch != "x86_64" {
			return
		}
		draft = published.State.Edit()
		testkit.Must(t, draft.Add(synthetic(t, "another", "1", ""), repo.Origin{}, repo.Rules{}))
		_, err = draft.Publish(files, day) // opens the frame with the package
		testkit.Must(t, err)
	})
}

// What is stored may have been altered: it is refused, or nothing is made of it.
func FuzzStored(f *testing.F) {
	k := keep(f, repo.Zstd)
	d := k.state.Edit()
	p := synthetic(f, "x", "1", "")
	testkit.Must(f, d.Add(p, repo.Origin{}, repo.Rules{}))
	k.publish(d)
	for _, v := range []any{p, k.state} {
		f.Add(testkit.Value(json.Marshal(v))(f))
		f.Add(repo.Packed(v))
	}
	f.Fuzz(func(t *testing.T, stored []byte) {
		for _, content := range [][]byte{stored, repo.Packed(json.RawMessage(stored))} { // JSON is altered more easily
			if p, err := repo.ParsePackage(content); err == nil && (p.Checksum == "" || p.Primary == "") {
				t.Errorf("%+v", p)
			}
			s, err := repo.ParseState(content)
			if err != nil {
				continue
			}
			d := s.Edit()
			for _, e := range s.Entries() {
				d.Remove(e.NEVRA)
			}
			_, _ = d.Publish(k.files, day) // must return
		}
	})
}
