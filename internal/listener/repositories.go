package listener

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/api"
	"github.com/rpmflow/rpmflow/internal/httpd"
	"github.com/rpmflow/rpmflow/internal/storage"
)

// repository sends a file of a dnf repository, or a part of it.
func (l *Listener) repository(w http.ResponseWriter, r *http.Request) (int, any, *problem) {
	path := r.PathValue("path")
	if path == "" || strings.HasSuffix(path, "/") {
		return l.directory(w, r, path)
	}
	object, info, err := l.storage.OpenParts(r.Context(), storage.RepositoriesPrefix+path)
	if errors.Is(err, storage.ErrNotFound) || errors.Is(err, storage.ErrKey) {
		below, _, err := l.storage.Repositories().Directory(r.Context(), storage.RepositoriesPrefix+path+"/", 1)
		if err == nil && len(below) > 0 {
			http.Redirect(w, r, (&url.URL{Path: "./" + path[strings.LastIndexByte(path, '/')+1:] + "/"}).String(),
				http.StatusFound)
			return 0, nil, nil
		}
		return 0, nil, problemf(http.StatusNotFound, "the repository of a project and target is at "+
			"/repos/PROJECT/TARGET/PROJECT.repo, once a build of it has succeeded", "there is no file %s in the "+
			"repositories", path)
	}
	if err != nil {
		return 0, nil, l.unavailable("reading the repository", err)
	}
	defer func() { _ = object.Close() }()
	h := w.Header()
	h.Set("Content-Type", info.ContentType)
	h.Set("X-Content-Type-Options", "nosniff")
	if info.CacheControl != "" {
		h.Set("Cache-Control", info.CacheControl)
	}
	var content io.ReadSeeker = object
	etag := info.ETag
	if strings.HasSuffix(path, "/mirrorlist") || strings.HasSuffix(path, ".repo") {
		h.Set("Vary", "X-Forwarded-Proto, X-Forwarded-Host")
		text, err := io.ReadAll(io.LimitReader(object, maxURLFile))
		if err != nil {
			return 0, nil, l.unavailable("reading the repository", err)
		}
		text = bytes.ReplaceAll(text, []byte(l.o.ReposURL+"/"), []byte(l.clientReposURL(r)+"/"))
		content, etag = bytes.NewReader(text), rpmflow.Digest(text)
	}
	h.Set("ETag", `"`+etag+`"`)
	http.ServeContent(httpd.PatientWriter(w), r, "", info.Modified, content)
	return 0, nil, nil
}

// maxURLFile is more than a mirrorlist or a .repo file has.
const maxURLFile = 1 << 20

// clientReposURL is where this client finds the repositories: under the name by which it has come. If the listener
// cannot know that name, or repositories are to be fetched elsewhere, it is the configured one. dnf needs a whole URL.
func (l *Listener) clientReposURL(r *http.Request) string {
	own, err := url.Parse(l.o.PublicURL)
	if err != nil || l.o.ReposURL != l.o.PublicURL+"/repos" || own.Path != "" || own.Host == r.Host ||
		!validHost.MatchString(r.Host) {
		return l.o.ReposURL
	}
	scheme := r.Header.Get("X-Forwarded-Proto")
	for _, name := range []string{"Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host"} {
		// A proxy in between may have changed the name or speak TLS. If it says that it has done neither, it is one
		// without which the client does not come.
		switch value := r.Header.Get(name); {
		case value == "":
		case scheme == "", name == "X-Forwarded-Host" && value != r.Host:
			return l.o.ReposURL
		}
	}
	if scheme == "" {
		scheme = "http"
	}
	if scheme != "http" && scheme != "https" {
		return l.o.ReposURL
	}
	return scheme + "://" + r.Host + "/repos"
}

// validHost matches names and addresses, with or without a port.
var validHost = regexp.MustCompile(`^[A-Za-z0-9.:_\[\]-]+$`)

// maxEntries of a directory are listed.
const maxEntries = 1000

//go:embed directory.css
var directoryStyle string

