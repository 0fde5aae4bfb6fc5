package doctor_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/rpmflow/rpmflow/internal/doctor"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

func TestWrite(t *testing.T) {
	t.Parallel()
	r := doctor.Report{Program: "builder", Checks: []doctor.Finding{
		{Name: "git", State: doctor.OK, Found: "git version 2"},
		{Name: "container engine", State: doctor.Failed, Found: "not there", Do: "start it"},
		{Name: "x", State: doctor.Warning, Found: "a\nb"},
	}}
	var text, raw bytes.Buffer
	testkit.Must(t, r.WriteText(&text))
	want := `ok       git               git version 2
FAILED   container engine  not there
                           -> start it
warning  x                 a; b
1 failed, 1 warnings, 1 ok
`
	if text.String() != want {
		t.Errorf("got\n%swant\n%s", &text, want)
	}
	testkit.Must(t, r.WriteJSON(&raw))
	var back doctor.Report
	if err := json.Unmarshal(raw.Bytes(), &back); err != nil || len(back.Checks) != 3 ||
		back.Checks[1] != r.Checks[1] ||
		back.OK {
		t.Errorf("%s, %v", &raw, err)
	}
}
