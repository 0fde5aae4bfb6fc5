package mock

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build/mock/docker"
	"github.com/rpmflow/rpmflow/internal/doctor"
	"github.com/rpmflow/rpmflow/internal/hint"
	"github.com/rpmflow/rpmflow/internal/netrule"
)

// ownID is what dnf calls the project's published repository.
const ownID = "rpmflow_own_repository"

// ownConfig adds a revision of the project's published repository to dnf's configuration. Packages and metadata must be
// signed with the key that is published with them. proxy is through which a container reaches the URL; empty: directly.
// dnf names its cache after id and URL, so what was fetched through a proxy is found again without one.
func ownConfig(revision, project, proxy string) []byte {
	if revision == "" {
		return nil
	}
	section := fmt.Sprintf("\n\n[%s]\nname=published of %s\nbaseurl=%s\nenabled=1\nskip_if_unavailable=0\n"+
		"metadata_expire=0\nbest=1\nmodule_hotfixes=true\ngpgcheck=1\nrepo_gpgcheck=1\ngpgkey=%sRPM-GPG-KEY-%s\n",
		ownID, project, revision, repositoryOf(revision), project)
	if proxy != "" {
		section += "proxy=" + proxy + "\n"
	}
	return fmt.Appendf(nil, "config_opts['dnf.conf'] += %s\n", python(section))
}

// repositoryOf is where the repository of a revision is, with a slash at its end.
func repositoryOf(revision string) string { return revision[:strings.LastIndex(revision, "/r/")+1] }

// repositoryFiles are the repositories besides those of the target's configuration; nil: there are none. proxy is that
// of the project's published repository.
func repositoryFiles(b rpmflow.Build, proxy string) []docker.File {
	content := append(repositoriesConfig(b.Options.Repositories), ownConfig(b.OwnRepository, b.Project, proxy)...)
	if len(content) == 0 {
		return nil
	}
	return []docker.File{{Name: inRepositories, Mode: 0o644, Content: content}}
}

// reachRepositories is the configuration of repositories for a container with network, until end is called. A URL of
// this machine alone means another machine in a container, so it is reached through a proxy, which passes on nothing
// but this repository.
func (s *session) reachRepositories(ctx context.Context) (files []docker.File, end func(), err error) {
	own := s.job.Build.OwnRepository
	if own == "" {
		return s.config.repositories, func() {}, nil
	}
	address, err := s.e.proxyFor(ctx, own)
	if err != nil {
		return nil, nil, err
	}
	if address == "" {
		return s.config.repositories, func() {}, nil
	}
	proxy, end, err := serveProxy(address, repositoryOf(own), s.e.s.Logger)
	if err != nil {
		return nil, nil, hint.Add(fmt.Errorf("engine mock: %s means another machine in a container, and no "+
			"proxy can be started for it: %w", own, err), reachHint)
	}
	return repositoryFiles(s.job.Build, proxy), end, nil
}

const reachHint = "set publisher.url (or public_url) to an address that containers reach, too"

// proxyFor is the address of this machine for a proxy through which containers reach a URL; empty: they need none.
func (e *Engine) proxyFor(ctx context.Context, text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil {
		return "", fmt.Errorf("engine mock: %w", err)
	}
	if e.s.Network == "host" || !netrule.Loopback(net.JoinHostPort(u.Hostname(), "0")) {
		return "", nil
	}
	if u.Scheme != "http" {
		return "", hint.Add(fmt.Errorf("engine mock: %s means another machine in a container", text), reachHint)
	}
	address, err := e.docker.LocalAddress(ctx, e.s.Network)
	if err != nil {
		return "", hint.Add(fmt.Errorf("engine mock: %s means another machine in a container, and a container cannot "+
			"reach this one: %w", text, err), reachHint)
	}
	return address, nil
}

// serveProxy serves an HTTP proxy for what is below a URL at this address. It returns the proxy's URL; end stops it.
func serveProxy(address, below string, log *slog.Logger) (proxy string, end func(), err error) {
	l, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		return "", nil, err
	}
	transport := &http.Transport{IdleConnTimeout: time.Minute}
	server := &http.Server{
		Handler: forward(below, transport, log), ReadHeaderTimeout: 10 * time.Second,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l) // ends with Close
	}()
	return "http://" + l.Addr().String(), func() {
		_ = server.Close() // the container has ended, so nothing is read any more
		<-done
		transport.CloseIdleConnections()
	}, nil
}

// forward passes on requests for files below a URL, and no others. The listener sees requests from its own machine, so
// nothing of a request but its URL and the part of the file that it asks for is passed on.
func forward(below string, transport http.RoundTripper, log *slog.Logger) http.Handler {
	base, err := url.Parse(below)
	proxy := &httputil.ReverseProxy{
		Transport: transport, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.Header = http.Header{}
			for _, name := range []string{"Range", "If-Range"} {
				if values := r.In.Header.Values(name); values != nil {
					r.Out.Header[name] = values
				}
			}
		},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u := r.URL
		if err != nil || u.Scheme != base.Scheme || u.Host != base.Host || path.Clean(u.Path) != u.Path ||
			!strings.HasPrefix(u.Path, base.Path) || (r.Method != http.MethodGet && r.Method != http.MethodHead) {
			http.Error(w, "this proxy is for the files below "+below, http.StatusForbidden)
			return
		}
		proxy.ServeHTTP(w, r)
	})
}

// ownFailed says what to do if BuildRequires could not be installed because of the project's published repository.
func (s *session) ownFailed(end ended, err error) error {
	if !slices.ContainsFunc(end.output, func(l string) bool { return strings.Contains(l, ownID) }) {
		return err
	}
	return hint.Add(fmt.Errorf("%w (%s is %s)", err, ownID, s.job.Build.OwnRepository),
		"check that containers of the network "+s.e.s.Network+" reach that URL, which begins with publisher.url (or "+
			"public_url), and its content with rpmflow repo verify")
}

// checkOwn looks whether containers can reach the published repositories of projects whose builds use them. at is
// where the repositories are.
func (e *Engine) checkOwn(ctx context.Context, f *doctor.Findings, projects []rpmflow.Project, at string) {
	for _, p := range projects {
		if !p.Options.UseOwnRepository {
			continue
		}
		name := "use_own_repository of " + p.Name
		proxy, err := e.proxyFor(ctx, at)
		switch {
		case err != nil:
			f.Error(name, doctor.Failed, err)
		case proxy != "":
			f.OK(name, "containers reach %s through a proxy at %s", at, proxy)
		default:
			f.OK(name, "containers must reach %s", at)
		}
	}
}
