// Package forge reads what forges send: signed deliveries that announce a push.
//
// The raw body and the headers of a delivery come in; what was pushed goes out, after its signature was checked. The
// listener imports it; it imports nothing of ours but the domain.
package forge

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/rpmflow/rpmflow"
)

// Change is one ref that a delivery says was pushed.
type Change struct {
	Ref      string
	Before   string
	Commit   string // the new commit; of a deleted ref the zero commit
	Delivery string // what tells this delivery from others, also when it is sent again
	Pusher   string
	// Files are the paths that the push has changed, those of files that it has deleted too, where the delivery tells of all of them; nil where
	// it does not. Gone are those of them that are not there any more.
	Files, Gone []string
}

// Deleted reports whether the push deleted the ref.
func (c Change) Deleted() bool { return rpmflow.IsZeroCommit(c.Commit) }

// ErrSignature says that a delivery is not signed with the project's secret.
var ErrSignature = errors.New("the signature does not match")

// ErrPayload says that a delivery is not what its forge would send.
var ErrPayload = errors.New("malformed delivery")

// NotAPush is returned for deliveries that are in order but announce something else.
type NotAPush struct{ Event string }

func (e NotAPush) Error() string { return fmt.Sprintf("event %q is not a push", e.Event) }

// Verify checks an HMAC-SHA256 signature of the form sha256=<hex> in constant time. An empty secret never matches.
func Verify(secret string, body []byte, signature string) error {
	given, ok := strings.CutPrefix(signature, "sha256=")
	sum, err := hex.DecodeString(given)
	if secret == "" || !ok || err != nil {
		return ErrSignature
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	if !hmac.Equal(mac.Sum(nil), sum) {
		return ErrSignature
	}
	return nil
}

// Sign makes the signature that Verify accepts.
func Sign(secret string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

// GitHub reads a delivery of GitHub (and of forges that send GitHub's form), as JSON or as a form with a field "payload".
func GitHub(h http.Header, body []byte, secret string) (Change, error) {
	signature := h.Get("X-Hub-Signature-256")
	if signature == "" {
		return Change{}, fmt.Errorf("%w: there is no X-Hub-Signature-256 header: set a secret in the webhook's settings", ErrSignature)
	}
	if err := Verify(secret, body, signature); err != nil {
		return Change{}, err
	}
	event := h.Get("X-GitHub-Event")
	if event == "" {
		return Change{}, fmt.Errorf("%w: there is no X-GitHub-Event header", ErrPayload)
	}
	if event != "push" {
		return Change{}, NotAPush{event}
	}
	if strings.HasPrefix(h.Get("Content-Type"), "application/x-www-form-urlencoded") {
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return Change{}, fmt.Errorf("%w: the form cannot be read: %w", ErrPayload, err)
		}
		body = []byte(form.Get("payload"))
	}
	var p gitHubPush
	if err := json.Unmarshal(body, &p); err != nil {
		return Change{}, notJSON(err)
	}
	commit := p.After
	// Of an annotated tag, "after" is the tag object; the head commit is what it points to.
	if p.HeadCommit != nil && !rpmflow.IsZeroCommit(commit) && strings.HasPrefix(p.Ref, "refs/tags/") {
		commit = p.HeadCommit.ID
	}
	c, err := change(p.Ref, p.Before, commit, h.Get("X-GitHub-Delivery"), p.Pusher.Name)
	if err == nil {
		c.Files, c.Gone = p.files()
	}
	return c, err
}

// Generic reads a delivery in rpmflow's own form: {"ref": …, "before": …, "after": …, "delivery": …, "pusher": …, "files": […],
// "gone": […]}, signed in the header X-Rpmflow-Signature-256. It is what a post-receive hook sends.
func Generic(h http.Header, body []byte, secret string) (Change, error) {
	signature := h.Get("X-Rpmflow-Signature-256")
	if signature == "" {
		return Change{}, fmt.Errorf("%w: there is no X-Rpmflow-Signature-256 header", ErrSignature)
	}
	if err := Verify(secret, body, signature); err != nil {
		return Change{}, err
	}
	var p struct {
		Ref      string `json:"ref"`
		Before   string `json:"before"`
		After    string `json:"after"`
		Delivery string `json:"delivery"`
		Pusher   string `json:"pusher"`
		// Files is all that differs between before and after, gone what of it was deleted.
		Files *[]string `json:"files"`
		Gone  []string  `json:"gone"`
	}
	if err := json.Unmarshal(body, &p); err != nil {
		return Change{}, notJSON(err)
	}
	c, err := change(p.Ref, p.Before, p.After, p.Delivery, p.Pusher)
	if err == nil && p.Files != nil {
		c.Files, c.Gone = append([]string{}, *p.Files...), p.Gone
		listed := map[string]bool{}
		for _, f := range c.Files {
			listed[f] = true
		}
		for _, f := range p.Gone {
			if !listed[f] {
				return Change{}, fmt.Errorf("%w: %q is among gone and not among files, which must have all that has changed", ErrPayload, f)
			}
		}
	}
	return c, err
}

func notJSON(err error) error { return fmt.Errorf("%w: the body is not JSON: %w", ErrPayload, err) }

func change(ref, before, commit, delivery, pusher string) (Change, error) {
	if !strings.HasPrefix(ref, "refs/") || strings.ContainsAny(ref, " \t\r\n\x00~^:?*[\\") || strings.Contains(ref, "..") {
		return Change{}, fmt.Errorf("%w: ref %q is not a full ref name such as refs/heads/main", ErrPayload, ref)
	}
	if !rpmflow.IsCommit(commit) {
		return Change{}, fmt.Errorf("%w: new commit %q is not a full commit id", ErrPayload, commit)
	}
	if before != "" && !rpmflow.IsCommit(before) {
		return Change{}, fmt.Errorf("%w: old commit %q is not a full commit id", ErrPayload, before)
	}
	if delivery == "" {
		delivery = ref + " " + before + " " + commit
	}
	return Change{Ref: ref, Before: before, Commit: commit, Delivery: delivery, Pusher: pusher}, nil
}
