package repo_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/rpmflow/rpmflow/internal/repo"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

const sumA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

func repomdOf(revision, href string) []byte {
	var b strings.Builder
	b.WriteString(`<repomd xmlns="http://linux.duke.edu/metadata/repo"><revision>` + revision + `</revision>`)
	for _, k := range []string{"primary", "filelists", "other"} {
		b.WriteString(`<data type="` + k + `"><checksum type="sha256">` + sumA + `</checksum><location href="` +
			strings.ReplaceAll(href, "KIND", k) + `"/><timestamp>1700000000</timestamp><size>7</size></data>`)
	}
	b.WriteString("</repomd>")
	return []byte(b.String())
}

func TestFindRevision(t *testing.T) {
	t.Parallel()
	good := "repodata/" + sumA + "-KIND.xml.zst"
	r := testkit.Value(repo.FindRevision(repomdOf("3", good), repomdOf("3", good)))(t)
	if r.Number != 3 || len(r.Files) != 4 || r.Files[3].Name != sumA+"-primary.xml.zst" ||
		!r.Published.Equal(time.Unix(1700000000, 0)) {
		t.Errorf("found: %+v", r)
	}
	for name, bad := range map[string][2][]byte{
		"empty":          {nil, nil},
		"not XML":        {[]byte("<repomd"), repomdOf("3", good)},
		"no files":       {[]byte("<repomd><revision>3</revision></repomd>"), repomdOf("3", good)},
		"other revision": {repomdOf("3", good), repomdOf("4", good)},
		"revision zero":  {repomdOf("0", good), repomdOf("0", good)},
		"no number":      {repomdOf("x", good), repomdOf("x", good)},
		"outside":        {repomdOf("3", "../../"+sumA+"-KIND.xml.zst"), repomdOf("3", good)},
		"another's name": {repomdOf("3", "repodata/KIND.xml.zst"), repomdOf("3", good)},
		"other kind":     {repomdOf("3", "repodata/"+sumA+"-x.xml.zst"), repomdOf("3", good)},
		"other in flat":  {repomdOf("3", good), repomdOf("3", "repodata/x")},
	} {
		if r, err := repo.FindRevision(bad[0], bad[1]); err == nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func TestFindEntries(t *testing.T) {
	t.Parallel()
	pkg := func(sum, href string) string {
		return `<metadata xmlns="http://linux.duke.edu/metadata/common"><package type="rpm"><name>a</name>` +
			`<arch>noarch</arch><version epoch="1" ver="2" rel="3"/><checksum type="sha256" pkgid="YES">` + sum +
			`</checksum><time file="1700000000" build="1"/><size package="9"/><location href="` + href +
			`"/></package></metadata>`
	}
	compress := func(s string) []byte {
		w := testkit.Value(zstd.NewWriter(nil))(t)
		return w.EncodeAll([]byte(s), nil)
	}
	href := "../../Packages/aaaaaaaa/a-2-3.noarch.rpm"
	found := testkit.Value(repo.FindEntries("p.xml.zst", bytes.NewReader(compress(pkg(sumA, href)))))(t)
	if len(found) != 1 || found[0].NEVRA.String() != "a-1:2-3.noarch" || found[0].Size != 9 ||
		!found[0].Built.Equal(time.Unix(1700000000, 0)) {
		t.Errorf("found: %+v", found)
	}
	for name, bad := range map[string][]byte{
		"not compressed":    []byte(pkg(sumA, href)),
		"cut":               compress(pkg(sumA, href)[:200]),
		"short checksum":    compress(pkg("aa", href)),
		"upper case":        compress(pkg(strings.ToUpper(sumA), href)),
		"another directory": compress(pkg(sumA, "../../../x.rpm")),
	} {
		if found, err := repo.FindEntries("p.xml.zst", bytes.NewReader(bad)); err == nil {
			t.Errorf("%s: %+v", name, found)
		}
	}
	if _, err := repo.FindEntries("p.xml.gz", bytes.NewReader([]byte("x"))); err == nil {
		t.Error("not gzip")
	}
}

func TestNewerState(t *testing.T) {
	t.Parallel()
	s := repo.New(repo.Zstd, "noarch")
	s.Format = 2
	if _, err := repo.ParseState(testkit.Value(s.Bytes())(t)); err == nil ||
		!strings.Contains(err.Error(), "format 2: a newer version of rpmflow has made it") {
		t.Error(err)
	}
}
