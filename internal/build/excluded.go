package build

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	rpm "github.com/sassoftware/go-rpmutils"

	"github.com/rpmflow/rpmflow"
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

// cpus are the names that rpm may have for an architecture (%_target_cpu) where mock's configurations have others than their names say.
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

// restriction is one of the tags, and whose names are in it.
type restriction struct {
	tag  int
	name string // in a spec, and in small letters in a query
	os   bool
}

func restrictions() []restriction {
	return []restriction{{tagExcludeArch, "ExcludeArch", false}, {tagExclusiveArch, "ExclusiveArch", false}, {tagExcludeOS, "ExcludeOS", true}, {tagExclusiveOS, "ExclusiveOS", true}}
}

// excludes compares a tag's list with the target, by rpm's own rule (build/parsePreamble.c, checkForValidArchitectures): it is excluded if
// ExcludeArch has its architecture, or ExclusiveArch does not, in whatever case. Where an architecture has several names and
// the tag only some of them, rpm decides.
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
		hint = fmt.Sprintf("%s is a macro that rpm does not know here: define it with macros, or build for a target that has it", list[i])
	}
	switch exclusive := strings.HasPrefix(r.name, "Exclusive"); {
	case exclusive && !slices.ContainsFunc(values, named):
		return &rpmflow.Skip{Message: fmt.Sprintf("the spec is for %s only (%s), the target is %s", listed(list), r.name, values[0]), Hint: hint}
	case !exclusive && !slices.ContainsFunc(values, unnamed):
		return &rpmflow.Skip{Message: fmt.Sprintf("the spec is not for %s (%s)", values[0], r.name), Hint: hint}
	}
	return nil
}

// excluded looks at the tags of a source package. The error is a *rpmflow.Skip if it is not for the target.
func excluded(srpm string, b rpmflow.Build, arch string) error {
	var skip *rpmflow.Skip
	err := rpmfile.Header(srpm, func(h *rpm.RpmHeader) error {
		for _, r := range restrictions() {
			if !h.HasTag(r.tag) || skip != nil {
				continue
			}
			list, err := h.GetStrings(r.tag)
			if err != nil {
				return err
			}
			skip = r.excludes(list, b, arch)
		}
		return nil
	})
	if err == nil && skip != nil {
		return skip
	}
	return err
}

// restricted finds the tags in an expanded spec.
var restricted = regexp.MustCompile(`(?im)^[ \t]*Exclu(de|sive)(Arch|OS)[ \t]*:`)

// excludedSpec asks rpm about the tags of a spec of which there is no source package yet: without its sources there will not be any. What rpm
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
	for _, t := range restrictions() {
		if len(lists[t.name]) == 0 {
			continue
		}
		if skip := t.excludes(lists[t.name], r.b, r.Target.Arch); skip != nil {
			return skip
		}
	}
	return nil
}

// listed keeps a list of architectures short enough for a sentence.
func listed(list []string) string {
	const most = 8
	if len(list) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(list[:most], ", "), len(list)-most)
	}
	return strings.Join(list, ", ")
}

// refusal is what rpm says of a spec that excludes the target (build/parsePreamble.c). It parses the spec before it runs anything of it.
var refusal = regexp.MustCompile(`^(?:error: )?(Architecture|OS) is (not included|excluded): (\S+)$`)

// ranScript begins the output of a part of the spec.
var ranScript = regexp.MustCompile(`^Executing\(%\w+\): `)

// refusedByRPM turns the failure of a step that rpm refused by ExclusiveArch and its like into a *rpmflow.Skip, in whatever phase it was. A
// spec may say other things to the target's rpm than to the one that made the source package.
func refusedByRPM(err error, arch string) error {
	var f *rpmflow.Failure
	if !errors.As(err, &f) || slices.ContainsFunc(f.Excerpt, ranScript.MatchString) {
		return err
	}
	for _, line := range append([]string{f.Message}, f.Excerpt...) {
		m := refusal.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			continue
		}
		what, hint, tag := arch, skipHintArch, "ExclusiveArch"
		if m[1] == "OS" {
			what, hint, tag = targetOS, skipHintOS, "ExclusiveOS"
		}
		if m[2] == "excluded" {
			tag = strings.Replace(tag, "Exclusive", "Exclude", 1)
		}
		return &rpmflow.Skip{Message: fmt.Sprintf("the spec is not for %s (%s)", what, tag), Hint: hint}
	}
	return err
}
