package repo

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rpmflow/rpmflow/internal/rpmfile"
)

// Tags of rpmtag.h, those of dependencies aside.
const (
	tagSummary, tagDescription, tagBuildTime, tagBuildHost, tagSize = 1004, 1005, 1006, 1007, 1009
	tagVendor, tagLicense, tagPackager, tagGroup, tagURL            = 1011, 1014, 1015, 1016, 1020
	tagSourceRPM, tagArchiveSize, tagLongSize                       = 1044, 1046, 5009
	tagFileModes, tagFileFlags                                      = 1030, 1037
	tagDirIndexes, tagBaseNames, tagDirNames                        = 1116, 1117, 1118
	tagChangeTime, tagChangeName, tagChangeText                     = 1080, 1081, 1082

	// In the signature header.
	tagLongArchiveSize = 271
	tagPayloadSize     = 16384 + 1007
)

// header is a package's, and what is wrong with it.
type header struct {
	*rpmfile.Tags
	err error
}

// same says that lists of tags have one length, and keeps an error if they have not.
func (h *header) same(what string, first int, others ...int) bool {
	for _, n := range others {
		if n != first && h.err == nil {
			h.err = fmt.Errorf("%s: lists of %d and %d", what, first, n)
		}
	}
	return h.err == nil
}

// file is an entry of a package's list of files.
type file struct {
	name string
	kind string // "dir", "ghost", or "" for all else
}

// files checks names, since clients show them and make them: they are absolute in a binary package, and none leads to
// another directory than it seems to.
func (h *header) files() []file {
	const typeBits, directory, ghost = 0o170000, 0o040000, 1 << 6
	dirs, names, flags, modes := h.Texts(tagDirNames), h.Texts(tagBaseNames), h.Numbers(tagFileFlags),
		h.Numbers(tagFileModes)
	in := h.Numbers(tagDirIndexes)
	if !h.same("files", len(names), len(in), len(flags), len(modes)) {
		return nil
	}
	all := make([]file, len(names))
	for i, name := range names {
		if in[i] >= uint64(len(dirs)) {
			h.err = fmt.Errorf("files: %.100q is in directory %d of %d", name, in[i], len(dirs))
			return nil
		}
		f := file{name: dirs[in[i]] + name}
		if why := unsafeName(dirs[in[i]], name); why != "" {
			h.err = fmt.Errorf("files: the name %.200q %s", f.name, why)
			return nil
		}
		switch {
		case modes[i]&typeBits == directory:
			f.kind = "dir"
		case flags[i]&ghost != 0:
			f.kind = "ghost"
		}
		all[i] = f
	}
	return all
}

// unsafeName says why a file may not have this name. The directory "" is that of a source package's files.
func unsafeName(dir, name string) string {
	switch {
	case strings.ContainsFunc(dir+name, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return "has a control character"
	case strings.Contains(name, "/"), name == "" && dir != "/":
		return "is not one of a file in a directory"
	case dir != "" && (dir[0] != '/' || dir[len(dir)-1] != '/'):
		return "is not absolute"
	case slices.ContainsFunc(strings.Split(dir+name, "/"), func(s string) bool { return s == ".." || s == "." }):
		return `has ".." or "." in it`
	}
	return ""
}

// isPrimary says which files are also listed with the packages, as every reader of metadata expects: the rule is yum's.
func isPrimary(name string) bool {
	return strings.HasPrefix(name, "/etc/") || strings.Contains(name, "bin/") || name == "/usr/lib/sendmail"
}

// change is an entry of a changelog.
type change struct {
	time         uint64
	author, text string
}

// changes are the latest entries, the oldest of them first. Those of one time get one second more each, as createrepo_c
// does so that readers keep their order.
func (h *header) changes() []change {
	const limit = 10 // createrepo_c's default
	times, authors, texts := h.Numbers(tagChangeTime), h.Texts(tagChangeName), h.Texts(tagChangeText)
	if !h.same("changelog", len(times), len(authors), len(texts)) {
		return nil
	}
	var all []change
	for i := range min(len(times), limit) {
		all = append(all, change{times[i], strings.TrimRight(authors[i], " "), texts[i]})
		if i > 0 && times[i] == times[i-1] {
			for j, at := i-1, times[i]; j >= 0 && all[j].time == at; j, at = j-1, at+1 {
				all[j].time++
			}
		}
	}
	slices.Reverse(all)
	return all
}
