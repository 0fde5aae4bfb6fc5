package mock

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/rpmflow/rpmflow"
)

// The options of a build come in three files: mock's own options make another root (inOptions),
// repositories are for this project's BuildRequires only and not for roots that others share (inRepositories), and
// macros are only for the steps that run what the package's author wrote (inEpoch, inMacros).

// optionsConfig sets mock's options as its --config-opts does. What rpmflow itself sets comes later in the
// configuration, and wins.
func optionsConfig(options []rpmflow.MockOption) []byte {
	values := map[string][]string{}
	lists := map[string]bool{}
	var keys []string
	for _, o := range options {
		if len(values[o.Key]) == 0 {
			keys = append(keys, o.Key)
		} else {
			lists[o.Key] = true
			if o.Value == "" && len(values[o.Key]) == 1 { // a list of one
				continue
			}
		}
		values[o.Key] = append(values[o.Key], pythonValue(o.Value))
	}
	out := []byte("\n")
	for _, k := range keys {
		value := values[k][0]
		if lists[k] {
			value = "[" + strings.Join(values[k], ", ") + "]"
		}
		out = fmt.Appendf(out, "config_opts[%s] = %s\n", python(k), value)
	}
	return out
}

var number = regexp.MustCompile(`^[+-]?[0-9]{1,18}$`)

// pythonValue is the value that mock makes of a text on its command line.
func pythonValue(s string) string {
	switch s {
	case "true", "True":
		return "True"
	case "false", "False":
		return "False"
	case "none", "None":
		return "None"
	}
	if number.MatchString(s) {
		n, err := strconv.ParseInt(s, 10, 64) // Python accepts 08 as a text, but not in a program
		if err == nil {
			return strconv.FormatInt(n, 10)
		}
	}
	return python(s)
}

// python writes a text as a literal of Python. Go's escapes of text that is UTF-8 mean the same there.
func python(s string) string { return strconv.QuoteToASCII(s) }

// repositoriesConfig adds repositories to dnf's configuration as mock's --addrepo does, but with a priority and a key,
// and with ids that are the same in every container, as they are names in dnf's cache.
func repositoriesConfig(repositories []rpmflow.Repo) []byte {
	var out []byte
	for _, r := range repositories {
		section := fmt.Sprintf("\n\n[%s]\nname=%s\nbaseurl=%s\nenabled=1\nskip_if_unavailable=0\nmetadata_expire=0\n"+
			"best=1\n"+
			"module_hotfixes=true\n", repositoryID(r.URL), r.URL, r.URL)
		if r.Priority != 0 {
			section += fmt.Sprintf("priority=%d\n", r.Priority)
		}
		if r.GPGKey != "" {
			section += fmt.Sprintf("gpgcheck=1\ngpgkey=%s\n", r.GPGKey)
		} else {
			section += "gpgcheck=0\n"
		}
		out = fmt.Appendf(out, "config_opts['dnf.conf'] += %s\n", python(section))
	}
	return out
}

// repositoryID is an id that no repository of a mock configuration has, and that shows the URL.
func repositoryID(url string) string {
	sum := sha256.Sum256([]byte(url))
	_, rest, _ := strings.Cut(url, "://")
	name := strings.Trim(strings.Map(func(r rune) rune {
		if strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-", r) {
			return r
		}
		return '_'
	}, rest), "_.-")
	return "extra_" + name[:min(len(name), 60)] + "_" + hex.EncodeToString(sum[:4])
}

// buildConfig is the configuration of the steps that run what the package's author wrote. Macros go to mock in a file
// of rpm's own form: in its configuration they would be templates, which %{#} for instance breaks. mock reads those
// that the target's configuration sets after that file, so they are removed.
func buildConfig(epoch int64, o rpmflow.Options) (config, macros []byte) {
	config = fmt.Appendf(nil, "config_opts['environment']['SOURCE_DATE_EPOCH'] = '%d'\n", epoch)
	if o.NoCheck {
		config = fmt.Appendf(config, "config_opts['check'] = False\n")
	}
	definitions := o.Definitions()
	if len(definitions) == 0 {
		return config, nil
	}
	config = fmt.Appendf(config, "config_opts['macrofile'] = %s\n", python(inMacros))
	for _, m := range definitions {
		word, _, _ := strings.Cut(m.Name, "(")
		config = fmt.Appendf(config, "config_opts['macros'].pop(%s, None)\nconfig_opts['macros'].pop(%s, None)\n",
			python("%"+word), python(word))
		config = fmt.Appendf(config, "#   %%%s\n", m)
		macros = fmt.Appendf(macros, "%%%s\n", m)
	}
	return config, macros
}

// defined are rpmspec's arguments for the macros.
func defined(o rpmflow.Options) []string {
	var args []string
	for _, m := range o.Definitions() {
		args = append(args, "--define", m.String())
	}
	return args
}
