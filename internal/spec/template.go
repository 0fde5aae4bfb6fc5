package spec

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/printable"
)

// Facts are what values of substitutions may refer to: what is known of the source tree's commit.
type Facts struct {
	Commit, Branch, Tag string
	Version             string
}

// FactsOf are those of a pushed ref. The version is the one that the tag's name says.
func FactsOf(ref, commit string) Facts {
	f := Facts{Commit: commit}
	if branch, ok := strings.CutPrefix(ref, "refs/heads/"); ok {
		f.Branch = branch
	}
	if tag, ok := strings.CutPrefix(ref, "refs/tags/"); ok {
		f.Tag = tag
		f.Version = tag
		if plain := strings.TrimPrefix(tag, "v"); plain != "" && plain[0] >= '0' && plain[0] <= '9' {
			f.Version = plain
		}
	}
	return f
}

// value is what stands for {name} in a substitution, "" for what is not known of this push.
func (f Facts) value(name string) string {
	switch name {
	case "commit":
		return f.Commit
	case "short":
		return f.Commit[:min(len(f.Commit), 12)]
	case "branch":
		return f.Branch
	case "tag":
		return f.Tag
	case "version":
		return f.Version
	}
	return ""
}

// expandValue fills in a substitution's value.
func (f Facts) expandValue(s rpmflow.Substitution) (string, error) {
	var failure error
	text := rpmflow.SubstitutionFact.ReplaceAllStringFunc(s.Value, func(fact string) string {
		v := f.value(strings.Trim(fact, "{}"))
		if v == "" && failure == nil {
			why := map[string]string{
				"{branch}": "no branch was pushed", "{tag}": "no tag was pushed",
				"{version}": "no tag was pushed that would say it",
			}[fact]
			failure = rpmflow.Fail(rpmflow.FailureSpec,
				"use another of "+strings.Join(rpmflow.SubstitutionFacts,
					", ")+", or a value that does not depend on the push",
				"substitute: %s=%s: %s is not known: %s", s.Name, s.Value, fact, why)
		}
		return v
	})
	if failure == nil && strings.ContainsAny(text, "\n\r\x00%") {
		failure = rpmflow.Fail(rpmflow.FailureSpec, "name branches and tags without such characters",
			"substitute: %s=%s: rpm would interpret the value %q", s.Name, s.Value, text)
	}
	return text, failure
}

// Substitute replaces @NAME@ in a template, which messages call name, and nothing else: no command runs outside of
// a container.
func Substitute(text []byte, list []rpmflow.Substitution, f Facts, name string) ([]byte, error) {
	if len(text) > MaxSize {
		return nil, rpmflow.Fail(rpmflow.FailureSpec, "shorten it", "%s has more than %d bytes", printable.Name(name),
			MaxSize)
	}
	for _, s := range list {
		// Only what the template has is looked up: an unknown {tag} does not matter if nothing uses it.
		mark := []byte("@" + s.Name + "@")
		if !bytes.Contains(text, mark) {
			continue
		}
		value, err := f.expandValue(s)
		if err != nil {
			return nil, err
		}
		text = bytes.ReplaceAll(text, mark, []byte(value))
	}
	if left := unreplaced(text, list); len(left) > 0 {
		return nil, rpmflow.Fail(rpmflow.FailureSpec,
			fmt.Sprintf("set substitute: in the project's configuration, such as [%s=…]", strings.Trim(left[0], "@")),
			"%s has %s, for which there is no value", printable.Name(name), strings.Join(left, ", "))
	}
	return text, nil
}

// marked is a name to be replaced, as configure scripts and build systems write it.
var marked = regexp.MustCompile(`@[A-Za-z_][A-Za-z0-9_.-]*@`)

// unreplaced lists the names that are still to be replaced and are not configured. Comments do not count, nor what a
// script replaces itself: s/@NAME@/…/.
func unreplaced(text []byte, list []rpmflow.Substitution) (left []string) {
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		for _, at := range marked.FindAllStringIndex(line, -1) {
			name := line[at[0]:at[1]]
			ofScript := at[0] >= 2 && line[at[0]-2] == 's' && strings.IndexByte("/|,#!:;%+", line[at[0]-1]) >= 0
			// NAME=@NAME@ keeps @NAME@.
			said := slices.ContainsFunc(list, func(s rpmflow.Substitution) bool { return "@"+s.Name+"@" == name })
			if !ofScript && !said && !slices.Contains(left, name) && len(left) < 10 {
				left = append(left, name)
			}
		}
	}
	return left
}
