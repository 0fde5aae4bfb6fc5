package plan

import (
	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/forge"
)

// Half is the repository of a project of layout split that a delivery is about. For other layouts it is "". The
// webhook's address can say it, with ?repository=packaging, else the names of the repository in the delivery.
func Half(project rpmflow.Project, said string, d forge.Delivery) (rpmflow.Half, *Refusal) {
	if project.Layout != rpmflow.LayoutSplit {
		if said != "" {
			return "", refuse(Invalid,
				"remove ?repository= from the webhook's address, or set layout: split and packaging_url of the project",
				"project %q has one repository, and the webhook says that it is for the %q", project.Name, said)
		}
		return "", nil
	}
	const hint = "add ?repository=source or ?repository=packaging to the webhook's address"
	switch h := rpmflow.Half(said); h {
	case rpmflow.HalfSource, rpmflow.HalfPackaging:
		return h, nil
	case "":
	default:
		return "", refuse(Invalid, hint, "project %q: repository %q is not one of its two", project.Name, said)
	}
	ofSource, ofPackaging := d.IsOf(project.URL), d.IsOf(project.Packaging.URL)
	switch {
	case ofSource && !ofPackaging:
		return rpmflow.HalfSource, nil
	case ofPackaging && !ofSource:
		return rpmflow.HalfPackaging, nil
	}
	return "", refuse(Invalid, hint,
		"project %q has two repositories, and the delivery does not say which of them it is for", project.Name)
}

// split names both repositories, and the commit of the one that was pushed to. The builder finds the commit of the
// other one, so that the sender of the push does not wait for it.
func split(project rpmflow.Project, push rpmflow.Push) *rpmflow.Split {
	if project.Layout != rpmflow.LayoutSplit {
		return nil
	}
	s := &rpmflow.Split{
		Pushed:    push.Half,
		Source:    rpmflow.Revision{Repository: project.URL},
		Packaging: rpmflow.Revision{Repository: project.Packaging.URL},
	}
	pushed, _ := s.Halves()
	pushed.Ref, pushed.Commit = push.Ref, push.Commit
	return s
}

// splitAgain is the half that a repeated build was pushed to, and both commits if they are known: the new build has the
// same.
func splitAgain(project rpmflow.Project, old rpmflow.Build) (rpmflow.Half, *rpmflow.Split, *Refusal) {
	now := split(project, rpmflow.Push{Half: rpmflow.HalfSource})
	switch {
	case old.Split == nil && now == nil:
		return "", nil, nil
	case old.Split == nil:
		return rpmflow.HalfSource, nil, nil // it was built when the project had only the source's repository
	case now == nil, now.Source.Repository != old.Split.Source.Repository,
		now.Packaging.Repository != old.Split.Packaging.Repository:
		return "", nil, refuse(Conflict, "push to the project's repositories, or submit a build of them",
			"build %s was made of %s and %s, which are not the project's repositories any more", old.ID,
			old.Split.Source.Repository, old.Split.Packaging.Repository)
	}
	again := *old.Split
	return again.Pushed, &again, nil
}
