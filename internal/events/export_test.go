package events

// Seen returns the last event that a queue has read.
func Seen(q *Queue) uint64 {
	q.standings.mu.Lock()
	defer q.standings.mu.Unlock()
	return q.standings.last
}
