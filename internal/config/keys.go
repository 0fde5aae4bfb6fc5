package config

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/lookaside"
)

// Where the embedded servers listen by default.
const (
	DefaultNATSListen = "127.0.0.1:4222"
	DefaultS3Listen   = "127.0.0.1:7070"
)

// setting is one key: all that is known of it, said once. Parsing, defaults, templates, dumps and documentation read it
// here.
type setting struct {
	path    string // inside its scope: the file, or one entry of a list
	def     string // lists: separated by commas
	doc     string
	example string // in the template; only for keys of list entries
	group   string // the secret that this key is one way to give
	must    bool   // the key has no default
	field
}

// Key describes one key to those who write templates, documentation and flags.
type Key struct {
	Path    string // as in the file: builder.docker.host, or projects[].url in a list
	Env     string // the variable that sets it; empty in lists
	Default string
	Doc     string
	Type    string
	Secret  bool
}

// Keys lists every key that file, environment and flags can set, in the order of the template.
func Keys() []Key { return describe("", new(Config).settings(nil)) }

// ListKeys lists the keys of the entries of targets, projects and their packages, which only the file can set.
func ListKeys() []Key {
	return slices.Concat(
		describe("targets[]", targetSettings(new(rpmflow.Target))),
		describe("projects[]", projectSettings(new(rpmflow.Project), nil)),
		describe("projects[].packages[]", packageSettings(new(rpmflow.PackageSource))))
}

func describe(scope string, settings []setting) []Key {
	keys := make([]Key, 0, len(settings))
	for _, s := range settings {
		k := Key{Path: within(scope, s.path), Default: s.def, Doc: s.doc, Type: s.typ, Secret: s.secret}
		if scope == "" {
			k.Env = envOf(s.path)
		}
		keys = append(keys, k)
	}
	return keys
}

func envOf(path string) string {
	return "RPMFLOW_" + strings.ToUpper(strings.ReplaceAll(path, ".", "_"))
}

func within(scope, path string) string {
	if scope == "" {
		return path
	}
	return scope + "." + path
}

// sectionDoc is the documentation of the file's mappings and lists.
func sectionDoc(name string) string {
	return map[string]string{
		"log":            "What the programs log to standard error.",
		"nats":           "The queue and the events: NATS 2.12 or later with JetStream.",
		"s3":             "The storage of packages, logs and sources: anything that speaks S3.",
		"listener":       "What answers webhooks and requests.",
		"builder":        "What takes builds and runs them.",
		"builder.docker": "The container engine of engine mock, and the limits of one build.",
		"git":            "How repositories are reached, and what is kept of them.",
		"embedded":       "The servers inside `rpmflow up`.",
		"gateway":        "The S3 server of `rpmflow s3`: its root account is s3.access_key, its bucket s3.bucket.",
		"targets":        "The build roots that there are.",
		"projects":       "The repositories whose pushes are built.",
		"packages": "A repository with several packages lists them. A push builds those whose files have changed; " +
			"without the list the project is its one package.",
	}[name]
}

// settings binds every scalar key to its place in c. The loader resolves the references of secrets; describing needs
// none.
func (c *Config) settings(l *loader) []setting {
	return slices.Concat(
		[]setting{
			{path: "data_dir", def: ".rpmflow", field: dir(&c.DataDir, true, true),
				doc: "Directory of git mirrors, the read model, and the embedded servers' data. " +
					"A relative one starts at the working directory."},
			{path: "public_url", field: webURL(&c.PublicURL, "https://rpmflow.example.com", true, true),
				doc: "URL under which users reach the listener; links to artifacts begin with it. " +
					"Empty: http:// and listener.listen."},
			{path: "log.level", def: "info", doc: "The least severe messages that are logged.",
				field: oneOf(&c.Log.Level, []string{"debug", "info", "warn", "error"}, slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError)},
			{path: "log.format", def: LogText, field: oneOf(&c.Log.Format, []string{LogText, LogJSON}, LogText, LogJSON),
				doc: "text for people, json for programs."},
		},
		c.NATS.settings(l), c.S3.settings(l), c.Listener.settings(l), c.Builder.settings(), c.Git.settings(), c.Gateway.settings(l),
		[]setting{
			{path: "embedded.nats_listen", def: DefaultNATSListen, field: address(&c.Embedded.NATSListen),
				doc: "Where the embedded NATS server listens. When another program listens at the default address, " +
					"a free port is taken."},
			{path: "embedded.s3_listen", def: DefaultS3Listen, field: address(&c.Embedded.S3Listen),
				doc: "Where the embedded S3 server listens. When another program listens at the default address, " +
					"a free port is taken."},
		})
}

