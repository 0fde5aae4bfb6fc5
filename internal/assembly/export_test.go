package assembly

// System makes the floors look for /proc and /sys below dir.
func (f *Floors) System(dir string) { f.system = dir }
