// Package docs_test keeps the documentation true: its commands are run against a running system, its programs are
// compiled and run, its configurations are loaded, its links lead somewhere, and its tables are generated from what
// they describe.
package docs_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow/internal/testkit"
)

// root is where the documentation's paths start.
const root = "../.."

// block is a fenced block of a document.
type block struct {
	file   string // below root
	line   int    // of its fence
	info   string
	text   string
	notRun string // the reason why a block of commands is not run
}

func (b block) String() string { return fmt.Sprintf("%s:%d", b.file, b.line) }

// documents lists what is read by users and contributors.
func documents(t *testing.T) []string {
	t.Helper()
	files := []string{"README.md", "CONTRIBUTING.md", "CHANGELOG.md"}
	found, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil || len(found) == 0 {
		t.Fatal(found, err)
	}
	for _, f := range found {
		files = append(files, "docs/"+filepath.Base(f))
	}
	return files
}

func read(t *testing.T, file string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(root, file))
	testkit.Must(t, err)
	return string(raw)
}

var notRun = regexp.MustCompile(`^<!-- not run: (.+) -->$`)

// blocks returns the fenced blocks of a document in their order.
func blocks(t *testing.T, file string) []block {
	t.Helper()
	var all []block
	var in *block
	before := ""
	for i, line := range strings.Split(read(t, file), "\n") {
		switch {
		case in != nil && line == "```":
			all = append(all, *in)
			in = nil
		case in != nil:
			in.text += line + "\n"
		case strings.HasPrefix(line, "```"):
			in = &block{file: file, line: i + 1, info: strings.TrimPrefix(line, "```")}
			if m := notRun.FindStringSubmatch(before); m != nil {
				in.notRun = m[1]
			}
		case strings.Contains(line, "```"):
			t.Errorf("%s:%d: a fence that does not begin its line is not seen by the tests", file, i+1)
		}
		before = line
	}
	if in != nil {
		t.Errorf("%s is not closed", in)
	}
	return all
}

// TestWhatIsNotRun allows a small number of blocks that are shown and not run, each with its reason.
func TestWhatIsNotRun(t *testing.T) {
	allowed := map[string]string{ // the first command, and why it is not run
		"make run":              "it never ends, and installs",
		"make test":             "it runs this test",
		"make build":            "it is what make test begins with",
		"git pull\nmake images": "it is for a later version",
		"export CGO_ENABLED":    "it runs tests",
		"nats":                  "the nats command is not part of rpmflow",
		"dnf config-manager":    "there is no such server; test/compose fetches what dnf does",

		"rpmflow hook install /srv/git/hello.git": "there is no such repository; README's is run",
		"rpmflow submit hello --srpm":             "there is no such source package, and one is a URL",
		"umask 077\nrpmflow repo new-key > new":   "it is for a key that is lost; that of a change is run",
		"curl -fsS -o old.asc":                    "it is for a key that is lost; there is no such server",

		"rpmflow up --config /etc/rpmflow/rpmflow.yaml --data-dir /var/lib/rpmflow": "README's rpmflow up is run",
	}
	for _, file := range documents(t) {
		for _, b := range blocks(t, file) {
			switch b.info {
			case "sh", "console":
			case "go", "python", "json", "yaml", "text":
				continue
			default:
				t.Errorf("%s: info string %q: use sh (is run), console (is not), go, python, json, yaml or text", b,
					b.info)
				continue
			}
			if b.info == "sh" && b.notRun == "" {
				continue
			}
			ok := strings.HasPrefix(b.notRun, "test/compose runs ") ||
				slices.ContainsFunc(slices.Collect(maps.Keys(allowed)),
					func(first string) bool { return strings.HasPrefix(b.text, first) })
			if !ok {
				t.Errorf("%s: the block is not run: make it sh, or allow it here with a reason:\n%s", b, b.text)
			}
		}
	}
}

var link = regexp.MustCompile(`\]\(([^)#]*)(#[^)]*)?\)`)

// TestLinks follows the links between files of the project.
func TestLinks(t *testing.T) {
	for _, file := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(read(t, file), -1) {
			target, anchor := m[1], m[2]
			if strings.Contains(target, "://") {
				continue
			}
			path := file
			if target != "" {
				path = filepath.Join(filepath.Dir(file), target)
			}
			if _, err := os.Stat(filepath.Join(root, path)); err != nil {
				t.Errorf("%s: link to %s: %v", file, target, err)
				continue
			}
			if anchor != "" && !slices.Contains(anchors(read(t, path)), anchor) {
				t.Errorf("%s: %s has no heading %s", file, path, anchor)
			}
		}
	}
}

var notInAnchor = regexp.MustCompile(`[^\p{L}\p{N} _-]`)

// anchors are those that forges make of headings.
func anchors(text string) []string {
	var all []string
	for line := range strings.Lines(text) {
		if heading := strings.TrimLeft(line, "#"); len(heading) < len(line) && strings.HasPrefix(heading, " ") {
			name := notInAnchor.ReplaceAllString(strings.ToLower(strings.TrimSpace(heading)), "")
			all = append(all, "#"+strings.ReplaceAll(name, " ", "-"))
		}
	}
	return all
}

var logged = regexp.MustCompile("(?m)^\\| ((?:`[^`]+`(?:, )?)+) \\|")

// TestLogMessages looks for the messages that operations.md explains among the programs' own.
func TestLogMessages(t *testing.T) {
	_, text, ok := strings.Cut(read(t, "docs/operations.md"), "\n## What the log says\n")
	text, _, closed := strings.Cut(text, "\n## ")
	if !ok || !closed {
		t.Fatal("docs/operations.md has no section about the log")
	}
	var source strings.Builder
	err := filepath.WalkDir(filepath.Join(root, "internal"), func(path string, _ os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		raw, err := os.ReadFile(path)
		source.Write(raw)
		return err
	})
	testkit.Must(t, err)
	n := 0
	for _, m := range logged.FindAllStringSubmatch(text, -1) {
		for _, message := range strings.Split(strings.Trim(m[1], "`"), "`, `") {
			n++
			if !strings.Contains(source.String(), `"`+strings.TrimSuffix(message, " …")) {
				t.Errorf("no program logs %q", message)
			}
		}
	}
	if n < 8 {
		t.Errorf("only %d messages were found", n)
	}
}

var ours = regexp.MustCompile("`((?:bench|cmd|deploy|docs|examples|internal|scripts|test)/[A-Za-z0-9_./-]+)`")

// TestPaths looks for the files and packages that documents for contributors name.
func TestPaths(t *testing.T) {
	for _, file := range []string{"CONTRIBUTING.md", "docs/architecture.md"} {
		n := 0
		for _, m := range ours.FindAllStringSubmatch(read(t, file), -1) {
			n++
			if _, err := os.Stat(filepath.Join(root, m[1])); err != nil {
				t.Errorf("%s names what is not there: %v", file, err)
			}
		}
		if n == 0 {
			t.Errorf("%s names nothing of ours", file)
		}
	}
}

// TestREADMEIsShort keeps it something that one reads.
func TestREADMEIsShort(t *testing.T) {
	if n := strings.Count(read(t, "README.md"), "\n"); n > 150 {
		t.Errorf("README.md has %d lines: move what is too much to docs/", n)
	}
}
