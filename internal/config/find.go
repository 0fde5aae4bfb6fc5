package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// Find returns the configuration file to read: the explicit one (--config), else RPMFLOW_CONFIG, else ./rpmflow.yaml,
// else /etc/rpmflow/rpmflow.yaml. None of them is fine: the path is empty then; a named one that is missing is an error
// (fs.ErrNotExist), and so is one that cannot be looked at.
func Find(explicit string, env func(string) string) (path string, err error) {
	return find(explicit, env("RPMFLOW_CONFIG"), "rpmflow.yaml", "/etc/rpmflow/rpmflow.yaml")
}

func find(explicit, variable string, usual ...string) (string, error) {
	if explicit != "" {
		return explicit, statFile(explicit, "--config")
	}
	if variable != "" {
		return variable, statFile(variable, "RPMFLOW_CONFIG")
	}
	for _, path := range usual {
		err := statFile(path, "find configuration")
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		return path, err
	}
	return "", nil
}

func statFile(path, from string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("%s: %w: name a configuration file that can be read (`rpmflow config dump` writes one)", from,
			err)
	}
	if info.IsDir() {
		return fmt.Errorf("%s: %s is a directory: name the configuration file in it", from, path)
	}
	return nil
}
