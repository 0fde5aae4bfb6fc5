// Package publisher turns finished builds into signed dnf repositories, one for each project and target.
//
// In come finished builds from EVENTS and their packages from the storage; out go revisions of repositories in the
// storage, and an event for each of them. Any number of publishers may run: the state of a repository is written only
// if it is still the one that was read, so of two that write at once one starts over. The programs import it.
package publisher
