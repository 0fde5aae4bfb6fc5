package forge

import (
	"slices"

	"github.com/rpmflow/rpmflow"
)

// gitHubPush is what we read of GitHub's form of a push.
type gitHubPush struct {
	Ref        string `json:"ref"`
	Before     string `json:"before"`
	After      string `json:"after"`
	Forced     bool   `json:"forced"`
	HeadCommit *struct {
		ID string `json:"id"`
	} `json:"head_commit"`
	Pusher struct {
		Name string `json:"name"`
	} `json:"pusher"`
	// Commits are all between before and after, oldest first.
	Commits []struct {
		ID       string   `json:"id"`
		Added    []string `json:"added"`
		Modified []string `json:"modified"`
		Removed  []string `json:"removed"`
	} `json:"commits"`
	// TotalCommits is Gitea's, which sends this form with the newest few commits only.
	TotalCommits *int `json:"total_commits"`
}

// How much GitHub tells at most ("Webhook events and payloads", push): from there on something may be missing.
const (
	maxCommits = 2048 // in a push
	maxFiles   = 3000 // in a commit
)

// files lists what the push has changed, if it tells of all of it: after a forced push the commits are not those between before and
// after; a commit without files is one that nobody has looked at, such as a merge.
func (p gitHubPush) files() (all, gone []string) {
	n := len(p.Commits)
	switch {
	case p.Forced, n == 0, n >= maxCommits, rpmflow.IsZeroCommit(p.Before), p.Before == "", p.Commits[n-1].ID != p.After,
		p.TotalCommits != nil && *p.TotalCommits != n:
		return nil, nil
	}
	there := map[string]bool{} // whether a file that was changed is there afterwards
	for _, c := range p.Commits {
		if of := len(c.Added) + len(c.Modified) + len(c.Removed); of == 0 || of >= maxFiles {
			return nil, nil
		}
		for _, f := range slices.Concat(c.Added, c.Modified) {
			there[f] = true
		}
		for _, f := range c.Removed {
			there[f] = false
		}
	}
	for f, is := range there {
		all = append(all, f)
		if !is {
			gone = append(gone, f)
		}
	}
	slices.Sort(all)
	slices.Sort(gone)
	return all, gone
}
