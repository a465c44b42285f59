-- +goose Up
-- What several processes on one database tell each other. With SQLite there is one
-- process, and nothing of this is written.

-- The octets of the newest list of each scope, in parts of at most 1 MiB: one
-- process publishes, the others serve the same.
CREATE TABLE list_copies (
	issuer TEXT NOT NULL,
	scope  TEXT NOT NULL,
	number INTEGER NOT NULL,
	part   INTEGER NOT NULL CHECK (part >= 0),
	octets BLOB NOT NULL CHECK (length(octets) BETWEEN 1 AND 1048576),
	PRIMARY KEY (issuer, scope, number, part)
) STRICT;
-- Which lists there are is asked several times a second.
CREATE INDEX list_copies_first ON list_copies (issuer, scope, number) WHERE part = 0;

-- Up to which number each process has seen what was revoked.
CREATE TABLE tails (
	owner  TEXT PRIMARY KEY NOT NULL,
	number INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX tails_by_number ON tails (number);
