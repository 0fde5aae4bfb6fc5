package git

import (
	"errors"

	"github.com/rpmflow/rpmflow/internal/git/gitcmd"
	"github.com/rpmflow/rpmflow/internal/printable"
)

var (
	// errAbsent means that the mirror does not have the commit yet.
	errAbsent = errors.New("the commit is not in the mirror")
	// errHistory means that the history and the tags are needed, which the mirror at hand does not have.
	errHistory = errors.New("the commit's history is needed")
)

// damageError is an error that a new mirror would not have: an object that must be there is missing or unreadable.
type damageError struct{ err error }

func (d *damageError) Error() string { return "the git mirror is damaged: " + d.err.Error() }
func (d *damageError) Unwrap() error { return d.err }

// damaged is the error of a git command on the mirror: one that failed by itself would not fail on a new mirror.
func damaged(err error) error {
	var failed *gitcmd.Failed
	if errors.As(err, &failed) {
		return &damageError{err}
	}
	return err
}

// show is a name as messages show it.
func show(name string) string { return printable.Name(name) }

// short is the beginning of an id, for messages.
func short(id string) string { return id[:min(len(id), 12)] }
