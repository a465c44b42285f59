-- +goose Up
-- The Merkle trees of certificates and of acts.

-- The leaf of each certificate that was intended, recorded with its intent, and numbered
-- like an event. Number n is place n-1 in the tree.
CREATE TABLE log_leaves (
	seq    INTEGER PRIMARY KEY NOT NULL,
	serial BLOB NOT NULL CHECK (length(serial) = 16),
	leaf   BLOB NOT NULL UNIQUE CHECK (length(leaf) = 32),
	at     INTEGER NOT NULL,
	number INTEGER CHECK (number >= 1)
) STRICT;
CREATE UNIQUE INDEX log_leaves_number ON log_leaves (number) WHERE number IS NOT NULL;
CREATE INDEX log_leaves_unnumbered ON log_leaves (seq) WHERE number IS NULL;

-- Up to 256 hashes each; a tile that is not full is replaced as its tree grows.
CREATE TABLE log_tiles (
	log    TEXT NOT NULL CHECK (log IN ('acts', 'certificates')),
	level  INTEGER NOT NULL CHECK (level >= 0),
	n      INTEGER NOT NULL CHECK (n >= 0),
	hashes BLOB NOT NULL CHECK (length(hashes) BETWEEN 32 AND 8192 AND length(hashes) % 32 = 0),
	PRIMARY KEY (log, level, n)
) STRICT;

-- What the logs have signed: the newest head, and the newest that witnesses signed too.
CREATE TABLE log_heads (
	log  TEXT NOT NULL CHECK (log IN ('acts', 'certificates')),
	kind TEXT NOT NULL CHECK (kind IN ('signed', 'witnessed')),
	size INTEGER NOT NULL CHECK (size >= 0),
	note BLOB NOT NULL,
	PRIMARY KEY (log, kind)
) STRICT, WITHOUT ROWID;
