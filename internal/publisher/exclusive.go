package publisher

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/rpmflow/rpmflow/internal/hint"
)

// exclusively calls write, which the conditions of its writes keep apart from others. On a storage that ignores
// conditions leases do that: the context ends when one cannot be renewed.
func (p *Publisher) exclusively(ctx context.Context, places []Place, write func(context.Context) error) error {
	conditional, err := p.repos.Conditional(ctx)
	if err != nil {
		return err
	}
	if conditional {
		return write(ctx)
	}
	if p.o.JS == nil {
		return hint.Add(errors.New("the storage does not honour conditions of writes (If-Match), and without NATS "+
			"nothing keeps other writers away"), "set nats.url and its login")
	}
	var desks []desk
	for _, place := range places {
		desks = append(desks, desk{place.Project, place.Target})
	}
	// Everybody takes them in this order, so that two do not wait for each other.
	slices.SortFunc(desks, func(a, b desk) int {
		return cmp.Or(cmp.Compare(a.project, b.project), cmp.Compare(a.target, b.target))
	})
	host, _ := os.Hostname() // only for a message
	leased := ctx
	for _, d := range slices.Compact(desks) {
		var release func()
		if leased, release, err = p.events.Lease(leased, d.project, d.target, host); err != nil {
			return err
		}
		defer release()
	}
	err = write(leased)
	if over := context.Cause(leased); err != nil && over != nil && ctx.Err() == nil {
		return fmt.Errorf("%w (%w)", over, err)
	}
	return err
}
