package repo

import (
	"fmt"
	"time"
)

const (
	declaration = `<?xml version="1.0" encoding="UTF-8"?>` + "\n"
	namespace   = "http://linux.duke.edu/metadata/"
)

// name is how a kind is called in repomd.xml.
func (k kind) name() string { return []string{"primary", "filelists", "other", "primary"}[k] }

// around is what stands before and after the packages.
func (k kind) around(packages int) (begin, end string) {
	element, attributes := "metadata", fmt.Sprintf(`xmlns="%scommon" xmlns:rpm="%srpm"`, namespace, namespace)
	switch k {
	case filelists:
		element, attributes = "filelists", fmt.Sprintf(`xmlns="%sfilelists"`, namespace)
	case other:
		element, attributes = "otherdata", fmt.Sprintf(`xmlns="%sother"`, namespace)
	}
	return fmt.Sprintf("%s<%s %s packages=\"%d\">\n", declaration, element, attributes, packages),
		"</" + element + ">\n"
}

// repomd names the files of a revision. The checksum and the size of what is in them are left out: computing them would
// mean opening all of it, and clients do without.
func repomd(files []Metadata, packages kind, revision int64, at time.Time) []byte {
	var w writer
	w.WriteString(declaration)
	w.begin("repomd", "xmlns", namespace+"repo", "xmlns:rpm", namespace+"rpm")
	w.element("revision", decimal(revision))
	for _, k := range []kind{packages, filelists, other} {
		w.begin("data", "type", k.name())
		w.element("checksum", files[k].SHA256, "type", "sha256")
		w.element("location", "", "href", "repodata/"+files[k].Name)
		w.element("timestamp", decimal(at.Unix()))
		w.element("size", decimal(files[k].Size))
		w.end("data")
	}
	w.end("repomd")
	return w.Bytes()
}
