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
	"unicode"

	"github.com/sassoftware/go-rpmutils"

	"github.com/rpmflow/rpmflow"
)

// gitVersion is what a commit's tags and history say of its version.
type gitVersion struct {
	tag     string
	version string // of the tag, as rpm sorts it
	commits int    // since the tag
	commit  string
	author  string
	time    time.Time // the committer's
	log     []logged  // the newest commit first
}

// logged is one commit of the history.
type logged struct {
	author, mail, subject string
	time                  time.Time
}

const (
	// logLength is how many commits the changelog entry lists.
	logLength = 10
	// subjectLength bounds one of its lines, in characters.
	subjectLength = 200
)

// defaultVersionTags are tags that look like versions.
func defaultVersionTags() []string { return []string{"v[0-9]*", "[0-9]*"} }

// gitVersion finds the nearest tag as git describe does, and what has happened since.
func (s *snapshot) gitVersion(ctx context.Context, patterns []string) (*gitVersion, error) {
	if len(patterns) == 0 {
		patterns = defaultVersionTags()
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
		if tag = strings.TrimSuffix(tag, "\n"); rpmflow.MatchPatterns(patterns, tag) {
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
	v := &gitVersion{commit: commit, time: s.commit.Committer.When.UTC()}
	m := described.FindStringSubmatch(strings.TrimSpace(string(out)))
	if m == nil {
		return nil, fmt.Errorf("git describe says %q of %s, which is not understood", out, short(commit))
	}
	v.tag = m[1]
	if v.commits, err = strconv.Atoi(m[2]); err != nil {
		return nil, fmt.Errorf("git describe says %q of %s: %w", out, short(commit), err)
	}
	if err := s.newestTag(ctx, v, patterns); err != nil {
		return nil, err
	}
	if v.log, err = s.log(ctx, commit); err == nil && len(v.log) > 0 {
		v.author = v.log[0].author // in UTF-8, whatever the commit's encoding
	}
	return v, err
}

var described = regexp.MustCompile(`^(.+)-([0-9]+)-g[0-9a-f]{40}$`)

// newestTag takes the highest version of those that tag the same commit: a release candidate becomes the release.
func (s *snapshot) newestTag(ctx context.Context, v *gitVersion, patterns []string) error {
	at, err := runGit(ctx, "--git-dir="+s.mirror, "rev-parse", "--verify", "--quiet", "refs/tags/"+v.tag+"^{commit}")
	if err != nil {
		return &damage{err}
	}
	out, err := runGit(ctx, "--git-dir="+s.mirror, "tag", "--points-at="+strings.TrimSpace(string(at)), "--list")
	if err != nil {
		return &damage{err}
	}
	var first error
	for tag := range strings.Lines(string(out)) {
		if tag = strings.TrimSuffix(tag, "\n"); !rpmflow.MatchPatterns(patterns, tag) {
			continue
		}
		version, err := versionOf(tag, patterns)
		if err != nil {
			if tag == v.tag {
				first = err
			}
			continue
		}
		if v.version == "" || rpmutils.Vercmp(version, v.version) > 0 {
			v.tag, v.version = tag, version
		}
	}
	if v.version == "" && first == nil {
		v.version, first = versionOf(v.tag, patterns)
	}
	if v.version == "" {
		return first
	}
	return nil
}

// log is the last commits.
func (s *snapshot) log(ctx context.Context, commit string) ([]logged, error) {
	out, err := runGit(ctx, "--git-dir="+s.mirror, "log", "-z", "--encoding=UTF-8", "--no-mailmap", "--no-show-signature", "--no-color", "--max-count="+strconv.Itoa(logLength),
		"--format=tformat:%an%x00%ae%x00%ct%x00%s", commit, "--")
	if err != nil {
		return nil, &damage{err}
	}
	fields := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
	if len(fields)%4 != 0 {
		return nil, fmt.Errorf("git log of %s has %d fields, which is not understood", short(commit), len(fields))
	}
	var list []logged
	for i := 0; i < len(fields); i += 4 {
		seconds, err := strconv.ParseInt(fields[i+2], 10, 64)
		if err != nil {
			seconds = 0
		}
		list = append(list, logged{author: fields[i], mail: fields[i+1], subject: fields[i+3], time: sane(time.Unix(seconds, 0))})
	}
	return list, nil
}

// sane replaces dates that git allows and others do not by the epoch, as setTime does.
func sane(t time.Time) time.Time {
	if u := t.Unix(); u < 0 || u > 1<<33 {
		t = time.Unix(0, 0)
	}
	return t.UTC()
}

var (
	// tagVersion splits a tag into what stands before the version and the version.
	tagVersion        = regexp.MustCompile(`^(?:.*?[-_/])??[vV]?([0-9].*)$`)
	digitsAtEnd       = regexp.MustCompile(`[0-9][0-9._]*$`)
	startsWithVersion = regexp.MustCompile(`^[vV]?[-_.]?([0-9].*)$`)
	// firstDigit is for tags that the project says are versions, such as n6.1.
	firstDigit = regexp.MustCompile(`^[^0-9]+([0-9].*)$`)
	// preRelease splits a version into what it leads to and what it is for now.
	preRelease = regexp.MustCompile(`^([0-9]+(?:[._][0-9]+)*)[-._~]?((?i:alpha|beta|preview|pre|rc|cr|dev|snapshot).*)$`)
	// pythonic are pre-releases as PEP 440 writes them; a letter without a number is a patch of OpenSSL's kind.
	pythonic = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)*)([ab][0-9]+.*)$`)
	// rpmVersion is what rpm allows in Version.
	rpmVersion = regexp.MustCompile(`^[0-9A-Za-z._+~^]+$`)
)

// bare is the part of a tag that is a version, pre-release and all; "" where there is none. What a pattern has before its first
// wildcard is the prefix, but for digits at its end: those of 2.* are of the version.
func bare(tag string, patterns []string) string {
	for _, p := range patterns {
		prefix := p
		if i := strings.IndexAny(p, `*?[{\`); i >= 0 {
			prefix = p[:i]
		}
		prefix = digitsAtEnd.ReplaceAllString(prefix, "")
		rest, ok := strings.CutPrefix(tag, prefix)
		if !ok || prefix == "" || !rpmflow.MatchPattern(p, tag) {
			continue
		}
		if m := startsWithVersion.FindStringSubmatch(rest); m != nil {
			return m[1]
		}
	}
	for _, re := range []*regexp.Regexp{tagVersion, firstDigit} {
		if m := re.FindStringSubmatch(tag); m != nil {
			return m[1]
		}
	}
	return ""
}

// versionOf is the Version that a tag stands for. Pre-releases get a tilde, with which rpm sorts them before the release.
func versionOf(tag string, patterns []string) (string, error) {
	version := bare(tag, patterns)
	if version == "" {
		return "", rpmflow.Fail(rpmflow.FailureSource, "say with version_tags which tags are versions", "the nearest tag %s has no version in it", show(tag))
	}
	for _, re := range []*regexp.Regexp{preRelease, pythonic} {
		if p := re.FindStringSubmatch(version); p != nil {
			version = p[1] + "~" + strings.ReplaceAll(p[2], "-", ".")
			break
		}
	}
	if !rpmVersion.MatchString(version) {
		i := strings.IndexFunc(version, func(c rune) bool { return !rpmVersion.MatchString(string(c)) })
		return "", rpmflow.Fail(rpmflow.FailureSource, "name the tag otherwise, or say with version_tags which tags are versions",
			"the version of the nearest tag, %s, cannot be one of rpm's: %q is not allowed in it", show(tag), string([]rune(version[i:])[:1]))
	}
	return version, nil
}

// release is the Release without the distribution's suffix: number on the tag itself, and with the commits behind it for those that
// follow. rpm sorts 1 < 1.1.g… < 1.2.g… also with a suffix, because a number is newer than a word.
func (v *gitVersion) release(number string) string {
	if v.commits == 0 {
		return number
	}
	return fmt.Sprintf("%s.%d.g%s", number, v.commits, v.commit[:7])
}

func (v *gitVersion) String() string {
	switch v.commits {
	case 0:
		return fmt.Sprintf("version %s from the tag %s", v.version, show(v.tag))
	case 1:
		return fmt.Sprintf("version %s from the tag %s and one commit since", v.version, show(v.tag))
	}
	return fmt.Sprintf("version %s from the tag %s and %d commits since", v.version, show(v.tag), v.commits)
}

// entry is an entry of the changelog for this commit, not older than the one below, as rpm wants it.
func (v *gitVersion) entry(release string, notBefore time.Time) string {
	day := later(sane(v.time), notBefore)
	author, mail := plainText(v.author), ""
	if len(v.log) > 0 {
		mail = plainText(v.log[0].mail)
	}
	if author == "" {
		author = "unknown"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "* %s %s <%s> - %s-%s\n", day.Format("Mon Jan 02 2006"), author, mail, v.version, release)
	for _, c := range v.log {
		fmt.Fprintf(&b, "- %s (%s, %s)\n", plainText(c.subject), plainText(c.author), c.time.Format(time.DateOnly))
	}
	return b.String()
}

// plainText makes foreign text fit for a spec: one line, no macros.
func plainText(text string) string {
	text = strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return ' '
		}
		return c
	}, strings.ToValidUTF8(text, "?"))
	if r := []rune(text); len(r) > subjectLength {
		text = string(r[:subjectLength]) + "…"
	}
	return strings.ReplaceAll(strings.Join(strings.Fields(text), " "), "%", "%%")
}
