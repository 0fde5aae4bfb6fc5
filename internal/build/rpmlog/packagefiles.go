package rpmlog

import (
	"regexp"
	"slices"
	"strings"

	"github.com/rpmflow/rpmflow"
)

// inBuildRoot is the directory of packages' files, which rpmbuild puts before the names in the spec.
var inBuildRoot = regexp.MustCompile(`/\S*/BUILDROOT(/[^/\s]+-[^/\s]+-[^/\s]+\.\w+)?(/|$)|/\S*-build/BUILDROOT(/|$)`)

// alike are errors of rpmbuild that it repeats for each file. The first group is the file.
var alike = []*regexp.Regexp{
	regexp.MustCompile(`^(?:error: |\s+)File not found(?: by glob)?: (.+)$`),
	regexp.MustCompile(`^(?:error: |\s+)Directory not found: (.+)$`),
	regexp.MustCompile(`^(?:error: |\s+)File is not a directory: (.+)$`),
	regexp.MustCompile(`^(?:error: |\s+)Missing %files file (.+)$`),
}

const mostFiles = 20 // in a message, and errors in an excerpt

// fileErrors are rpmbuild's errors after all commands of the package have succeeded.
var fileErrors = regexp.MustCompile(`^error: .*|^    (File not found|Directory not found|` +
	`Installed \(but unpackaged\)).*`)

// packageFiles explains what rpmbuild says about the files of the package.
func packageFiles(lines []string, i int, hint string) *rpmflow.Failure {
	message := withDetails(lines, i, strings.TrimSpace(fileErrors.FindString(lines[i])))
	return &rpmflow.Failure{Kind: rpmflow.FailureBuild, Message: message, Hint: hint, Excerpt: errorsOf(lines, i)}
}

// errorsOf returns rpmbuild's errors from lines[i] on, each once and with what belongs to it.
func errorsOf(lines []string, i int) []string {
	var all []string
	follows := false
	for _, l := range lines[i:] {
		if follows = strings.HasPrefix(l, "error: ") || follows && strings.HasPrefix(l, " "); follows ||
			fileErrors.MatchString(l) {
			all = append(all, l)
		}
	}
	all = Unrepeated(all)
	return all[:min(len(all), mostFiles)]
}

// withDetails completes rpmbuild's message: with all files that it is about, by their names in the package.
func withDetails(lines []string, i int, message string) string {
	var details []string
	add := func(file string) {
		file = inBuildRoot.ReplaceAllString(strings.TrimSpace(file), "/")
		if !slices.Contains(details, file) {
			details = append(details, file)
		}
	}
	message = strings.TrimPrefix(message, "error: ")
	if strings.HasSuffix(message, ":") { // the files follow, one on a line
		for _, l := range lines[i+1:] {
			if file := strings.TrimSpace(l); !strings.HasPrefix(l, " ") || file == "" || strings.HasSuffix(file, ":") {
				break
			}
			add(l)
		}
		return strings.TrimSpace(message + " " + some(details))
	}
	for _, re := range alike {
		m := re.FindStringSubmatch(lines[i])
		if m == nil {
			continue
		}
		for _, l := range lines[i:] {
			if m := re.FindStringSubmatch(l); m != nil {
				add(m[1])
			}
		}
		return strings.TrimSuffix(message, m[1]) + some(details)
	}
	return inBuildRoot.ReplaceAllString(message, "/")
}

func some(all []string) string {
	if len(all) <= mostFiles {
		return strings.Join(all, ", ")
	}
	return strings.Join(all[:mostFiles], ", ") + ", …"
}
