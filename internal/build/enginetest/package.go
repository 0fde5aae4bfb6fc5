package enginetest

import "github.com/rpmflow/rpmflow/internal/rpmfile/rpmtest"

// Package makes the bytes of name-1.0-1 with a real lead and headers, and without a payload. The arch "src" makes a
// source package, "nosrc" one without its sources.
func Package(name, arch string) []byte {
	const tagName, tagVersion, tagRelease, tagArch, tagNoSource, tagSourcePackage = 1000, 1001, 1002, 1022, 1051, 1106
	tags := rpmtest.Tags{tagName: name, tagVersion: "1.0", tagRelease: "1", tagArch: arch}
	if arch == "src" || arch == "nosrc" {
		tags[tagArch] = "x86_64" // of the machine that made it, as rpmbuild does
		tags[tagSourcePackage] = []uint32{1}
	}
	if arch == "nosrc" {
		tags[tagNoSource] = []uint32{1}
	}
	return rpmtest.Package(tags)
}
