package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow/internal/testkit"
)

// Doctor says why the host's rpmbuild is used: because of the configuration, or because a running `rpmflow up` uses it.
func TestDoctorSaysWhyTheHostBuilds(t *testing.T) { //nolint:paralleltest // changes the directory of the process
	needTools(t)
	for want, configured := range map[string]string{"builder.engine is rpmbuild": "rpmbuild",
		"the `rpmflow up`": "auto"} {
		dir := t.TempDir()
		t.Chdir(dir)
		client := "public_url: http://127.0.0.1:1\nbuilder: {engine: rpmbuild}\nnats: {url: 'nats://127.0.0.1:1'}\n" +
			"s3: {endpoint: 'http://127.0.0.1:1'}\ntargets: [{name: host}]\ndata_dir: " +
			filepath.Join(dir, ".rpmflow") + "\n"
		own := fmt.Sprintf("builder: {engine: %s}\n", configured)
		testkit.Must(t, os.Mkdir(".rpmflow", 0o700))
		for file, text := range map[string]string{".rpmflow/client.yaml": client, "rpmflow.yaml": own} {
			testkit.Must(t, os.WriteFile(file, []byte(text), 0o600))
		}
		cmd := command()
		var out bytes.Buffer
		cmd.SetOut(&out)
		cmd.SetArgs([]string{"doctor", "--json"})
		if err := cmd.ExecuteContext(t.Context()); err == nil {
			t.Error("nothing has failed, although no server runs")
		}
		var report struct {
			Program string
			Checks  []struct{ Name, Found string }
		}
		if err := json.Unmarshal(out.Bytes(), &report); err != nil || report.Program != "" {
			t.Fatalf("%v\n%s", err, &out)
		}
		found := false
		for _, c := range report.Checks {
			found = found || c.Name == "engine rpmbuild" && strings.Contains(c.Found, want)
		}
		if !found {
			t.Errorf("engine %s: no %q in\n%s", configured, want, &out)
		}
	}
}