func (n *NATS) settings(l *loader) []setting {
	return slices.Concat(
		[]setting{
			{path: "nats.url", def: "nats://127.0.0.1:4222", field: commas(many(&n.URLs, "list of URLs", checkNATS)),
				doc: "The servers of the cluster; one that answers is enough."},
			{path: "nats.user", field: text(&n.User, "text", anything), doc: "User, with nats.password."},
		},
		secret(l, "nats.password", "Password of nats.user.", &n.Password,
			ForListener, ForBuilder, ForOperator),
		secret(l, "nats.token", "Token, where the servers want one instead of a user.", &n.Token,
			ForListener, ForBuilder, ForOperator),
		secret(l, "nats.nkey",
			"Seed of an nkey (SU…), instead of user or token: only its public half is known to the servers.", &n.NKey,
			ForListener, ForBuilder, ForOperator),
		[]setting{
			{path: "nats.credentials", field: file(&n.Credentials),
				doc: "Credentials file (.creds: JWT and seed), instead of user or token."},
			{path: "nats.ca_file", field: file(&n.CAFile),
				doc: "Certificates (PEM) that sign the servers'; empty: those of the system."},
			{path: "nats.replicas", def: "1",
				doc:   "On how many servers a stream is kept; 3 needs a cluster of at least that many.",
				field: oneOf(&n.Replicas, []string{"1", "3"}, 1, 3)},
			{path: "nats.connect_timeout", def: "5s", field: duration(&n.ConnectTimeout),
				doc: "How long one attempt to connect may take."},
			{path: "nats.max_bytes", def: "1GiB", field: size(&n.MaxBytes, 1<<20, false),
				doc: "The most that one stream may hold. JetStream reserves it for each stream: " +
					"the servers need several times as much."},
		})
}

func (s *S3) settings(l *loader) []setting {
	return slices.Concat(
		[]setting{
			{path: "s3.endpoint", def: "http://127.0.0.1:7070",
				field: webURL(&s.Endpoint, "https://s3.example.com", false, false), doc: "URL of the storage, without the bucket."},
			{path: "s3.region", def: "us-east-1", doc: "Region of the bucket.",
				field: text(&s.Region, "text", matches(hostName, "a region: write one such as us-east-1"))},
			{path: "s3.bucket", def: "rpmflow", doc: "Bucket of everything that is kept.",
				field: text(&s.Bucket, "text", matches(bucketName,
					"a bucket's name: write 3 to 63 lower-case letters, digits, . and -"))},
		},
		secret(l, "s3.access_key", "Access key; with s3.secret_key.", &s.AccessKey,
			ForListener, ForBuilder, ForS3, ForOperator),
		secret(l, "s3.secret_key", "Secret key of s3.access_key.", &s.SecretKey,
			ForListener, ForBuilder, ForS3, ForOperator),
		[]setting{
			{path: "s3.ca_file", field: file(&s.CAFile),
				doc: "Certificates (PEM) that sign the storage's; empty: those of the system."},
			{path: "s3.create_bucket", def: "true", field: boolean(&s.CreateBucket),
				doc: "Whether a missing bucket is made at the start."},
			{path: "s3.public_url", field: webURL(&s.PublicURL, "https://s3.example.com/rpmflow", true, true),
				doc: "URL under which users reach the bucket's objects, where they can; empty: links go through public_url."},
		})
}

