// Package lifeline starts children that never outlive their parent: a function of this very binary (the embedded S3
// gateway), or a foreign command with all of its descendants (rpmbuild), each in a process and a process group of its
// own.
//
// In come the name of the function or the command with its arguments, its environment and its streams; out come the
// exit status and the promise that nothing is left running, however parent and child end. The parent holds the only
// write end of a pipe, the lifeline, and the kernel closes it when the parent dies, even of SIGKILL; every binary that
// starts children calls Main first. Any package of ours that starts processes may import it. It needs Linux.
package lifeline