// directoryPage shows a directory to people. It is not a template: with those the linker keeps every method of every
// type, 20 MB in rpmflow.
func directoryPage(d api.Directory, repoFile string) string {
	var b strings.Builder
	title := html.EscapeString("/repos/" + d.Path)
	fmt.Fprintf(&b, `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>%s</title>
<style>
%s</style>
</head>
<body>
<h1>%s</h1>
`, title, directoryStyle, title)
	if repoFile != "" {
		fmt.Fprintf(&b, "<p>Install packages from here with dnf:</p>\n"+
			"<pre>sudo dnf config-manager --add-repo %s</pre>\n", html.EscapeString(repoFile))
	}
	b.WriteString(`<table>
<thead><tr><th>Name</th><th class="number">Bytes</th><th class="number">Written (UTC)</th></tr></thead>
<tbody>
`)
	if d.Path != "" {
		b.WriteString(`<tr><td><a href="../">../</a></td><td></td><td></td></tr>` + "\n")
	}
	for _, e := range d.Entries {
		cells := "<td></td><td></td>"
		if !e.Modified.IsZero() {
			cells = fmt.Sprintf(`<td class="number">%d</td><td class="number">%s</td>`, e.Size,
				e.Modified.UTC().Format(time.DateTime))
		}
		link := (&url.URL{Path: "./" + e.Name}).String() // a name is a path of its own, also one with a colon
		fmt.Fprintf(&b, "<tr><td><a href=\"%s\">%s</a></td>%s</tr>\n", html.EscapeString(link),
			html.EscapeString(e.Name), cells)
	}
	if len(d.Entries) == 0 {
		b.WriteString(`<tr><td colspan="3">Nothing is here yet: a repository is made with the first build that ` +
			"succeeds.</td></tr>\n")
	}
	b.WriteString("</tbody>\n</table>\n")
	if d.More {
		fmt.Fprintf(&b, "<p>There is more: these are the first %d.</p>\n", len(d.Entries))
	}
	b.WriteString("</body>\n</html>\n")
	return b.String()
}

// directory lists a directory of the dnf repositories. path is empty, or has a slash at its end.
func (l *Listener) directory(w http.ResponseWriter, r *http.Request, path string) (int, any, *problem) {
	prefix := storage.RepositoriesPrefix + path
	found, more, err := l.storage.Repositories().Directory(r.Context(), prefix, maxEntries)
	if err != nil {
		return 0, nil, l.unavailable("listing the repositories", err)
	}
	if len(found) == 0 && path != "" {
		return 0, nil, problemf(http.StatusNotFound, "/repos/ lists the projects that have a repository",
			"there is no directory %s in the repositories", path)
	}
	page, repoFile := api.Directory{Path: path, Entries: []api.DirectoryEntry{}, More: more}, ""
	parts := strings.Split(path, "/")
	for _, o := range found {
		e := api.DirectoryEntry{Name: strings.TrimPrefix(o.Key, prefix)}
		if !strings.HasSuffix(e.Name, "/") {
			e.Size, e.Modified = o.Size, o.Modified
		}
		if len(parts) == 3 && e.Name == parts[0]+".repo" {
			repoFile = l.clientReposURL(r) + "/" + path + e.Name
		}
		page.Entries = append(page.Entries, e)
	}
	h := w.Header()
	h.Set("Cache-Control", "no-cache")
	h.Set("Vary", "Accept")
	if strings.Contains(r.Header.Get("Accept"), "application/json") {
		return http.StatusOK, page, nil
	}
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	_, _ = io.WriteString(w, directoryPage(page, repoFile)) // fails when the client is gone
	return 0, nil, nil
}

// repoFiles are where what a project builds is installed from.
func (l *Listener) repoFiles(p rpmflow.Project) []api.RepoFile {
	files := []api.RepoFile{}
	for _, t := range p.Targets {
		if p.Publish.On {
			url := l.o.ReposURL + "/" + p.Name + "/" + t + "/" + p.Name + ".repo"
			files = append(files, api.RepoFile{Target: t, URL: url})
		}
	}
	return files
}
