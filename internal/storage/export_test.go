package storage

// SetLimits makes uploads in parts happen with files that a test can afford.
func (s *Store) SetLimits(singlePut, partSize int64) { s.singlePut, s.partSize = singlePut, partSize }
