package build

import (
	"context"
	"path/filepath"
	"sync"

	"github.com/rpmflow/rpmflow"
)

// warm has the engine make the root ready while the sources are fetched. The first function waits for that, the second
// one stops it.
func (r *run) warm(ctx context.Context) (wait, stop func()) {
	w, ok := r.Engine.(Warmer)
	if !ok {
		return func() {}, func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var containers []string
	job := Job{
		Build: r.b.Clone(), Target: r.Target, Dir: filepath.Join(r.Dir, "warm"), Log: r.output,
		OnContainer: func(id string) { containers = append(containers, id) }, OnRoot: func(rpmflow.BuildRoot) {},
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := w.Warm(ctx, job); err != nil && ctx.Err() == nil {
			r.Logger.Debug("root not made ready while the sources are fetched", "project", r.b.Project, "target",
				r.b.Target,
				"build", r.b.ID, "error", err)
		}
	}()
	wait = sync.OnceFunc(func() {
		<-done
		r.b.Containers = append(r.b.Containers, containers...)
	})
	return wait, func() { cancel(); wait() }
}
