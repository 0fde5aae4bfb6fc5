package plan

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/forge"
	"github.com/rpmflow/rpmflow/internal/source"
)

// withoutAbsent takes the packages out of a choice that the commit has nothing of: this push has removed them, or one before it. A look at the
// repository is made where that can be so and costs no waiting that was not done already. Unread says that such a look has just failed.
func (pl *Planner) withoutAbsent(ctx context.Context, project rpmflow.Project, c forge.Change, chosen choice, unread bool) choice {
	var suspects []rpmflow.PackageSource
	for _, p := range chosen.parts {
		if s, ok := project.PackageSource(p.name); ok && suspect(project, s, c) {
			suspects = append(suspects, s)
		}
	}
	if len(suspects) == 0 {
		return chosen
	}
	var absent map[string]string
	if !unread {
		var err error
		absent, err = look(ctx, pl, project.Name, func(ctx context.Context) (map[string]string, error) {
			return pl.o.Repositories.Absent(ctx, asked(project, c), suspects)
		})
		if err != nil {
			pl.log.Warn("which packages are there is not known", "project", project.Name, "commit", c.Commit, "error", err)
			unread = true
		}
	}
	if unread { // the delivery may tell it
		absent = map[string]string{}
		for _, s := range suspects {
			if why := goneBy(s, c); why != "" {
				absent[s.Name] = why
			}
		}
	}
	const most = 20 // are said
	parts := chosen.parts
	chosen.parts = nil
	for _, p := range parts {
		if why, is := absent[p.name]; is {
			chosen.not = append(chosen.not, "nothing to build of "+p.name+", which is not there any more: "+why)
			continue
		}
		chosen.parts = append(chosen.parts, p)
	}
	if len(chosen.parts) == 0 {
		chosen.reason, chosen.not = some(chosen.not, most), nil
	}
	if more := len(chosen.not) - most; more > 0 {
		chosen.not = append(chosen.not[:most], fmt.Sprintf("and nothing of %d others", more))
	}
	return chosen
}

// suspect says whether a package that is to be built may not be there.
func suspect(project rpmflow.Project, s rpmflow.PackageSource, c forge.Change) bool {
	switch {
	case c.Complete:
		return slices.ContainsFunc(c.Gone, func(f string) bool { return isOf(s, f) })
	case len(project.Packages) == 0 && len(s.Filter()) == 0: // nobody has looked at the repository, and most pushes remove no package
		return false
	}
	return true
}

// isOf says whether a file that is gone may have been what a package was built of.
func isOf(s rpmflow.PackageSource, file string) bool {
	if s.Directory == "" {
		return file == s.SpecPath() || s.Spec == "" && isPackage(file)
	}
	return file == s.Directory || strings.HasPrefix(file, s.Directory+"/")
}

// isPackage says whether a file by its name is one that a package is made by.
func isPackage(file string) bool {
	name := path.Base(file)
	return strings.HasSuffix(name, ".spec") || strings.HasSuffix(name, ".spec.in") || rpmflow.IsSRPM(name)
}

// goneBy says, by the delivery alone, why a package is not there: its spec is gone, and no other came.
func goneBy(s rpmflow.PackageSource, c forge.Change) string {
	gone := ""
	for _, f := range c.Files {
		switch {
		case !isOf(s, f) || !isPackage(f):
		case slices.Contains(c.Gone, f):
			if s.Spec == "" || f == s.SpecPath() {
				gone = f
			}
		default:
			return ""
		}
	}
	if gone == "" {
		return ""
	}
	return gone + " was removed"
}

// removedSRPMs says in words which source packages a push has removed; empty: none.
func removedSRPMs(project rpmflow.Project, files []string, there []source.SRPMFile) string {
	var gone []string
	for _, f := range files {
		if project.Sources.TakesSRPM(f) && !slices.ContainsFunc(there, func(p source.SRPMFile) bool { return p.Path == f }) {
			gone = append(gone, f)
		}
	}
	if len(gone) == 0 {
		return ""
	}
	return ": nothing to build of " + some(gone, 3) + ", which is not there any more"
}
