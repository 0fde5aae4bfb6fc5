package rpmflow

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Substitution is what stands for @NAME@ in the template of a spec.
type Substitution struct {
	Name string `json:"name"`
	// Value is plain text, in which SubstitutionFacts stand for what is known of the commit.
	Value string `json:"value"`
}

// SubstitutionFacts are what a value can refer to.
var SubstitutionFacts = []string{"{version}", "{commit}", "{short}", "{branch}", "{tag}"}

// SubstitutionFact finds one of them in a value.
var SubstitutionFact = regexp.MustCompile(`\{[a-z]+\}`)

var substitutionName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*$`)

// ParseSubstitution reads NAME=value.
func ParseSubstitution(s string) (Substitution, error) {
	name, value, ok := strings.Cut(s, "=")
	if !ok || !substitutionName.MatchString(name) {
		return Substitution{}, fmt.Errorf("%q is not a name and its value: write NAME=value, such as VERSION={version}, for @VERSION@", s)
	}
	if strings.ContainsAny(value, "%\n\r\x00") {
		return Substitution{}, fmt.Errorf("%q has a %% or a line break in its value, which would mean something to rpm: write plain text", s)
	}
	for _, fact := range SubstitutionFact.FindAllString(value, -1) {
		if !slices.Contains(SubstitutionFacts, fact) {
			return Substitution{}, fmt.Errorf("%q: %s is not known; known are %s", s, fact, strings.Join(SubstitutionFacts, ", "))
		}
	}
	return Substitution{Name: name, Value: value}, nil
}

// String is NAME=value.
func (s Substitution) String() string { return s.Name + "=" + s.Value }
