package git

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/filetime"
	"github.com/rpmflow/rpmflow/internal/git/gitcmd"
)

// Description is what tags and history say of a commit.
type Description struct {
	Tag     string   // the nearest one that matches
	Tags    []string // all that match of the commit that it tags, the nearest one included
	Commits int      // since the tag
	Log     []LogEntry
}

// LogEntry is a commit of the history.
type LogEntry struct {
	Author, Mail, Subject string // in UTF-8, from any encoding of the commit
	Time                  time.Time
}

// logLength is how many commits a description lists, the newest first.
const logLength = 10

// ErrNoTag means that no tag that matches leads to the commit.
var ErrNoTag = errors.New("no tag leads to the commit")

var described = regexp.MustCompile(`^(.+)-([0-9]+)-g[0-9a-f]{40}$`)

// Describe implements Tree.
func (c *Commit) Describe(ctx context.Context, match func(tag string) bool) (*Description, error) {
	d, err := Describe(ctx, c.dir, c.ID, match)
	return d, damaged(err)
}

// Describe finds the nearest tag to a commit in the bare repository dir, as git describe does. Which tags match is
// decided by match, and not by the patterns of git describe.
func Describe(ctx context.Context, dir, commit string, match func(tag string) bool) (*Description, error) {
	if text, err := os.ReadFile(filepath.Join(dir, "shallow")); err == nil && len(text) > 0 {
		return nil, rpmflow.Fail(rpmflow.FailureSource,
			"build from a repository with its whole history, or take the version from the spec",
			"the repository is a shallow clone: its commits cannot be counted")
	}
	out, err := gitcmd.Run(ctx, "--git-dir="+dir, "for-each-ref", "--format=%(refname:strip=2)", "refs/tags")
	if err != nil {
		return nil, err
	}
	args := []string{"--git-dir=" + dir, "describe", "--tags", "--long", "--abbrev=40"}
	tags := matching(out, match)
	for _, tag := range tags {
		args = append(args, "--match="+tag) // no character in the name of a ref is special in a pattern
	}
	if len(tags) == 0 {
		return nil, ErrNoTag
	}
	if out, err = gitcmd.Run(ctx, append(args, commit)...); err != nil {
		if text := err.Error(); strings.Contains(text, "No names found") || strings.Contains(text,
			"No tags can describe") {
			return nil, ErrNoTag
		}
		return nil, err
	}
	m := described.FindStringSubmatch(strings.TrimSpace(string(out)))
	if m == nil {
		return nil, fmt.Errorf("git describe printed %q for %s, which is not understood", out, short(commit))
	}
	d := &Description{Tag: m[1]}
	if d.Commits, err = strconv.Atoi(m[2]); err != nil {
		return nil, fmt.Errorf("git describe printed %q for %s: %w", out, short(commit), err)
	}
	tagged, err := gitcmd.Run(ctx, "--git-dir="+dir, "rev-parse", "--verify", "--quiet", "refs/tags/"+d.Tag+"^{commit}")
	if err != nil {
		return nil, err
	}
	out, err = gitcmd.Run(ctx, "--git-dir="+dir, "tag", "--points-at="+strings.TrimSpace(string(tagged)), "--list")
	if err != nil {
		return nil, err
	}
	d.Tags = matching(out, match)
	d.Log, err = readLog(ctx, dir, commit)
	return d, err
}

func matching(lines []byte, match func(tag string) bool) (tags []string) {
	for tag := range strings.Lines(string(lines)) {
		if tag = strings.TrimSuffix(tag, "\n"); match(tag) {
			tags = append(tags, tag)
		}
	}
	return tags
}

// readLog returns the last commits.
func readLog(ctx context.Context, dir, commit string) ([]LogEntry, error) {
	out, err := gitcmd.Run(ctx, "--git-dir="+dir, "log", "-z", "--encoding=UTF-8", "--no-mailmap",
		"--no-show-signature", "--no-color", "--max-count="+strconv.Itoa(logLength),
		"--format=tformat:%an%x00%ae%x00%ct%x00%s", commit, "--")
	if err != nil {
		return nil, err
	}
	fields := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
	if len(fields)%4 != 0 {
		return nil, fmt.Errorf("git log of %s has %d fields, which is not understood", short(commit), len(fields))
	}
	var list []LogEntry
	for i := 0; i < len(fields); i += 4 {
		seconds, err := strconv.ParseInt(fields[i+2], 10, 64)
		if err != nil {
			seconds = 0
		}
		list = append(list, LogEntry{Author: fields[i], Mail: fields[i+1], Subject: fields[i+3],
			Time: filetime.Sane(time.Unix(seconds, 0))})
	}
	return list, nil
}
