package forge

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/rpmflow/rpmflow"
)

const (
	hubSignature = "X-Hub-Signature-256"
	bodyOfForges = "The body is the forge's push delivery, as JSON or as a form."
	signedBody   = "`sha256=` and the HMAC-SHA256 of the body with the project's secret, in hexadecimal."
)

// GitHub signs the body as it is sent. At its address Gitea's and Forgejo's deliveries are taken, too.
func GitHub() Forge {
	f := Forge{Name: "github", Title: "GitHub", Header: hubSignature, Signature: signedBody, Form: true,
		Body: bodyOfForges + " Deliveries of Gitea and Forgejo are taken at this address, too."}
	f.read = func(h http.Header, body []byte, secret string) (Delivery, error) {
		if err := f.verify(secret, body, h.Get(f.Header)); err != nil {
			return Delivery{}, err
		}
		raw, err := payload(h, body)
		if err != nil {
			return Delivery{}, err
		}
		return gitHubForm(h, "X-GitHub-", raw)
	}
	return f
}

// gitHubPush is the used part of a push in GitHub's form.
type gitHubPush struct {
	Ref        string `json:"ref"`
	Before     string `json:"before"`
	After      string `json:"after"`
	Forced     *bool  `json:"forced"` // GitHub always sends it, others never
	HeadCommit *struct {
		ID string `json:"id"`
	} `json:"head_commit"`
	Pusher struct {
		Name  string `json:"name"`
		Login string `json:"login"` // Gitea's and Forgejo's name for it
	} `json:"pusher"`
	Repository struct {
		CloneURL string `json:"clone_url"`
		SSHURL   string `json:"ssh_url"`
		GitURL   string `json:"git_url"`
		HTMLURL  string `json:"html_url"`
		URL      string `json:"url"`
		FullName string `json:"full_name"`
	} `json:"repository"`
	// Commits are GitHub's all between before and after, oldest first; Gitea's and Forgejo's the newest few, newest
	// first.
	Commits []struct {
		ID       string   `json:"id"`
		Added    []string `json:"added"`
		Modified []string `json:"modified"`
		Removed  []string `json:"removed"`
	} `json:"commits"`
	TotalCommits *int `json:"total_commits"` // Gitea's and Forgejo's
}

// gitHubForm reads the payload of a delivery whose signature was checked. It changes one ref. The forge's headers begin
// with the prefix.
func gitHubForm(h http.Header, prefix string, raw []byte) (Delivery, error) {
	switch event := h.Get(prefix + "Event"); event {
	case "":
		return Delivery{}, fmt.Errorf("%w: there is no %sEvent header", ErrPayload, prefix)
	case "push":
	default:
		return Delivery{}, NotAPush{event}
	}
	var p gitHubPush
	if err := decode(raw, &p); err != nil {
		return Delivery{}, err
	}
	c := Change{Ref: p.Ref, Before: p.Before, Commit: p.After}
	// For an annotated tag "after" is the tag object, and the head commit is its target.
	if p.HeadCommit != nil && !c.Deleted() && strings.HasPrefix(p.Ref, "refs/tags/") {
		c.Commit = p.HeadCommit.ID
	}
	if err := c.check(); err != nil {
		return Delivery{}, err
	}
	if p.listsAllFiles() {
		c.Complete = true
		c.Files, c.Gone = p.files()
	}
	r := p.Repository
	return Delivery{
		ID: h.Get(prefix + "Delivery"), Pusher: cmp.Or(p.Pusher.Name, p.Pusher.Login), Changes: []Change{c},
		Repositories: nonEmpty(r.CloneURL, r.SSHURL, r.GitURL, r.HTMLURL, r.URL, r.FullName),
	}, nil
}

// GitHub's bounds ("Webhook events and payloads", push). At a bound something may be missing.
const (
	maxCommits = 2048 // in a push
	maxFiles   = 3000 // in a commit
)

// listsAllFiles reports whether the commits name every file that differs between before and after. They do not after a
// forced push, whose commits start at the merge base, or when a commit has no files: GitHub lists none for some merges.
func (p gitHubPush) listsAllFiles() bool {
	n := len(p.Commits)
	if p.Forced == nil || *p.Forced || n == 0 || n >= maxCommits || p.TotalCommits != nil && *p.TotalCommits != n ||
		p.Before == "" || rpmflow.IsZeroCommit(p.Before) || p.Commits[n-1].ID != p.After {
		return false
	}
	for _, c := range p.Commits {
		if files := len(c.Added) + len(c.Modified) + len(c.Removed); files == 0 || files >= maxFiles {
			return false
		}
	}
	return true
}

// files lists the files of all commits, and those that do not exist after the last one.
func (p gitHubPush) files() (all, gone []string) {
	exists := map[string]bool{}
	for _, c := range p.Commits {
		for _, f := range slices.Concat(c.Added, c.Modified) {
			exists[f] = true
		}
		for _, f := range c.Removed {
			exists[f] = false
		}
	}
	for f, there := range exists {
		all = append(all, f)
		if !there {
			gone = append(gone, f)
		}
	}
	slices.Sort(all)
	slices.Sort(gone)
	return all, gone
}

func nonEmpty(names ...string) []string {
	return slices.DeleteFunc(names, func(name string) bool { return name == "" })
}
