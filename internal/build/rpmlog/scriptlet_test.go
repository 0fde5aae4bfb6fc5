package rpmlog_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build/rpmlog"
)

// scriptletLog is a build.log that ends with a scriptlet that failed.
func scriptletLog(name, said string) string {
	return "Building target platforms: x86_64\nExecuting(%prep): /bin/sh -e /var/tmp/rpm-tmp.AbCdEf\n+ umask 022\n" +
		"+ cd /builddir/build/BUILD\nmain.c:1:1: error: of another section\n+ RPM_EC=0\n" +
		"Executing(" + name + "): /bin/sh -e /var/tmp/rpm-tmp.x1Y2z3\n+ umask 022\n+ cd /builddir/build/BUILD\n" +
		said +
		"\nerror: Bad exit status from /var/tmp/rpm-tmp.x1Y2z3 (" + name +
		")\n\nRPM build errors:\n    Bad exit status from /var/tmp/rpm-tmp.x1Y2z3 (" + name +
		")\nChild return code was: 1\n"
}

func classified(t *testing.T, log string) *rpmflow.Failure {
	t.Helper()
	f := rpmlog.Classify(rpmlog.Ended{Phase: rpmflow.PhaseRPMs, ExitCode: 1, Log: rpmlog.Lines(strings.NewReader(log),
		2000)})
	if f == nil {
		t.Fatal("a failure of ours")
	}
	return f
}

