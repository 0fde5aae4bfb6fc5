package mock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Facts is what an engine says of itself.
type Facts struct {
	Host           string
	Version        string
	API            string // the version that is spoken with it
	Machine        string // as uname has it
	Storage        string // driver
	Cgroup         string // version
	UserNamespaces bool   // root of a container is nobody on the host
	Plain          bool   // reached over the network without TLS
	Free           int64  // bytes on the engine's disk; -1: not known from here
}

// Facts asks the engine what it is. It does so even where Ready is not content with it.
func (e *Engine) Facts(ctx context.Context) (Facts, error) {
	ctx, cancel := context.WithTimeout(ctx, callWait)
	defer cancel()
	e.way.note(nil)
	info, err := e.api.Info(ctx)
	if err != nil {
		return Facts{}, e.way.explain(err)
	}
	f := Facts{
		Host: e.way.host, Version: info.ServerVersion, API: e.api.ClientVersion(), Machine: info.Architecture, Storage: info.Driver, Cgroup: info.CgroupVersion, Free: -1,
		UserNamespaces: slices.ContainsFunc(info.SecurityOptions, func(o string) bool {
			return strings.Contains(o, "name=userns") || strings.Contains(o, "name=rootless")
		}),
	}
	if u, err := url.Parse(e.way.host); err == nil && u.Host != "" {
		f.Plain = u.Scheme != "ssh" && !e.way.tls
	}
	if e.way.ownSocket() {
		f.Free, err = free(info.DockerRootDir)
	}
	return f, err
}

// free is the free space of a directory of this machine. A container that has the engine's socket has not its directory.
func free(dir string) (int64, error) {
	var st unix.Statfs_t
	err := unix.Statfs(dir, &st)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return -1, nil
	}
	if err != nil {
		return -1, fmt.Errorf("free space of %s: %w", dir, err)
	}
	return int64(st.Bavail) * st.Bsize, nil
}
