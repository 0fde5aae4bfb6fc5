package repo_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/rpmflow/rpmflow/internal/repo"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// need skips a test without a program, and says what goes untested.
func need(t *testing.T, program, what string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("needs %s: %s goes untested; install it: %v", program, what, err)
	}
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// built makes the packages of a spec in testdata, and returns their files.
func built(t *testing.T, spec string, args ...string) []string {
	t.Helper()
	need(t, "rpmbuild", "what packages say of themselves")
	dir := t.TempDir()
	testkit.Write(t, filepath.Join(dir, "SOURCES", "a file.txt"), "a source\n")
	run(t, "rpmbuild", slices.Concat([]string{"-ba", "--nodeps", "--define", "_topdir " + dir,
		"--define", "_invalid_encoding_terminates_build 0"}, args, []string{filepath.Join("testdata", spec)})...)
	return glob(t, dir, "*.rpm")
}

// glob lists the files with such a name below a directory.
func glob(t *testing.T, dir, pattern string) (files []string) {
	t.Helper()
	testkit.Must(t, filepath.WalkDir(dir, func(file string, e fs.DirEntry, err error) error {
		if ok, _ := filepath.Match(pattern, e.Name()); err == nil && ok && !e.IsDir() {
			files = append(files, file)
		}
		return err
	}))
	return files
}

// describe reads a package's file.
func describe(t *testing.T, file string) *repo.Package {
	t.Helper()
	content := testkit.Value(os.ReadFile(file))(t)
	info := testkit.Value(os.Stat(file))(t)
	sum := sha256.Sum256(content)
	p, err := repo.Describe(bytes.NewReader(content), repo.File{Checksum: hex.EncodeToString(sum[:]),
		Size: info.Size(), Time: info.ModTime()})
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return p
}

// store writes a publication into the directory of a repository, as a revision and as a flat repository.
func store(t *testing.T, dir string, p *repo.Publication) {
	t.Helper()
	revision := filepath.Join(dir, "r", fmt.Sprint(p.State.Revision), "repodata")
	for _, in := range []string{revision, filepath.Join(dir, "repodata")} {
		for _, f := range p.Files {
			testkit.Write(t, filepath.Join(in, f.Name), string(testkit.Value(io.ReadAll(f.Open()))(t)))
		}
	}
	testkit.Write(t, filepath.Join(revision, "repomd.xml"), string(p.Repomd))
	testkit.Write(t, filepath.Join(dir, "repodata", "repomd.xml"), string(p.FlatRepomd))
}

// current opens the files of the newest revision.
func current(t *testing.T, dir string, s *repo.State) (all []io.ReaderAt) {
	t.Helper()
	for _, f := range s.Files() {
		content := testkit.Value(os.ReadFile(filepath.Join(dir, "repodata", f.Name)))(t)
		all = append(all, bytes.NewReader(content))
	}
	return all
}

// metadata are the packages in a file of metadata by id, as lines of their elements, attributes and texts.
func metadata(t *testing.T, repodata, kind string) map[string]string {
	t.Helper()
	var repomd struct {
		Data []struct {
			Type     string `xml:"type,attr"`
			Location struct {
				Href string `xml:"href,attr"`
			} `xml:"location"`
		} `xml:"data"`
	}
	testkit.Must(t, xml.Unmarshal(testkit.Value(os.ReadFile(filepath.Join(repodata, "repomd.xml")))(t), &repomd))
	for _, d := range repomd.Data {
		if d.Type == kind {
			return parsed(t, content(t, filepath.Join(repodata, "..", d.Location.Href)))
		}
	}
	t.Fatalf("%s has no %s", repodata, kind)
	return nil
}

// content decompresses a file with a library that is not the one under test if there is one.
func content(t *testing.T, file string) []byte {
	t.Helper()
	f := testkit.Value(os.Open(file))(t)
	defer f.Close()
	var r io.Reader
	if strings.HasSuffix(file, ".zst") {
		if zstdcat, err := exec.LookPath("zstdcat"); err == nil {
			return []byte(run(t, zstdcat, file))
		}
		r = testkit.Value(zstd.NewReader(f))(t)
	} else {
		r = testkit.Value(gzip.NewReader(f))(t)
	}
	return testkit.Value(io.ReadAll(r))(t)
}

