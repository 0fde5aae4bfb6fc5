package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/lookaside"
)

func targetSettings(t *rpmflow.Target) []setting {
	return append([]setting{
		{path: "name", must: true, example: "fedora-42-x86_64", field: text(&t.Name, "text", rpmflow.CheckTargetName),
			doc: "Its name in projects and events."},
		{path: "arch", field: text(&t.Arch, "architecture", orEmpty(checkArch)),
			doc: "Architecture; empty: the name's last part, else this machine's own."},
		{path: "config", field: mockConfig(&t.Config),
			doc: "The mock configuration: a name that the image ships, or the path of a .cfg file; empty: the " +
				"target's name."},
		{path: "config_dir", field: dir(&t.ConfigDir, false, false),
			doc: "Directory that replaces the image's /etc/mock; empty: none."},
		{path: "image", def: "rpmflow/mock:latest", doc: "Container image with mock in it.",
			field: text(&t.Image, "text", matches(imageName, "an image: write one such as rpmflow/mock:latest"))},
		{path: "max_age", def: "1m", field: duration(&t.MaxAge),
			doc: "Before a build, a root that was compared with the repositories longer ago than this is compared " +
				"and updated, " +
				"unless that was done since the build began."},
		{path: "allow_stale", def: "false", field: boolean(&t.AllowStale),
			doc: "Whether builds use an older root when the repositories cannot be reached; the record says so. " +
				"Otherwise such builds are tried again."},
	}, optionSettings(&t.Options, "They hold for all builds of the target; a project's own win.")...)
}

// tokenReaders are the programs that fetch from a project's repositories: they get its token, and the credentials in
// its URLs.
func tokenReaders() []Program { return []Program{ForListener, ForBuilder, ForOperator} }

