package mock

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build/mock/docker"
	"github.com/rpmflow/rpmflow/internal/build/mock/images"
)

// Paths in the containers. All of ours is below one directory.
const (
	inRoot         = "/rpmflow"
	inConfig       = inRoot + "/config"      // a target's own configuration
	inDir          = inRoot + "/configdir"   // a target's own configuration directory
	inOptions      = inRoot + "/options.cfg" // options of mock that the build asks for
	inOverride     = inRoot + "/override.cfg"
	inRepositories = inRoot + "/repositories.cfg" // besides those of the target's configuration
	inEpoch        = inRoot + "/epoch.cfg"        // the time of the build's own commit, its macros
	inMacros       = inRoot + "/macros"
	inBuilddep     = inRoot + "/builddep" // see builddep.sh
	// inWork is a volume of the container's own: what goes in and comes out there does not become part of an image.
	inWork    = inRoot + "/work"
	inSpecs   = inWork + "/SPECS"
	inSources = inWork + "/SOURCES"
	inLeftOut = inWork + "/left-out" // sources that the source package was made without
	inOut     = inWork + "/out"      // results of the phases, each in a directory of its own
)

// configLog is mock's configuration as it was in effect, kept with a build's logs.
const configLog = "mock.cfg"

// maxConfig bounds a configuration directory that is copied into containers.
const maxConfig = 16 << 20

// configured is mock's configuration as a container needs it.
type configured struct {
	files []docker.File // to be copied in
	env   []string
	// own are the files of the build itself, for the steps that run what the package's author wrote.
	own []docker.File
	// repositories is for the steps that install, or look at what is installed; nil: the target's only.
	repositories []docker.File
}

// configuration gathers the target's mock configuration and what rpmflow sets on top of it. The script that starts mock
// joins all into one file: mock's own include() would interpret backslashes in what it includes.
//
// The root is initialised, and dependencies are installed, without the build's own time and macros: other builds use
// the result.
func configuration(t rpmflow.Target, o rpmflow.Options, epoch time.Time) (configured, error) {
	own, macros := buildConfig(epoch.Unix(), o)
	c := configured{
		files: []docker.File{{Name: inOverride, Mode: 0o644, Content: []byte(overrides)}},
		own: []docker.File{
			{Name: inEpoch, Mode: 0o644, Content: append([]byte(shortcuts), own...)},
			{Name: inMacros, Mode: 0o644, Content: macros},
			{Name: inBuilddep, Mode: 0o755, Content: []byte(builddep)},
		},
	}
	if len(o.MockOptions) > 0 {
		c.files = append(c.files, docker.File{Name: inOptions, Mode: 0o644, Content: optionsConfig(o.MockOptions)})
	}
	dir, base := "/etc/mock", t.Config+".cfg"
	if t.ConfigDir != "" {
		dir = inDir
		copied, err := tree(t.ConfigDir, inDir, maxConfig)
		if err != nil {
			return c, fmt.Errorf("target %q: config_dir: %w", t.Name, err)
		}
		c.files = append(c.files, copied...)
	}
	source := path.Join(dir, base)
	if strings.HasSuffix(t.Config, ".cfg") {
		content, err := os.ReadFile(t.Config)
		if err != nil {
			return c, fmt.Errorf("target %q: config: %w", t.Name, err)
		}
		base = filepath.Base(t.Config)
		source = path.Join(inConfig, base)
		c.files = append(c.files, docker.File{Name: source, Mode: 0o644, Content: content})
	}
	c.env = []string{"CONFIG_DIR=" + dir, "CONFIG=" + source, "CHROOT=" + strings.TrimSuffix(base, ".cfg")}
	return c, nil
}

// overrides makes mock work in such a container, and its results the same bytes for the same commit. It is part of the
// key of roots: another text, comments included, makes all roots again.
const overrides = `
# Set by rpmflow.
config_opts['isolation'] = 'simple'                 # 'auto' looks for systemd-nspawn
config_opts['use_bootstrap_image'] = False          # would need podman in the container
config_opts['docker_unshare_warning'] = True        # without an own mount namespace: an error, not a warning
config_opts['print_main_output'] = True             # without a terminal too
config_opts['cleanup_on_success'] = False           # the container goes as a whole
config_opts['cleanup_on_failure'] = False
config_opts['rpmbuild_networking'] = False
config_opts['plugin_conf']['root_cache_enable'] = False   # the container's image is the cache
config_opts['plugin_conf']['yum_cache_enable'] = False    # dnf's cache stays in the root, where --offline finds it
config_opts['plugin_conf']['hw_info_enable'] = False
config_opts['use_container_host_hostname'] = False
config_opts['macros']['%_buildhost'] = 'rpmflow'
config_opts['macros']['%use_source_date_epoch_as_buildtime'] = '1'
config_opts['macros']['%clamp_mtime_to_source_date_epoch'] = '1'
config_opts['macros']['%build_mtime_policy'] = 'clamp_to_source_date_epoch'
`

// shortcuts save the steps without network what was done when their image was made, about a third of mock's time: the
// devices are those of the container, which the script puts into the root at once (mock makes mounts one by one), and
// dnf does not search again for what it has installed.
const shortcuts = `
config_opts['internal_dev_setup'] = False
if config_opts.get('dnf4_command') == '/usr/bin/dnf-3':
    config_opts.setdefault('dnf4_builddep_command', '/rpmflow/bin/dnf-3')
if config_opts.get('dnf5_command') == '/usr/bin/dnf5':
    config_opts.setdefault('dnf5_builddep_command', '/rpmflow/bin/dnf5')
`

// builddep replaces dnf's builddep, and asks dnf only for what was not installed before.
//
//go:embed builddep.sh
var builddep string

// digest identifies everything that a root of the target is made from except the repositories: the mock image, the
// configuration, and the steps of our own.
func (c configured) digest(image, target string) string {
	h := sha256.New()
	fmt.Fprintf(h, "%q %q %q %q", image, target, c.env, prelude+scriptInit)
	for _, f := range c.files {
		fmt.Fprintf(h, " %q %q", f.Name, f.Content)
	}
	return hex.EncodeToString(h.Sum(nil))[:images.KeyLength]
}

// tree reads the regular files below dir; links are followed, as they are on a host's /etc/mock (default.cfg).
func tree(dir, as string, limit int64) ([]docker.File, error) {
	var files []docker.File
	var total int64
	err := filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Stat(name)
		if err != nil || !info.Mode().IsRegular() {
			return nil // a directory, a dangling link, a socket: not configuration
		}
		if total += info.Size(); total > limit {
			return fmt.Errorf("%s is larger than %d bytes: name the directory of mock's configuration", dir, limit)
		}
		content, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		files = append(files, docker.File{Name: path.Join(as, filepath.ToSlash(rel)), Mode: 0o644, Content: content})
		return nil
	})
	return files, err
}