func parsed(t *testing.T, content []byte) map[string]string {
	t.Helper()
	all := map[string]string{}
	var id string
	var lines []string
	claimed, depth := "", 0
	var path []string
	d := xml.NewDecoder(bytes.NewReader(content))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v in %.300s", err, content)
		}
		switch x := token.(type) {
		case xml.StartElement:
			depth++
			path = append(path, x.Name.Local)
			slices.SortFunc(x.Attr, func(a, b xml.Attr) int { return strings.Compare(a.Name.Local, b.Name.Local) })
			line := strings.Join(path, "/")
			for _, a := range x.Attr {
				line += fmt.Sprintf(" %s=%q", a.Name.Local, a.Value)
				if a.Name.Local == "packages" {
					claimed = a.Value
				}
				if depth == 2 && a.Name.Local == "pkgid" {
					id = a.Value
				}
			}
			if depth == 2 {
				lines = nil
			}
			lines = append(lines, line)
		case xml.CharData:
			text := string(x)
			if strings.TrimSpace(text) == "" {
				break
			}
			if path[len(path)-1] == "checksum" {
				id = text
			}
			lines = append(lines, fmt.Sprintf("  %q", text))
		case xml.EndElement:
			if depth == 2 {
				all[id] = strings.Join(lines, "\n")
			}
			depth--
			path = path[:depth]
		}
	}
	if claimed != fmt.Sprint(len(all)) {
		t.Errorf("packages=%q, and there are %d", claimed, len(all))
	}
	return all
}

// compare says which packages differ.
func compare(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	for id, w := range want {
		g, ok := got[id]
		if !ok {
			t.Errorf("%s: package %s is missing:\n%s", what, id, w)
			continue
		}
		a, b := strings.Split(g, "\n"), strings.Split(w, "\n")
		for i := range max(len(a), len(b)) {
			x, y := "nothing", "nothing"
			if i < len(a) {
				x = a[i]
			}
			if i < len(b) {
				y = b[i]
			}
			if x != y {
				t.Errorf("%s: line %d of %s\n got %s\nwant %s\nbefore: %s", what, i, id, x, y, a[max(0, i-2)])
				break
			}
		}
	}
	if len(got) != len(want) {
		t.Errorf("%s: %d packages, want %d", what, len(got), len(want))
	}
}

// published puts packages' files into a repository in a directory, and publishes it.
func published(t *testing.T, dir string, c repo.Compression, files ...string) *repo.State {
	t.Helper()
	s := repo.New(c, "noarch", "x86_64", "src")
	d := s.Edit()
	for i, file := range files {
		p := describe(t, file)
		object := filepath.Join(dir, p.Object())
		testkit.Must(t, os.MkdirAll(filepath.Dir(object), 0o755))
		testkit.Must(t, os.Link(file, object))
		testkit.Must(t, d.Add(p, repo.Origin{Package: "x", Build: fmt.Sprint(i)}, repo.Rules{}))
	}
	p, err := d.Publish(nil, time.Unix(1790000000, 0))
	testkit.Must(t, err)
	store(t, dir, p)
	return p.State
}

// createrepo has createrepo_c write the metadata of a repository's packages elsewhere.
func createrepo(t *testing.T, dir string) string {
	t.Helper()
	need(t, "createrepo_c", "whether metadata are those of createrepo_c")
	out := t.TempDir()
	run(t, "createrepo_c", "--no-database", "--outputdir", out, dir)
	return filepath.Join(out, "repodata")
}

