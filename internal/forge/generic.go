package forge

import (
	"fmt"
	"net/http"
	"slices"
)

// maxChanges bounds the changes of one delivery: all of them must be stored before it is answered.
const maxChanges = 100

// genericChange is a change in rpmflow's own form.
type genericChange struct {
	Ref    string `json:"ref"`
	Before string `json:"before"`
	After  string `json:"after"`
	// Files are all files that differ between before and after, Gone those of them that were deleted.
	Files *[]string `json:"files"`
	Gone  []string  `json:"gone"`
}

// Generic reads a delivery in rpmflow's own form, which rpmflow hook and other post-receive hooks send: one change as
// {"ref": …, "before": …, "after": …, "files": […], "gone": […], "delivery": …, "pusher": …, "repository": …}, or
// several in {"changes": [{"ref": …}, …], …}. It is signed in the header X-Rpmflow-Signature-256.
func Generic(h http.Header, body []byte, secret string) (Delivery, error) {
	signature := h.Get("X-Rpmflow-Signature-256")
	if signature == "" {
		return Delivery{}, fmt.Errorf("%w: there is no X-Rpmflow-Signature-256 header", ErrSignature)
	}
	if err := Verify(secret, body, signature); err != nil {
		return Delivery{}, err
	}
	var p struct {
		genericChange
		Changes    []genericChange `json:"changes"`
		Delivery   string          `json:"delivery"`
		Pusher     string          `json:"pusher"`
		Repository any             `json:"repository"` // a clone URL; anything else names no repository
	}
	if err := decode(body, &p); err != nil {
		return Delivery{}, err
	}
	switch {
	case len(p.Changes) == 0:
		p.Changes = []genericChange{p.genericChange}
	case p.Ref != "":
		return Delivery{}, fmt.Errorf("%w: it has both ref and changes", ErrPayload)
	case len(p.Changes) > maxChanges:
		return Delivery{}, fmt.Errorf("%w: %d changes are more than %d: send several deliveries", ErrPayload,
			len(p.Changes),
			maxChanges)
	}
	repository, _ := p.Repository.(string)
	d := Delivery{ID: p.Delivery, Pusher: p.Pusher, Repositories: nonEmpty(repository)}
	for _, g := range p.Changes {
		c, err := g.read()
		if err != nil {
			return Delivery{}, err
		}
		if slices.ContainsFunc(d.Changes, func(other Change) bool { return other.Ref == c.Ref }) {
			return Delivery{}, fmt.Errorf("%w: %s is changed twice", ErrPayload, c.Ref)
		}
		d.Changes = append(d.Changes, c)
	}
	return d, nil
}

func (g genericChange) read() (Change, error) {
	c := Change{Ref: g.Ref, Before: g.Before, Commit: g.After}
	if err := c.check(); err != nil || g.Files == nil {
		return c, err
	}
	c.Complete, c.Files, c.Gone = true, *g.Files, g.Gone
	listed := map[string]bool{}
	for _, f := range c.Files {
		listed[f] = true
	}
	for _, f := range g.Gone {
		if !listed[f] {
			return Change{}, fmt.Errorf("%w: %q is in gone but not in files, which must list all changed files",
				ErrPayload, f)
		}
	}
	return c, nil
}
