package source

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// expanded is what we need to know of a spec as `rpmspec -P` prints it.
type expanded struct {
	name, version    string
	sources, patches []numbered
	prep             []string // lines
	partial          bool     // there are NoSource or NoPatch tags
}

// numbered is a Source or Patch tag.
type numbered struct {
	number int
	value  string
}

// file is the name under which rpm looks for it below %_sourcedir.
func (n numbered) file() string { return fileOf(n.value) }

// fileOf is the file name of a Source or Patch as rpm has it (build/parsePreamble.c): what follows the last slash, also in
// https://host/v1.tar.gz#/foo-1.tar.gz, and of that what follows the last =, as in https://host/get?f=foo-1.tar.gz. A value
// without a slash is a name as it stands.
func fileOf(value string) string {
	slash := strings.LastIndexByte(value, '/')
	if slash < 0 {
		return value
	}
	name := value[slash+1:]
	return name[strings.LastIndexByte(name, '=')+1:]
}

// sections are the words that begin a section of a spec (rpm's build/parseSpec.c).
var sections = []string{"%package", "%prep", "%generate_buildrequires", "%conf", "%build", "%install", "%check", "%clean",
	"%preun", "%postun", "%pretrans", "%posttrans", "%preuntrans", "%postuntrans", "%pre", "%post", "%files", "%changelog",
	"%description", "%triggerpostun", "%triggerprein", "%triggerun", "%triggerin", "%trigger", "%verifyscript", "%sepolicy",
	"%filetriggerin", "%filetrigger", "%filetriggerun", "%filetriggerpostun", "%transfiletriggerin", "%transfiletrigger",
	"%transfiletriggerun", "%transfiletriggerpostun", "%sourcelist", "%patchlist", "%end"}

func parseExpanded(text []byte) expanded {
	var e expanded
	section := "%package"
	main := true // the preamble before any section
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\r\n")
		word := line
		if i := strings.IndexAny(line, " \t"); i >= 0 {
			word = line[:i]
		}
		if strings.HasPrefix(word, "%") && slices.Contains(sections, strings.ToLower(word)) {
			section, main = strings.ToLower(word), false
			continue
		}
		trimmed := strings.TrimSpace(line)
		switch section {
		case "%package":
			e.tag(trimmed, main)
		case "%sourcelist":
			if trimmed != "" && !strings.HasPrefix(trimmed, "#") {
				e.sources = appendNumbered(e.sources, "", trimmed)
			}
		case "%patchlist":
			if trimmed != "" && !strings.HasPrefix(trimmed, "#") {
				e.patches = appendNumbered(e.patches, "", trimmed)
			}
		case "%prep":
			e.prep = append(e.prep, line)
		}
	}
	return e
}

func (e *expanded) tag(line string, main bool) {
	tag, value, ok := strings.Cut(line, ":")
	tag, value = strings.ToLower(strings.TrimSpace(tag)), strings.TrimSpace(value)
	if !ok || value == "" {
		return
	}
	switch {
	case tag == "name" && main:
		e.name = value
	case tag == "version" && main:
		e.version = value
	case tag == "nosource" || tag == "nopatch":
		e.partial = true
	case strings.HasPrefix(tag, "source"):
		e.sources = appendNumbered(e.sources, strings.TrimPrefix(tag, "source"), value)
	case strings.HasPrefix(tag, "patch"):
		e.patches = appendNumbered(e.patches, strings.TrimPrefix(tag, "patch"), value)
	}
}

// appendNumbered numbers as rpm does since 4.15: what has no number of its own follows the one before.
func appendNumbered(list []numbered, number, value string) []numbered {
	n := 0
	if len(list) > 0 {
		n = list[len(list)-1].number + 1
	}
	if number != "" {
		var err error
		if n, err = strconv.Atoi(number); err != nil || n < 0 {
			return list // another tag
		}
	}
	return append(list, numbered{n, value})
}

// source0 is the file name of Source0, "" where there is none.
func (e expanded) source0() string {
	for _, s := range e.sources {
		if s.number == 0 {
			return s.file()
		}
	}
	return ""
}

// Listed is a Source or Patch line of a spec.
type Listed struct {
	Patch  bool
	Number int
	Value  string // as the spec has it: a name, or a URL
	// File is the name under which rpm looks for it.
	File string
}

// List gives the sources and then the patches of an expanded spec, in the order of their lines.
func List(text []byte) []Listed {
	e := parseExpanded(text)
	list := []Listed{}
	for _, n := range e.sources {
		list = append(list, Listed{Number: n.number, Value: n.value, File: n.file()})
	}
	for _, n := range e.patches {
		list = append(list, Listed{Patch: true, Number: n.number, Value: n.value, File: n.file()})
	}
	return list
}

// MissingSources lists the files of Source and Patch tags of an expanded spec that are not in dir.
func MissingSources(text []byte, dir string) []string {
	e := parseExpanded(text)
	var missing []string
	for _, n := range slices.Concat(e.sources, e.patches) {
		name := n.file()
		if name == "" || slices.Contains(missing, name) {
			continue
		}
		if name != "." && name != ".." && !strings.ContainsRune(name, 0) {
			if info, err := os.Stat(filepath.Join(dir, name)); err == nil && info.Mode().IsRegular() {
				continue
			}
		}
		missing = append(missing, name)
	}
	return missing
}

// topDir is the directory that %prep expects inside the archive source0: "" where it unpacks into a directory that it
// has made itself (%setup -c). Where %prep does not tell, it is name-version, as for %setup.
func (e expanded) topDir(source0 string) (string, error) {
	if e.name == "" || e.version == "" {
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
		return "", fmt.Errorf("%%prep enters %q, which cannot be a directory of the archive %s", dir, show(source0))
	}
	return dir, nil
}

func (e expanded) nameVersion() string { return e.name + "-" + e.version }

// setupDir reads %setup and %autosetup themselves, which rpm before 4.18 leaves in place.
func (e expanded) setupDir() (dir string, ok bool) {
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

// unpackers are the programs of which one stands on a line that unpacks a source.
var unpackers = []string{"rpmuncompress", "tar", "gtar", "bsdtar", "gzip", "bzip2", "xz", "zstd", "lzma", "lzip", "lrzip",
	"unzip", "7za", "7z", "gem", "zcat", "bzcat", "xzcat", "zstdcat"}

// shellDir follows the shell commands of %prep: into what rpm >= 4.18 expands %setup, or what the packager wrote. The
// directory is the one that is entered next after source0 was unpacked.
func (e expanded) shellDir(source0 string) (dir string, ok bool) {
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
				case arg == "" || strings.HasPrefix(arg, "-") || strings.HasPrefix(arg, "..") || strings.ContainsAny(arg, "$`*?~"):
				case unpacked:
					return arg, true
				default:
					at = arg
				}
			case !unpacked && slices.Contains(unpackers, name) && slices.ContainsFunc(command, func(w string) bool { return path.Base(w) == source0 }):
				if slices.ContainsFunc(command, func(w string) bool { return strings.HasPrefix(w, "--strip") }) {
					return "", false // the top directory is there to be stripped, whatever its name
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
