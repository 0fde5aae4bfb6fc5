package builder

import "time"

// Moved lets a status believe that the main loop has moved at a time, and will again within d.
func Moved(s *Status, at time.Time, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.moves = at.Add(d)
}
