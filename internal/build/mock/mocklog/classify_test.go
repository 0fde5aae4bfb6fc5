package mocklog_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build/mock/mocklog"
	"github.com/rpmflow/rpmflow/internal/build/rpmlog"
)

const (
	failedBuild = `Building target platforms: x86_64
Executing(%build): /bin/sh -e /var/tmp/rpm-tmp.x1
+ make
cc: error: no input files
make: *** [Makefile:2: all] Error 1
error: Bad exit status from /var/tmp/rpm-tmp.x1 (%build)

RPM build errors:
    Bad exit status from /var/tmp/rpm-tmp.x1 (%build)
Child return code was: 1
`
	sourcePackageMade = "Wrote: /builddir/build/SRPMS/hello-1.0-1.src.rpm\nChild return code was: 0\n"
	noRepository      = "Errors during downloading metadata for repository 'base':\n  - Curl error (7): Couldn't " +
		"connect to server for http://127.0.0.1/repo/repodata/repomd.xml\nError: Failed to download metadata for " +
		"repo 'base': Cannot download repomd.xml: Cannot download repodata/repomd.xml: All mirrors were tried"
)

// Output and exit codes are those of mock 6.7 with dnf 4.14 and rpm 4.18, unless a row says otherwise.
func TestClassify(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		phase   rpmflow.Phase
		code    int
		log     string // build.log; "-": there is none
		output  string
		kind    rpmflow.FailureKind // empty: ours
		message string
		more    func(*mocklog.Ended) // state.log, and what the engine says
	}{
		"unknown BuildRequires": {rpmflow.PhaseDependencies, 30, "-",
			"ERROR: Command failed:\nNo matching package to install: 'nosuch-package-devel'\nNot all dependencies " +
				"satisfied\n" +
				"Error: Some packages could not be found.",
			rpmflow.FailureDependencies, "No matching package to install: 'nosuch-package-devel'", nil},
		"nothing provides": {rpmflow.PhaseDependencies, 30, "-", "Error: \n Problem: conflicting requests\n" +
			"  - nothing provides libx.so.1 needed by x-devel-1-1.x86_64 from base",
			rpmflow.FailureDependencies, "nothing provides libx.so.1 needed by x-devel-1-1.x86_64 from base", nil},
		"dnf 5": {rpmflow.PhaseDependencies, 30, "-", "Failed to resolve the transaction:\n" +
			"No match for argument: nosuch-devel", rpmflow.FailureDependencies, "No match for argument: nosuch-devel",
			nil},
		"no repository": {rpmflow.PhaseDependencies, 30, "-", noRepository, "", "", nil},
		"no repository while another lacks the package": {rpmflow.PhaseDependencies, 30, "-",
			"Curl error (28): Timeout was reached\nNo matching package to install: 'x'", "", "", nil},
		"no repository for the root": {rpmflow.PhaseRoot, 30, "-", noRepository, "", "", nil},
		"anything in the root": {rpmflow.PhaseRoot, 1, "-", "error: everything is wrong\n" +
			"No matching package to install: 'bash'", "", "", nil},
		"configuration missing": {rpmflow.PhaseRoot, 3, "-",
			"ERROR: Could not find required config file: /etc/mock/nosuch.cfg", "", "", nil},
		"configuration missing for the SRPM": {rpmflow.PhaseSRPM, 3, "-",
			"ERROR: Could not find required config file: /etc/mock/nosuch.cfg", "", "", nil},

		"spec syntax error": {rpmflow.PhaseSRPM, 1,
			"error: line 14: Unclosed %if\nBuilding target platforms: x86_64\n" +
				"Child return code was: 1\n", "ERROR: Exception(/x.spec)",
			rpmflow.FailureSpec, "error: line 14: Unclosed %if", nil},
		"source missing": {rpmflow.PhaseSRPM, 1,
			"error: Bad file: /builddir/build/SOURCES/missing.c: No such file or " +
				"directory\nRPM build errors:\n    Bad file: /builddir/build/SOURCES/missing.c: No such file or " +
				"directory\n" +
				"Child return code was: 1\n", "",
			rpmflow.FailureSource, "error: Bad file: /builddir/build/SOURCES/missing.c: No such file or directory",
			nil},
		"source missing, the beginning lost": {rpmflow.PhaseSRPM, 1,
			"d file: /builddir/build/SOURCES/missing.c: No such file or directory\nChild return code was: 1\n", "",
			rpmflow.FailureSource, "d file: /builddir/build/SOURCES/missing.c: No such file or directory", nil},
		"spec error of rpmspec": {rpmflow.PhaseSRPM, 1, "-",
			"error: Name field must be present in package: (main package)", rpmflow.FailureSpec,
			"error: Name field must be " +
				"present in package: (main package)", nil},
		"SRPM stopped in the middle": {rpmflow.PhaseSRPM, 137, "error: of a macro that was being read\n", "", "", "",
			nil},
		"SRPM stopped, nothing said": {rpmflow.PhaseSRPM, 1, "", "", "", "", nil},
		"disk full while the SRPM was": {rpmflow.PhaseSRPM, 1,
			"error: create archive failed: cpio: write failed - No " +
				"space left on device\nChild return code was: 1\n", "", "", "", nil},

		"failing %build": {rpmflow.PhaseRPMs, 1, sourcePackageMade + failedBuild,
			"ERROR: Exception(/x.src.rpm) Config(x) 0 minutes",
			rpmflow.FailureBuild, "%build failed: cc: error: no input files (in: make)", nil},
		"failing %check that speaks of packages": {rpmflow.PhaseRPMs, 1, "FAIL: setuptools 60 is needed by hello\n" +
			"No matching package to install: it is only a test\nCurl error (7)\n" +
			strings.ReplaceAll(failedBuild, "%build",
				"%check"), "",
			rpmflow.FailureBuild, "%check failed: cc: error: no input files (in: make)", nil},
		"unpackaged files": {rpmflow.PhaseRPMs, 1,
			"cc -Werror: fine\nerror: Installed (but unpackaged) file(s) found:\n" +
				"   /usr/bin/x\n\nRPM build errors:\n    Installed (but unpackaged) file(s) found:\n   /usr/bin/x\n" +
				"Child return code was: 1\n", "",
			rpmflow.FailureBuild, "Installed (but unpackaged) file(s) found: /usr/bin/x", nil},
		"rpmbuild says nothing": {rpmflow.PhaseRPMs, 1, "+ make\nChild return code was: 1\n", "",
			rpmflow.FailureBuild, "rpmbuild failed", nil},
		"rpmbuild misses a dependency": {rpmflow.PhaseRPMs, 1, "error: Failed build dependencies:\n" +
			"\tnosuch-devel is needed by hello-1.0-1.x86_64\nChild return code was: 1\n" +
			"", "", rpmflow.FailureDependencies, "nosuch-devel is needed by hello-1.0-1.x86_64", nil},
		"generated BuildRequires": {rpmflow.PhaseRPMs, 10, sourcePackageMade,
			"No matching package to install: 'python3dist(x)'", rpmflow.FailureDependencies,
			"No matching package to install: " +
				"'python3dist(x)'", nil},
		"stopped in the middle, exit 1": {rpmflow.PhaseRPMs, 1, sourcePackageMade + "+ make\ncc: error: x\n",
			"+ make\nfoo is needed by bar\nerror: x", "", "", nil},
		"stopped in the middle, 137": {rpmflow.PhaseRPMs, 137, sourcePackageMade + "+ make\n", "", "", "", nil},
		"stopped in the middle, 143": {rpmflow.PhaseRPMs, 143, sourcePackageMade + "+ make\n", "", "", "", nil},
		"killed by what it builds":   {rpmflow.PhaseRPMs, 137, failedBuild, "", "", "", nil},
		"never begun":                {rpmflow.PhaseRPMs, 1, "-", "error: no log", "", "", nil},
		"the root is gone":           {rpmflow.PhaseRPMs, 30, "-", noRepository, "", "", nil},
		"another phase":              {rpmflow.PhaseUpload, 1, failedBuild, "error: x", "", "", nil},

		"stopped by others, and the logs say it failed": {rpmflow.PhaseRPMs, 1, sourcePackageMade + failedBuild, "", "",
			"",
			func(e *mocklog.Ended) { e.Interfered = "the engine was told to stop the container" }},
		"stopped by others while it installs": {rpmflow.PhaseDependencies, 30, "-",
			"No matching package to install: 'x'", "", "", func(e *mocklog.Ended) { e.Interfered = "killed" }},
		"mock went away before its end": {rpmflow.PhaseRPMs, 1, sourcePackageMade + failedBuild, "", "", "",
			states("Start: build phase for x.src.rpm", "Start: rpmbuild x.src.rpm")},
		"mock came to its end": {rpmflow.PhaseRPMs, 1, sourcePackageMade + failedBuild, "", rpmflow.FailureBuild,
			"%build failed: cc: error: no input files (in: make)",
			states("Start: build phase for x.src.rpm", "Start: rpmbuild x.src.rpm", "Finish: rpmbuild x.src.rpm",
				"Finish: build phase for x.src.rpm")},
		"mock went away before the end of the SRPM": {rpmflow.PhaseSRPM, 1, "error: line 14: Unclosed %if\n", "", "",
			"",
			states("Start: buildsrpm", "Start: rpmbuild -bs")},
		"rpmbuild was killed": {rpmflow.PhaseRPMs, 1, sourcePackageMade +
			"error: x\nChild return code was: -9\n", "", "", "", nil},
		"no results": {rpmflow.PhaseRPMs, 40, sourcePackageMade,
			"ERROR: No build results found", rpmflow.FailureBuild, "No build results found", nil},
		"a result that is a directory": {rpmflow.PhaseRPMs, 1, sourcePackageMade,
			"ERROR: Can not copy /var/lib/mock/x/root/builddir/build/RPMS/evil.rpm into resultdir /out: [Errno 21] " +
				"Is a " +
				"directory: 'evil.rpm'",
			rpmflow.FailureBuild, "Can not copy /var/lib/mock/x/root/builddir/build/RPMS/evil.rpm into resultdir " +
				"/out: [Errno " +
				"21] Is a directory: 'evil.rpm'", nil},
		"a result, and the disk is full": {rpmflow.PhaseRPMs, 1, sourcePackageMade,
			"ERROR: Can not copy /x.rpm into resultdir /out: [Errno 28] No space left on device", "", "", nil},
		"out of memory, killed": {rpmflow.PhaseRPMs, 137, sourcePackageMade + "+ make\n", "", rpmflow.FailureBuild,
			"the build was ended by the kernel: a process needed more memory than the limit of 2 GiB", hungry},
		"out of memory, the compiler alone": {rpmflow.PhaseRPMs, 1, failedBuild, "", rpmflow.FailureBuild,
			"%build failed: cc: error: no input files (in: make): a process needed more memory than the limit of 2 GiB",
			hungry},
		"out of memory while it installs": {rpmflow.PhaseDependencies, 137, "-", "", "", "", hungry},
	} {
		t.Run(name, func(t *testing.T) {
			ended := mocklog.Ended{Phase: test.phase, ExitCode: test.code, BuildLog: filepath.Join(t.TempDir(),
				"build.log"),
				Output: strings.Split(test.output, "\n")}
			if test.log != "-" {
				write(t, ended.BuildLog, test.log)
			}
			if test.more != nil {
				test.more(&ended)
			}
			if len(ended.StateLog) > 0 {
				file := filepath.Join(t.TempDir(), "state.log")
				write(t, file, ended.StateLog)
				ended.StateLog = file
			}
			f := mocklog.Classify(ended)
			if test.kind == "" {
				if f != nil {
					t.Fatalf("%s: %s; want a failure of ours", f.Kind, f.Message)
				}
				return
			}
			if f == nil {
				t.Fatalf("a failure of ours; want %s", test.kind)
			}
			if f.Kind != test.kind || f.Message != test.message || f.Hint == "" {
				t.Errorf("%s: %q (hint %q), want %s: %q", f.Kind, f.Message, f.Hint, test.kind, test.message)
			}
			checkExcerpt(t, f)
			if decisive, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(test.message, "%build failed: "),
				"%check failed: "), " (in: "); test.message != "rpmbuild failed" && test.more == nil &&
				!strings.Contains(strings.Join(f.Excerpt, "\n"), strings.TrimSuffix(decisive, " /usr/bin/x")) {
				t.Errorf("excerpt %q", f.Excerpt)
			}
		})
	}
}

