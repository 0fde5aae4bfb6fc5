package source

import (
	"path"
	"regexp"
	"slices"
	"strings"
)

// archiveName matches what a source archive ends in.
var archiveName = regexp.MustCompile(`(?i)\.(tar|tar\.[a-z0-9]+|tgz|taz|tbz2?|tb2|txz|tzst|tlz|zip|crate|gem|7z)$`)

func isArchive(name string) bool { return archiveName.MatchString(name) }

// tags is a light look at a spec that nobody has expanded: good for a guess, never for a build.
type tags struct {
	source0 string // pattern of its file name, as of path.Match; "" if not found
	remote  bool   // Source0 is a URL
	none    bool   // no Source or Patch at all is to be seen
	all     []string
}

var (
	globalLine = regexp.MustCompile(`(?m)^[ \t]*%(?:global|define)[ \t]+(\w+)[ \t]+(\S+)[ \t]*$`)
	tagLine    = regexp.MustCompile(`(?mi)^[ \t]*(name|version|source0*|source[1-9][0-9]*|patch[0-9]*)[ \t]*:[ \t]*(\S+)`)
	// macro is one level of braces deep, which covers %{?dist} and %{name}; a deeper one leaves braces, which match nothing.
	macro    = regexp.MustCompile(`%(\{[^{}]*\}|\([^()]*\)|\[[^\]]*\]|[?!]*[A-Za-z_]\w*|%)`)
	metaChar = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`)
)

// local reports whether Source0 is the name of a file, and no URL.
func (t tags) local() bool { return t.source0 != "" && !t.remote }

// literals are macros and tags whose value is plain text, by their names in small letters.
func literals(spec []byte) map[string]string {
	found := map[string]string{}
	for _, m := range globalLine.FindAllStringSubmatch(string(spec), -1) {
		if name := strings.ToLower(m[1]); found[name] == "" && !strings.Contains(m[2], "%") {
			found[name] = m[2]
		}
	}
	return found
}

// sourceMacros are those that expand to a URL.
var sourceMacros = regexp.MustCompile(`^%\{?\??(url|forgesource|gosource|\w*_source|\w*_url|source_?url)\b`)

func glance(spec []byte) tags {
	var t tags
	literal := literals(spec)
	matches := tagLine.FindAllStringSubmatch(string(spec), -1)
	for _, m := range matches {
		if tag := strings.ToLower(m[1]); (tag == "name" || tag == "version") && literal[tag] == "" && !strings.Contains(m[2], "%") {
			literal[tag] = m[2]
		}
	}
	for _, m := range matches {
		tag := strings.ToLower(m[1])
		if tag == "name" || tag == "version" {
			continue
		}
		var b strings.Builder
		last := 0
		for _, at := range macro.FindAllStringIndex(m[2], -1) {
			b.WriteString(metaChar.Replace(m[2][last:at[0]]))
			last = at[1]
			name := strings.Trim(m[2][at[0]:at[1]], "%{}")
			if value, ok := literal[strings.ToLower(name)]; ok {
				b.WriteString(metaChar.Replace(value))
			} else {
				b.WriteByte('*')
			}
		}
		b.WriteString(metaChar.Replace(m[2][last:]))
		pattern := b.String()
		name := fileOf(pattern)
		if strings.TrimRight(tag, "0") == "source" && t.source0 == "" {
			t.source0, t.remote = name, strings.Contains(pattern, "://") || sourceMacros.MatchString(strings.ToLower(m[2]))
		}
		t.all = append(t.all, name)
	}
	t.none = len(t.all) == 0
	return t
}

// source0In is the file that Source0 most likely is. Where its name is known only in part, it must be an archive.
func (t tags) source0In(files []string) string {
	for _, f := range files {
		if t.source0 == "" { // made by a macro, or in an included file
			if isArchive(f) {
				return f
			}
			continue
		}
		if ok, err := path.Match(t.source0, f); err == nil && ok && (isArchive(f) || !strings.Contains(t.source0, "*")) {
			return f
		}
	}
	return ""
}

// names reports whether the spec lists the file as a source or a patch. A name that is nothing but macros says nothing.
func (t tags) names(file string) bool {
	return slices.ContainsFunc(t.all, func(pattern string) bool {
		ok, err := path.Match(pattern, file)
		return err == nil && ok && strings.Trim(pattern, "*") != ""
	})
}
