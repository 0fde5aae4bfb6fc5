package rpmflow_test

import (
	"testing"

	"github.com/rpmflow/rpmflow"
)

func TestEncodeJSON(t *testing.T) {
	t.Parallel()
	build := rpmflow.Build{BuildResult: rpmflow.BuildResult{Packages: []rpmflow.Package{{Name: "a", Version: "1<2"}}},
		Notes: []string{"a & b <c>"}}
	const line = `{"nevra":"a-1<2-.","name":"a","epoch":0,"version":"1<2","release":"","arch":""}`
	for indent, want := range map[string]string{"": line} {
		if got, err := rpmflow.EncodeJSON(build.Packages[0], indent); err != nil || string(got) != want {
			t.Errorf("got %s, %v", got, err)
		}
	}
	if got, err := rpmflow.EncodeJSON(build.Notes, " "); err != nil || string(got) != "[\n \"a & b <c>\"\n]" {
		t.Errorf("got %s, %v", got, err)
	}
}
