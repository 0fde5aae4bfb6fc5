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

// withoutAbsent removes packages from a choice that the commit does not have, because this push or one before it has
// removed them. The repository is read only if a package may be missing. If it was just found that it cannot be read,
// unread is set.
func (pl *Planner) withoutAbsent(ctx context.Context, project rpmflow.Project, c forge.Change, chosen choice,
	unread bool) choice {
	var suspects []rpmflow.PackageSource
	for _, p := range chosen.packages {
		if s, ok := project.PackageSource(p.name); ok && mayBeAbsent(project, s, c) {
			suspects = append(suspects, s)
		}
	}
	if len(suspects) == 0 {
		return chosen
	}
	var absent map[string]string
	if !unread {
		var err error
		absent, err = read(ctx, pl, project.Name, func(ctx context.Context) (map[string]string, error) {
			return pl.o.Repositories.Absent(ctx, sourceRequest(project, c), suspects)
		})
		if err != nil {
			pl.log.Warn("which packages are there is not known", "project", project.Name, "commit", c.Commit, "error",
				err)
			unread = true
		}
	}
	if unread { // the delivery may say it
		absent = map[string]string{}
		for _, s := range suspects {
			if why := removedBy(s, c); why != "" {
				absent[s.Name] = why
			}
		}
	}
	const most = 20 // are said
	parts := chosen.packages
	chosen.packages = nil
	for _, p := range parts {
		if why, is := absent[p.name]; is {
			chosen.not = append(chosen.not, "nothing to build of "+p.name+", which is not there any more: "+why)
			continue
		}
		chosen.packages = append(chosen.packages, p)
	}
	if len(chosen.packages) == 0 {
		chosen.reason, chosen.not = some(chosen.not, most), nil
	}
	if more := len(chosen.not) - most; more > 0 {
		chosen.not = append(chosen.not[:most], fmt.Sprintf("and nothing of %d others", more))
	}
	return chosen
}

// mayBeAbsent reports whether a chosen package may be missing in the commit.
func mayBeAbsent(project rpmflow.Project, s rpmflow.PackageSource, c forge.Change) bool {
	switch {
	case c.Complete:
		return slices.ContainsFunc(c.Gone, func(f string) bool { return isOf(s, f) })
	// the repository was not read yet, and most pushes remove no package
	case len(project.Packages) == 0 && len(s.Filter()) == 0:
		return false
	}
	return true
}

// isOf reports whether a removed file may have been part of a package.
func isOf(s rpmflow.PackageSource, file string) bool {
	if s.Directory == "" {
		return file == s.SpecPath() || s.Spec == "" && isPackage(file)
	}
	return file == s.Directory || strings.HasPrefix(file, s.Directory+"/")
}

// isPackage reports whether a file is a spec or a source package, by its name.
func isPackage(file string) bool {
	name := path.Base(file)
	return strings.HasSuffix(name, ".spec") || strings.HasSuffix(name, ".spec.in") || rpmflow.IsSRPM(name)
}

// removedBy is the reason why a package is missing, by the delivery alone: its spec was removed, and no other added.
func removedBy(s rpmflow.PackageSource, c forge.Change) string {
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

// removedSRPMs describes which source packages a push has removed. It is empty for none.
func removedSRPMs(project rpmflow.Project, files []string, there []source.SRPMFile) string {
	var gone []string
	for _, f := range files {
		if project.Sources.TakesSRPM(f) &&
			!slices.ContainsFunc(there, func(p source.SRPMFile) bool { return p.Path == f }) {
			gone = append(gone, f)
		}
	}
	if len(gone) == 0 {
		return ""
	}
	return ": nothing to build of " + some(gone, 3) + ", which is not there any more"
}
