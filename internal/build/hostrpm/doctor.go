package hostrpm

import (
	"context"
	"slices"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/doctor"
	"github.com/rpmflow/rpmflow/internal/hint"
)

// Check looks at the host's rpmbuild; why says why it is used.
func Check(why string) doctor.Check {
	return func(ctx context.Context, f *doctor.Findings) {
		const name = "engine rpmbuild"
		host, err := New(ctx, Apart())
		if err != nil {
			f.Error(name, doctor.Failed, err)
			return
		}
		f.Add(name, doctor.Warning, "builds run with the host's rpmbuild, not in a clean root: "+why,
			"use a container engine where packages are for others")
		for _, c := range host.Caveats() {
			f.Add(name, doctor.Warning, c, "")
		}
	}
}

// CheckTargets names the targets whose builds wait for another builder.
func CheckTargets(targets []rpmflow.Target, archs []string) doctor.Check {
	return func(_ context.Context, f *doctor.Findings) {
		for _, t := range targets {
			name := "target " + t.Name
			if !slices.Contains(archs, t.Arch) {
				f.Skip(name, "other builders build for "+t.Arch)
			} else if err := Serves(t); err != nil {
				what, do := hint.Split(err)
				f.Add(name, doctor.Failed, what+"; its builds wait for another builder", do)
			} else {
				f.OK(name, "is this machine's, as its name says")
			}
		}
	}
}
