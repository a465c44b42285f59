package api

import "sigill/policy"

// Classes returns the table of routes, and which of them wait for their turn.
func Classes() (works map[string]policy.Work, issue []string) {
	works = map[string]policy.Work{}
	for pattern, c := range classes() {
		works[pattern] = c.work
		if c.issues {
			issue = append(issue, pattern)
		}
	}
	return works, issue
}

// ClassOf returns the work that a route is taken for.
func ClassOf(pattern string) policy.Work { return classOf(pattern).work }
