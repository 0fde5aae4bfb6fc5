package spec

import (
	"bytes"
	"regexp"
	"slices"
	"strings"

	"github.com/rpmflow/rpmflow/internal/pathmatch"
)

// Unexpanded is what can be seen of a spec that rpm has not expanded: good for a guess, never for a build.
type Unexpanded struct {
	// Source0 is a pattern of its file name, as for package pathmatch; "" if none was found.
	Source0 string
	// Remote means that Source0 is a URL.
	Remote bool
	// Patterns are those of the file names of all Source and Patch lines, in the order of the lines.
	Patterns []string

	text    string
	scripts string // the parts that build
}

// archiveName matches what a source archive ends in.
var archiveName = regexp.MustCompile(`(?i)\.(tar|tar\.[a-z0-9]+|tgz|taz|tbz2?|tb2|txz|tzst|tlz|zip|crate|gem|7z)$`)

// IsArchive reports whether a file has the name of a source archive.
func IsArchive(name string) bool { return archiveName.MatchString(name) }

var (
	globalLine = regexp.MustCompile(`(?m)^[ \t]*%(?:global|define)[ \t]+(\w+)[ \t]+(\S+)[ \t]*$`)
	tagLine    = regexp.MustCompile(`(?mi)^[ \t]*(name|version|source0*|source[1-9][0-9]*|patch[0-9]*)` +
		`[ \t]*:[ \t]*(\S+)`)
	// macro is one level of braces deep, which covers %{?dist} and %{name}; a deeper one leaves braces, which match
	// nothing.
	macro    = regexp.MustCompile(`%(\{[^{}]*\}|\([^()]*\)|\[[^\]]*\]|[?!]*[A-Za-z_]\w*|%)`)
	metaChar = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `{`, `\{`)
	// sourceMacros are those that expand to a URL.
	sourceMacros = regexp.MustCompile(`^%\{?\??(url|forgesource|gosource|\w*_source|\w*_url|source_?url)\b`)
)

// ParseUnexpanded reads a spec as the packager wrote it.
func ParseUnexpanded(spec []byte) Unexpanded {
	u := Unexpanded{text: string(spec), scripts: scriptsOf(spec)}
	lines := string(preambles(spec))
	literal := literals(lines)
	matches := tagLine.FindAllStringSubmatch(lines, -1)
	for _, m := range matches {
		tag := strings.ToLower(m[1])
		if (tag == "name" || tag == "version") && literal[tag] == "" && !strings.Contains(m[2], "%") {
			literal[tag] = m[2]
		}
	}
	for _, m := range matches {
		tag := strings.ToLower(m[1])
		if tag == "name" || tag == "version" {
			continue
		}
		pattern := patternOf(m[2], literal)
		name := fileOf(pattern)
		if strings.TrimRight(tag, "0") == "source" && u.Source0 == "" {
			u.Source0 = name
			u.Remote = strings.Contains(pattern, "://") || sourceMacros.MatchString(strings.ToLower(m[2]))
		}
		u.Patterns = append(u.Patterns, name)
	}
	return u
}

// literals are macros whose value is plain text, by their names in small letters.
func literals(lines string) map[string]string {
	found := map[string]string{}
	for _, m := range globalLine.FindAllStringSubmatch(lines, -1) {
		if name := strings.ToLower(m[1]); found[name] == "" && !strings.Contains(m[2], "%") {
			found[name] = m[2]
		}
	}
	return found
}

// patternOf replaces macros by their literal values, and those that have none by *.
func patternOf(value string, literal map[string]string) string {
	var b strings.Builder
	last := 0
	for _, at := range macro.FindAllStringIndex(value, -1) {
		b.WriteString(metaChar.Replace(value[last:at[0]]))
		last = at[1]
		name := strings.Trim(value[at[0]:at[1]], "%{}")
		if value, ok := literal[strings.ToLower(name)]; ok {
			b.WriteString(metaChar.Replace(value))
		} else {
			b.WriteByte('*')
		}
	}
	b.WriteString(metaChar.Replace(value[last:]))
	return b.String()
}