func TestExcerptShowsTheCommandThatFailed(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "build.log")
	// longer than what is read of it
	write(t, file, strings.Repeat(strings.Repeat("noise ", 200)+"\n", 3000)+failedBuild)
	f := mocklog.Classify(mocklog.Ended{Phase: rpmflow.PhaseRPMs, ExitCode: 1, BuildLog: file})
	if f == nil || !slices.Contains(f.Excerpt, "cc: error: no input files") {
		t.Fatalf("%+v", f)
	}
}

// badExitOnce reports whether the excerpt has rpmbuild's report, once.
func badExitOnce(f *rpmflow.Failure) bool {
	return strings.Count(strings.Join(f.Excerpt, "\n"), "Bad exit status from") == 1
}

// rpmbuild's report goes to standard error, and can be in the log before what the package's tools have written to
// standard output.
func TestExcerptWhereTheVerdictComesFirst(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "build.log")
	write(t, file, "Executing(%build): /bin/sh\n"+strings.Repeat("cc -c fine.c\n",
		20)+"error: Bad exit status from /var/tmp/rpm-tmp.x1 (%build)\n\nRPM build errors:\n"+
		"    Bad exit status from /var/tmp/rpm-tmp.x1 (%build)\n"+
		strings.Repeat("cc -c fine.c\n", 50)+"main.c:3: error: expected declaration\nChild return code was: 1\n")
	f := mocklog.Classify(mocklog.Ended{Phase: rpmflow.PhaseRPMs, ExitCode: 1, BuildLog: file})
	if f == nil || !slices.Contains(f.Excerpt, "main.c:3: error: expected declaration") ||
		f.Message != "%build failed: main.c:3: error: expected declaration" || !badExitOnce(f) {
		t.Errorf("%+v", f)
	}
}

