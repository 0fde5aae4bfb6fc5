package spec

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/testkit/failtest"
)

// Output of several rpm versions for %prep.
var expansions = []struct{ name, text, file, dir string }{
	{"rpm 4.18", `Source0: https://example.org/foo-1.2.tar.gz
%prep
cd '/builddir/build/BUILD'
rm -rf 'foo-1.2-x'
/usr/lib/rpm/rpmuncompress -x /builddir/build/SOURCES/foo-1.2.tar.gz
STATUS=$?
if [ $STATUS -ne 0 ]; then
  exit $STATUS
fi
cd 'foo-1.2-x'
/bin/chmod -Rf a+rX,u+w,g-w,o-w .
%build
cd 'elsewhere'
`, "foo-1.2.tar.gz", "foo-1.2-x"},
	{"rpm 4.20", `Source: foo.tar.gz
%prep
cd '/builddir/build/BUILD/foo-1.2-build'
rm -rf 'foo-main'
/usr/lib/rpm/rpmuncompress -x '/builddir/build/SOURCES/foo.tar.gz'
cd 'foo-main'
rm -rf '/builddir/build/BUILD/foo-1.2-build/SPECPARTS'
/usr/bin/mkdir -p '/builddir/build/BUILD/foo-1.2-build/SPECPARTS'
`, "foo.tar.gz", "foo-main"},
	{"rpm 4.20 with SPECPARTS first", `Source: foo.tar.gz
%prep
cd '/builddir/build/BUILD/foo-1.2-build'
/usr/bin/mkdir -p '/builddir/build/BUILD/foo-1.2-build/SPECPARTS'
rm -rf 'foo-main'
/usr/bin/mkdir -p foo-main
cd foo-main
/usr/lib/rpm/rpmuncompress -x /builddir/build/SOURCES/foo.tar.gz
`, "foo.tar.gz", ""},
	{"gzip and tar", `Source: foo.tar.gz
%prep
cd '/builddir/build/BUILD'
rm -rf 'bar'
/usr/bin/gzip -dc '/builddir/build/SOURCES/foo.tar.gz' | /usr/bin/tar -xof -
STATUS=$?
cd 'bar'
`, "foo.tar.gz", "bar"},
	{"gzip and tar, -c", `Source: foo.tar.gz
%prep
cd /builddir/build/BUILD
rm -rf bar
/usr/bin/mkdir -p bar
cd bar
/usr/bin/gzip -dc /builddir/build/SOURCES/foo.tar.gz | /usr/bin/tar -xof -
cd deeper
`, "foo.tar.gz", ""},
	{"unzip", "Source: foo.zip\n%prep\ncd 'B'\ncd '/B'\n/usr/bin/unzip -qq '/S/foo.zip'\ncd 'bar'\n", "foo.zip", "bar"},
	{"raw", "Source: foo.tar\n%prep\n%setup -q -n foo-bar\n", "foo.tar", "foo-bar"},
	{"raw, default", "Source: foo.tar\n%prep\n%setup -q\n", "foo.tar", "foo-1.2"},
	{"raw, joined", "Source: foo.tar\n%prep\n%setup -qn bar\n", "foo.tar", "bar"},
	{"raw, joined value", "Source: foo.tar\n%prep\n%setup -nbar -q\n", "foo.tar", "bar"},
	{"raw, -c", "Source: foo.tar\n%prep\n%setup -qc -n bar\n", "foo.tar", ""},
	{"raw, second unpacks", "Source: foo.tar\n%prep\n%setup -q -T -b 1 -n other\n%setup -q -T -D -b 0 -n bar\n",
		"foo.tar",
		"bar"},
	{"raw, -a 1", "Source: foo.tar\n%prep\n%setup -q -a 1 -n 'a b'\n%setup -T -D -a 2\n", "foo.tar", "a b"},
	{"raw autosetup", "Source: foo.tar\n%prep\n%autosetup -p1 -S git -n bar\n", "foo.tar", "bar"},
	{"no setup", "Source: foo.tar\n%prep\ntrue\n", "foo.tar", "foo-1.2"},
	{"no prep", "Source: foo.tar\n", "foo.tar", "foo-1.2"},
	{"fragment", "Source: https://x/v1.tar.gz#/foo.tar.gz\n", "foo.tar.gz", "foo-1.2"},
	{"dot", "Source: foo.tar\n%prep\n%setup -n .\n", "foo.tar", ""},
	{"variable", "Source: foo.tar\n%prep\ntar xf /S/foo.tar\ncd $X\ncd ..\ncd foo-*\n", "foo.tar", "foo-1.2"},
	{"quote over lines", "Source: foo.tar\n%prep\nrpmuncompress -x /S/foo.tar\ncd 'foo  -q\n'\n", "foo.tar", "foo-1.2"},
	{"automatic numbers", "Source: foo.tar\nSource: b\nSource: c\n", "foo.tar", "foo-1.2"},
	{"not the first", "Source1: b\nsource00: foo.tar\n", "foo.tar", "foo-1.2"},
	{"in a subpackage", "%package x\nName: bar\nVersion: 9\nSource0: foo.tar\n%description\nSource0: no\n", "foo.tar",
		"foo-1.2"},
	{"none", "SourceLicense: MIT\nSource3: x\n", "", "foo-1.2"},
}

