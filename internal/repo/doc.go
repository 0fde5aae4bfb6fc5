// Package repo makes dnf repositories: the metadata of a package from its header, the files of metadata of a repository
// from those of its packages, and the decisions about what is in it.
//
// Headers and the current files come in as readers, the state and the metadata of packages as stored values; the files
// of the next revision and its state go out. Nothing is stored here: who publishes reads and writes. It imports package
// rpmfile alone of ours.
//
// The metadata of a package are made once (Describe). The files of a repository are frames of up to 128 packages, each
// compressed by itself, in the order in which the packages were added, so that a new package costs one frame, whatever
// the size of the repository: State says where the frames are, Draft what changes, Publication what there is to store.
package repo
