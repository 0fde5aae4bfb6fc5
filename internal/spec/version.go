package spec

import (
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/pathmatch"
	"github.com/rpmflow/rpmflow/internal/printable"
)

// Version is the version that tags and history give a commit.
type Version struct {
	Tag     string
	Version string // of the tag, as rpm sorts it
	Commits int    // since the tag
	Commit  string
	Time    time.Time // the committer's
	Log     []Change  // the newest commit first
}

// Change is one commit of the history.
type Change struct {
	Author, Mail, Subject string
	Time                  time.Time
}

// subjectLength bounds a line of the changelog, in characters.
const subjectLength = 200

// DefaultVersionTags are tags that look like versions.
func DefaultVersionTags() []string { return []string{"v[0-9]*", "[0-9]*"} }

var (
	// tagVersion splits a tag into what precedes the version and the version.
	tagVersion        = regexp.MustCompile(`^(?:.*?[-_/])??[vV]?([0-9].*)$`)
	digitsAtEnd       = regexp.MustCompile(`[0-9][0-9._]*$`)
	startsWithVersion = regexp.MustCompile(`^[vV]?[-_.]?([0-9].*)$`)
	// firstDigit is for tags that the project says are versions, such as n6.1.
	firstDigit = regexp.MustCompile(`^[^0-9]+([0-9].*)$`)
	// preRelease splits a version into what it leads to and what it is for now.
	preRelease = regexp.MustCompile(`^([0-9]+(?:[._][0-9]+)*)[-._~]?` +
		`((?i:alpha|beta|preview|pre|rc|cr|dev|snapshot).*)$`)
	// pythonic are pre-releases as PEP 440 writes them; a letter without a number is a patch of OpenSSL's kind.
	pythonic = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)*)([ab][0-9]+.*)$`)
	// rpmVersion is what rpm allows in Version.
	rpmVersion = regexp.MustCompile(`^[0-9A-Za-z._+~^]+$`)
)

// bare is the part of a tag that is a version, with its pre-release; "" if there is none. What a pattern has before its
// first wildcard is the prefix, except for digits at its end: those of 2.* belong to the version.
func bare(tag string, patterns []string) string {
	for _, p := range patterns {
		prefix := p
		if i := strings.IndexAny(p, `*?[{\`); i >= 0 {
			prefix = p[:i]
		}
		prefix = digitsAtEnd.ReplaceAllString(prefix, "")
		rest, ok := strings.CutPrefix(tag, prefix)
		if !ok || prefix == "" || !pathmatch.Match(p, tag) {
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

// VersionOf is the Version that a tag stands for. Pre-releases get a tilde, with which rpm sorts them before the
// release.
func VersionOf(tag string, patterns []string) (string, error) {
	version := bare(tag, patterns)
	if version == "" {
		return "", rpmflow.Fail(rpmflow.FailureSource, "set version_tags to the tags that are versions",
			"the nearest tag %s has no version in it", printable.Name(tag))
	}
	for _, re := range []*regexp.Regexp{preRelease, pythonic} {
		if p := re.FindStringSubmatch(version); p != nil {
			version = p[1] + "~" + strings.ReplaceAll(p[2], "-", ".")
			break
		}
	}
	if !rpmVersion.MatchString(version) {
		i := strings.IndexFunc(version, func(c rune) bool { return !rpmVersion.MatchString(string(c)) })
		return "", rpmflow.Fail(rpmflow.FailureSource,
			"rename the tag, or set version_tags to the tags that are versions",
			"the version of the nearest tag, %s, is not valid for rpm: %q is not allowed in it",
			printable.Name(tag), string([]rune(version[i:])[:1]))
	}
	return version, nil
}

// release is the Release without the distribution's suffix: number on the tag itself, and with the number of commits
// behind it for those that follow. rpm sorts 1 < 1.1.g… < 1.2.g… also with a suffix, because a number is newer than a
// word.
func (v *Version) release(number string) string {
	if v.Commits == 0 {
		return number
	}
	return fmt.Sprintf("%s.%d.g%s", number, v.Commits, v.Commit[:7])
}

func (v *Version) String() string {
	switch v.Commits {
	case 0:
		return fmt.Sprintf("version %s from the tag %s", v.Version, printable.Name(v.Tag))
	case 1:
		return fmt.Sprintf("version %s from the tag %s and one commit since", v.Version, printable.Name(v.Tag))
	}
	return fmt.Sprintf("version %s from the tag %s and %d commits since", v.Version, printable.Name(v.Tag), v.Commits)
}

// entry is an entry of the changelog for this commit, not older than the one below, as rpm requires.
func (v *Version) entry(release string, notBefore time.Time) string {
	day := v.Time
	if notBefore.After(day) {
		day = notBefore
	}
	author, mail := "", ""
	if len(v.Log) > 0 {
		author, mail = plainText(v.Log[0].Author), plainText(v.Log[0].Mail)
	}
	if author == "" {
		author = "unknown"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "* %s %s <%s> - %s-%s\n", day.Format("Mon Jan 02 2006"), author, mail, v.Version, release)
	for _, c := range v.Log {
		fmt.Fprintf(&b, "- %s (%s, %s)\n", plainText(c.Subject), plainText(c.Author), c.Time.Format(time.DateOnly))
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
