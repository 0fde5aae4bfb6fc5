package docker

import (
	"context"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/mount"
)

// Container says what a container is made from, what runs in it, and what that may do. It runs as the container's root,
// with none of Linux's capabilities but these, and can get no others; nothing of the host is given to it.
type Container struct {
	Name         string // empty: the engine chooses one
	Image        string
	Command      []string // the main process
	Env          []string
	Labels       map[string]string
	Hostname     string
	Terminal     bool   // for Attach
	Network      string // of the engine; empty: none
	Capabilities []string
	ReadOnly     bool // it may write into mounts only
	Mounts       []Mount
	LogSize      string // of the log that the engine keeps, such as 1g
	AppArmor     string // profile; empty: the engine's default
	// Limits; zero: none.
	Memory int64 // bytes, as much with swap as without
	CPUs   float64
	PIDs   int64
	Disk   int64 // bytes: the storage driver's quota if it has any, and the size of one file
}

// Mount is a volume in a container.
type Mount struct {
	Volume   string // name; empty: one of the container's own, removed with it
	Target   string
	ReadOnly bool
	Labels   map[string]string // of a volume with a name
}

func (m Mount) mount() mount.Mount {
	out := mount.Mount{Type: mount.TypeVolume, Source: m.Volume, Target: m.Target, ReadOnly: m.ReadOnly}
	if m.Volume != "" {
		out.VolumeOptions = &mount.VolumeOptions{NoCopy: true, Labels: m.Labels}
	}
	return out
}

// Create makes a container and returns its id. The caller gets the id even if ctx ends meanwhile: otherwise nothing
// could remove the container, and others would wait for one that has a name.
func (c *Client) Create(ctx context.Context, spec Container) (string, error) {
	config := &container.Config{
		Image: spec.Image, User: "0:0", WorkingDir: "/", Entrypoint: spec.Command, Env: spec.Env, Labels: spec.Labels,
		Hostname: spec.Hostname,
		Tty:      spec.Terminal, OpenStdin: spec.Terminal, StdinOnce: spec.Terminal,
		AttachStdin: spec.Terminal, AttachStdout: spec.Terminal, AttachStderr: spec.Terminal,
	}
	host := &container.HostConfig{
		NetworkMode: "none", CapDrop: []string{"ALL"}, CapAdd: spec.Capabilities,
		SecurityOpt:    []string{"no-new-privileges"},
		ReadonlyRootfs: spec.ReadOnly,
		LogConfig: container.LogConfig{Type: "json-file", Config: map[string]string{"max-size": spec.LogSize,
			"max-file": "1"}},
		// The engine's default for swap is twice the limit.
		Resources: container.Resources{Memory: spec.Memory, MemorySwap: spec.Memory, NanoCPUs: int64(spec.CPUs * 1e9)},
	}
	for _, m := range spec.Mounts {
		host.Mounts = append(host.Mounts, m.mount())
	}
	if spec.Disk > 0 { // the watcher cannot see a file that is open and has no name
		host.Ulimits = []*container.Ulimit{{Name: "fsize", Soft: spec.Disk, Hard: spec.Disk}}
	}
	if spec.PIDs > 0 {
		host.PidsLimit = &spec.PIDs
	}
	if spec.Network != "" {
		host.NetworkMode = container.NetworkMode(spec.Network)
	}
	if spec.AppArmor != "" {
		host.SecurityOpt = append(host.SecurityOpt, "apparmor="+spec.AppArmor)
	}
	host.StorageOpt = c.quota(spec.Disk)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), createWait)
	defer cancel()
	created, err := c.api.ContainerCreate(ctx, config, host, nil, nil, spec.Name)
	if err != nil && host.StorageOpt != nil && !IsConflict(err) && ctx.Err() == nil { // most drivers have no quotas
		host.StorageOpt = nil
		if created, err = c.api.ContainerCreate(ctx, config, host, nil, nil, spec.Name); err == nil {
			c.noQuota.Store(true)
		}
	}
	return created.ID, failed(err, "create a container of %s", spec.Image)
}

// ContainerInfo is the state of a container.
type ContainerInfo struct {
	ID      string
	Labels  map[string]string
	Running bool
	Created time.Time
	Ended   time.Time // zero: it has never run, or never ended
}

// Containers lists all containers with these labels, KEY=VALUE each. Created and Ended are not set.
func (c *Client) Containers(ctx context.Context, labels ...string) ([]ContainerInfo, error) {
	list, err := c.api.ContainerList(ctx, container.ListOptions{All: true, Filters: withLabels(labels)})
	infos := make([]ContainerInfo, 0, len(list))
	for _, l := range list {
		infos = append(infos, ContainerInfo{ID: l.ID, Labels: l.Labels, Running: l.State == container.StateRunning})
	}
	return infos, failed(err, "list containers")
}

func withLabels(labels []string) filters.Args {
	args := filters.NewArgs()
	for _, l := range labels {
		args.Add("label", l)
	}
	return args
}

// Inspect returns the state of a container by its id or name.
func (c *Client) Inspect(ctx context.Context, name string) (ContainerInfo, error) {
	info, err := c.api.ContainerInspect(ctx, name)
	if err != nil {
		return ContainerInfo{}, failed(err, "container %s", name)
	}
	out := ContainerInfo{ID: info.ID, Running: info.State != nil && info.State.Running,
		Created: parseTime(info.Created)}
	if info.Config != nil {
		out.Labels = info.Config.Labels
	}
	if info.State != nil && !out.Running {
		out.Ended = parseTime(info.State.FinishedAt)
	}
	return out, nil
}

// parseTime reads a time of the engine's; zero: none. The engine writes the year 1 for what has not happened.
func parseTime(text string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || t.Year() < 2000 {
		return time.Time{}
	}
	return t
}

// Rename gives a container another name, so that its name is free.
func (c *Client) Rename(ctx context.Context, id, name string) error {
	return failed(c.api.ContainerRename(ctx, id, name), "rename container %s", id)
}

// Remove removes a container, running or not, and its own volumes. A container that is gone, or that another program is
// removing, is not an error.
func (c *Client) Remove(ctx context.Context, id string) error {
	err := c.api.ContainerRemove(ctx, id, container.RemoveOptions{Force: true, RemoveVolumes: true})
	return failed(unlessGone(err), "remove container %s", id)
}

// Commit makes an image of a container's files, and returns its id. The name, if it has one, and the labels come with
// it in one call: an image that can be found is complete.
func (c *Client) Commit(ctx context.Context, id, name string, labels map[string]string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, CommitWait)
	defer cancel()
	made, err := c.api.ContainerCommit(ctx, id,
		container.CommitOptions{Reference: name, Pause: false, Config: &container.Config{Labels: labels}})
	return made.ID, failed(err, "commit container %s", id)
}