// preambles are the parts of a spec in which Source and Patch lines are tags; each line of the sections %sourcelist and
// %patchlist is made one.
func preambles(spec []byte) []byte {
	var kept []byte
	tags, prefix := true, ""
	for line := range bytes.Lines(spec) {
		if word := section(string(line)); word != "" {
			prefix = map[string]string{"%sourcelist": "Source: ", "%patchlist": "Patch: "}[word]
			tags = word == "%package" || prefix != ""
			continue
		}
		if tags {
			kept = append(append(kept, prefix...), line...)
		}
	}
	return kept
}

// scriptsOf are the parts of a spec that make the package out of the source.
func scriptsOf(spec []byte) string {
	var kept strings.Builder
	inside := false
	for line := range strings.Lines(string(spec)) {
		if word := section(line); word != "" {
			inside = slices.Contains([]string{"%prep", "%conf", "%build", "%install", "%check"}, word)
			continue
		}
		if inside && !strings.HasPrefix(strings.TrimSpace(line), "#") {
			kept.WriteString(line)
		}
	}
	return kept.String()
}

// None reports whether no Source or Patch line is to be seen.
func (u Unexpanded) None() bool { return len(u.Patterns) == 0 }

// Local reports whether Source0 is the name of a file and not a URL.
func (u Unexpanded) Local() bool { return u.Source0 != "" && !u.Remote }

// Source0In is the file that Source0 most likely is. If its name is known only in part, the file must be an archive.
func (u Unexpanded) Source0In(files []string) string {
	for _, f := range files {
		if u.Source0 == "" { // made by a macro, or in an included file
			if IsArchive(f) {
				return f
			}
			continue
		}
		if pathmatch.Match(u.Source0, f) && (IsArchive(f) || !strings.Contains(u.Source0, "*")) {
			return f
		}
	}
	return ""
}

// Names reports whether the spec lists the file as a source or a patch. A name that is nothing but macros says nothing.
func (u Unexpanded) Names(file string) bool {
	return slices.ContainsFunc(u.Patterns, func(pattern string) bool {
		return pathmatch.Match(pattern, file) && strings.Trim(pattern, "*") != ""
	})
}

// Misses reports whether the spec names a file that is not among these.
func (u Unexpanded) Misses(files []string) bool {
	return slices.ContainsFunc(u.Patterns, func(pattern string) bool {
		return !slices.ContainsFunc(files, func(file string) bool { return pathmatch.Match(pattern, file) })
	})
}

// Plain lists the file names that are known without rpm.
func (u Unexpanded) Plain() []string {
	return slices.DeleteFunc(slices.Clone(u.Patterns), func(p string) bool { return strings.ContainsAny(p, `*?[\`) })
}

// RunsPrograms reports whether rpm runs a program or Lua while it expands the spec. That may read any source:
// %(sha256sum %{SOURCE0}).
func (u Unexpanded) RunsPrograms() bool { return u.mentions("%(", "%{lua:", "%{shell") }

// ReadsNeighbours reports whether the spec reads files next to it that no Source line names.
func (u Unexpanded) ReadsNeighbours() bool {
	return u.mentions("_sourcedir", "%include", "load:", "%load", "RPM_SOURCE_DIR")
}

func (u Unexpanded) mentions(words ...string) bool {
	return slices.ContainsFunc(words, func(word string) bool { return strings.Contains(u.text, word) })
}

var (
	// pathWord is a word of a script that may be a path below the directory that it works in.
	pathWord = regexp.MustCompile(`(?:^|[\s'"=;(&|])(?:\./)?([A-Za-z0-9_][A-Za-z0-9_.+-]*)`)
	makeWord = regexp.MustCompile(
		`(?m)(^|[\s;&|])(make\b|%\{?(make_build|make_install|configure|makeinstall|__make)\b)`)
)

// RunsMake reports whether the scripts of the spec run make.
func (u Unexpanded) RunsMake() bool { return makeWord.MatchString(u.scripts) }

// Uses lists those of the names that the scripts of the spec work on.
func (u Unexpanded) Uses(names []string) (used []string) {
	words := map[string]bool{}
	for _, m := range pathWord.FindAllStringSubmatch(u.scripts, -1) {
		words[m[1]] = true
	}
	for _, n := range names {
		if words[n] {
			used = append(used, n)
		}
	}
	return used
}
