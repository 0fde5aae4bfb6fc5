package forge

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/rpmflow/rpmflow"
)

// GitHub reads GitHub's deliveries, and those of the forges that send the same form to the same address.
func GitHub(h http.Header, body []byte, secret string) (Delivery, error) {
	switch {
	case h.Get("X-Forgejo-Event") != "":
		return readForgejo(h, body, secret)
	case h.Get("X-Gitea-Event") != "":
		return readGitea(h, body, secret)
	}
	signature := h.Get("X-Hub-Signature-256")
	if signature == "" {
		return Delivery{}, fmt.Errorf("%w: there is no X-Hub-Signature-256 header: set a secret in the webhook's "+
			"settings",
			ErrSignature)
	}
	if err := Verify(secret, body, signature); err != nil {
		return Delivery{}, err
	}
	event := h.Get("X-GitHub-Event")
	if event == "" {
		return Delivery{}, fmt.Errorf("%w: there is no X-GitHub-Event header", ErrPayload)
	}
	raw, err := payload(h, body)
	if err != nil {
		return Delivery{}, err
	}
	return gitHubForm(event, h.Get("X-GitHub-Delivery"), raw)
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

// gitHubForm reads the payload of a delivery whose signature was checked. It changes one ref.
func gitHubForm(event, id string, raw []byte) (Delivery, error) {
	if event != "push" {
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
		ID: id, Pusher: cmp.Or(p.Pusher.Name, p.Pusher.Login), Changes: []Change{c},
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
