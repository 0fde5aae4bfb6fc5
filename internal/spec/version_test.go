package spec

import (
	"strings"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/testkit/failtest"
)

// wantFailure checks that err is the packager's business, with words in its text.
func TestVersionOf(t *testing.T) {
	t.Parallel()
	for tag, want := range map[string]string{
		"v1.2": "1.2", "1.2.3": "1.2.3", "V2": "2", "hello-1.2": "1.2", "hello-v1.2": "1.2", "python3-hello-1.2": "1.2",
		"release/1.2": "1.2", "RELEASE_1_2": "1_2",
		"v1.2-rc1": "1.2~rc1", "1.2rc1": "1.2~rc1", "1.2.0-beta.2": "1.2.0~beta.2", "1.2-alpha-3": "1.2~alpha.3",
		"1.0a1": "1.0~a1", "1.0b12": "1.0~b12",
		"1.0.dev3": "1.0~dev3", "1.2-SNAPSHOT": "1.2~SNAPSHOT", "1.2~rc1": "1.2~rc1", "1.1.1w": "1.1.1w",
		"1.2+git5": "1.2+git5", "1.2.post1": "1.2.post1",
	} {
		if got, err := VersionOf(tag, DefaultVersionTags()); err != nil || got != want {
			t.Errorf("%s: got %q, %v; want %q", tag, got, err, want)
		}
	}
	for tag, word := range map[string]string{"verbose": "has no version in it", "v1.2-3": `"-"`, "1.2:4": `":"`,
		"1.2é": `"é"`} {
		_, err := VersionOf(tag, DefaultVersionTags())
		failtest.Want(t, err, rpmflow.FailureSource, word, "version_tags")
	}
	for _, tt := range []struct{ pattern, tag, want string }{
		{"n[0-9]*", "n6.1", "6.1"}, {"release-*", "release-2.5", "2.5"}, {"release-*", "release-v2.5-rc1", "2.5~rc1"},
		{"v*", "v3.0.1", "3.0.1"}, {"*", "n6.1", "6.1"},
		{"log4j-*", "log4j-2.1", "2.1"}, {"log4j-2.*", "log4j-2.1", "2.1"}, {"2.*", "2.5", "2.5"},
		{"n7.*", "n7.1", "7.1"},
		{"R_*", "R_2_6_2", "2_6_2"},
		{"b-1.4.2", "b-1.4.2", "1.4.2"}, {"rel/**", "rel/x/1.2", "1.2"}, {"{v,r}[0-9]*", "r5", "5"},
		{"curl-*", "curl-8_5_0", "8_5_0"}, {"x86-*", "x86-1.0", "1.0"},
	} {
		if got, err := VersionOf(tt.tag, []string{tt.pattern}); err != nil || got != tt.want {
			t.Errorf("%s, %s: got %q, %v; want %q", tt.pattern, tt.tag, got, err, tt.want)
		}
	}
}

