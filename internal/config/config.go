// Package config is the one configuration of all programs: every key, its default, its meaning and its rules.
//
// In come a YAML file, the environment (RPMFLOW_…) and flags, each stronger than the one before; out comes a Config
// whose values are checked, or all problems at once, one on a line, each with its place and what to do. The programs
// and the commands import it; it imports the domain and leaf libraries only.
package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/osrelease"
)

// Config is what Load made of file, environment and flags. The keys are described in keys.go.
type Config struct {
	File      string // what was read; empty: no file
	DataDir   string // absolute
	PublicURL *url.URL
	Log       Log
	NATS      NATS
	S3        S3
	Listener  Listener
	Builder   Builder
	Git       Git
	Publisher Publisher
	Gateway   Gateway
	Embedded  Embedded
	Targets   []rpmflow.Target
	Projects  []rpmflow.Project
	// Warnings are for the operator although nothing fails.
	Warnings []string
}

// Log is how the programs log.
type Log struct {
	Level  slog.Level
	Format string // LogText or LogJSON
}

// The formats of logs.
const (
	LogText = "text"
	LogJSON = "json"
)

// Logger makes the program's logger.
func (l Log) Logger(w io.Writer) *slog.Logger {
	o := &slog.HandlerOptions{Level: l.Level}
	if l.Format == LogJSON {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// NATS is how to reach NATS, and the size of the streams. At most one of user, token, nkey and credentials is set.
type NATS struct {
	URLs           []string // at least one, without credentials
	User           string
	Password       Secret
	Token          Secret
	NKey           Secret // the seed
	Credentials    string // absolute path of a .creds file
	CAFile         string // absolute path
	Replicas       int    // 1 or 3
	ConnectTimeout time.Duration
	MaxBytes       Size // of each stream
}

// Publisher is what makes dnf repositories.
type Publisher struct {
	SigningKey     Secret   // armored, one key or several; empty: one is made
	SigningKeyFile string   // absolute path of the file that SigningKey is from; empty: it is from none
	SigningCommand string   // absolute path; empty: SigningKey is private
	URL            *url.URL // nil: Config.PublicURL and /repos
	Jobs           int
	StatusListen   string // host:port; empty: nowhere
}

// S3 is how to reach the storage. Both keys are set, or none of them.
type S3 struct {
	Endpoint     *url.URL // scheme and host only
	Region       string
	Bucket       string
	AccessKey    Secret
	SecretKey    Secret
	CAFile       string // absolute path
	CreateBucket bool
	PublicURL    *url.URL // nil: links go through Config.PublicURL
}

// Listener is the part that answers webhooks and requests.
type Listener struct {
	Listen         string // host:port
	Token          Secret
	MaxBody        Size
	MaxUpload      Size
	RequestTimeout time.Duration
	Subscribers    []string
}

// Engine is what runs builds.
type Engine string

// The engines that can be asked for. EngineAuto is mock, but for commands without a server, which take the host's
// rpmbuild if mock cannot work and no target is named.
const (
	EngineAuto     Engine = "auto"
	EngineMock     Engine = "mock"
	EngineRPMBuild Engine = "rpmbuild"
)

// Builder is the part that takes builds and runs them.
type Builder struct {
	Name        string
	Engine      Engine
	Archs       []string // at least one
	Jobs        int
	MinDisk     Size // 0: no floor
	MinMemory   Size // 0: no floor
	DrainTime   time.Duration
	Poll        time.Duration
	AckWait     time.Duration
	RetryDelay  time.Duration
	MaxFailures int
	MaxOutput   Size
	MaxSource   Size
	// AllowAddresses are servers that downloads may connect to although they are not public.
	AllowAddresses []string
	StatusListen   string // host:port; empty: nowhere
	Docker         Docker
}

// Docker is how to reach the container engine, and its limits.
type Docker struct {
	Host     string // empty: from the environment (DOCKER_HOST)
	CertPath string // absolute; empty: from the environment (DOCKER_CERT_PATH)
	Network  string
	Memory   Size    // 0: no limit
	CPUs     float64 // 0: no limit
	PIDs     int
	Disk     Size   // 0: no limit
	AppArmor string // empty: the engine's default profile
	Cache    Size   // of the images that builds share
	Packages Size   // downloaded ones, of each target
	// KeepFresh is for how long after its last build a target's root is compared with the repositories in advance.
	KeepFresh time.Duration
}

// Git is how repositories are reached, and what is kept of them.
type Git struct {
	SSHKeyFile, KnownHostsFile string // absolute paths; empty: the usual ones
	MirrorsMax                 Size   // 0: no limit
	MirrorsAge                 time.Duration
}

// Gateway is the S3 server of `rpmflow s3`.
type Gateway struct {
	Listen                                                  string // host:port
	CertFile, KeyFile                                       string // absolute paths; both or none
	ListenerSecretKey, BuilderSecretKey, PublisherSecretKey Secret
}

// Embedded is where the servers inside `rpmflow up` listen.
type Embedded struct {
	NATSListen string // host:port
	S3Listen   string // host:port
}

// Source is where a configuration is read from. Nothing else is read: no process environment, no other file.
type Source struct {
	File  string            // empty: none
	Env   []string          // as from os.Environ
	Flags map[string]string // key to value; only flags that the user gave
	// For is the program that will run with it: it gets the secrets that are listed for it, and others are not looked
	// for. The zero value gets none.
	For Program
}

// Program is one that runs with a part of the configuration.
type Program string

// The programs for which secrets are listed.
const (
	ForListener  Program = "listener"
	ForBuilder   Program = "builder"
	ForPublisher Program = "publisher"
	ForS3        Program = "s3"
	ForOperator  Program = "operator" // `rpmflow up`, and the commands of the person who runs the system
	// NoSecrets is for what needs none: health checks, and builds on a user's machine without a server.
	NoSecrets Program = ""
)

// Load reads and checks a configuration. Its error joins all problems, one on a line, each with place, key and what to
// do; no error and no warning ever holds a secret.
func Load(src Source) (*Config, error) {
	var data []byte
	if src.File != "" {
		var err error
		if data, err = os.ReadFile(src.File); errors.Is(err, fs.ErrPermission) {
			return nil, fmt.Errorf("read configuration: %w: this program runs as user %d, group %d: "+
				"let it read the file", err, os.Geteuid(), os.Getegid())
		} else if err != nil {
			return nil, fmt.Errorf("read configuration: %w", err)
		}
	}
	return load(src, data)
}

func load(src Source, data []byte) (*Config, error) {
	l := &loader{file: src.File, env: environment(src.Env), program: src.For, referenced: map[string]bool{}}
	if src.File != "" {
		dir, err := filepath.Abs(filepath.Dir(src.File))
		if err != nil {
			return nil, fmt.Errorf("find the directory of %s, at which its relative paths start: %w", src.File, err)
		}
		l.dir = dir
	}

	c := &Config{File: src.File}
	settings := c.settings(l)
	file := l.parse(data, settings)
	l.apply("", settings, l.merge(settings, file.keys, l.fromEnv(settings), l.fromFlags(settings, src.Flags)))
	c.Targets = l.targets(file.targets)
	defined := names(file.targets)
	if c.Builder.Engine == EngineRPMBuild && len(file.targets) == 0 { // there is only one that it can build for
		host := rpmflow.HostTarget(osrelease.Read())
		host.Config = host.Name
		c.Targets, defined = []rpmflow.Target{host}, []string{host.Name}
	}
	c.Projects = l.projects(file.projects, defined)
	l.together(c)
	l.engines(c)
	l.unknownEnv(settings)

	if err := l.err(); err != nil {
		return nil, err
	}
	c.Warnings = l.warnings
	return c, nil
}

// Project looks a project up by its name.
func (c *Config) Project(name string) (rpmflow.Project, bool) {
	i := slices.IndexFunc(c.Projects, func(p rpmflow.Project) bool { return p.Name == name })
	if i < 0 {
		return rpmflow.Project{}, false
	}
	return c.Projects[i], true
}

// Target looks a target up by its name.
func (c *Config) Target(name string) (rpmflow.Target, bool) {
	i := slices.IndexFunc(c.Targets, func(t rpmflow.Target) bool { return t.Name == name })
	if i < 0 {
		return rpmflow.Target{}, false
	}
	return c.Targets[i], true
}

// CheckBuilder fails if files that targets name do not exist. Only a builder needs them, so Load does not check them.
func (c *Config) CheckBuilder() error {
	var problems []error
	for _, t := range c.Targets {
		problems = append(problems, checkFiles(t))
	}
	return errors.Join(problems...)
}

func checkFiles(t rpmflow.Target) error {
	path := t.Config
	if t.ConfigDir != "" {
		info, err := os.Stat(t.ConfigDir)
		switch {
		case err != nil:
			return fmt.Errorf("target %q: config_dir: %w: name a directory that this builder can read", t.Name, err)
		case !info.IsDir():
			return fmt.Errorf("target %q: config_dir: %s is not a directory", t.Name, t.ConfigDir)
		case !strings.HasSuffix(path, ".cfg"):
			path = filepath.Join(t.ConfigDir, path+".cfg")
		}
	}
	if !strings.HasSuffix(path, ".cfg") {
		return nil // a configuration that the image ships
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return fmt.Errorf("target %q: config: %w: name a mock configuration that this builder can read", t.Name, err)
	case !info.Mode().IsRegular():
		return fmt.Errorf("target %q: config: %s is not a file", t.Name, path)
	}
	return nil
}

// RepositoriesURL is where users of packages find repos/ of the bucket, without a slash at its end.
func (c *Config) RepositoriesURL() string {
	if c.Publisher.URL != nil {
		return strings.TrimRight(c.Publisher.URL.String(), "/")
	}
	return c.PublicURL.JoinPath("repos").String()
}
