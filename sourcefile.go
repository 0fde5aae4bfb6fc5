package rpmflow

// Origin is where a source that is not in git came from.
type Origin string

// The origins.
const (
	OriginCache     Origin = "cache" // our own storage, where an earlier build has put it
	OriginLookaside Origin = "lookaside"
	OriginDownload  Origin = "download"
)

// SourceFile is a source of a build that is not in git.
type SourceFile struct {
	Name   string `json:"name"`
	URL    string `json:"url"` // without credentials
	SHA512 string `json:"sha512"`
	Size   int64  `json:"size"`
	Origin Origin `json:"origin"`
}

// SourcePackage is a source package that was given to the listener, and is built instead of a commit.
type SourcePackage struct {
	Name   string `json:"name"` // of its file, as rpmbuild would have called it
	NEVRA  string `json:"nevra"`
	SHA512 string `json:"sha512"` // under which the storage has it
	Size   int64  `json:"size"`
}