func TestExpanded(t *testing.T) {
	t.Parallel()
	for _, tt := range expansions {
		t.Run(tt.name, func(t *testing.T) {
			e := ParseExpanded([]byte("NAME : foo\n  Version:\t1.2\n" + tt.text))
			source0, _ := e.Source0()
			dir, err := e.TopDir(source0.Name())
			if err != nil || dir != tt.dir || source0.Name() != tt.file {
				t.Errorf("got %q, %q, %v; want %q, %q", source0.Name(), dir, err, tt.file, tt.dir)
			}
		})
	}
}

func TestFiles(t *testing.T) {
	t.Parallel()
	e := ParseExpanded([]byte(`Source0: https://x/here.tar
Source: https://x/y#/gone.tar.gz
Source: directory
Source7: gone.tar.gz
Patch: here.tar
Patch5: a.patch
Source: https://x/..
Source: https://x/
NoSource: 7
%patchlist
b.patch
# c.patch
%sourcelist
d.conf
%description
Patch: no.patch
`))
	var got []string
	for _, f := range e.Files {
		got = append(got, f.Label()+" "+f.Name())
	}
	want := []string{"Source0 here.tar", "Source1 gone.tar.gz", "Source2 directory", "Source7 gone.tar.gz",
		"Source8 ..",
		"Source9 ",
		"Source10 d.conf", "Patch0 here.tar", "Patch5 a.patch", "Patch6 b.patch"}
	if !slices.Equal(got, want) || !e.Partial {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A file that is there, or that has a URL, is not missing; two URLs cannot have one name.
func TestDownloads(t *testing.T) {
	t.Parallel()
	var missing []string
	none := func(f File) error { missing = append(missing, f.Value); return nil }
	there := func(name string) bool { return name == "here.tar" }
	e := ParseExpanded([]byte("Source0: https://x/here.tar\nSource1: a.conf\nSource2: https://x/y#/b.tar\n" +
		"Patch: https://x/y#/b.tar\n"))
	all, err := e.Downloads(there, none)
	if err != nil || len(all) != 1 || all[0].Label() != "Source2" || !slices.Equal(missing, []string{"a.conf"}) {
		t.Errorf("got %v, %q, %v", all, missing, err)
	}
	for text, words := range map[string][]string{
		"Source0: https://u:secret@x/a.tar\nSource1: https://y/a.tar\n": {"two URLs for the one file a.tar: " +
			"https://x/a.tar and https://y/a.tar"},
		"Source0: https://x/..\n": {"Source0 https://x/..", "give it a name"},
	} {
		_, err := ParseExpanded([]byte(text)).Downloads(there, none)
		failtest.Want(t, err, rpmflow.FailureSource, words...)
	}
}

func FuzzExpanded(f *testing.F) {
	for _, e := range expansions {
		f.Add([]byte("Name: foo\nVersion: 1.2\n" + e.text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		e := ParseExpanded(text)
		source0, _ := e.Source0()
		if strings.Contains(source0.Name(), "/") {
			t.Errorf("Source0 %q", source0.Name())
		}
		dir, err := e.TopDir(source0.Name())
		if err == nil && dir != "" && (!filepath.IsLocal(dir) || strings.ContainsAny(dir, "\x00\n") ||
			filepath.Clean(dir) != dir) {
			t.Errorf("directory %q", dir)
		}
		_, _ = e.Downloads(func(string) bool { return false }, func(File) error { return nil })
	})
}

// rpm's answer: rpmspec -q --srpm --qf '[%{SOURCE}\n]'.
func TestFileOf(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		"a.tar.gz": "a.tar.gz", "https://x/a.tar.gz": "a.tar.gz", "https://x/v1.tar.gz#/a-1.tar.gz": "a-1.tar.gz",
		"https://x/get.php?f=query.tgz": "query.tgz", "https://x/a.patch?h=main": "main",
		"https://x/v1#/c=d.tgz": "d.tgz",
		"dir/c=d.tgz":           "d.tgz",
		"c=d.tgz":               "c=d.tgz", "https://x/x?y=1&z=": "", "https://x/": "", "https://x/q=1/a.tgz": "a.tgz",
	} {
		if got := fileOf(value); got != want {
			t.Errorf("%s: got %q, want %q", value, got, want)
		}
	}
}

// FuzzTopDir: with any spec, the directory of the archive is one inside of it.
func FuzzTopDir(f *testing.F) {
	for _, prep := range []string{"%setup -q -n ../x", "%autosetup -n /etc", "cd /x && tar xf x.tar\ncd ..",
		"%setup -n 'a b'/c", "tar xf x.tar; cd a//b/./c", "%setup -c -n .."} {
		f.Add("hello", "1.0", prep)
	}
	f.Fuzz(func(t *testing.T, name, version, prep string) {
		e := ParseExpanded([]byte("Name: " + name + "\nVersion: " + version + "\nSource0: x.tar\n%prep\n" + prep +
			"\n"))
		dir, err := e.TopDir("x.tar")
		if err == nil && dir != "" && (!filepath.IsLocal(dir) || strings.ContainsAny(dir, "\x00\n")) {
			t.Errorf("%q: directory %q", prep, dir)
		}
	})
}