// A line that mock has split is still recognised.
func TestIncompleteVerdict(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "build.log")
	write(t, file, "Executing(%build): /bin/sh\ncc1: fatal error: missing.c: No such file or directory\nerror: \n"+
		"RPM build errors:\nBad exit status from /var/tmp/rpm-tmp.x1 (%build)\n"+
		"    Bad exit status from /var/tmp/rpm-tmp.x1 (%build)\nChild return code was: 1\n")
	f := mocklog.Classify(mocklog.Ended{Phase: rpmflow.PhaseRPMs, ExitCode: 1, BuildLog: file})
	if f == nil || f.Message != "%build failed: cc1: fatal error: missing.c: No such file or directory" ||
		!badExitOnce(f) || !slices.Contains(f.Excerpt, "cc1: fatal error: missing.c: No such file or directory") {
		t.Errorf("%+v", f)
	}
}

// The compiler's error stands far above the end: others ran in parallel.
func TestExcerptShowsTheErrorAndNotTheEnd(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ err, last string }{
		"compiler": {"greet.c:7:3: error: 'x' undeclared (first use in this function)",
			"make: *** [Makefile:3: all] Error 2"},
		"linker":   {"/usr/bin/ld: a.o: undefined reference to 'f'", "collect2: ld returned 1 exit status"},
		"python":   {"Traceback (most recent call last):", "subprocess exited"},
		"automake": {"FAIL: test-a", "make[2]: *** [Makefile:9: check-TESTS] Error 1"},
		"cargo":    {"error[E0425]: cannot find value `x` in this scope", "warning: build failed, waiting"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "build.log")
			write(t, file, "Executing(%prep): /bin/sh\nerror: of another section\nExecuting(%build): /bin/sh\n"+
				""+strings.Repeat("cc -c fine.c\n", 50)+test.err+"\n"+strings.Repeat("cc -c fine.c\n", 500)+test.last+
				"\nerror: Bad exit status from /var/tmp/rpm-tmp.x1 (%build)\nChild return code was: 1\n")
			f := mocklog.Classify(mocklog.Ended{Phase: rpmflow.PhaseRPMs, ExitCode: 1, BuildLog: file})
			if f == nil || !slices.Contains(f.Excerpt, test.err) || f.Message != "%build failed: "+test.err ||
				!badExitOnce(f) ||
				slices.Contains(f.Excerpt, "error: of another section") || len(f.Excerpt) > 20 {
				t.Fatalf("%+v", f)
			}
		})
	}
}