func projectSettings(p *rpmflow.Project, l *loader) []setting {
	var layouts []rpmflow.Layout
	about := "What the repository has."
	for _, l := range rpmflow.Layouts {
		layouts = append(layouts, l.Layout)
		about += fmt.Sprintf(" %s: %s.", l.Layout, l.Meaning)
	}
	settings := slices.Concat(
		[]setting{
			{path: "name", must: true, example: "hello", field: text(&p.Name, "text", rpmflow.CheckProjectName),
				doc: "Its name in webhook addresses, pages and events."},
			{path: "url", must: true, example: "https://git.example.com/hello.git",
				field: repository(&p.URL, &p.User, l, false),
				doc: "The git repository: an http, https, ssh or file URL, git@host:path, an absolute path, or " +
					"./path, which starts at this file's directory."},
			{path: "ssh_key_file", field: file(&p.SSHKeyFile),
				doc: "Private key for the repository (a deploy key), in place of git.ssh_key_file."},
			{path: "known_hosts_file", field: file(&p.KnownHostsFile),
				doc: "Keys of its ssh server, in place of git.known_hosts_file."},
			{path: "branches", def: "main,master", example: "[main, 'release-*']",
				field: many(&p.Branches, "list of patterns", checkBranch),
				doc:   "Branches whose pushes are built, as patterns."},
			{path: "tags", example: "['v*']", field: many(&p.Tags, "list of patterns", checkTag),
				doc: "Tags that are built, as patterns; empty: none."},
			{path: "layout", def: string(rpmflow.LayoutAuto), doc: about,
				field: oneOf(&p.Layout, rpmflow.LayoutNames(), layouts...)},
			{path: "spec", field: text(&p.Spec, "path", orEmpty(checkSpec)),
				doc: "Path of the spec, relative to directory; empty: there is exactly one."},
			{path: "substitute", example: "['VERSION={version}']",
				field: parsed(&p.Sources.Substitute, "list of NAME=value", parseSubstitution),
				doc: "What replaces @NAME@ in a spec's template, NAME.spec.in, as NAME=value; " +
					"a value may contain {version}, {commit}, {short}, {branch} and {tag}."},
			{path: "version", def: "from-spec",
				field: oneOf(&p.Sources.Version, []string{"from-spec", rpmflow.VersionFromGit}, "",
					rpmflow.VersionFromGit),
				doc: "from-git: the nearest tag becomes Version, the number of commits since then a part of Release, " +
					"and the last commits an entry of the changelog; a commit without such a tag fails. " +
					"from-spec: what the spec says."},
			{path: "version_tags", example: "['hello-[0-9]*']",
				field: many(&p.Sources.VersionTags, "list of patterns", checkTag),
				doc: "Tags that are versions, as patterns; empty: v[0-9]* and [0-9]*. What is before the version " +
					"is left out."},
			{path: "submodules", def: "false", field: boolean(&p.Sources.Submodules),
				doc: "Whether the archive of the tree (layouts in-tree and split) contains the submodules' trees, " +
					"each at the commit that the tree names. Otherwise their directories are empty, as with git " +
					"archive."},
			{path: "lfs", def: "false", field: boolean(&p.Sources.LFS),
				doc: "Whether files in Git LFS are fetched from its server, for sources and for the archive of the " +
					"tree. " +
					"Otherwise a build that would have a pointer in their place fails."},
			{path: "packaging_url", example: "https://git.example.com/hello-rpm.git",
				field: repository(&p.Packaging.URL, &p.Packaging.User, l, true),
				doc: "The other repository of layout split, with rpm/SPECS and rpm/SOURCES, while url has the source " +
					"tree. " +
					"A push to either is built. Empty: there is none."},
			{path: "packaging_fallback", example: "main", field: text(&p.Sources.Fallback, "branch",
				orEmpty(checkFallback)),
				doc: "Branch of one of the two repositories that is used when it has none with the pushed name; " +
					"empty: its HEAD."},
			{path: "packaging_directories", example: "['centos-7-*=centos7']",
				field: directories(&p.Packaging.Directories),
				doc: "Where a target's package is in the packaging repository, as target=directory. " +
					"The target may be a pattern; the first that matches counts. For other targets it is at the top."},
			{path: "targets", example: "[fedora-42-x86_64]", field: many(&p.Targets, "list of targets", notEmpty),
				doc: "Targets that it is built for; left out: all."},
		},
		placeSettings(p),
		secret(l, "token", "Password or token for the repository over https, for the user in the url or, without one, "+
			"for the user x-access-token.", &p.Token,
			tokenReaders()...),
		secret(l, "secret", "Secret of its webhooks; without one they are refused.", &p.Secret,
			ForListener, ForOperator),
		[]setting{
			{path: "lookaside", example: "fedora",
				field: text(&p.Sources.Lookaside, "text", orEmpty(lookaside.Check)),
				doc: "Where the files are that a dist-git repository lists in sources or .PACKAGE.metadata: " +
					strings.Join(lookaside.Presets(), ", ") +
					", or a URL with the fields {name}, {branch}, {file}, {hashtype} and {hash}."},
			{path: "source_mirrors", example: "[https://mirror.example.com/sources]",
				field: many(&p.Sources.Mirrors, "list of URLs", lookaside.CheckTemplate),
				doc: "Where sources are looked for, by file name, that their own URLs do not have. " +
					"The fields of lookaside may be used."},
			{path: "checksums",
				example: "['sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae hello-1.0.tar.gz']",
				field:   many(&p.Sources.Checksums, "list of checksums", checkFileChecksum),
				doc: "Checksums that sources must have, downloaded or in the repository, each as 'sha256:DIGEST " +
					"FILE'. A dist-git repository lists its own."},
			{path: "timeout", def: "1h", field: duration(&p.Timeout),
				doc: "The longest that one attempt of a build may take."},
			{path: "publish", def: "true", field: boolean(&p.Publish.On),
				doc: "Whether packages of its builds are put into dnf repositories."},
			{path: "publish_together", def: "false", field: boolean(&p.Publish.Together),
				doc: "Whether the packages of a push are published at once when all of its builds have succeeded, " +
					"and none of them before."},
			{path: "publish_replace", def: "false", field: boolean(&p.Publish.Replace),
				doc: "Whether a package may replace one of the same name, version and release with other content. " +
					"Otherwise it is refused."},
			{path: "publish_refuse_lower", def: "false", field: boolean(&p.Publish.RefuseLower),
				doc: "Whether a package that is older than the newest one of its name in the repository is refused."},
			{path: "publish_keep", def: "0", field: integer(&p.Publish.Keep, 0),
				doc: "How many builds of a package stay in the repository, the latest; 0: all."},
			{path: "publish_keep_age", def: "0s", field: pause(&p.Publish.KeepAge),
				doc: "Builds that are younger stay besides those of publish_keep; 0s: none."},
			{path: "concurrency", def: "4", field: integer(&p.Concurrency, 1),
				doc: "How many of its builds may run at the same time on one architecture."},
		},
		[]setting{{path: "use_own_repository", def: "false", field: boolean(&p.Options.UseOwnRepository),
			doc: "Whether BuildRequires are installed also from what is published of the project for the target. " +
				"Needs trust: true, or an engine with user namespaces."}},
		optionSettings(&p.Options, "They win over the target's, as do the project's other settings of this kind."),
		[]setting{{path: "trust", def: "false", field: boolean(&p.Trust),
			doc: "Whether the packages of its repositories (repositories, use_own_repository) may run their " +
				"scriptlets as root of a builder's engine. " +
				"An engine with user namespaces does not need it; without it, other engines refuse the project's " +
				"builds."}})
	for i := range settings {
		if settings[i].path == "secret_env" {
			settings[i].example = "HELLO_WEBHOOK_SECRET"
		}
	}
	return settings
}
