package config

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/rpmflow/rpmflow"
)

// width is where comments are wrapped.
const width = 100

const templateHead = `# The configuration of rpmflow, for all of its programs: every key with its default.
#
# The environment variable named with a key is stronger than this file, and a flag is stronger than both.
# Sizes take B, KB, KiB, MB, MiB, GB or GiB, durations ms, s, m or h.
# Relative paths of files start at this file's directory.
# Remove what you do not change: a default may become better.

`

// WriteTemplate writes a configuration file with every key, its documentation, default and environment variable. It is
// valid and gives the defaults; the entries of the lists are examples in comments.
func WriteTemplate(w io.Writer) error {
	var b strings.Builder
	b.WriteString(templateHead)
	writeSections(&b, new(Config).settings(nil), func(section, indent string) {
		b.WriteString("\n")
		comment(&b, indent+"#", sectionDoc(section))
	}, func(s setting, indent string) {
		comment(&b, indent+"#", s.doc)
		comment(&b, indent+"#", "["+s.typ+"] "+envOf(s.path))
		fmt.Fprintf(&b, "%s%s: %s\n", indent, leaf(s.path), render(s, s.defaults()))
	})
	for _, list := range []struct {
		name     string
		settings []setting
	}{{"targets", targetSettings(new(rpmflow.Target))}, {"projects", projectSettings(new(rpmflow.Project), nil)}} {
		b.WriteString("\n")
		comment(&b, "#", sectionDoc(list.name)+" An example:")
		fmt.Fprintf(&b, "%s:\n", list.name)
		writeExample(&b, "#  ", list.settings)
	}
	comment(&b, "#    #", sectionDoc("packages"))
	b.WriteString("#    # packages:\n")
	writeExample(&b, "#    #   ", packageSettings(new(rpmflow.PackageSource)))
	_, err := io.WriteString(w, b.String())
	return err
}

// writeExample writes an entry of a list; what has no example is a comment in it, too.
func writeExample(b *strings.Builder, indent string, settings []setting) {
	mark := "- "
	for _, s := range settings {
		comment(b, indent+"  #", s.doc+" ["+s.typ+"]")
		if s.example == "" {
			fmt.Fprintf(b, "%s  # %s: %s\n", indent, s.path, render(s, s.defaults()))
			continue
		}
		fmt.Fprintf(b, "%s%s%s: %s\n", indent, mark, s.path, s.example)
		mark = "  "
	}
}

// WriteEffective writes the values in effect as YAML, secrets as "(set)".
func WriteEffective(w io.Writer, c *Config) error {
	var b strings.Builder
	if c.File != "" {
		fmt.Fprintf(&b, "# Read from %s, the environment and flags.\n", c.File)
	}
	writeSections(&b, shown(c.settings(nil)), func(string, string) {}, func(s setting, indent string) {
		fmt.Fprintf(&b, "%s%s: %s\n", indent, leaf(s.path), render(s, s.get()))
	})
	entries := func(indent, name string, n int, entry func(i int) []setting, inside func(i int)) {
		if n == 0 {
			fmt.Fprintf(&b, "%s%s: []\n", indent, name)
			return
		}
		fmt.Fprintf(&b, "%s%s:\n", indent, name)
		for i := range n {
			mark := "- "
			for _, s := range shown(entry(i)) {
				fmt.Fprintf(&b, "%s  %s%s: %s\n", indent, mark, s.path, render(s, s.get()))
				mark = "  "
			}
			inside(i)
		}
	}
	nothing := func(int) {}
	entries("", "targets", len(c.Targets), func(i int) []setting { return targetSettings(&c.Targets[i]) }, nothing)
	project := func(i int) []setting { return projectSettings(&c.Projects[i], nil) }
	entries("", "projects", len(c.Projects), project, func(i int) {
		packages := c.Projects[i].Packages
		if len(packages) > 0 {
			entries("    ", "packages", len(packages), func(i int) []setting { return packageSettings(&packages[i]) },
				nothing)
		}
	})
	_, err := io.WriteString(w, b.String())
	return err
}

// shown leaves out the keys that only refer to another's value.
func shown(settings []setting) []setting {
	var out []setting
	for _, s := range settings {
		if s.get != nil {
			out = append(out, s)
		}
	}
	return out
}

// writeSections calls key for every setting, and head before the first one of each section.
func writeSections(
	b *strings.Builder, settings []setting, head func(section, indent string), key func(s setting, indent string),
) {
	var open []string
	for _, s := range settings {
		parts := strings.Split(s.path, ".")
		for depth := 1; depth < len(parts); depth++ {
			section := strings.Join(parts[:depth], ".")
			if slices.Contains(open, section) {
				continue
			}
			open = append(open, section)
			indent := strings.Repeat("  ", depth-1)
			head(section, indent)
			fmt.Fprintf(b, "%s%s:\n", indent, parts[depth-1])
		}
		key(s, strings.Repeat("  ", len(parts)-1))
	}
}

// render writes values as YAML on one line.
func render(s setting, values []string) string {
	if !s.list {
		switch s.typ {
		case "integer", "number", "size", "true|false", "1|3":
			return values[0] // would get quotes as a string
		}
		return inline(scalar(values[0]))
	}
	list := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
	for _, v := range values {
		list.Content = append(list.Content, scalar(v))
	}
	return inline(list)
}

func scalar(v string) *yaml.Node {
	n := new(yaml.Node)
	n.SetString(v) // with quotes if it would be taken for something else
	return n
}

func inline(n *yaml.Node) string {
	out, err := yaml.Marshal(n)
	if err != nil { // of strings alone: cannot happen, and must not hide the rest
		return "# " + err.Error()
	}
	return strings.TrimSuffix(string(out), "\n")
}

// comment writes text wrapped behind mark.
func comment(b *strings.Builder, mark, text string) {
	line := mark
	for word := range strings.FieldsSeq(text) {
		if len(line)+1+len(word) > width && line != mark {
			b.WriteString(line + "\n")
			line = mark
		}
		line += " " + word
	}
	b.WriteString(line + "\n")
}
