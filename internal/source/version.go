package source

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/sassoftware/go-rpmutils"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/pathmatch"
	"github.com/rpmflow/rpmflow/internal/spec"
)

// logLength is how many commits the changelog entry lists.
const logLength = 10

// gitVersion finds the nearest tag as git describe does, and what has happened since.
func (s *snapshot) gitVersion(ctx context.Context, patterns []string) (*spec.Version, error) {
	if len(patterns) == 0 {
		patterns = spec.DefaultVersionTags()
	}
	commit := s.commit.Hash.String()
	if text, err := os.ReadFile(filepath.Join(s.mirror, "shallow")); err == nil && len(text) > 0 {
		return nil, rpmflow.Fail(rpmflow.FailureSource, "build from a repository with its whole history, or take the version from the spec",
			"the repository is a shallow clone: its commits cannot be counted")
	}
	noTag := rpmflow.Fail(rpmflow.FailureSource,
		"tag a version and push the tag (git tag v0.1.0; git push origin v0.1.0), or say with version_tags what such tags are called",
		"no tag that matches %s leads to %s, so there is no version", strings.Join(patterns, ", "), short(commit))
	out, err := runGit(ctx, "--git-dir="+s.mirror, "for-each-ref", "--format=%(refname:strip=2)", "refs/tags")
	if err != nil {
		return nil, &damage{err}
	}
	// Which tags match is said in the language of all patterns, which is not that of git describe.
	args := []string{"--git-dir=" + s.mirror, "describe", "--tags", "--long", "--abbrev=40"}
	for tag := range strings.Lines(string(out)) {
		if tag = strings.TrimSuffix(tag, "\n"); pathmatch.MatchList(patterns, tag) {
			args = append(args, "--match="+tag) // a name of a ref has nothing that is special in a pattern
		}
	}
	if len(args) == 5 {
		return nil, noTag
	}
	if out, err = runGit(ctx, append(args, commit)...); err != nil {
		if text := err.Error(); strings.Contains(text, "No names found") || strings.Contains(text, "No tags can describe") {
			return nil, noTag
		}
		return nil, &damage{err}
	}
	v := &spec.Version{Commit: commit, Time: sane(s.commit.Committer.When)}
	m := described.FindStringSubmatch(strings.TrimSpace(string(out)))
	if m == nil {
		return nil, fmt.Errorf("git describe says %q of %s, which is not understood", out, short(commit))
	}
	v.Tag = m[1]
	if v.Commits, err = strconv.Atoi(m[2]); err != nil {
		return nil, fmt.Errorf("git describe says %q of %s: %w", out, short(commit), err)
	}
	if err := s.newestTag(ctx, v, patterns); err != nil {
		return nil, err
	}
	v.Log, err = s.log(ctx, commit)
	return v, err
}

var described = regexp.MustCompile(`^(.+)-([0-9]+)-g[0-9a-f]{40}$`)

// newestTag takes the highest version of those that tag the same commit: a release candidate becomes the release.
func (s *snapshot) newestTag(ctx context.Context, v *spec.Version, patterns []string) error {
	at, err := runGit(ctx, "--git-dir="+s.mirror, "rev-parse", "--verify", "--quiet", "refs/tags/"+v.Tag+"^{commit}")
	if err != nil {
		return &damage{err}
	}
	out, err := runGit(ctx, "--git-dir="+s.mirror, "tag", "--points-at="+strings.TrimSpace(string(at)), "--list")
	if err != nil {
		return &damage{err}
	}
	var first error
	for tag := range strings.Lines(string(out)) {
		if tag = strings.TrimSuffix(tag, "\n"); !pathmatch.MatchList(patterns, tag) {
			continue
		}
		version, err := spec.VersionOf(tag, patterns)
		if err != nil {
			if tag == v.Tag {
				first = err
			}
			continue
		}
		if v.Version == "" || rpmutils.Vercmp(version, v.Version) > 0 {
			v.Tag, v.Version = tag, version
		}
	}
	if v.Version == "" && first == nil {
		v.Version, first = spec.VersionOf(v.Tag, patterns)
	}
	if v.Version == "" {
		return first
	}
	return nil
}

// log is the last commits.
func (s *snapshot) log(ctx context.Context, commit string) ([]spec.Change, error) {
	out, err := runGit(ctx, "--git-dir="+s.mirror, "log", "-z", "--encoding=UTF-8", "--no-mailmap", "--no-show-signature", "--no-color", "--max-count="+strconv.Itoa(logLength),
		"--format=tformat:%an%x00%ae%x00%ct%x00%s", commit, "--")
	if err != nil {
		return nil, &damage{err}
	}
	fields := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
	if len(fields)%4 != 0 {
		return nil, fmt.Errorf("git log of %s has %d fields, which is not understood", short(commit), len(fields))
	}
	var list []spec.Change
	for i := 0; i < len(fields); i += 4 {
		seconds, err := strconv.ParseInt(fields[i+2], 10, 64)
		if err != nil {
			seconds = 0
		}
		list = append(list, spec.Change{Author: fields[i], Mail: fields[i+1], Subject: fields[i+3], Time: sane(time.Unix(seconds, 0))})
	}
	return list, nil
}