func TestEditSpec(t *testing.T) {
	t.Parallel()
	v := &Version{Tag: "v2", Version: "2", Commits: 3, Commit: strings.Repeat("c", 40),
		Time: time.Date(2024, 2, 3, 23, 0,
			0, 0, time.UTC),
		Log: []Change{{Author: "A", Mail: "a@b", Subject: "s", Time: time.Date(2024, 2, 3, 0, 0, 0, 0, time.UTC)}}}
	entry := "* Sat Feb 03 2024 A <a@b> - 2-1.3.gccccccc\n- s (A, 2024-02-03)\n"
	for name, tt := range map[string]struct{ in, want string }{
		"spaces and case": {"NAME: a\n version :\t1 \nrelease:1\n%description\nVersion: x\n%changelog\n",
			"NAME: a\n version :\t2 \nrelease:1.3.gccccccc%{?dist}\n%description\nVersion: x\n%changelog\n" + entry},
		"carriage returns": {"Version: 1\r\nRelease: 1\r\n%changelog\r\n",
			"Version: 2\r\nRelease: 1.3.gccccccc%{?dist}\r\n%changelog\r\n" + entry},
		"number": {"Version: 1\nRelease: 12%{?dist}.2\n%changelog",
			"Version: 2\nRelease: 12.3.gccccccc%{?dist}\n%changelog\n" + strings.Replace(entry, "2-1", "2-12", 1)},
		"a macro": {"Version: 1\n%global rel 7\nRelease: %{rel}%{?dist}\n%changelog\n",
			"Version: 2\n%global rel 7\nRelease: %{rel}.3.gccccccc%{?dist}\n%changelog\n" +
				strings.Replace(entry, "2-1",
					"2-%{rel}", 1)},
		"parts": {"Version: 1\nRelease: 0.1.%{pre}%dist\n%changelog\n",
			"Version: 2\nRelease: 0.1.%{pre}.3.gccccccc%{?dist}\n%changelog\n" +
				strings.Replace(entry, "2-1", "2-0.1.%{pre}",
					1)},
		"autorelease": {"Version: 1\nRelease: %autorelease\n%changelog\n%autochangelog\n",
			"Version: 2\nRelease: 1.3.gccccccc%{?dist}\n%changelog\n" + entry},
		"autorelease -b": {"Version: 1\nRelease: %{autorelease -b 7}\n%changelog\n%{?autochangelog}\n",
			"Version: 2\nRelease: 7.3.gccccccc%{?dist}\n%changelog\n" + strings.Replace(entry, "2-1", "2-7", 1)},
		"macro bodies": {"%define x() \\\nVersion: 5 \\\n%nil\n%{lua:\nprint([[Version: 6\n]])\nRelease: 7\n}\n%if " +
			"1\n" +
			"%global a b\n%endif\nVersion: 1\nRelease: 1\n# Version: 9 %{\n%package x\nVersion: 3\n%changelog\n",
			"%define x() \\\nVersion: 5 \\\n%nil\n%{lua:\nprint([[Version: 6\n]])\nRelease: 7\n}\n%if 1\n%global a " +
				"b\n%endif\n" +
				"Version: 2\nRelease: 1.3.gccccccc%{?dist}\n# Version: 9 %{\n%package x\nVersion: 3\n%changelog\n" +
				entry},
		"a newer entry": {"Version: 1\nRelease: 1\n%changelog\n* Wed Mar 06 2024 B <b@c> - 1-1\n- x\n",
			"Version: 2\nRelease: 1.3.gccccccc%{?dist}\n%changelog\n" + strings.Replace(entry, "Sat Feb 03",
				"Wed Mar 06",
				1) + "\n* Wed Mar 06 2024 B <b@c> - 1-1\n- x\n"},
	} {
		got, err := v.Edit(tt.in)
		if err != nil || got != tt.want {
			t.Errorf("%s: got %v\n%s\nwant\n%s", name, err, got, tt.want)
		}
	}
	for in, word := range map[string]string{
		"Version: 1\n%if 0\nRelease: 1\n%endif\n":          "line 3, Release, is in a conditional",
		"%ifarch x86_64\nVersion: 1\n%endif\nRelease: 1\n": "line 2, Version, is in a conditional",
		"Version: 1\nVersion: 2\nRelease: 1\n":             "lines 1 and 2 both are its Version",
		"Release: 1\n":                                     "no line Version:",
		"Version: 1\n":                                     "no line Release:",
		"%{lua:\nprint('x')\nVersion: 1\n}\nRelease: 1\n":  "no line Version:",
		"Version: 1\n%description\nRelease: 1\n":           "no line Release:",
		"Version: 1\nRelease: 1\n%changelog\n%changelog\n": "two %changelog sections",
		"%define x \\\nVersion: 1\nRelease: 1\n":           "no line Version:",
		"%{?x:\nVersion: 1\n}\nRelease: 1\n":               "no line Version:",
	} {
		_, err := v.Edit(in)
		failtest.Want(t, err, rpmflow.FailureSpec, word, "version: from-git")
	}
}

func FuzzEditSpec(f *testing.F) {
	f.Add("Version: 1\nRelease: 1\n%changelog\n", "subject", "v1.2-rc1")
	f.Add("%if 1\nVersion: 1\n%endif\n%{lua:\n", "100%\\", "1.0b2")
	f.Fuzz(func(t *testing.T, spec, subject, tag string) {
		version, err := VersionOf(tag, nil)
		if err != nil {
			return
		}
		if !rpmVersion.MatchString(version) {
			t.Fatalf("version %q", version)
		}
		v := &Version{Tag: tag, Version: version, Commit: strings.Repeat("c", 40),
			Log: []Change{{Author: subject, Mail: subject, Subject: subject}}}
		for line := range strings.Lines(v.entry("1", time.Time{})) {
			if strings.HasSuffix(strings.TrimSuffix(line, "\n"), `\`) ||
				strings.Contains(strings.ReplaceAll(line, "%%", ""),
					"%") {
				t.Fatalf("rpm would read %q as more than text", line)
			}
		}
		got, err := v.Edit(spec)
		if err == nil && strings.Count(got, "\n") < strings.Count(spec, "\n")-1 {
			t.Fatalf("lines are missing: %q", got)
		}
	})
}
