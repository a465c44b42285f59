package main

// nouns are the commands of administrators, holders and relying parties. They
// open no installation: they are clients of the API, or need no server at all.
type nouns struct {
}
