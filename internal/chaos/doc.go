// Package chaos holds the test that kills the real server, again and again, in
// the middle of what the real card program asks of it, and then compares what the
// clients saw with the database, the cards, and what relying parties are told.
//
// It has no code of its own. It knows the server from outside: how it is started,
// what it logs at debug level, the rows it leaves. Nothing in the server waits for
// the test; a kill finds its place in a request by the log and by chance.
package chaos
