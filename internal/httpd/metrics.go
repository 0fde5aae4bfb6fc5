package httpd

import (
	"io"
	"net/http"
	"strings"

	vm "github.com/VictoriaMetrics/metrics"
)

// Metrics answers with what the functions write in Prometheus' text form, and with the metrics of the process.
// Prometheus' own library would double the size of the programs: it makes the linker keep every method of every type.
func Metrics(write ...func(io.Writer)) Handler {
	return func(w http.ResponseWriter, _ *http.Request) (int, any, *Problem) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		for _, f := range write {
			f(w)
		}
		vm.WriteProcessMetrics(w)
		return 0, nil, nil
	}
}

// Series names one series; labels are names and values in turn.
func Series(name string, labels ...string) string {
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
	var pairs []string
	for i := 0; i+1 < len(labels); i += 2 {
		pairs = append(pairs, labels[i]+`="`+escape.Replace(labels[i+1])+`"`)
	}
	if len(pairs) == 0 {
		return name
	}
	return name + "{" + strings.Join(pairs, ",") + "}"
}

// durations are the buckets of requests, in seconds.
func durations() []float64 { return []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10} }
