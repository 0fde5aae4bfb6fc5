package main

import (
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/api"
)

// shortLength is how much of an id is shown; the server takes it as long as it is the beginning of one build's.
const shortLength = 8

func listCommand() *cobra.Command {
	filters := map[string]*string{}
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "List builds, newest first", Args: cobra.NoArgs,
		Long: `List shows builds, newest first. Filters may be combined. --cursor continues after the previous page.
The short id of a build is enough for the other commands. Long names are shortened on a narrow terminal, but
not in a pipe; --json has the whole records.`,
		Example: "  rpmflow list --project hello --result failed\n  rpmflow list --json | jq -r '.builds[].id'",
	}
	f := cmd.Flags()
	for _, filter := range []struct{ name, usage string }{
		{"project", "only of this project"},
		{"package", "only of this package"},
		{"target", "only for this target"},
		{"ref", "only of this branch, tag or full ref"},
		{"commit", "only of this commit, or of those that begin with this"},
		{"state", "queued, running or finished"},
		{"result", strings.Join(texts(rpmflow.Results()), " or ")},
		{"kind", "kind of failure: " + strings.Join(texts(rpmflow.FailureKinds()), ", ")},
	} {
		filters[filter.name] = f.String(filter.name, "", filter.usage)
	}
	f.IntVar(&limit, "limit", 20, "builds on a page, 200 at most")
	filters["cursor"] = f.String("cursor", "", "next of the previous page")
	return clientCommand(cmd, func(cmd *cobra.Command, c *api.Client, _ []string) error {
		q := url.Values{"limit": {strconv.Itoa(limit)}}
		for name, value := range filters {
			if *value != "" {
				q.Set(name, *value)
			}
		}
		page, err := c.Builds(cmd.Context(), q)
		if err != nil {
			return err
		}
		return emit(cmd, page, func(out io.Writer) error {
			if err := buildTable(page.Builds, time.Now()).write(out, 5, 1, 2, 3, 4); err != nil {
				return err
			}
			if page.Next != "" {
				fmt.Fprintf(out, "more: --cursor %s\n", page.Next)
			}
			return nil
		})
	})
}

// buildTable is a table of builds.
func buildTable(builds []rpmflow.Build, now time.Time) table {
	t := table{{"BUILD", "PROJECT", "TARGET", "REF", "NEVRA", "STATE", "TOOK", "AGE"}}
	for _, b := range builds {
		t = append(t, []string{b.ID[:min(shortLength, len(b.ID))], whose(b), b.Target, refOf(b), nevra(b), standing(b),
			took(b, now), span(now.Sub(b.QueuedAt))})
	}
	return t
}

// refOf is a ref's name without its kind, else the commit.
func refOf(b rpmflow.Build) string {
	if b.SourcePackage != nil {
		return "(srpm)"
	}
	for _, kind := range []string{"refs/heads/", "refs/tags/"} {
		if name, ok := strings.CutPrefix(b.Ref, kind); ok {
			return name
		}
	}
	if b.Ref == "" || b.Ref == "HEAD" {
		return b.Commit[:min(shortLength, len(b.Commit))]
	}
	return b.Ref
}

// nevra names what was built: the source package, else the package of the same name, else any. A build that has made
// nothing has none.
func nevra(b rpmflow.Build) string {
	for _, is := range []func(rpmflow.Package) bool{
		func(p rpmflow.Package) bool { return p.Arch == "src" },
		func(p rpmflow.Package) bool { return p.Name == b.Package },
		func(rpmflow.Package) bool { return true },
	} {
		if i := slices.IndexFunc(b.Packages, is); i >= 0 {
			return b.Packages[i].NEVRA()
		}
	}
	if b.SourcePackage != nil {
		return b.SourcePackage.NEVRA
	}
	return "-"
}

// took is how long the latest attempt has taken so far.
func took(b rpmflow.Build, now time.Time) string {
	switch {
	case b.StartedAt == nil || b.State == rpmflow.Queued:
		return "-"
	case b.FinishedAt != nil:
		now = *b.FinishedAt
	}
	return span(now.Sub(*b.StartedAt))
}

// span is a duration in its largest unit, as much as fits a column.
func span(d time.Duration) string {
	switch d = max(d, 0); {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

func texts[T ~string](list []T) (all []string) {
	for _, t := range list {
		all = append(all, string(t))
	}
	return all
}