func (n *Listener) settings(l *loader) []setting {
	return slices.Concat(
		[]setting{{path: "listener.listen", def: "127.0.0.1:8080", field: address(&n.Listen), doc: "Where the listener listens; :8080 is every interface."}},
		secret(l, "listener.token", "Bearer token for POST /api/v1/builds. Without one only a listener on a loopback "+
			"address accepts submissions.", &n.Token,
			ForListener, ForOperator),
		[]setting{
			{path: "listener.max_body", def: "25MiB", field: size(&n.MaxBody, 1<<10, false),
				doc: "The largest webhook; the default is GitHub's own limit."},
			{path: "listener.max_upload", def: "2GiB", field: size(&n.MaxUpload, 1<<10, false),
				doc: "The largest source package that `rpmflow submit --srpm` may upload. It is kept in data_dir until it is stored; four at once."},
			{path: "listener.request_timeout", def: "10s", field: duration(&n.RequestTimeout),
				doc: "How long answering one request may take."},
			{path: "listener.subscribers",
				field: commas(many(&n.Subscribers, "list of names", matches(hostName,
					"a subscriber's name: write letters, digits, . _ and -"))),
				doc: "Subscribers for which the listener keeps a durable consumer of the finished events, watch-NAME: " +
					"those whose NATS user may not make one."},
		})
}

func (g *Gateway) settings(l *loader) []setting {
	return slices.Concat(
		[]setting{
			{path: "gateway.listen", def: "127.0.0.1:7070", field: address(&g.Listen), doc: "Where `rpmflow s3` listens; :7070 is every interface."},
			{path: "gateway.cert_file", field: file(&g.CertFile),
				doc: "Certificate (PEM) for TLS; with gateway.key_file. Empty: no TLS."},
			{path: "gateway.key_file", field: file(&g.KeyFile), doc: "Private key (PEM) of gateway.cert_file."},
		},
		secret(l, "gateway.listener_secret_key", "Secret key of the account listener, which reads builds.", &g.ListenerSecretKey,
			ForS3, ForOperator),
		secret(l, "gateway.builder_secret_key",
			"Secret key of the account builder, which writes builds and sources.", &g.BuilderSecretKey,
			ForS3, ForOperator),
		secret(l, "gateway.publisher_secret_key",
			"Secret key of the account publisher, which reads builds and writes repositories.", &g.PublisherSecretKey,
			ForS3, ForOperator),
	)
}

