package config

import "github.com/rpmflow/rpmflow/internal/netrule"

func (b *Builder) settings() []setting {
	return []setting{
		{path: "builder.name",
			field: text(&b.Name, "text", orEmpty(matches(hostName,
				"a builder's name: write letters, digits, . _ and -"))),
			doc: "Name of the builder in build records; empty: the machine's host name."},
		{path: "builder.engine", def: string(EngineAuto),
			doc: "mock: in containers. rpmbuild: the host's own, without a clean root, for targets named host or " +
				"host-… only; " +
				"without targets, it defines one for this machine. auto: mock; " +
				"local builds without a target use rpmbuild " +
				"if mock cannot work.",
			field: oneOf(&b.Engine, []string{string(EngineAuto), string(EngineMock), string(EngineRPMBuild)},
				EngineAuto, EngineMock, EngineRPMBuild)},
		{path: "builder.archs", field: commas(many(&b.Archs, "list of architectures", checkArch)),
			doc: "Architectures whose builds are taken; empty: the machine's own."},
		{path: "builder.jobs", def: "1", field: integer(&b.Jobs, 1), doc: "How many builds run at the same time."},
		{path: "builder.min_disk", def: "1GiB", field: size(&b.MinDisk, 1<<20, true),
			doc: "No build is taken with less free space than this, or than a tenth of a smaller disk. " +
				"It applies to the disk of data_dir and to that of a container engine on this machine. 0: no limit."},
		{path: "builder.min_memory", def: "256MiB", field: size(&b.MinMemory, 1<<20, true),
			doc: "No build is taken with less available memory than this; 0: no limit."},
		{path: "builder.drain_time", def: "10m", field: duration(&b.DrainTime),
			doc: "How long running builds may go on after SIGTERM; the rest is handed back."},
		{path: "builder.poll", def: "3s", field: duration(&b.Poll),
			doc: "How often a builder without work looks for work when no wake-up comes."},
		{path: "builder.ack_wait", def: "60s", field: duration(&b.AckWait),
			doc: "How long a builder may be silent before its build goes to another one."},
		{path: "builder.retry_delay", def: "30s", field: duration(&b.RetryDelay),
			doc: "Pause after a failure of the infrastructure, doubled after each further one."},
		{path: "builder.max_failures", def: "3", field: integer(&b.MaxFailures, 1),
			doc: "After how many failures of the infrastructure a build fails for good."},
		{path: "builder.max_output", def: "256MiB", field: size(&b.MaxOutput, 1<<10, false),
			doc: "The largest build.log; a build that writes more is stopped."},
		{path: "builder.max_source", def: "1GiB", field: size(&b.MaxSource, 1<<10, false),
			doc: "The largest source file, from git or downloaded. " +
				"All downloads of one build together may be four times as large."},
		{path: "builder.allow_addresses", example: "[lookaside.corp.example, 10.1.0.0/16]",
			field: commas(many(&b.AllowAddresses, "list of addresses", netrule.Check)),
			doc: "Host names, addresses and ranges that sources may be downloaded from although they are not public; " +
				"empty: public addresses only."},
		{path: "builder.status_listen", field: optionalAddress(&b.StatusListen),
			doc: "Where the builder answers /healthz, /readyz and /metrics, such as 127.0.0.1:8081; empty: nowhere."},
		{path: "builder.docker.host", field: text(&b.Docker.Host, "URL", orEmpty(checkDocker)),
			doc: "The container engine: unix:///path, tcp://host:2376, ssh://user@host; empty: as DOCKER_HOST says."},
		{path: "builder.docker.cert_path", field: dir(&b.Docker.CertPath, false, false),
			doc: "Directory with ca.pem, cert.pem and key.pem for an engine behind TLS (tcp://…); " +
				"empty: as DOCKER_CERT_PATH says."},
		{path: "builder.docker.network", def: "bridge",
			field: text(&b.Docker.Network, "text",
				matches(imageName, "a network: write the name of one, such as bridge")),
			doc: "Network of the containers that install packages. A package's own code always runs without a " +
				"network."},
		{path: "builder.docker.memory", def: "0", field: size(&b.Docker.Memory, 6<<20, true),
			doc: "Memory of one build; 0: no limit."},
		{path: "builder.docker.cpus", def: "0", field: number(&b.Docker.CPUs),
			doc: "Processors of one build, such as 1.5; 0: no limit."},
		{path: "builder.docker.pids", def: "4096", field: integer(&b.Docker.PIDs, 1),
			doc: "How many processes and threads one build may have."},
		{path: "builder.docker.disk", def: "64GiB", field: size(&b.Docker.Disk, 64<<20, true),
			doc: "Space on the engine's disk that one container of a build may use; 0: no limit. " +
				"Without quotas of the storage driver, sparse files count in full."},
		{path: "builder.docker.cache", def: "20GiB", field: size(&b.Docker.Cache, 1<<20, false),
			doc: "Disk space for the images that builds share: initialised roots, " +
				"and roots with the BuildRequires of a package. " +
				"The least recently used are removed first."},
		{path: "builder.docker.packages", def: "10GiB", field: size(&b.Docker.Packages, 1<<20, true),
			doc: "Disk space for downloaded packages, for each target. The oldest are removed first. 0: none are " +
				"kept."},
		{path: "builder.docker.keep_fresh", def: "10m", field: pause(&b.Docker.KeepFresh),
			doc: "For how long after its last build a target's root is compared with the repositories in advance, " +
				"when half of its max_age is over, so that builds need not wait for it; 0: never."},
		{path: "builder.docker.apparmor", field: text(&b.Docker.AppArmor, "text", anything),
			doc: "AppArmor profile; empty: the engine's own. On hosts with AppArmor that forbids the mounts that " +
				"mock needs: " +
				"set unconfined there."},
	}
}

func (g *Git) settings() []setting {
	return []setting{
		{path: "git.ssh_key_file", field: file(&g.SSHKeyFile),
			doc: "Private key (without a passphrase) for ssh repositories; empty: the ssh agent's keys and those of " +
				"~/.ssh."},
		{path: "git.known_hosts_file", field: file(&g.KnownHostsFile),
			doc: "Keys of ssh servers, in the format of known_hosts; empty: ~/.ssh/known_hosts and the system's. " +
				"Unknown servers are refused."},
		{path: "git.mirrors_max", def: "20GiB", field: size(&g.MirrorsMax, 1<<20, true),
			doc: "Disk space for the mirrors of git repositories in data_dir. The least recently used are removed " +
				"first. " +
				"0: no limit."},
		{path: "git.mirrors_age", def: "720h", field: duration(&g.MirrorsAge),
			doc: "How long a mirror is kept after its last use."},
	}
}
