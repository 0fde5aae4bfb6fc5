package spec

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/checksum"
	"github.com/rpmflow/rpmflow/internal/giturl"
	"github.com/rpmflow/rpmflow/internal/printable"
)

// maxDownloads is how many files a spec may have downloaded.
const maxDownloads = 1000

// Expanded is what must be known of a spec as `rpmspec -P` prints it.
type Expanded struct {
	Name, Version string
	// Partial means that there are NoSource or NoPatch tags: rpm makes a source package without these files.
	Partial bool
	// Files are the sources and then the patches, in the order of their lines.
	Files []File

	prep []string // lines
}

// File is a Source or Patch line of a spec.
type File struct {
	Patch  bool
	Number int
	Value  string // as the spec has it: a name, or a URL
}

// Label is the name of the line: Source0, Patch12.
func (f File) Label() string {
	if f.Patch {
		return fmt.Sprintf("Patch%d", f.Number)
	}
	return fmt.Sprintf("Source%d", f.Number)
}

// Name is the name under which rpm looks for the file below %_sourcedir.
func (f File) Name() string { return fileOf(f.Value) }

// IsURL reports whether rpm takes the value for a URL (rpmio/rpmurl.c); those of files are not meant.
func (f File) IsURL() bool {
	scheme, _, ok := strings.Cut(f.Value, "://")
	return ok && slices.Contains([]string{"http", "https", "ftp"}, strings.ToLower(scheme))
}

// fileOf is the file name of a Source or Patch as rpm has it (build/parsePreamble.c): what follows the last slash, also
// in https://host/v1.tar.gz#/foo-1.tar.gz, and of that what follows the last =, as in https://host/get?f=foo-1.tar.gz.
// A value without a slash is the name itself.
func fileOf(value string) string {
	slash := strings.LastIndexByte(value, '/')
	if slash < 0 {
		return value
	}
	name := value[slash+1:]
	return name[strings.LastIndexByte(name, '=')+1:]
}

// ParseExpanded reads a spec as rpm has expanded it.
func ParseExpanded(text []byte) Expanded {
	var e Expanded
	var sources, patches []File
	at := "%package"
	main := true // the preamble before any section
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\r\n")
		if word := section(line); word != "" {
			at, main = word, false
			continue
		}
		trimmed := strings.TrimSpace(line)
		switch at {
		case "%package":
			tag, value, ok := strings.Cut(trimmed, ":")
			tag, value = strings.ToLower(strings.TrimSpace(tag)), strings.TrimSpace(value)
			switch {
			case !ok || value == "":
			case tag == "name" && main:
				e.Name = value
			case tag == "version" && main:
				e.Version = value
			case tag == "nosource" || tag == "nopatch":
				e.Partial = true
			case strings.HasPrefix(tag, "source"):
				sources = appendFile(sources, false, strings.TrimPrefix(tag, "source"), value)
			case strings.HasPrefix(tag, "patch"):
				patches = appendFile(patches, true, strings.TrimPrefix(tag, "patch"), value)
			}
		case "%sourcelist":
			if trimmed != "" && !strings.HasPrefix(trimmed, "#") {
				sources = appendFile(sources, false, "", trimmed)
			}
		case "%patchlist":
			if trimmed != "" && !strings.HasPrefix(trimmed, "#") {
				patches = appendFile(patches, true, "", trimmed)
			}
		case "%prep":
			e.prep = append(e.prep, line)
		}
	}
	e.Files = slices.Concat(sources, patches)
	return e
}

// appendFile numbers as rpm does since 4.15: a line without a number of its own follows the one before.
func appendFile(list []File, patch bool, number, value string) []File {
	n := 0
	if len(list) > 0 {
		n = list[len(list)-1].Number + 1
	}
	if number != "" {
		var err error
		if n, err = strconv.Atoi(number); err != nil || n < 0 {
			return list // another tag
		}
	}
	return append(list, File{Patch: patch, Number: n, Value: value})
}

// Source0 returns the line of Source0, if there is one.
func (e Expanded) Source0() (File, bool) {
	for _, f := range e.Files {
		if !f.Patch && f.Number == 0 {
			return f, true
		}
	}
	return File{}, false
}

// Names reports whether a Source or Patch line has this file name.
func (e Expanded) Names(name string) bool {
	return slices.ContainsFunc(e.Files, func(f File) bool { return f.Name() == name })
}

// Downloads lists the files that have a URL and are not there, each name once. missing is called for each file that is
// not there and has no URL; its error ends the search.
func (e Expanded) Downloads(there func(name string) bool, missing func(File) error) ([]File, error) {
	var all []File
	for _, f := range e.Files {
		name := f.Name()
		named := checksum.CheckFileName(name)
		if named == nil && there(name) {
			continue
		}
		if !f.IsURL() {
			if err := missing(f); err != nil {
				return nil, err
			}
			continue
		}
		if named != nil {
			return nil, &rpmflow.Failure{Kind: rpmflow.FailureSource, Err: named,
				Message: f.Label() + " " + giturl.Redact(f.Value),
				Hint:    "give it a name: https://host/path#/file.tar.gz"}
		}
		if i := slices.IndexFunc(all, func(g File) bool { return g.Name() == name }); i >= 0 {
			if all[i].Value != f.Value {
				return nil, rpmflow.Fail(rpmflow.FailureSource,
					"give one of them another name: https://host/path#/file.tar.gz",
					"two URLs for the one file %s: %s and %s", printable.Name(name), giturl.Redact(all[i].Value),
					giturl.Redact(f.Value))
			}
			continue
		}
		all = append(all, f)
	}
	if len(all) > maxDownloads {
		return nil, rpmflow.Fail(rpmflow.FailureSource, "use a lookaside, or pack several files into one",
			"%d sources are to be downloaded; %d are the most", len(all), maxDownloads)
	}
	return all, nil
}
