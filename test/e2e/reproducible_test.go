package e2e_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/storage/storagetest"
	"github.com/rpmflow/rpmflow/internal/testkit"
	"github.com/rpmflow/rpmflow/test/system"
)

// TestTwoBuildersMakeTheSameBytes builds one commit on two builders, one after the other and at other times: every
// package has the same checksum, the source package among them.
func TestTwoBuildersMakeTheSameBytes(t *testing.T) {
	t.Parallel()
	system.NeedRPM(t)
	_, targetYAML := system.MockTarget(t)
	dir := t.TempDir()
	r := system.NewRepository(t)
	r.Push(t, inTree())
	natsPort := system.FreePort(t)
	startNATS(t, natsPort)
	s3 := storagetest.Start(t)
	testkit.Write(t, filepath.Join(dir, "rpmflow.yaml"), fmt.Sprintf(
		"nats:\n  url: nats://127.0.0.1:%d\ns3:\n  endpoint: %s\n  bucket: %s\n  access_key: %s\n  secret_key: "+
			"%s\nlistener:\n  listen: 127.0.0.1:%d\nbuilder:\n  engine: mock\n  poll: 500ms\ntargets:\n%sprojects:\n%s",
		natsPort, s3.Endpoint, s3.Bucket, s3.AccessKey, s3.SecretKey, system.FreePort(t), targetYAML,
		r.Project("greet", "")))
	run(t, dir, nil, "listener", "--data-dir", filepath.Join(dir, "l")).says(t, "listening")

	sums := map[string]string{}
	environments := [][]string{nil, {"TZ=Asia/Tokyo", "LANG=C"}}
	for i, name := range []string{"first", "second"} {
		b := run(t, dir, environments[i], "builder", "--name", name, "--data-dir", filepath.Join(dir, name))
		b.says(t, "waiting for builds")
		client(t, dir, "submit", "greet")
		var done rpmflow.Build
		testkit.EventuallyWithin(t, system.Patience, "outcome by the "+name, func() bool {
			var page struct{ Builds []rpmflow.Build }
			if err := json.Unmarshal([]byte(client(t, dir, "list", "--json")), &page); err != nil {
				t.Fatal(err)
			}
			for _, b := range page.Builds {
				if b.Builder == name && b.State == rpmflow.Finished {
					done = b
				}
			}
			return done.ID != ""
		})
		b.end(t, syscall.SIGTERM)
		if done.Outcome.Result != rpmflow.Succeeded {
			t.Fatalf("on the %s: %+v", name, *done.Outcome)
		}
		var record rpmflow.Build
		if err := json.Unmarshal([]byte(client(t, dir, "show", "--json", done.ID)), &record); err != nil {
			t.Fatal(err)
		}
		packages := 0
		for _, a := range record.Artifacts {
			if a.Kind == rpmflow.KindLog {
				continue
			}
			packages++
			if sum := sums[a.Name]; sum != "" && sum != a.SHA256 {
				t.Errorf("%s: %s on the first, %s on the second", a.Name, sum, a.SHA256)
			}
			sums[a.Name] = a.SHA256
		}
		if packages != 3 || len(sums) != 3 {
			t.Errorf("%d packages of the %s, %d names: %v", packages, name, len(sums), sums)
		}
		// another second of the clock, which packages know
		time.Sleep(time.Until(done.FinishedAt.Truncate(time.Second).Add(time.Second)))
	}
}
