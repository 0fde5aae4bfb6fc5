package spec

import (
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rpmflow/rpmflow/internal/printable"
)

// TopDir is the directory that %prep expects inside the archive source0: "" if it unpacks into a directory that it
// has made itself (%setup -c). If %prep does not say, it is name-version, as for %setup.
func (e Expanded) TopDir(source0 string) (string, error) {
	if e.Name == "" || e.Version == "" {
		return "", errors.New("the expanded spec has no Name or no Version")
	}
	dir, ok := e.setupDir()
	if !ok {
		dir, ok = e.shellDir(source0)
	}
	if !ok {
		dir = e.nameVersion()
	}
	if dir == "" || path.Clean(dir) == "." {
		return "", nil
	}
	dir = path.Clean(dir)
	if !filepath.IsLocal(dir) || strings.ContainsAny(dir, "\x00\n") {
		return "", fmt.Errorf("%%prep enters %q, which cannot be a directory of the archive %s", dir,
			printable.Name(source0))
	}
	return dir, nil
}

func (e Expanded) nameVersion() string { return e.Name + "-" + e.Version }

// setupDir reads %setup and %autosetup themselves, which rpm before 4.18 leaves in place.
func (e Expanded) setupDir() (dir string, ok bool) {
	for _, line := range e.prep {
		words := shellWords(line)
		if len(words) == 0 || (words[0] != "%setup" && words[0] != "%autosetup") {
			continue
		}
		s := parseSetup(words)
		switch {
		case s.skip && !s.zero:
			continue // unpacks other sources only
		case s.create:
			return "", true
		case s.dir != "":
			return s.dir, true
		}
		return e.nameVersion(), true
	}
	return "", false
}

// setup is the options of %setup: -n dir, -c, -T, and whether -a or -b says 0.
type setup struct {
	dir                string
	create, skip, zero bool
}

// parseSetup reads the options as getopt does: -qn dir, -ndir.
func parseSetup(words []string) setup {
	var s setup
	valued := "nab"
	if words[0] == "%autosetup" {
		valued = "nabpS"
	}
	for i := 1; i < len(words); i++ {
		flags, ok := strings.CutPrefix(words[i], "-")
		for ok && flags != "" {
			flag, value := flags[0], flags[1:]
			flags = value
			if strings.IndexByte(valued, flag) >= 0 {
				if value == "" && i+1 < len(words) {
					i++
					value = words[i]
				}
				flags = ""
			}
			switch flag {
			case 'n':
				s.dir = value
			case 'a', 'b':
				s.zero = s.zero || value == "0"
			case 'c':
				s.create = true
			case 'T':
				s.skip = true
			}
		}
	}
	return s
}

// unpackers are programs: a line that unpacks a source has one of them.
var unpackers = []string{"rpmuncompress", "tar", "gtar", "bsdtar", "gzip", "bzip2", "xz", "zstd", "lzma", "lzip",
	"lrzip",
	"unzip", "7za", "7z", "gem", "zcat", "bzcat", "xzcat", "zstdcat"}

// shellDir follows the shell commands of %prep: into what rpm >= 4.18 expands %setup, or what the packager wrote. The
// directory is the one that is entered next after source0 was unpacked.
func (e Expanded) shellDir(source0 string) (dir string, ok bool) {
	made, at, unpacked := "", "", false
	for _, line := range e.prep {
		for _, command := range commands(shellWords(line)) {
			arg := ""
			if len(command) > 1 {
				arg = command[len(command)-1]
			}
			switch name := path.Base(command[0]); {
			case name == "mkdir":
				made = arg
			case name == "cd" || name == "pushd":
				switch {
				case strings.HasPrefix(arg, "/"):
					at = ""
				case arg == "" || strings.HasPrefix(arg, "-") || strings.HasPrefix(arg, "..") ||
					strings.ContainsAny(arg, "$`*?~"):
				case unpacked:
					return arg, true
				default:
					at = arg
				}
			case !unpacked && slices.Contains(unpackers, name) && slices.ContainsFunc(command,
				func(w string) bool { return path.Base(w) == source0 }):
				if slices.ContainsFunc(command, func(w string) bool { return strings.HasPrefix(w, "--strip") }) {
					return "", false // the top directory is stripped, with any name
				}
				if at != "" && at == made {
					return "", true // %setup -c
				}
				unpacked = true
			}
		}
	}
	return "", false
}

// commands splits words at the shell's operators.
func commands(words []string) [][]string {
	var list [][]string
	begun := false
	for _, w := range words {
		if isOperator(w) {
			begun = false
			continue
		}
		if !begun {
			list = append(list, nil)
			begun = true
		}
		list[len(list)-1] = append(list[len(list)-1], w)
	}
	return list
}

func isOperator(word string) bool { return len(word) == 1 && strings.Contains(operators, word) }

// operators end a word of the shell, and commands too, which is near enough.
const operators = ";|&()<>"

// shellWords splits a line as a shell does, as far as rpm's own scripts need it: quotes, backslashes, operators as
// words of their own. A line whose quote does not end on it has no words.
func shellWords(line string) []string {
	var words []string
	var word strings.Builder
	begun := false
	end := func() {
		if begun {
			words = append(words, word.String())
			word.Reset()
			begun = false
		}
	}
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case c == ' ' || c == '\t' || c == '\r':
			end()
		case c == '#' && !begun:
			return words
		case c == '\'' || c == '"':
			n := strings.IndexByte(line[i+1:], c)
			if n < 0 {
				return nil
			}
			word.WriteString(line[i+1 : i+1+n])
			begun = true
			i += n + 1
		case c == '\\' && i+1 < len(line):
			i++
			word.WriteByte(line[i])
			begun = true
		case strings.IndexByte(operators, c) >= 0:
			end()
			words = append(words, string(c))
		default:
			word.WriteByte(c)
			begun = true
		}
	}
	end()
	return words
}
