package rpmlog_test

import (
	"testing"

	"github.com/rpmflow/rpmflow"
)

// Errors of rpmbuild about the package's files: all of them, by their names in the package, and once.
func TestFilesOfAPackage(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ log, want string }{
		"not found, rpm 4.16": {"error: File not found: /builddir/build/BUILDROOT/hello-1.0-1.x86_64/usr/bin/a\n" +
			"error: File not found: /builddir/build/BUILDROOT/hello-1.0-1.x86_64/usr/bin/b\n\n\nRPM build errors:\n" +
			"    File not found: /builddir/build/BUILDROOT/hello-1.0-1.x86_64/usr/bin/a\n" +
			"    File not found: /builddir/build/BUILDROOT/hello-1.0-1.x86_64/usr/bin/b",
			"File not found: /usr/bin/a, " +
				"/usr/bin/b"},
		"not found, rpm 4.20": {"error: File not found: /builddir/build/BUILD/hello-1.0-build/BUILDROOT/usr/bin/a\n\n" +
			"RPM build errors:\n    File not found: /builddir/build/BUILD/hello-1.0-build/BUILDROOT/usr/bin/a",
			"File not " +
				"found: /usr/bin/a"},
		"not found, by a pattern": {"error: File not found by glob: " +
			"/builddir/build/BUILDROOT/hello-1.0-1.x86_64/usr/lib/*.so\n\nRPM build errors:\n    File not found by " +
			"glob: " +
			"/builddir/build/BUILDROOT/hello-1.0-1.x86_64/usr/lib/*.so", "File not found by glob: /usr/lib/*.so"},
		"heading first": {"RPM build errors:\n" +
			"error: File not found: /builddir/build/BUILDROOT/hello-1.0-1.x86_64/usr/bin/a\n" +
			"    File not found: /builddir/build/BUILDROOT/hello-1.0-1.x86_64/usr/bin/a", "File not found: /usr/bin/a"},
		"directory": {"error: Directory not found: /builddir/build/BUILDROOT/hello-1.0-1.x86_64/usr/share/x\n" +
			"\nRPM build errors:\n    Directory not found: " +
			"/builddir/build/BUILDROOT/hello-1.0-1.x86_64/usr/share/x", "Directory not found: /usr/share/x"},
		"unpackaged": {"Checking for unpackaged file(s): /usr/lib/rpm/check-files /b\n" +
			"error: Installed (but unpackaged) file(s) found:\n   /usr/bin/x\n   /usr/bin/y\n\nRPM build errors:\n" +
			"    Installed (but unpackaged) file(s) found:\n   /usr/bin/x\n   /usr/bin/y",
			"Installed (but unpackaged) " +
				"file(s) found: /usr/bin/x, /usr/bin/y"},
		"no list": {"error: Could not open %files file /builddir/build/BUILD/hello-1.0/hello.lang: No such " +
			"file or directory\n\nRPM build errors:\n    Could not open %files file " +
			"/builddir/build/BUILD/hello-1.0/hello.lang: No such file or directory", "Could not open %files file " +
			"/builddir/build/BUILD/hello-1.0/hello.lang: No such file or directory"},
		"empty list": {"error: Empty %files file /builddir/build/BUILD/x/debugsourcefiles.list\n\n" +
			"RPM build errors:\n    Empty %files file /builddir/build/BUILD/x/debugsourcefiles.list",
			"Empty %files file " +
				"/builddir/build/BUILD/x/debugsourcefiles.list"},
		"noarch": {"error: Arch dependent binaries in noarch package\n\nRPM build errors:\n" +
			"    Arch dependent binaries in noarch package", "Arch dependent binaries in noarch package"},
	} {
		t.Run(name, func(t *testing.T) {
			f := classified(t, "Processing files: hello-1.0-1.x86_64\n"+test.log+"\nChild return code was: 1\n")
			if f.Kind != rpmflow.FailureBuild || f.Message != test.want {
				t.Errorf("%s: %s\nwant %s", f.Kind, f.Message, test.want)
			}
			checkExcerpt(t, f)
		})
	}
}
