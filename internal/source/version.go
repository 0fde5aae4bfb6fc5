package source

import (
	"context"
	"errors"
	"strings"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/filetime"
	"github.com/rpmflow/rpmflow/internal/git"
	"github.com/rpmflow/rpmflow/internal/pathmatch"
	"github.com/rpmflow/rpmflow/internal/rpmfile"
	"github.com/rpmflow/rpmflow/internal/spec"
)

// gitVersion is the version of the nearest tag, with what has happened since.
func gitVersion(ctx context.Context, tree git.Tree, patterns []string) (*spec.Version, error) {
	if len(patterns) == 0 {
		patterns = spec.DefaultVersionTags()
	}
	commit, when := tree.Revision()
	d, err := tree.Describe(ctx, func(tag string) bool { return pathmatch.MatchList(patterns, tag) })
	if errors.Is(err, git.ErrNoTag) {
		return nil, rpmflow.Fail(
			rpmflow.FailureSource,
			"tag a version and push the tag (git tag v0.1.0; git push origin v0.1.0), "+
				"or set version_tags to the names of such tags",
			"no tag that matches %s leads to %s, so there is no version",
			strings.Join(patterns, ", "),
			short(commit),
		)
	}
	if err != nil {
		return nil, err
	}
	v := &spec.Version{Commit: commit, Time: filetime.Sane(when), Commits: d.Commits}
	for _, e := range d.Log {
		v.Log = append(v.Log, spec.Change{Author: e.Author, Mail: e.Mail, Subject: e.Subject, Time: e.Time})
	}
	return v, takeNewest(v, d, patterns)
}

// takeNewest takes the highest version of those that tag the same commit: a release candidate becomes the release.
func takeNewest(v *spec.Version, d *git.Description, patterns []string) error {
	var first error
	for _, tag := range d.Tags {
		version, err := spec.VersionOf(tag, patterns)
		if err != nil {
			if tag == d.Tag {
				first = err
			}
			continue
		}
		if v.Version == "" || rpmfile.Vercmp(version, v.Version) > 0 {
			v.Tag, v.Version = tag, version
		}
	}
	if v.Version != "" {
		return nil
	}
	if first != nil {
		return first
	}
	var err error
	v.Tag = d.Tag
	v.Version, err = spec.VersionOf(d.Tag, patterns)
	return err
}
