package build

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/printable"
	"github.com/rpmflow/rpmflow/internal/rpmfile"
)

// Tags by which a spec says what it is for (rpmtag.h).
const (
	tagExcludeArch   = 1059
	tagExcludeOS     = 1060
	tagExclusiveArch = 1061
	tagExclusiveOS   = 1062
)

const targetOS = "linux"

const (
	skipHintArch = "nothing to do; projects[].targets leaves the target out, so that pushes do not build for it"
	skipHintOS   = "nothing to do: rpmflow builds for Linux"
)

// NotFor is the end of a build whose spec excludes the target by a tag (ExclusiveArch, ExcludeArch, ExclusiveOS,
// ExcludeOS). Engines return it when rpm itself refuses the spec.
func NotFor(tag, arch string) *rpmflow.Skip {
	if strings.HasSuffix(tag, "OS") {
		return &rpmflow.Skip{Message: fmt.Sprintf("the spec is not for %s (%s)", targetOS, tag), Hint: skipHintOS}
	}
	return &rpmflow.Skip{Message: fmt.Sprintf("the spec is not for %s (%s)", arch, tag), Hint: skipHintArch}
}

// cpus are the names that rpm may have for an architecture (%_target_cpu): in some of mock's configurations they differ
// from the file's name.
func cpus(b rpmflow.Build, arch string) []string {
	for _, o := range b.Options.MockOptions {
		if o.Key == "rpmbuild_arch" {
			return []string{o.Value}
		}
	}
	switch arch {
	case "i386", "i486", "i586", "i686":
		return []string{"i386", "i486", "i586", "i686"}
	case "armhfp", "armv7hl":
		return []string{"armhfp", "armv7hl"}
	}
	if base, _, versioned := strings.Cut(arch, "_v"); versioned {
		return []string{arch, base}
	}
	return []string{arch}
}

// restriction is one of the tags.
type restriction struct {
	tag  int
	name string // in a spec, and in lower case in a query
	os   bool   // it lists operating systems, not architectures
}

func restrictions() []restriction {
	return []restriction{
		{tagExcludeArch, "ExcludeArch", false}, {tagExclusiveArch, "ExclusiveArch", false},
		{tagExcludeOS, "ExcludeOS", true}, {tagExclusiveOS, "ExclusiveOS", true},
	}
}

// excludes compares a tag's list with the target, by rpm's own rule (build/parsePreamble.c,
// checkForValidArchitectures): the target is excluded if ExcludeArch lists its architecture, or ExclusiveArch does not,
// in upper or lower case. If an architecture has several names and the tag lists only some of them, rpm decides.
func (r restriction) excludes(list []string, b rpmflow.Build, arch string) *rpmflow.Skip {
	values, hint := cpus(b, arch), skipHintArch
	if r.os {
		values, hint = []string{targetOS}, skipHintOS
	}
	named := func(value string) bool {
		return slices.ContainsFunc(list, func(s string) bool { return strings.EqualFold(s, value) })
	}
	unnamed := func(value string) bool { return !named(value) }
	if i := slices.IndexFunc(list, func(s string) bool { return strings.HasPrefix(s, "%") }); i >= 0 {
		hint = fmt.Sprintf("%s is a macro that is not defined here: define it with macros, or build for a target that "+
			"has it", list[i])
	}
	switch exclusive := strings.HasPrefix(r.name, "Exclusive"); {
	case exclusive && !slices.ContainsFunc(values, named):
		return &rpmflow.Skip{
			Message: fmt.Sprintf("the spec is for %s only (%s), the target is %s", printable.List(list, 8), r.name,
				values[0]),
			Hint: hint,
		}
	case !exclusive && !slices.ContainsFunc(values, unnamed):
		return &rpmflow.Skip{Message: fmt.Sprintf("the spec is not for %s (%s)", values[0], r.name), Hint: hint}
	}
	return nil
}

// excluded reads the tags of a source package. The error is a *rpmflow.Skip if it excludes the target.
func excluded(srpm string, b rpmflow.Build, arch string) error {
	lists, err := rpmfile.Texts(srpm, tagExcludeArch, tagExclusiveArch, tagExcludeOS, tagExclusiveOS)
	if err != nil {
		return err
	}
	return firstExcluding(func(r restriction) []string { return lists[r.tag] }, b, arch)
}

// firstExcluding is the *rpmflow.Skip of the first tag that excludes the target by its list.
func firstExcluding(listOf func(restriction) []string, b rpmflow.Build, arch string) error {
	for _, r := range restrictions() {
		if list := listOf(r); len(list) > 0 {
			if skip := r.excludes(list, b, arch); skip != nil {
				return skip
			}
		}
	}
	return nil
}

// restricted finds the tags in an expanded spec.
var restricted = regexp.MustCompile(`(?im)^[ \t]*Exclu(de|sive)(Arch|OS)[ \t]*:`)

// excludedSpec asks rpm about the tags of a spec before its sources are fetched, which a source package needs. What rpm
// does not answer is found out later.
func (r *run) excludedSpec(ctx context.Context, spec, sources string, expanded []byte) error {
	if r.SRPMOnly || !restricted.Match(expanded) {
		return nil
	}
	query := ""
	for _, t := range restrictions() {
		query += "[" + t.name + " %{" + strings.ToLower(t.name) + "}\n]"
	}
	answer, err := r.session.Query(ctx, spec, sources, "-q", "--srpm", "--queryformat", query)
	if err != nil {
		return err
	}
	lists := map[string][]string{}
	for line := range strings.Lines(string(answer)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			lists[name] = append(lists[name], value)
		}
	}
	return firstExcluding(func(t restriction) []string { return lists[t.name] }, r.b, r.Target.Arch)
}
