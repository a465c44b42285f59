-- +goose Up
-- What several processes on one database tell each other. With SQLite there is one
-- process, and nothing of this is written.

-- The octets of the newest list of each scope, in parts of at most 1 MiB: one
-- process publishes, the others serve the same.
CREATE TABLE list_copies (
	issuer TEXT COLLATE "C" NOT NULL,
	scope  TEXT COLLATE "C" NOT NULL,
	number BIGINT NOT NULL,
	part   BIGINT NOT NULL CHECK (part >= 0),
	octets BYTEA NOT NULL CHECK (length(octets) BETWEEN 1 AND 1048576),
	PRIMARY KEY (issuer, scope, number, part)
);
-- Which lists there are is asked several times a second.
CREATE INDEX list_copies_first ON list_copies (issuer, scope, number) WHERE part = 0;

-- Up to which number each process has seen what was revoked.
CREATE TABLE tails (
	owner  TEXT COLLATE "C" PRIMARY KEY NOT NULL,
	number BIGINT NOT NULL
);
CREATE INDEX tails_by_number ON tails (number);