func (b *Builder) settings() []setting {
	return []setting{
		{path: "builder.name",
			field: text(&b.Name, "text", orEmpty(matches(hostName, "a builder's name: write letters, digits, . _ and -"))),
			doc:   "What the builder calls itself in build records; empty: the machine's host name."},
		{path: "builder.engine", def: string(EngineAuto),
			doc: "mock in containers; rpmbuild, the host's own without a clean root, " +
				"for targets named host or host-… only (without targets, it makes one of the machine); " +
				"auto: mock, and for local builds without a target rpmbuild where mock cannot work.",
			field: oneOf(&b.Engine, []string{string(EngineAuto), string(EngineMock), string(EngineRPMBuild)}, EngineAuto, EngineMock, EngineRPMBuild)},
		{path: "builder.archs", field: commas(many(&b.Archs, "list of architectures", checkArch)),
			doc: "Architectures whose builds are taken; empty: the machine's own."},
		{path: "builder.jobs", def: "1", field: integer(&b.Jobs, 1), doc: "How many builds run at a time."},
		{path: "builder.min_disk", def: "1GiB", field: size(&b.MinDisk, 1<<20, true),
			doc: "Below this much free space, or a tenth of a smaller disk, no build is taken: " +
				"on the disk of data_dir, and on that of a container engine on this machine; 0: always."},
		{path: "builder.min_memory", def: "256MiB", field: size(&b.MinMemory, 1<<20, true),
			doc: "Below this much available memory no build is taken; 0: always."},
		{path: "builder.drain_time", def: "10m", field: duration(&b.DrainTime),
			doc: "How long SIGTERM lets running builds go on; the rest is handed back."},
		{path: "builder.poll", def: "3s", field: duration(&b.Poll),
			doc: "How often a builder without work looks for some though nobody woke it."},
		{path: "builder.ack_wait", def: "60s", field: duration(&b.AckWait),
			doc: "How long a builder may be silent before its build goes to another."},
		{path: "builder.retry_delay", def: "30s", field: duration(&b.RetryDelay),
			doc: "Pause after a failure of the infrastructure, doubled after each further one."},
		{path: "builder.max_failures", def: "3", field: integer(&b.MaxFailures, 1),
			doc: "After how many failures of the infrastructure a build is given up."},
		{path: "builder.max_output", def: "256MiB", field: size(&b.MaxOutput, 1<<10, false),
			doc: "The largest build.log; a build that writes more is stopped."},
		{path: "builder.max_source", def: "1GiB", field: size(&b.MaxSource, 1<<10, false),
			doc: "The largest source file, from git or downloaded; " +
				"all downloads of one build together may have four times as much."},
		{path: "builder.allow_addresses", example: "[lookaside.corp.example, 10.1.0.0/16]",
			field: commas(many(&b.AllowAddresses, "list of addresses", checkAddressRule)),
			doc: "What sources may be downloaded from though its address is not public: host names, addresses and ranges; " +
				"empty: public addresses only."},
		{path: "builder.status_listen", field: optionalAddress(&b.StatusListen),
			doc: "Where the builder answers /healthz, /readyz and /metrics, such as 127.0.0.1:8081; empty: nowhere."},
		{path: "builder.docker.host", field: text(&b.Docker.Host, "URL", orEmpty(checkDocker)),
			doc: "The container engine: unix:///path, tcp://host:2376, ssh://user@host; empty: as DOCKER_HOST says."},
		{path: "builder.docker.cert_path", field: dir(&b.Docker.CertPath, false, false),
			doc: "Directory with ca.pem, cert.pem and key.pem for an engine behind TLS (tcp://…); " +
				"empty: as DOCKER_CERT_PATH says."},
		{path: "builder.docker.network", def: "bridge",
			field: text(&b.Docker.Network, "text", matches(imageName, "a network: write the name of one, such as bridge")),
			doc:   "Network of the containers that install packages. A package's own code runs without one, always."},
		{path: "builder.docker.memory", def: "0", field: size(&b.Docker.Memory, 6<<20, true),
			doc: "Memory of one build; 0: no limit."},
		{path: "builder.docker.cpus", def: "0", field: number(&b.Docker.CPUs),
			doc: "Processors of one build, such as 1.5; 0: no limit."},
		{path: "builder.docker.pids", def: "4096", field: integer(&b.Docker.PIDs, 1),
			doc: "The most processes and threads of one build."},
		{path: "builder.docker.disk", def: "64GiB", field: size(&b.Docker.Disk, 64<<20, true),
			doc: "What one container of a build may take of the engine's disk; " +
				"0: no limit. Without quotas of the storage driver sparse files count in full."},
		{path: "builder.docker.cache", def: "20GiB", field: size(&b.Docker.Cache, 1<<20, false),
			doc: "Disk that the images which builds share may take: " +
				"initialised roots, and roots with the BuildRequires of a package. The least recently used go first."},
		{path: "builder.docker.packages", def: "10GiB", field: size(&b.Docker.Packages, 1<<20, true),
			doc: "Disk that downloaded packages may take, for each target; the oldest go first; 0: none are kept."},
		{path: "builder.docker.keep_fresh", def: "10m", field: pause(&b.Docker.KeepFresh),
			doc: "How long after its last build a target's root is compared with the repositories ahead of time, " +
				"when half of its max_age is over, so that builds need not wait for it; 0: never."},
		{path: "builder.docker.apparmor", field: text(&b.Docker.AppArmor, "text", anything),
			doc: "AppArmor profile; empty: the engine's own, which forbids the mounts that mock needs on hosts with AppArmor: " +
				"write unconfined there."},
	}
}

func (g *Git) settings() []setting {
	return []setting{
		{path: "git.ssh_key_file", field: file(&g.SSHKeyFile),
			doc: "Private key (without a passphrase) for ssh repositories; empty: the ssh agent's keys and those of ~/.ssh."},
		{path: "git.known_hosts_file", field: file(&g.KnownHostsFile),
			doc: "Keys of ssh servers, in the form of known_hosts; " +
				"empty: ~/.ssh/known_hosts and the system's. Unknown servers are refused."},
		{path: "git.mirrors_max", def: "20GiB", field: size(&g.MirrorsMax, 1<<20, true),
			doc: "Disk that the mirrors of git repositories below data_dir may take; " +
				"the least recently used go first. 0: no limit."},
		{path: "git.mirrors_age", def: "720h", field: duration(&g.MirrorsAge),
			doc: "How long a mirror is kept that no build has used."},
	}
}

