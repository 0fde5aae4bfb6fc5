package cli

import (
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rpmflow/rpmflow/internal/config"
)

// flagName turns a key into a flag: builder.drain_time into drain-time, s3.bucket into s3-bucket.
func flagName(key string) string {
	for _, section := range []string{"builder.", "listener."} {
		key = strings.TrimPrefix(key, section)
	}
	return strings.NewReplacer(".", "-", "_", "-").Replace(key)
}

// ConfigFlags gives a command --config and one flag for each key in the sections ("" for keys outside of any section).
// Secrets have no flags: they would show in the list of processes.
func ConfigFlags(cmd *cobra.Command, sections ...string) {
	keyFlags(cmd, func(path string) bool {
		return slices.Contains(sections, path[:max(strings.IndexByte(path, '.'), 0)])
	})
}

// KeyFlags gives a command --config and a flag for each of these keys. It may be called again with other keys.
func KeyFlags(cmd *cobra.Command, paths ...string) {
	keyFlags(cmd, func(path string) bool { return slices.Contains(paths, path) })
}

func keyFlags(cmd *cobra.Command, wanted func(path string) bool) {
	flags := cmd.Flags()
	if flags.Lookup("config") == nil {
		flags.String("config", "",
			"configuration file (RPMFLOW_CONFIG; else ./rpmflow.yaml or /etc/rpmflow/rpmflow.yaml)")
	}
	for _, k := range config.Keys() {
		if k.Secret || !wanted(k.Path) {
			continue
		}
		usage := strings.ReplaceAll(k.Doc, "`", "'") // a flag's value would be called by what is between backquotes
		if k.Env != "" {
			usage += " (" + k.Env + ")"
		}
		flags.Var(&keyFlag{key: k, value: k.Default}, flagName(k.Path), usage)
	}
}

// JSONFlag gives a command the flag --json.
func JSONFlag(cmd *cobra.Command) { cmd.Flags().Bool("json", false, "print JSON") }

// AsJSON reports whether the command is to print JSON.
func AsJSON(cmd *cobra.Command) bool {
	asJSON, _ := cmd.Flags().GetBool("json") // a command without the flag does not
	return asJSON
}

// WrapHelp wraps the flags in the help of a command and of those below it. It does without cobra's templates: with them
// the linker keeps every exported method, and rpmflow is 40 % larger.
func WrapHelp(cmd *cobra.Command) {
	help := cmd.HelpFunc()
	cmd.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		cmd.Flags().VisitAll(func(f *pflag.Flag) { f.Usage = wrap(f.Usage) })
		help(cmd, args)
	})
}

// wrap breaks a flag's description into lines, which pflag indents.
func wrap(text string) string {
	const width = 72
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
			lines = append(lines, line)
			line = ""
		}
		line = strings.TrimPrefix(line+" "+word, " ")
	}
	return strings.Join(append(lines, line), "\n")
}

// ShortHelp makes --help of a command show these flags only, and adds --help-all, which shows all of them.
func ShortHelp(cmd *cobra.Command, shown ...string) {
	var all bool
	cmd.Flags().BoolVar(&all, "help-all", false, "show all flags")
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if all {
			return pflag.ErrHelp // cobra shows the help then
		}
		return nil
	}
	WrapHelp(cmd)
	help := cmd.HelpFunc()
	cmd.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		cmd.Flags().VisitAll(func(f *pflag.Flag) { f.Hidden = !all && !slices.Contains(shown, f.Name) })
		help(cmd, args)
	})
}

// keyFlag holds a flag's text as it was given: the configuration parses it like the file's.
type keyFlag struct {
	key   config.Key
	value string
}

func (f *keyFlag) String() string     { return f.value }
func (f *keyFlag) Set(s string) error { f.value = s; return nil }
func (f *keyFlag) Type() string       { return f.key.Type }

// Load reads the configuration that the command's flags, the environment and the file make, with the secrets of that
// program.
func Load(cmd *cobra.Command, program config.Program) (*config.Config, error) {
	explicit, err := cmd.Flags().GetString("config")
	if err != nil {
		return nil, err
	}
	file, err := config.Find(explicit, os.Getenv)
	if err != nil {
		return nil, err
	}
	return LoadFile(cmd, file, program)
}

// LoadFile is Load with this file.
func LoadFile(cmd *cobra.Command, file string, program config.Program) (*config.Config, error) {
	given := map[string]string{}
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if k, ok := f.Value.(*keyFlag); ok {
			given[k.key.Path] = k.value
		}
	})
	return config.Load(config.Source{File: file, Env: os.Environ(), Flags: given, For: program})
}