// createrepo_c is the judge of what is in the metadata.
func TestMetadataAreThoseOfCreaterepo(t *testing.T) {
	t.Parallel()
	files := built(t, "full.spec")
	files = append(files, built(t, "plain.spec", "--define", "release 1")...)
	files = append(files, crafted(t, t.TempDir())...)
	for _, c := range []repo.Compression{repo.Zstd, repo.Gzip} {
		dir := t.TempDir()
		published(t, dir, c, files...)
		theirs := createrepo(t, dir)
		for _, kind := range []string{"primary", "filelists", "other"} {
			want := metadata(t, theirs, kind)
			if len(want) != len(files) {
				t.Errorf("createrepo_c has %d of %d packages", len(want), len(files))
			}
			compare(t, string(c)+" "+kind, metadata(t, filepath.Join(dir, "repodata"), kind), want)
			got := metadata(t, filepath.Join(dir, "r/1/repodata"), kind)
			for id := range got {
				got[id] = strings.ReplaceAll(got[id], `href="../../Packages/`, `href="Packages/`)
			}
			compare(t, string(c)+" revision's "+kind, got, want)
		}
	}
}

// Newer versions of createrepo_c than Debian's also mark what is needed before and after a whole transaction.
func TestRequirementsOfTransactions(t *testing.T) {
	t.Parallel()
	files := built(t, "transactions.spec")
	for _, file := range files {
		p := describe(t, file)
		if p.Arch == "src" {
			continue
		}
		for name, pre := range map[string]string{"in-pretrans": ` pre="1"`, "in-posttrans": ` pre="1"`,
			"/bin/sh": ` pre="1"`, "in-preun": ""} {
			if line := `<rpm:entry name="` + name + `"` + pre + "/>\n"; !strings.Contains(p.Primary, line) {
				t.Errorf("no %s in\n%s", line, p.Primary)
			}
		}
	}
}

// dnf reads frames one after another, zstd or gzip, and installs from a revision and from the flat repository.
func TestDnfInstalls(t *testing.T) {
	t.Parallel()
	need(t, "dnf", "whether clients read the metadata")
	files := slices.Concat(built(t, "plain.spec", "--define", "release 1"), built(t, "full.spec"))
	for _, c := range []repo.Compression{repo.Zstd, repo.Gzip} {
		dir := t.TempDir()
		s := published(t, dir, c, files...)
		last := built(t, "plain.spec", "--define", "release 2")
		d := s.Edit()
		for _, file := range last {
			p := describe(t, file)
			testkit.Write(t, filepath.Join(dir, p.Object()), string(testkit.Value(os.ReadFile(file))(t)))
			testkit.Must(t, d.Add(p, repo.Origin{Build: "last"}, repo.Rules{}))
		}
		p, err := d.Publish(current(t, dir, s), time.Unix(1790000060, 0))
		testkit.Must(t, err)
		store(t, dir, p)
		for base, want := range map[string]string{"r/1": "plain-0:1-1.noarch", "r/2": "plain-0:1-2.noarch",
			"": "plain-0:1-2.noarch"} {
			root := t.TempDir()
			dnf := func(args ...string) string {
				return run(t, "dnf", append([]string{"--quiet", "--assumeyes", "--nogpgcheck", "--installroot=" + root,
					"--releasever=1", "--setopt=reposdir=/nowhere", "--setopt=cachedir=" + root + "/cache",
					"--repofrompath=x,file://" + dir + "/" + base}, args...)...)
			}
			got := strings.Fields(dnf("repoquery", "--latest-limit=1", "--arch=noarch", "plain"))
			if !slices.Equal(got, []string{want}) {
				t.Errorf("%s %q: dnf sees %q, want %q", c, base, got, want)
			}
			got = strings.Fields(dnf("repoquery", "--whatrequires", "in-postun"))
			if len(got) != 1 || !strings.HasPrefix(got[0], "full-3:1.0~rc1") {
				t.Errorf("%s %q: %q require in-postun", c, base, got)
			}
			if os.Geteuid() == 0 {
				dnf("install", "plain")
				release := strings.TrimSpace(string(testkit.Value(os.ReadFile(root + "/usr/share/plain/release"))(t)))
				if !strings.HasSuffix(want, "-"+release+".noarch") {
					t.Errorf("%s %q: dnf has installed release %s, want %s", c, base, release, want)
				}
			}
		}
	}
}
