// Package rpmflow holds the words of the domain: projects, targets, pushes, builds, outcomes, artifacts.
//
// Every other package uses its words. Nothing of ours is imported here, nothing is read or written;
// values come in parsed (names, commits, NEVRAs) and stay valid.
package rpmflow
