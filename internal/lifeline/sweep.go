package lifeline

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// process is one line of the kernel's process table.
type process struct {
	pid, parent int
	dead        bool // a zombie, which cannot be killed
}

// sweep kills every descendant of root, also those that left its session and process group, and returns when none is
// alive. New ones may be born while it works, so it looks until it finds none; the limit bounds that.
func sweep(root int, limit time.Duration) error {
	deadline := time.Now().Add(limit)
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		alive, err := descendants(root)
		if err != nil {
			return err
		}
		if len(alive) == 0 {
			return nil
		}
		var failed error
		for _, pid := range alive {
			if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
				failed = fmt.Errorf("kill process %d: %w", pid, err)
			}
		}
		if time.Now().After(deadline) {
			return errors.Join(fmt.Errorf("%d processes below %d still run after %v, for example %d", len(alive), root,
				limit,
				alive[0]), failed)
		}
		time.Sleep(pause)
	}
}

// descendants lists the living processes below root, parents before their children. It reads every process's stat:
// /proc/<pid>/task/<tid>/children needs a kernel option that is not everywhere.
func descendants(root int) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	children := make(map[int][]process)
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + entry.Name() + "/stat")
		if err != nil {
			continue // it ended meanwhile
		}
		if p, ok := parseStat(pid, stat); ok {
			children[p.parent] = append(children[p.parent], p)
		}
	}
	var alive []int
	for next := []int{root}; len(next) > 0; next = next[1:] {
		for _, p := range children[next[0]] {
			// A zombie leader may still have threads and children: it is not killed itself, but its descendants are.
			next = append(next, p.pid)
			if !p.dead {
				alive = append(alive, p.pid)
			}
		}
	}
	return alive, nil
}

// parseStat reads state and parent from /proc/<pid>/stat (proc_pid_stat(5)). The command's name is in parentheses
// and may itself contain spaces and parentheses.
func parseStat(pid int, stat []byte) (process, bool) {
	end := bytes.LastIndexByte(stat, ')')
	if end < 0 {
		return process{}, false
	}
	fields := bytes.Fields(stat[end+1:])
	if len(fields) < 2 {
		return process{}, false
	}
	parent, err := strconv.Atoi(string(fields[1]))
	if err != nil {
		return process{}, false
	}
	state := string(fields[0])
	return process{pid: pid, parent: parent, dead: state == "Z" || state == "X"}, true
}
