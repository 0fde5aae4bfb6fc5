package source

import (
	"bytes"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/rpmflow/rpmflow"
)

// A spec that is made from a template, NAME.spec.in, by replacing @NAME@ with what the project's configuration says, and nothing
// else: no command runs outside of a container.

func isTemplate(name string) bool {
	name = path.Base(name)
	return strings.HasSuffix(name, ".spec.in") && name != ".spec.in"
}

// specName is what a spec is called on disk.
func specName(f file) string {
	return strings.TrimSuffix(f.as, ".in")
}

// facts are what values of substitutions may refer to: what is known of the source tree's commit.
type facts struct {
	commit, branch, tag string
	// version comes from the tag, unless something knows better.
	version string
}

func factsOf(ref, commit string) facts {
	f := facts{commit: commit}
	if branch, ok := strings.CutPrefix(ref, "refs/heads/"); ok {
		f.branch = branch
	}
	if tag, ok := strings.CutPrefix(ref, "refs/tags/"); ok {
		f.tag = tag
		f.version = tag
		if plain := strings.TrimPrefix(tag, "v"); plain != "" && plain[0] >= '0' && plain[0] <= '9' {
			f.version = plain
		}
	}
	return f
}

// value is what stands for {name} in a substitution, "" for what is not known of this push.
func (f facts) value(name string) string {
	switch name {
	case "commit":
		return f.commit
	case "short":
		return short(f.commit)
	case "branch":
		return f.branch
	case "tag":
		return f.tag
	case "version":
		return f.version
	}
	return ""
}

// expandValue fills in a substitution's value.
func (f facts) expandValue(s rpmflow.Substitution) (string, error) {
	var failure error
	text := rpmflow.SubstitutionFact.ReplaceAllStringFunc(s.Value, func(fact string) string {
		v := f.value(strings.Trim(fact, "{}"))
		if v == "" && failure == nil {
			why := map[string]string{"{branch}": "no branch was pushed", "{tag}": "no tag was pushed", "{version}": "no tag was pushed that would say it"}[fact]
			failure = rpmflow.Fail(rpmflow.FailureSpec, "use another of "+strings.Join(rpmflow.SubstitutionFacts, ", ")+", or a value that does not depend on the push",
				"substitute: %s=%s: %s is not known: %s", s.Name, s.Value, fact, why)
		}
		return v
	})
	if failure == nil && strings.ContainsAny(text, "\n\r\x00%") {
		failure = rpmflow.Fail(rpmflow.FailureSpec, "name branches and tags without such characters", "substitute: %s=%s: the value %q would mean something to rpm", s.Name, s.Value, text)
	}
	return text, failure
}

// maxSpec is the largest template, in bytes.
const maxSpec = 4 << 20

// substitute replaces @NAME@ in a template.
func substitute(text []byte, list []rpmflow.Substitution, f facts, name string) ([]byte, error) {
	for _, s := range list {
		// Only what the template has is asked for: {tag} does not hurt where nothing uses it.
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
		return nil, rpmflow.Fail(rpmflow.FailureSpec, fmt.Sprintf("set substitute: in the project's configuration, such as [%s=…]", strings.Trim(left[0], "@")),
			"%s has %s, for which there is no value", show(name), strings.Join(left, ", "))
	}
	return text, nil
}

// marked is a name to be replaced, as configure scripts and build systems write it.
var marked = regexp.MustCompile(`@[A-Za-z_][A-Za-z0-9_.-]*@`)

// unreplaced lists the names that are left to be replaced and that nothing is said of, wherever they are but in comments and in what a
// script replaces itself: s/@NAME@/…/.
func unreplaced(text []byte, list []rpmflow.Substitution) (left []string) {
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		for _, at := range marked.FindAllStringIndex(line, -1) {
			name := line[at[0]:at[1]]
			ofScript := at[0] >= 2 && line[at[0]-2] == 's' && strings.IndexByte("/|,#!:;%+", line[at[0]-1]) >= 0
			// Whoever wants to keep @NAME@ says NAME=@NAME@.
			said := slices.ContainsFunc(list, func(s rpmflow.Substitution) bool { return "@"+s.Name+"@" == name })
			if !ofScript && !said && !slices.Contains(left, name) && len(left) < 10 {
				left = append(left, name)
			}
		}
	}
	return left
}

// finish makes the spec out of the template that was written to p.Spec.
func (p *Prepared) finish(list []rpmflow.Substitution, f facts) error {
	text, err := os.ReadFile(p.Spec)
	if err != nil {
		return fmt.Errorf("reading the template of the spec: %w", err)
	}
	if len(text) > maxSpec {
		return rpmflow.Fail(rpmflow.FailureSpec, "shorten it", "%s has more than %d bytes", show(p.SpecPath), maxSpec)
	}
	made, err := substitute(text, list, f, p.SpecPath)
	if err != nil {
		return err
	}
	if err := os.WriteFile(p.Spec, made, 0o644); err != nil {
		return fmt.Errorf("writing the spec: %w", err)
	}
	p.Explanation += fmt.Sprintf("; %s is made of %s", show(filepath.Base(p.Spec)), show(path.Base(p.SpecPath)))
	return setTime(p.Spec, p.CommitTime)
}