func targetSettings(t *rpmflow.Target) []setting {
	return append([]setting{
		{path: "name", must: true, example: "fedora-42-x86_64", field: text(&t.Name, "text", rpmflow.CheckTargetName),
			doc: "What projects and events call it."},
		{path: "arch", field: text(&t.Arch, "architecture", orEmpty(checkArch)),
			doc: "Architecture; empty: the name's last part, else this machine's own."},
		{path: "config", field: mockConfig(&t.Config),
			doc: "The mock configuration: a name that the image ships, or the path of a .cfg file; empty: the target's name."},
		{path: "config_dir", field: dir(&t.ConfigDir, false, false),
			doc: "Directory that replaces the image's /etc/mock; empty: none."},
		{path: "image", def: "rpmflow/mock:latest", doc: "Container image with mock in it.",
			field: text(&t.Image, "text", matches(imageName, "an image: write one such as rpmflow/mock:latest"))},
		{path: "max_age", def: "1m", field: duration(&t.MaxAge),
			doc: "How long ago a build's root may have been compared with the repositories; " +
				"an older one is compared, and made up to date, first, unless that was done since the build began."},
		{path: "allow_stale", def: "false", field: boolean(&t.AllowStale),
			doc: "Whether builds go on with an older root when the repositories cannot be reached; " +
				"the record says so. Else such builds are tried again."},
	}, optionSettings(&t.Options, "They hold for all builds of the target; a project's own win.")...)
}

