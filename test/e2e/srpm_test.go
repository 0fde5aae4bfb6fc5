package e2e_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/testkit"
	"github.com/rpmflow/rpmflow/test/system"
)

// A source package that is in no repository is uploaded, stored by its content, built, and built again.
func TestASubmittedSourcePackageBecomesPackages(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{"mock", "rpmbuild"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			repository := system.NewRepository(t)
			s := system.Start(t, engine, repository.Project("vendor", ""))
			dir := t.TempDir()
			testkit.Write(t, filepath.Join(dir, "said.spec"),
				"Name: said\nEpoch: 3\nVersion: 1.5\nRelease: 2\nSummary: x\nLicense: MIT\nBuildArch: "+
					"noarch\nSource0: words\n\n"+
					"%description\nx\n\n%install\ninstall -D -m 644 %{SOURCE0} "+
					"%{buildroot}/usr/share/said/words\n\n%files\n/usr/share/said/words\n")
			testkit.Write(t, filepath.Join(dir, "words"), "some words\n")
			cmd := exec.CommandContext(t.Context(), "rpmbuild", "-bs", "--define", "_sourcedir "+dir, "--define",
				"_srcrpmdir "+dir, filepath.Join(dir, "said.spec"))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			srpm, err := os.ReadFile(filepath.Join(dir, "said-1.5-2.src.rpm"))
			if err != nil {
				t.Fatal(err)
			}
			post := func(path, kind string, body []byte) (push string) {
				t.Helper()
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPost,
					s.Config.PublicURL.JoinPath(path).String()+"?project=vendor", bytes.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Content-Type", kind)
				res, err := http.DefaultClient.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				var answer struct{ Push, Error, Hint string }
				if err := json.NewDecoder(res.Body).Decode(&answer); err != nil ||
					res.StatusCode != http.StatusAccepted {
					t.Fatalf("%s: %+v, %v", res.Status, answer, err)
				}
				return answer.Push
			}
			check := func(push string) rpmflow.Build {
				t.Helper()
				b := s.Finished(t).Build
				if b.Push != push || b.Outcome.Result != rpmflow.Succeeded {
					t.Fatalf("%s: %+v\n%s", b.Push, *b.Outcome, system.FetchLog(t, s, b))
				}
				if b.Project != "vendor" || b.Package != "said" || b.Repository+b.Ref+b.Commit != "" ||
					b.SourcePackage == nil ||
					b.SourcePackage.NEVRA != "said-3:1.5-2.src" || b.Layout != rpmflow.LayoutSRPM {
					t.Errorf("%+v", b)
				}
				if stored := system.Object(t, s,
					"uploads/"+b.SourcePackage.SHA512+"/said-1.5-2.src.rpm"); !bytes.Equal(stored,
					srpm) {
					t.Error("the storage has other content")
				}
				var rpms int
				for _, p := range b.Packages {
					if p.NEVRA() == "said-3:1.5-2.noarch" {
						rpms++
					}
				}
				if rpms != 1 || len(b.Packages) != 2 {
					t.Errorf("packages: %+v", b.Packages)
				}
				return b
			}
			first := check(post("api/v1/builds/srpm", "application/x-rpm", srpm))
			again := check(post("api/v1/builds/"+first.ID[:8]+"/retry", "application/json", []byte("{}")))
			if again.RetryOf != first.ID || *again.SourcePackage != *first.SourcePackage {
				t.Errorf("%+v", again)
			}
		})
	}
}
