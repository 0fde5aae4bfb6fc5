package builderd

// SetRoot makes c look for /proc and /sys below dir.
func (c *Capacity) SetRoot(dir string) { c.root = dir }