func projectSettings(p *rpmflow.Project, l *loader) []setting {
	layouts := make([]string, 0, len(rpmflow.Layouts))
	for _, layout := range rpmflow.Layouts {
		layouts = append(layouts, string(layout))
	}
	settings := slices.Concat(
		[]setting{
			{path: "name", must: true, example: "hello", field: text(&p.Name, "text", rpmflow.CheckProjectName),
				doc: "What webhooks, pages and events call it."},
			{path: "url", must: true, example: "https://git.example.com/hello.git", field: repository(&p.URL),
				doc: "The git repository: an http, https, ssh or file URL, git@host:path, an absolute path, or ./path, " +
					"which starts at this file's directory."},
			{path: "ssh_key_file", field: file(&p.SSHKeyFile),
				doc: "Private key for the repository, where it is another than git.ssh_key_file: a deploy key."},
			{path: "known_hosts_file", field: file(&p.KnownHostsFile),
				doc: "Keys of its ssh server, where they are in another file than git.known_hosts_file."},
			{path: "branches", def: "main,master", example: "[main, 'release-*']",
				field: many(&p.Branches, "list of patterns", checkBranch),
				doc:   "Branches whose pushes are built, as patterns."},
			{path: "tags", example: "['v*']", field: many(&p.Tags, "list of patterns", checkTag),
				doc: "Tags that are built, as patterns; empty: none."},
			{path: "layout", def: string(rpmflow.LayoutAuto), field: oneOf(&p.Layout, layouts, rpmflow.Layouts...),
				doc: "standard: spec and tarball lie in the repository; dist-git: a list says what lies in a lookaside; " +
					"in-tree: the spec lies in its source tree; srpm: source packages, each of which is rebuilt; " +
					"split: the spec lies in another repository, packaging_url; auto: as the tree looks."},
			{path: "spec", field: text(&p.Spec, "path", orEmpty(checkSpec)),
				doc: "Path of the spec, from directory on; empty: there is exactly one."},
			{path: "substitute", example: "['VERSION={version}']", field: substitutions(&p.Sources.Substitute),
				doc: "What stands for @NAME@ in a spec's template, NAME.spec.in, as NAME=value; " +
					"a value may have {version}, {commit}, {short}, {branch} and {tag} in it."},
			{path: "version", def: "from-spec",
				field: oneOf(&p.Sources.Version, []string{"from-spec", rpmflow.VersionFromGit}, "", rpmflow.VersionFromGit),
				doc: "from-git: the nearest tag becomes Version, the number of commits since part of Release, " +
					"the last commits an entry of the changelog; a commit without such a tag fails. from-spec: what the spec says."},
			{path: "version_tags", example: "['hello-[0-9]*']",
				field: many(&p.Sources.VersionTags, "list of patterns", checkTag),
				doc:   "Tags that are versions, as patterns; empty: v[0-9]* and [0-9]*. What stands before the version is left out."},
			{path: "submodules", def: "false", field: boolean(&p.Sources.Submodules),
				doc: "Whether the archive that is made of the tree (layouts in-tree and split) has the submodules' trees in it, " +
					"each at the commit that the tree names; else their directories are empty, as git archive leaves them."},
			{path: "lfs", def: "false", field: boolean(&p.Sources.LFS),
				doc: "Whether files that Git LFS keeps are fetched from its server, " +
					"for sources and for the archive that is made of the tree; " +
					"else a build that would have a pointer in their place fails."},
			{path: "packaging_url", example: "https://git.example.com/hello-rpm.git",
				field: optionalRepository(&p.Packaging.URL),
				doc: "The other repository of layout split, with rpm/SPECS and rpm/SOURCES, while url has the source tree. " +
					"A push to either is built. Empty: there is none."},
			{path: "packaging_fallback", example: "main", field: text(&p.Sources.Fallback, "branch", orEmpty(checkFallback)),
				doc: "Branch that is taken of one of the two repositories where it has none of the pushed name; empty: its HEAD."},
			{path: "packaging_directories", example: "['centos-7-*=centos7']", field: directories(&p.Packaging.Directories),
				doc: "Where a target's package lies in the packaging repository, as target=directory; " +
					"the target may be a pattern, the first that takes it counts. Others have it at the top."},
			{path: "targets", example: "[fedora-42-x86_64]", field: many(&p.Targets, "list of targets", notEmpty),
				doc: "Targets that it is built for; left out: all."},
		},
		placeSettings(p),
		secret(l, "token", "Password or token for the repository over https, for the user in the url or, without one, "+
			"for the user x-access-token.", &p.Token,
			ForListener, ForBuilder, ForOperator),
		secret(l, "secret", "Secret of its webhooks; without one they are refused.", &p.Secret,
			ForListener, ForOperator),
		[]setting{
			{path: "lookaside", example: "fedora",
				field: text(&p.Sources.Lookaside, "text", orEmpty(lookaside.Check)),
				doc: "Where the files are that a dist-git repository lists in sources or .PACKAGE.metadata: " + strings.Join(lookaside.Presets(), ", ") +
					", or a URL with the fields {name}, {branch}, {file}, {hashtype} and {hash}."},
			{path: "source_mirrors", example: "[https://mirror.example.com/sources]",
				field: many(&p.Sources.Mirrors, "list of URLs", lookaside.CheckTemplate),
				doc: "Where sources are looked for, by their file names, that cannot be had from their own URLs; " +
					"the fields of lookaside are known, too."},
			{path: "checksums", example: "['sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae " +
				"hello-1.0.tar.gz']", field: many(&p.Sources.Checksums, "list of checksums", checkFileChecksum),
				doc: "Checksums that sources must have, whether they are downloaded or in the repository, " +
					"each as 'sha256:DIGEST FILE'; a dist-git repository lists its own."},
			{path: "timeout", def: "1h", field: duration(&p.Timeout), doc: "The longest that one attempt of a build may take."},
			{path: "concurrency", def: "4", field: integer(&p.Concurrency, 1),
				doc: "How many of its builds may run at once on one architecture."},
		},
		optionSettings(&p.Options, "They win over the target's, as do the project's other settings of this kind."),
		[]setting{{path: "trust", def: "false", field: boolean(&p.Trust),
			doc: "Whether the packages of its repositories may run their scriptlets as root of a builder's engine. " +
				"An engine with user namespaces needs no such trust; the others refuse the project's builds without."}})
	for i := range settings {
		if settings[i].path == "secret_env" {
			settings[i].example = "HELLO_WEBHOOK_SECRET"
		}
	}
	return settings
}

// notEmpty lets every name of a target pass that is one: whether it is defined is asked when all targets are known.
func notEmpty(s string) error {
	if s == "" {
		return fmt.Errorf("%s is no target: write the name of one, or leave targets out for all", quote(s))
	}
	return nil
}

// commas lets one text hold several elements of a list, for keys that the environment can set.
func commas(f field) field {
	set := f.set
	f.set = func(in input) error {
		var values []string
		for _, v := range in.values {
			for part := range strings.SplitSeq(v, ",") {
				values = append(values, strings.TrimSpace(part))
			}
		}
		in.values = values
		return set(in)
	}
	return f
}
