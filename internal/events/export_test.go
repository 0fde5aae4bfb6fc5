package events

// Seen gives the last event that a queue has taken in.
func Seen(q *Queue) uint64 {
	q.standings.mu.Lock()
	defer q.standings.mu.Unlock()
	return q.standings.last
}
