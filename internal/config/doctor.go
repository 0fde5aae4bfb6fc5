package config

import (
	"context"

	"github.com/rpmflow/rpmflow/internal/doctor"
)

// Check reports what was read, and the warnings about it.
func (c *Config) Check(_ context.Context, f *doctor.Findings) {
	const name = "configuration"
	file := c.File
	if file == "" {
		file = "no file, defaults and environment only"
	}
	f.OK(name, "%s: %d projects, %d targets", file, len(c.Projects), len(c.Targets))
	for _, w := range c.Warnings {
		f.Add(name, doctor.Warning, w, "")
	}
}

// CheckTargets looks for the files that targets name.
func (c *Config) CheckTargets(_ context.Context, f *doctor.Findings) {
	const name = "targets"
	if err := c.CheckBuilder(); err != nil {
		f.Lines(name, err)
		return
	}
	if len(c.Targets) == 0 {
		f.Add(name, doctor.Warning, "there is none, so nothing can be built",
			"define one under targets in the configuration file")
		return
	}
	f.OK(name, "%d, and the mock configurations that they name are there", len(c.Targets))
}
