package forge

import (
	"fmt"
	"net/http"
	"slices"
)

// maxChanges bounds the changes of one delivery: all of them must be stored before it is answered.
const maxChanges = 100

// GenericDelivery is a delivery in rpmflow's own form: of one change, or of several in Changes.
type GenericDelivery struct {
	GenericChange
	Changes    []GenericChange `json:"changes,omitempty"`
	Delivery   string          `json:"delivery,omitempty"` // its id
	Pusher     string          `json:"pusher,omitempty"`
	Repository any             `json:"repository,omitempty"` // a clone URL; anything else names no repository
}

// GenericChange is a change of one ref in rpmflow's own form.
type GenericChange struct {
	Ref    string `json:"ref"`
	Before string `json:"before,omitempty"`
	After  string `json:"after"`
	// Files are all files that differ between before and after, Gone those of them that were deleted.
	Files *[]string `json:"files,omitempty"`
	Gone  []string  `json:"gone,omitempty"`
}

// GenericSignature is the header with the signature of a delivery in rpmflow's own form.
const GenericSignature = "X-Rpmflow-Signature-256"

// Generic sends rpmflow's own form, a GenericDelivery: it is rpmflow hook, and other post-receive hooks.
func Generic() Forge {
	f := Forge{Name: "generic", Title: "rpmflow hook, and scripts", Header: GenericSignature, Signature: signedBody,
		Body: "The body is rpmflow's own form, see [Deliveries](#deliveries)."}
	f.read = func(h http.Header, body []byte, secret string) (Delivery, error) {
		if err := f.verify(secret, body, h.Get(f.Header)); err != nil {
			return Delivery{}, err
		}
		var p GenericDelivery
		if err := decode(body, &p); err != nil {
			return Delivery{}, err
		}
		return p.read()
	}
	return f
}

func (p GenericDelivery) read() (Delivery, error) {
	switch {
	case len(p.Changes) == 0:
		p.Changes = []GenericChange{p.GenericChange}
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

func (g GenericChange) read() (Change, error) {
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