// The messages of a failed scriptlet's tools, and the command that printed them. The words are those of the tools'
// versions in Fedora and Debian, with sh as bash and as dash.
func TestCauseOfAFailedScriptlet(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ scriptlet, log, want string }{
		"gcc": {"%build", "+ make -j2\ngcc -O2 -c -o main.o main.c\nmain.c: In function 'main':\n" +
			"main.c:3:5: error: 'x' undeclared (first use in this function)\n    3 |     x = 1;\n      |     ^\n" +
			"main.c:3:5: note: each undeclared identifier is reported only once\nmain.c:9:1: error: expected ';'\n" +
			"make: *** [Makefile:3: main.o] Error 1",
			"%build failed: main.c:3:5: error: 'x' undeclared (first use in this function) (in: make -j2)"},
		"gcc, a header": {"%build", "+ gcc -c a.c\na.c:1:10: fatal error: zlib.h: No such file or directory\n" +
			"    1 | #include <zlib.h>\ncompilation terminated.",
			"%build failed: a.c:1:10: fatal error: zlib.h: No such file or directory (in: gcc -c a.c)"},
		"gcc, a warning before": {"%build",
			"+ make all\nx.c:1:2: warning: implicit declaration of function 'error: no' " +
				"[-Wimplicit]\nx.c:4:1: error: expected '}' at end of input\nmake[1]: *** [Makefile:2: x.o] Error 1\n" +
				"make: *** [Makefile:7: all] Error 2",
			"%build failed: x.c:4:1: error: expected '}' at end of input (in: make all)"},
		"gcc without files": {"%build", "+ make\ncc: error: no input files\nmake: *** [Makefile:2: all] Error 1",
			"%build failed: cc: error: no input files (in: make)"},
		"gcc, fatal": {"%build", "+ make\ncc1: fatal error: missing.c: No such file or directory\n" +
			"compilation terminated.\nmake: *** [Makefile:2: all] Error 1",
			"%build failed: cc1: fatal error: missing.c: No " +
				"such file or directory (in: make)"},
		"clang": {"%build", "+ clang -c x.c\nx.c:1:1: error: unknown type name 'foo'\n1 error generated.",
			"%build failed: x.c:1:1: error: unknown type name 'foo' (in: clang -c x.c)"},
		"ld": {"%build", "+ make\n/usr/bin/ld: main.o: in function `main':\nmain.c:(.text+0x5): undefined reference " +
			"to `greet'\ncollect2: error: ld returned 1 exit status\nmake: *** [Makefile:3: all] Error 1",
			"%build failed: main.c:(.text+0x5): undefined reference to `greet' (in: make)"},
		"ld, a library": {"%build", "+ make\n/usr/bin/ld: cannot find -lfoo: No such file or directory\n" +
			"collect2: error: ld returned 1 exit status",
			"%build failed: /usr/bin/ld: cannot find -lfoo: No such file or " +
				"directory (in: make)"},
		"make, no rule": {"%build", "+ make -j8 all\nmake: *** No rule to make target 'all'.  Stop.",
			"%build failed: make: *** No rule to make target 'all'.  Stop. (in: make -j8 all)"},
		"make, needed": {"%build", "+ make\nmake[2]: *** No rule to make target 'x.h', needed by 'x.o'.  Stop.\n" +
			"make[1]: *** [Makefile:3: all-recursive] Error 1\nmake: *** [Makefile:2: all] Error 2",
			"%build failed: make[2]: " +
				"*** No rule to make target 'x.h', needed by 'x.o'.  Stop. (in: make)"},
		"make, nothing": {"%build", "+ make\nmake: *** No targets specified and no makefile found.  Stop.",
			"%build failed: make: *** No targets specified and no makefile found.  Stop. (in: make)"},
		"make, syntax": {"%build", "+ make\nMakefile:2: *** missing separator.  Stop.",
			"%build failed: Makefile:2: *** missing separator.  Stop. (in: make)"},
		"make, its own": {"%build", "+ make\necho building\nbuilding\nthe licence has run out\n" +
			"make: *** [Makefile:3: all] Error 2", "%build failed: the licence has run out (in: make)"},
		"ignored errors": {"%build", "+ make\nmake: [Makefile:3: x] Error 1 (ignored)\ny.c:1:1: error: bad\n" +
			"make: *** [Makefile:4: y] Error 1", "%build failed: y.c:1:1: error: bad (in: make)"},

		"bash, no command": {"%build", "+ foo --all\n/var/tmp/rpm-tmp.x1Y2z3: line 42: foo: command not found",
			"%build failed: /var/tmp/rpm-tmp.x1Y2z3: line 42: foo: command not found (in: foo --all)"},
		"dash, no command": {"%build", "+ foo --all\n/var/tmp/rpm-tmp.x1Y2z3: 42: foo: not found",
			"%build failed: /var/tmp/rpm-tmp.x1Y2z3: 42: foo: not found (in: foo --all)"},
		"dash, substitution": {"%install", "/var/tmp/rpm-tmp.x1Y2z3: 40: Bad substitution",
			"%install failed: /var/tmp/rpm-tmp.x1Y2z3: 40: Bad substitution"},
		"dash, syntax": {"%build", "/var/tmp/rpm-tmp.x1Y2z3: 41: Syntax error: \"(\" unexpected",
			"%build failed: /var/tmp/rpm-tmp.x1Y2z3: 41: Syntax error: \"(\" unexpected"},
		"dash, cd": {"%build", "+ cd nosuch\n/var/tmp/rpm-tmp.x1Y2z3: 39: cd: can't cd to nosuch",
			"%build failed: /var/tmp/rpm-tmp.x1Y2z3: 39: cd: can't cd to nosuch (in: cd nosuch)"},
		"bash, cd": {"%prep", "+ cd hello-1.0\n/var/tmp/rpm-tmp.x1Y2z3: line 39: cd: hello-1.0: No such file " +
			"or directory", "%prep failed: /var/tmp/rpm-tmp.x1Y2z3: line 39: cd: hello-1.0: No such file or " +
			"directory (in: cd " +
			"hello-1.0)"},
		"bash, syntax": {"%build", "/var/tmp/rpm-tmp.x1Y2z3: line 45: syntax error near unexpected token `fi'",
			"%build failed: /var/tmp/rpm-tmp.x1Y2z3: line 45: syntax error near unexpected token `fi'"},
		"a script, bash": {"%build", "+ ./build.sh\n./build.sh: line 3: cmake: command not found",
			"%build failed: ./build.sh: line 3: cmake: command not found (in: ./build.sh)"},
		"a script, dash": {"%build", "+ ./build.sh\n./build.sh: 3: cmake: not found",
			"%build failed: ./build.sh: 3: cmake: not found (in: ./build.sh)"},
		"make, no command": {"%build", "+ make\nfoo -c x\nmake: foo: No such file or directory\n" +
			"make: *** [Makefile:2: all] Error 127", "%build failed: make: foo: No such file or directory (in: make)"},
		"make, sh": {"%build", "+ make\n/bin/sh: 1: foo: not found\nmake: *** [Makefile:2: all] Error 127",
			"%build failed: /bin/sh: 1: foo: not found (in: make)"},
		"an earlier, tolerated": {"%build",
			"+ foo\n/var/tmp/rpm-tmp.x1Y2z3: line 41: foo: command not found\n+ :\n+ make\n" +
				"z.c:1:1: error: bad", "%build failed: z.c:1:1: error: bad (in: make)"},
		"silent":           {"%check", "+ grep -q good result\n", "%check failed in: grep -q good result"},
		"false":            {"%build", "+ echo hello\nhello\n+ false", "%build failed in: false"},
		"exit":             {"%build", "+ echo 'configure: error: is only told'\n+ exit 3", "%build failed in: exit 3"},
		"exit, with words": {"%build", "+ echo 'the end'\nthe end\n+ exit 3", "%build failed: the end (in: exit 3)"},
		"colours": {"%build", "+ make\n\x1b[01m\x1b[Kx.c:1:1:\x1b[m\x1b[K \x1b[01;31m\x1b[Kerror: " +
			"\x1b[m\x1b[Kbad", "%build failed: x.c:1:1: error: bad (in: make)"},
		"its own words": {"%check", "+ ./check\n1 of 7 comparisons differ",
			"%check failed: 1 of 7 comparisons differ (in: ./check)"},

		"cp": {"%install", "+ cp -p nosuch /builddir/build/BUILDROOT/x/usr/bin\ncp: cannot stat 'nosuch': No such " +
			"file or directory", "%install failed: cp: cannot stat 'nosuch': No such file or directory (in: cp -p " +
			"nosuch " +
			"/builddir/build/BUILDROOT/x/usr/bin)"},
		"install": {"%install", "+ install -D -m 755 hello /b/usr/bin/hello\ninstall: cannot stat 'hello': No such " +
			"file or " +
			"directory", "%install failed: install: cannot stat 'hello': No such file or directory (in: install -D " +
			"-m 755 " +
			"hello /b/usr/bin/hello)"},
		"path": {"%install", "+ /usr/bin/install x y\n/usr/bin/install: cannot create regular file 'y': Permission " +
			"denied",
			"%install failed: /usr/bin/install: cannot create regular file 'y': Permission denied (in: " +
				"/usr/bin/install x y)"},
		"tar": {"%prep", "+ /usr/bin/tar -xof /s/x.tar.gz\ntar: /s/x.tar.gz: Cannot open: No such file or directory\n" +
			"tar: Error is not recoverable: exiting now",
			"%prep failed: tar: /s/x.tar.gz: Cannot open: No such file or " +
				"directory (in: /usr/bin/tar -xof /s/x.tar.gz)"},
		"tar, xz": {"%prep", "+ tar -xf x.tar.xz\ntar (child): xz: Cannot exec: No such file or directory\n" +
			"tar (child): Error is not recoverable: exiting now\ntar: Child returned status 2\ntar: Error is not " +
			"recoverable: " +
			"exiting now", "%prep failed: tar (child): xz: Cannot exec: No such file or directory (in: tar -xf " +
			"x.tar.xz)"},
		"gzip": {"%prep", "+ /usr/bin/gzip -dc /s/x.tar.gz\n+ /usr/bin/tar -xof -\n\ngzip: /s/x.tar.gz: not in gzip " +
			"format\n/usr/bin/tar: This does not look like a tar archive\n/usr/bin/tar: Exiting with failure status " +
			"due to " +
			"previous errors\n+ STATUS=2\n+ '[' 2 -ne 0 ']'\n+ exit 2",
			"%prep failed: gzip: /s/x.tar.gz: not in gzip format " +
				"(in: exit 2)"},
		"no tar": {"%prep", "+ tar -xf x\n/var/tmp/rpm-tmp.x1Y2z3: line 31: tar: command not found",
			"%prep failed: /var/tmp/rpm-tmp.x1Y2z3: line 31: tar: command not found (in: tar -xf x)"},

		"patch": {"%prep", "+ echo 'Patch #0 (fix.patch):'\nPatch #0 (fix.patch):\n" +
			"+ /usr/bin/patch --no-backup-if-mismatch -f -p1 --fuzz=0\npatching file hello.c\nHunk #1 FAILED at 1.\n" +
			"1 out of 1 hunk FAILED -- saving rejects to file hello.c.rej",
			"%prep failed: Patch #0 (fix.patch): patching file hello.c: Hunk #1 FAILED at 1. (in: /usr/bin/patch " +
				"--no-backup-if-mismatch -f -p1 --fuzz=0)"},
		"patch, torn": {"%prep", "+ cp /s/a.txt .\n+ echo Patch #0 (a.patch):\n+ Patch #0 (a.patch):\n" +
			"/usr/bin/patch --no-backup-if-mismatch -f -p1 --fuzz=0\npatching file a.txt\nHunk #1 FAILED at 1.",
			"%prep failed: Patch #0 (a.patch): patching file a.txt: Hunk #1 FAILED at 1. (in: /usr/bin/patch " +
				"--no-backup-if-mismatch -f -p1 --fuzz=0)"},
		"patch, silent": {"%prep", "+ /usr/bin/patch -p1 -s --fuzz=0\n1 out of 2 hunks FAILED -- saving rejects to " +
			"file " +
			"a.rej", "%prep failed: 1 out of 2 hunks FAILED -- saving rejects to file a.rej (in: /usr/bin/patch -p1 " +
			"-s --fuzz=0)"},
		"git apply": {"%prep", "+ git apply fix.patch\nerror: patch failed: hello.c:1\nerror: hello.c: patch does " +
			"not apply", "%prep failed: error: patch failed: hello.c:1 (in: git apply fix.patch)"},

		"traceback": {"%build", "+ python3 setup.py build\nTraceback (most recent call last):\n" +
			"  File \"/b/setup.py\", line 1, in <module>\n    import setuptools\nModuleNotFoundError: No module " +
			"named " +
			"'setuptools'", "%build failed: ModuleNotFoundError: No module named 'setuptools' (in: python3 setup.py " +
			"build)"},
		"pytest": {"%check", "+ /usr/bin/pytest\n=== FAILURES ===\n    def test_a():\n>       assert 1 == 2\n" +
			"E       assert 1 == 2\n\ntest_a.py:2: AssertionError\n=== short test summary info ===\n" +
			"FAILED test_a.py::test_a - assert 1 == 2\n=== 1 failed in 0.02s ===",
			"%check failed: FAILED test_a.py::test_a - " +
				"assert 1 == 2 (in: /usr/bin/pytest)"},
		"unittest": {"%check", "+ python3 -m unittest\nFAIL: test_a (t.T)\n----\nTraceback (most recent call " +
			"last):\n  File \"t.py\", line 4, in test_a\nAssertionError: 1 != 2\n\nFAILED (failures=1)",
			"%check failed: " +
				"FAIL: test_a (t.T) (in: python3 -m unittest)"},
		"go": {"%build", "+ go build ./...\n# example.org/x\n./main.go:4:2: undefined: y",
			"%build failed: ./main.go:4:2: undefined: y (in: go build ./...)"},
		"go module": {"%build", "+ go build\ngo: downloading golang.org/x/sys v0.1.0\ngo: golang.org/x/sys@v0.1.0: " +
			"Get \"https://proxy\": dial tcp: lookup proxy: no such host",
			"%build failed: go: golang.org/x/sys@v0.1.0: Get " +
				"\"https://proxy\": dial tcp: lookup proxy: no such host (in: go build)"},
		"go test": {"%check", "+ go test ./...\n--- FAIL: TestX (0.00s)\n    x_test.go:5: got 1\nFAIL\n" +
			"FAIL\texample.org/x\t0.002s\nFAIL", "%check failed: --- FAIL: TestX (0.00s) (in: go test ./...)"},
		"cargo": {"%build", "+ cargo build\n   Compiling x v0.1.0\nerror[E0425]: cannot find value `y` in this " +
			"scope\n --> src/main.rs:2:5\n\nerror: aborting due to 1 previous error\n\nerror: could not compile `x` " +
			"due to " +
			"previous error", "%build failed: error[E0425]: cannot find value `y` in this scope (in: cargo build)"},
		"cargo, no crate": {"%build", "+ cargo build --offline\nerror: no matching package named `serde` found\n" +
			"location searched: registry `crates-io`",
			"%build failed: error: no matching package named `serde` found (in: " +
				"cargo build --offline)"},
		"cmake": {"%build", "+ /usr/bin/cmake -S . -B b\n-- The C compiler identification is GNU 13.2.1\n" +
			"CMake Error at CMakeLists.txt:4 (find_package):\n  Could not find a package configuration file provided " +
			"by " +
			"\"Foo\"\n\n-- Configuring incomplete, errors occurred!",
			"%build failed: CMake Error at CMakeLists.txt:4 " +
				"(find_package): Could not find a package configuration file provided by \"Foo\" (in: /usr/bin/cmake " +
				"-S . -B b)"},
		"meson": {"%build", "+ /usr/bin/meson setup b\nThe Meson build system\n\n" +
			"meson.build:3:7: ERROR: Dependency \"glib-2.0\" not found, tried pkgconfig\n\nA full log can be found " +
			"at " +
			"b/meson-logs/meson-log.txt", "%build failed: meson.build:3:7: ERROR: Dependency \"glib-2.0\" not found, " +
			"tried " +
			"pkgconfig (in: /usr/bin/meson setup b)"},
		"ninja": {"%build", "+ ninja -C b\n[1/2] cc -c x.c\nFAILED: x.o\ncc -c ../x.c\n" +
			"../x.c:1:5: error: expected identifier\nninja: build stopped: subcommand failed.",
			"%build failed: ../x.c:1:5: " +
				"error: expected identifier (in: ninja -C b)"},
		"configure": {"%build", "+ ./configure --prefix=/usr\nchecking for gcc... no\nchecking for cc... no\n" +
			"configure: error: in `/b':\nconfigure: error: no acceptable C compiler found in $PATH", "%build failed: " +
			"configure: error: no acceptable C compiler found in $PATH (in: ./configure --prefix=/usr)"},
		"autoreconf": {"%build", "+ autoreconf -fi\nconfigure.ac:5: error: possibly undefined macro: " +
			"AM_INIT_AUTOMAKE\n      If this token and others are legitimate, please use m4_pattern_allow.\n" +
			"autoreconf: error: /usr/bin/autoconf failed with exit status: 1",
			"%build failed: configure.ac:5: error: " +
				"possibly undefined macro: AM_INIT_AUTOMAKE (in: autoreconf -fi)"},
		"automake tests": {"%check", "+ make check\nPASS: test-a\nFAIL: test-b\n# FAIL:  1\nmake[1]: *** " +
			"[Makefile:9: check-TESTS] Error 1", "%check failed: FAIL: test-b (in: make check)"},
		"ctest": {"%check", "+ ctest\n1/2 Test #1: a ....   Passed    0.00 sec\n2/2 Test #2: b ....***Failed    " +
			"0.01 sec\n\n50% tests passed, 1 tests failed out of 2",
			"%check failed: 2/2 Test #2: b ....***Failed    0.01 sec " +
				"(in: ctest)"},
		"perl": {"%build", "+ perl Makefile.PL\nCan't locate ExtUtils/MakeMaker.pm in @INC (you may need to " +
			"install the ExtUtils::MakeMaker module) at Makefile.PL line 1.", "%build failed: Can't locate " +
			"ExtUtils/MakeMaker.pm in @INC (you may need to install the ExtUtils::MakeMaker module) at Makefile.PL " +
			"line 1. " +
			"(in: perl Makefile.PL)"},

		"check-rpaths": {"%install", "+ /usr/lib/rpm/check-rpaths\nERROR   0001: file '/usr/bin/x' contains a " +
			"standard runpath '/usr/lib64' in [/usr/lib64]",
			"%install failed: ERROR   0001: file '/usr/bin/x' contains a standard " +
				"runpath '/usr/lib64' in [/usr/lib64] (in: /usr/lib/rpm/check-rpaths)"},
		"shebangs": {"%install", "+ /usr/lib/rpm/redhat/brp-mangle-shebangs\n*** ERROR: ambiguous python shebang in " +
			"/usr/bin/x: #!/usr/bin/python. Change it to python3 (or python2) explicitly.",
			"%install failed: *** ERROR: " +
				"ambiguous python shebang in /usr/bin/x: #!/usr/bin/python. Change it to python3 (or python2) " +
				"explicitly. (in: " +
				"/usr/lib/rpm/redhat/brp-mangle-shebangs)"},
		"crash": {"%check", "+ ./t\n/var/tmp/rpm-tmp.x1Y2z3: line 40: 123 Segmentation fault      (core dumped) ./t",
			"%check failed: /var/tmp/rpm-tmp.x1Y2z3: line 40: 123 Segmentation fault      (core dumped) ./t"},
		"nothing": {"%build", "", "%build failed in: cd /builddir/build/BUILD"},
	} {
		t.Run(name, func(t *testing.T) {
			f := classified(t, scriptletLog(test.scriptlet, test.log))
			if f.Kind != rpmflow.FailureBuild || f.Message != test.want {
				t.Errorf("%s: %s\nwant %s", f.Kind, f.Message, test.want)
			}
			checkExcerpt(t, f)
			if slices.Contains(f.Excerpt, "main.c:1:1: error: of another section") {
				t.Errorf("of another section: %q", f.Excerpt)
			}
		})
	}
}

// checkExcerpt reports whether an excerpt is short, ends once, and repeats nothing.
func checkExcerpt(t *testing.T, f *rpmflow.Failure) {
	t.Helper()
	seen := map[string]bool{}
	for _, l := range f.Excerpt {
		plain := strings.TrimPrefix(strings.TrimSpace(l), "error: ")
		if seen[plain] && len(plain) > 8 {
			t.Errorf("%q is there twice: %q", l, f.Excerpt)
		}
		seen[plain] = true
	}
	if n := len(f.Excerpt); n == 0 || n > 20 {
		t.Errorf("%d lines: %q", n, f.Excerpt)
	}
}
