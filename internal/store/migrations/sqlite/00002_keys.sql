-- +goose Up
-- Compromised keys: what is blocked, which incidents there were, and which
-- certificates wait to be revoked for it.

-- A key that is shared by several certificates is found by its fingerprint.
CREATE INDEX certificates_of_key ON certificates (key_fingerprint);

-- A key that is blocked is blocked for ever: rows are inserted and never changed.
CREATE TABLE blocked_keys (
	fingerprint BLOB PRIMARY KEY NOT NULL CHECK (length(fingerprint) = 32),
	cause       TEXT NOT NULL CHECK (cause IN ('proof', 'administrators', 'incident')),
	by_who      TEXT NOT NULL,
	at          INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- card has the certificates that carry the key (NULL: no card has, they are
-- technical), proved_on proved that it has the key too.
CREATE TABLE incidents (
	id          TEXT PRIMARY KEY NOT NULL,
	kind        TEXT NOT NULL CHECK (kind IN ('key-copied')),
	fingerprint BLOB NOT NULL CHECK (length(fingerprint) = 32),
	card        TEXT,
	proved_on   TEXT NOT NULL,
	login       BLOB NOT NULL CHECK (length(login) = 32),
	download    TEXT,
	at          INTEGER NOT NULL,
	CHECK (card IS NULL OR card <> proved_on),
	UNIQUE (fingerprint, proved_on)
) STRICT, WITHOUT ROWID;

-- Both sides: 'carries' the key, or was the 'login' of who proved it.
CREATE TABLE incident_certificates (
	incident    TEXT NOT NULL REFERENCES incidents (id),
	certificate BLOB NOT NULL REFERENCES certificates (fingerprint),
	role        TEXT NOT NULL CHECK (role IN ('carries', 'login')),
	PRIMARY KEY (incident, certificate)
) STRICT, WITHOUT ROWID;
CREATE INDEX incident_certificates_of ON incident_certificates (certificate, incident);

-- The queue outlives a crash between the decision and the revocation.
CREATE TABLE queued_revocations (
	certificate BLOB PRIMARY KEY NOT NULL REFERENCES certificates (fingerprint),
	fingerprint BLOB NOT NULL CHECK (length(fingerprint) = 32),
	by_who      TEXT NOT NULL,
	queued_at   INTEGER NOT NULL,
	done_at     INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX queued_revocations_open ON queued_revocations (queued_at, certificate) WHERE done_at IS NULL;
