-- +goose Up
-- The Merkle trees of certificates and of acts.

-- The leaf of each certificate that was intended, recorded with its intent, and numbered
-- like an event. Number n is place n-1 in the tree.
CREATE TABLE log_leaves (
	seq    BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	serial BYTEA NOT NULL CHECK (length(serial) = 16),
	leaf   BYTEA NOT NULL UNIQUE CHECK (length(leaf) = 32),
	at     BIGINT NOT NULL,
	number BIGINT CHECK (number >= 1)
);
CREATE UNIQUE INDEX log_leaves_number ON log_leaves (number) WHERE number IS NOT NULL;
CREATE INDEX log_leaves_unnumbered ON log_leaves (seq) WHERE number IS NULL;

-- Up to 256 hashes each; a tile that is not full is replaced as its tree grows.
CREATE TABLE log_tiles (
	log    TEXT COLLATE "C" NOT NULL CHECK (log IN ('acts', 'certificates')),
	level  BIGINT NOT NULL CHECK (level >= 0),
	n      BIGINT NOT NULL CHECK (n >= 0),
	hashes BYTEA NOT NULL CHECK (length(hashes) BETWEEN 32 AND 8192 AND length(hashes) % 32 = 0),
	PRIMARY KEY (log, level, n)
);

-- What the logs have signed: the newest head, and the newest that witnesses signed too.
CREATE TABLE log_heads (
	log  TEXT COLLATE "C" NOT NULL CHECK (log IN ('acts', 'certificates')),
	kind TEXT COLLATE "C" NOT NULL CHECK (kind IN ('signed', 'witnessed')),
	size BIGINT NOT NULL CHECK (size >= 0),
	note BYTEA NOT NULL,
	PRIMARY KEY (log, kind)
);