func states(lines ...string) func(*mocklog.Ended) {
	return func(e *mocklog.Ended) {
		e.StateLog = "2026-01-01 00:00:00,000 - " + strings.Join(lines, "\n2026-01-01 00:00:00,000 - ") + "\n"
	}
}

func hungry(e *mocklog.Ended) { e.MemoryLimit = "2 GiB" }

func TestAnUnreadableLogIsOurs(t *testing.T) {
	t.Parallel()
	if f := mocklog.Classify(mocklog.Ended{Phase: rpmflow.PhaseRPMs, ExitCode: 1, BuildLog: t.TempDir(),
		Output: []string{"error: x"}}); f != nil {
		t.Fatal(f)
	}
}

func write(t testing.TB, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func FuzzClassify(f *testing.F) {
	f.Add(failedBuild, noRepository, 1)
	f.Fuzz(func(t *testing.T, log, output string, code int) {
		file := filepath.Join(t.TempDir(), "build.log")
		write(t, file, log)
		for _, phase := range []rpmflow.Phase{rpmflow.PhaseRoot, rpmflow.PhaseSRPM, rpmflow.PhaseDependencies,
			rpmflow.PhaseRPMs} {
			got := mocklog.Classify(mocklog.Ended{Phase: phase, ExitCode: code, BuildLog: file,
				Output: rpmlog.Lines(strings.NewReader(output), 50)})
			if got != nil && (got.Kind == rpmflow.FailureInfrastructure || got.Hint == "" || code >= 128) {
				t.Fatalf("%s: %+v", phase, got)
			}
		}
	})
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
