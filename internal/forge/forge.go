// Package forge reads what forges send: signed deliveries that announce pushes.
//
// The headers and the raw body of a delivery and the project's secret come in; after its signature was checked, the
// refs that it changes, the repository that it names, and the files that it lists go out. Listener, hook and benchmark
// import it; it imports the domain and git URLs.
package forge

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/giturl"
)

// Forge is one kind of sender. Its webhook's address is POST /hooks/<name>/<project>.
type Forge struct {
	Name string // in the webhook's address and in the record of a push
	// Title, Body and Signature describe the sender, its deliveries and their signature in the reference of the API.
	Title, Body, Signature string
	Header                 string // that has the signature
	Form                   bool   // its deliveries may be forms whose field payload has the JSON

	// Deliveries with the header event are this forge's also if they come to the addresses of these forges.
	event  string
	alsoAt []string
	// read checks a delivery's signature and reads it.
	read func(h http.Header, body []byte, secret string) (Delivery, error)
}

// Forges lists all kinds of senders. Each one has a file of its own. Forgejo's deliveries have Gitea's headers, too, so
// they are looked for first.
func Forges() []Forge { return []Forge{GitHub(), Forgejo(), Gitea(), Generic()} }

// Read checks the signature of a delivery that has come to the forge's address, and reads it. It returns ErrSignature,
// ErrPayload, or NotAPush.
func (f Forge) Read(h http.Header, body []byte, secret string) (Delivery, error) {
	for _, other := range Forges() {
		if slices.Contains(other.alsoAt, f.Name) && h.Get(other.event) != "" {
			f = other
			break
		}
	}
	d, err := f.read(h, body, secret)
	if err != nil {
		return Delivery{}, err
	}
	d.Forge = f.Name
	return d, nil
}

// Delivery is one message of a forge. It changes at least one ref of one repository.
type Delivery struct {
	Forge string // the name of the one that has sent it
	// ID is the forge's own, the same when the delivery is sent again. It is empty when the sender gives none.
	ID     string
	Pusher string
	// Repositories are the names of the repository that was pushed to: clone URLs, and its path on the forge.
	Repositories []string
	Changes      []Change
}

// Key distinguishes a change of this delivery from all others. The push's id is derived from it. It has the ref in it,
// because one delivery can change several refs.
func (d Delivery) Key(c Change) string {
	if d.ID != "" {
		return d.ID + " " + c.Ref
	}
	return c.Ref + " " + c.Before + " " + c.Commit
}

// IsOf reports whether the repository that the delivery names is the one with this address. Protocols and ports can
// differ, and a name without a host, such as owner/name, is compared with the path.
func (d Delivery) IsOf(address string) bool {
	wanted, err := giturl.Parse(address)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(d.Repositories, func(name string) bool {
		named, err := giturl.Parse(name)
		if err != nil {
			return false
		}
		if named.Scheme == "" && !strings.HasPrefix(named.Path, "/") {
			return wanted.Host != "" && named.Location() == wanted.Location() && wanted.Location() != ""
		}
		return named.Same(wanted)
	})
}

// Change is one ref that was changed.
type Change struct {
	Ref    string
	Before string // the old commit: zeros for a new ref, empty when the sender does not say it
	Commit string // the new commit: zeros for a deleted ref
	// Complete means that the delivery lists every file that differs between Before and Commit. If not, Files and Gone
	// are empty.
	Complete bool
	// Files are the paths of these files, sorted or as they were sent. Gone are those of them that were deleted.
	Files, Gone []string
}

// Deleted reports whether the push deleted the ref.
func (c Change) Deleted() bool { return rpmflow.IsZeroCommit(c.Commit) }

// check refuses a change that no git server makes.
func (c Change) check() error {
	if !strings.HasPrefix(c.Ref, "refs/") || strings.Contains(c.Ref, "..") ||
		strings.ContainsAny(c.Ref, " \t\r\n\x00~^:?*[\\") {
		return fmt.Errorf("%w: ref %q is not a full ref name such as refs/heads/main", ErrPayload, c.Ref)
	}
	if !rpmflow.IsCommit(c.Commit) {
		return fmt.Errorf("%w: new commit %q is not a full commit id", ErrPayload, c.Commit)
	}
	if c.Before != "" && !rpmflow.IsCommit(c.Before) {
		return fmt.Errorf("%w: old commit %q is not a full commit id", ErrPayload, c.Before)
	}
	return nil
}

// ErrPayload means that a delivery does not have its forge's form.
var ErrPayload = errors.New("malformed delivery")

// NotAPush is returned for valid deliveries of other events.
type NotAPush struct{ Event string }

func (e NotAPush) Error() string { return fmt.Sprintf("event %q is not a push", e.Event) }

// payload is the JSON of a delivery that was sent as JSON, or as a form with a field "payload".
func payload(h http.Header, body []byte) ([]byte, error) {
	if !strings.HasPrefix(h.Get("Content-Type"), "application/x-www-form-urlencoded") {
		return body, nil
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, fmt.Errorf("%w: the form cannot be read: %w", ErrPayload, err)
	}
	if !form.Has("payload") {
		return nil, fmt.Errorf("%w: it is sent as a form, and the form has no field payload", ErrPayload)
	}
	return []byte(form.Get("payload")), nil
}

func decode(body []byte, into any) error {
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("%w: the body is not JSON: %w", ErrPayload, err)
	}
	return nil
}
