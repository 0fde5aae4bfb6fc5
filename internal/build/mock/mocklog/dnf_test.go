package mocklog_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build/mock/mocklog"
)

// All that is missing is named, once, and nothing else.
func TestAllThatIsMissing(t *testing.T) {
	t.Parallel()
	bar := "testdistro                                      1.1 MB/s | 120 kB     00:00    \n"
	for name, test := range map[string]struct{ output, rootLog, want string }{
		"one": {"No matching package to install: 'a-devel'\nNot all dependencies satisfied\n" +
			"Error: Some packages could not be found.", "", "No matching package to install: 'a-devel'"},
		"dnf 4": {bar + "No matching package to install: 'a-devel'\nNo matching package to install: " +
			"'pkgconfig(b) >= 3'\nNo matching package to install: 'c'\nNot all dependencies satisfied\n" +
			"Error: Some packages could not be found.", "",
			"3 packages or capabilities are missing: a-devel, pkgconfig(b) >= " +
				"3, c"},
		"dnf 5": {"Updating and loading repositories:\n testdistro  100% | 1.1 MiB/s |  33.5 KiB |  00m00s\n" +
			"Repositories loaded.\nFailed to resolve the transaction:\nNo match for argument: a-devel\n" +
			"No match for argument: b-devel\nYou can try to add to command line:\n  --skip-unavailable to skip " +
			"unavailable " +
			"packages", "", "2 packages or capabilities are missing: a-devel, b-devel"},
		"dnf 5, problems": {"Failed to resolve the transaction:\nProblem 1: conflicting requests\n" +
			"  - nothing provides libx.so.1 needed by x-devel-1-1.x86_64 from base\nProblem 2: conflicting requests\n" +
			"  - nothing provides liby.so.2()(64bit) needed by y-devel-1-1.x86_64 from base", "",
			"2 packages or capabilities " +
				"are missing: libx.so.1 needed by x-devel-1-1.x86_64, liby.so.2()(64bit) needed by y-devel-1-1.x86_64"},
		"rich": {" Problem: nothing provides requested (a or b)\n Problem 2: nothing provides requested c >= 2",
			"", "2 packages or capabilities are missing: (a or b), c >= 2"},
		"yum": {"No package a available.\nNo package b available.", "",
			"2 packages or capabilities are missing: a, b"},
		"dnf, arguments": {"Error: Unable to find a match: a b c", "",
			"3 packages or capabilities are missing: a, b, c"},
		"rpmbuild": {"error: Failed build dependencies:\n\ta-devel is needed by hello-1.0-1.x86_64\n" +
			"\tb-devel >= 2 is needed by hello-1.0-1.x86_64", "",
			"2 packages or capabilities are missing: a-devel is needed " +
				"by hello-1.0-1.x86_64, b-devel >= 2 is needed by hello-1.0-1.x86_64"},
		"root.log": {"No matching package to install: 'c'",
			"DEBUG util.py:461:  No matching package to install: 'a'\nDEBUG util.py:461:  No matching package to " +
				"install: " +
				"'b'\nDEBUG util.py:461:  No matching package to install: 'c'",
			"3 packages or capabilities are missing: a, b, c"},
	} {
		t.Run(name, func(t *testing.T) {
			ended := mocklog.Ended{Phase: rpmflow.PhaseDependencies, ExitCode: 30,
				Output: strings.Split(test.output, "\n")}
			if test.rootLog != "" {
				ended.RootLog = filepath.Join(t.TempDir(), "root.log")
				write(t, ended.RootLog, test.rootLog)
			}
			f := mocklog.Classify(ended)
			if f == nil || f.Kind != rpmflow.FailureDependencies || f.Message != test.want {
				t.Fatalf("%+v\nwant %s", f, test.want)
			}
			checkExcerpt(t, f)
			for _, l := range f.Excerpt {
				if strings.Contains(l, "kB") || strings.Contains(l, "KiB") ||
					strings.Contains(l, "Repositories loaded") {
					t.Errorf("%q", f.Excerpt)
				}
			}
		})
	}
}
