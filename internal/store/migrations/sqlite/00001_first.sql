-- +goose Up
-- Times are microseconds since 1970 UTC. What does not apply is NULL, never a
-- made-up value. Every state column has its closed list here as in Go, and what
-- a state implies for other columns is a CHECK beside it.

CREATE TABLE organisations (
	id              TEXT PRIMARY KEY NOT NULL,
	number          TEXT NOT NULL UNIQUE,
	name            TEXT NOT NULL,
	parent          TEXT REFERENCES organisations (id),
	signing_allowed INTEGER NOT NULL CHECK (signing_allowed IN (0, 1)),
	created_at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE persons (
	id          TEXT PRIMARY KEY NOT NULL,
	number      TEXT NOT NULL UNIQUE,
	number_kind TEXT NOT NULL CHECK (number_kind IN ('personnummer', 'samordningsnummer')),
	given_name  TEXT NOT NULL,
	surname     TEXT NOT NULL,
	protected   INTEGER NOT NULL CHECK (protected IN (0, 1)),
	created_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE assignments (
	person       TEXT NOT NULL REFERENCES persons (id),
	organisation TEXT NOT NULL REFERENCES organisations (id),
	hsa_id       TEXT NOT NULL,
	email        TEXT,
	upn          TEXT,
	account      TEXT,
	sid          TEXT,
	ends_at      INTEGER,
	updated_at   INTEGER NOT NULL,
	PRIMARY KEY (person, organisation)
) STRICT, WITHOUT ROWID;
-- An HSA-id belongs to one person, who may have it in several branches.
CREATE INDEX assignments_hsa_id ON assignments (hsa_id, organisation);
-- A Windows account (folded UPN) or SID belongs to one person: on another's card it
-- would log that other on as its owner.
CREATE INDEX assignments_account ON assignments (account) WHERE account IS NOT NULL;
CREATE INDEX assignments_sid ON assignments (sid) WHERE sid IS NOT NULL;
CREATE UNIQUE INDEX assignments_list ON assignments (organisation, hsa_id);

-- Search keys derived from assignments and persons: one row for each beginning
-- that an administrator may type. Written with the assignment, never read back.
CREATE TABLE person_search (
	organisation TEXT NOT NULL,
	folded       TEXT NOT NULL,
	person       TEXT NOT NULL,
	PRIMARY KEY (organisation, folded, person)
) STRICT, WITHOUT ROWID;
CREATE INDEX person_search_person ON person_search (person, organisation);

CREATE TABLE grants (
	person       TEXT NOT NULL REFERENCES persons (id),
	organisation TEXT NOT NULL REFERENCES organisations (id),
	role         TEXT NOT NULL CHECK (role IN ('administrator', 'reserve-administrator', 'reader')),
	statement    TEXT,
	granted_at   INTEGER NOT NULL,
	ended_at     INTEGER
) STRICT;
CREATE UNIQUE INDEX grants_in_force ON grants (person, organisation, role) WHERE ended_at IS NULL;
CREATE INDEX grants_of_organisation ON grants (organisation, person) WHERE ended_at IS NULL;

CREATE TABLE cards (
	number       TEXT PRIMARY KEY NOT NULL,
	product      TEXT NOT NULL,
	kind         TEXT NOT NULL CHECK (kind IN ('ordinary', 'reserve')),
	organisation TEXT NOT NULL REFERENCES organisations (id),
	state        TEXT NOT NULL CHECK (state IN ('ordered', 'sent', 'active', 'locked', 'blocked', 'scrapped', 'expired')),
	holder       TEXT REFERENCES persons (id),
	expires_at   INTEGER NOT NULL,
	armed_until  INTEGER,
	armed_for    TEXT,
	identity     TEXT,
	version      INTEGER NOT NULL,
	CHECK (holder IS NOT NULL OR state NOT IN ('active', 'locked'))
) STRICT, WITHOUT ROWID;
CREATE INDEX cards_of_holder ON cards (holder, number) WHERE holder IS NOT NULL;
CREATE INDEX cards_of_organisation ON cards (organisation, number);

CREATE TABLE ceremony (
	id              INTEGER PRIMARY KEY NOT NULL CHECK (id = 1),
	officer_1       BLOB NOT NULL CHECK (length(officer_1) = 32),
	officer_2       BLOB NOT NULL CHECK (length(officer_2) = 32),
	officer_name_1  TEXT NOT NULL,
	officer_name_2  TEXT NOT NULL,
	organisation    TEXT REFERENCES organisations (id),
	administrator_1 TEXT REFERENCES persons (id),
	administrator_2 TEXT REFERENCES persons (id),
	closed_at       INTEGER
) STRICT;

CREATE TABLE idempotency_keys (
	caller    TEXT NOT NULL,
	operation TEXT NOT NULL,
	key       TEXT NOT NULL,
	request   BLOB NOT NULL CHECK (length(request) = 32),
	result    TEXT NOT NULL,
	at        INTEGER NOT NULL,
	PRIMARY KEY (caller, operation, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE orders (
	id           TEXT PRIMARY KEY NOT NULL,
	type         TEXT NOT NULL CHECK (type IN ('ordinary', 'reserve-loa3', 'reserve-loa2', 'extra', 'update', 'renewal')),
	organisation TEXT NOT NULL REFERENCES organisations (id),
	person       TEXT NOT NULL REFERENCES persons (id),
	card         TEXT NOT NULL REFERENCES cards (number),
	id_kind      TEXT NOT NULL CHECK (id_kind IN ('hsa-id', 'person-id')),
	loa          INTEGER NOT NULL CHECK (loa IN (2, 3)),
	state        TEXT NOT NULL CHECK (state IN ('placed', 'approved', 'installed', 'withdrawn', 'refused', 'expired')),
	rule         TEXT,
	bytes        BLOB NOT NULL,
	placed_by    TEXT REFERENCES persons (id),
	placed_at    INTEGER NOT NULL,
	expires_at   INTEGER,
	version      INTEGER NOT NULL,
	CHECK ((rule IS NOT NULL) = (state = 'refused'))
) STRICT;
CREATE INDEX orders_open_of_card ON orders (card) WHERE state IN ('placed', 'approved');
CREATE INDEX orders_open_by_expiry ON orders (expires_at) WHERE state IN ('placed', 'approved');
CREATE INDEX orders_list ON orders (organisation, placed_at);
CREATE INDEX orders_list_in_state ON orders (organisation, state, placed_at);

CREATE TABLE statements (
	id          TEXT PRIMARY KEY NOT NULL,
	act         TEXT NOT NULL,
	subject     TEXT NOT NULL,
	by_person   TEXT REFERENCES persons (id),
	certificate BLOB NOT NULL CHECK (length(certificate) = 32),
	content     BLOB NOT NULL,
	signature   BLOB NOT NULL,
	at          INTEGER NOT NULL
) STRICT;
CREATE INDEX statements_about ON statements (subject, at);

CREATE TABLE intents (
	serial          BLOB PRIMARY KEY NOT NULL CHECK (length(serial) = 16),
	issuer          TEXT NOT NULL,
	partition       INTEGER NOT NULL,
	profile         TEXT NOT NULL,
	not_before      INTEGER NOT NULL,
	not_after       INTEGER NOT NULL,
	key_fingerprint BLOB NOT NULL CHECK (length(key_fingerprint) = 32),
	tbs             BLOB NOT NULL,
	slot            TEXT CHECK (slot IN ('authentication', 'signing', 'transport')),
	card            TEXT,
	person          TEXT,
	organisation    TEXT,
	id_kind         TEXT CHECK (id_kind IN ('hsa-id', 'person-id')),
	loa             INTEGER CHECK (loa IN (2, 3)),
	order_id        TEXT,
	download        TEXT,
	provenance      TEXT CHECK (provenance IN ('attested', 'personalised', 'session')),
	state           TEXT NOT NULL CHECK (state IN ('open', 'signed', 'abandoned')),
	owner           TEXT NOT NULL,
	deadline        INTEGER NOT NULL,
	recorded_at     INTEGER NOT NULL,
	settled_at      INTEGER,
	CHECK ((settled_at IS NULL) = (state = 'open'))
) STRICT;
CREATE INDEX intents_open ON intents (recorded_at) WHERE state = 'open';
CREATE INDEX intents_of_card ON intents (card, recorded_at) WHERE card IS NOT NULL;

CREATE TABLE certificates (
	fingerprint     BLOB PRIMARY KEY NOT NULL CHECK (length(fingerprint) = 32),
	serial          BLOB NOT NULL UNIQUE CHECK (length(serial) = 16),
	issuer          TEXT NOT NULL,
	partition       INTEGER NOT NULL,
	profile         TEXT NOT NULL,
	not_before      INTEGER NOT NULL,
	not_after       INTEGER NOT NULL,
	key_fingerprint BLOB NOT NULL CHECK (length(key_fingerprint) = 32),
	der             BLOB NOT NULL,
	slot            TEXT CHECK (slot IN ('authentication', 'signing', 'transport')),
	card            TEXT,
	person          TEXT,
	organisation    TEXT,
	id_kind         TEXT CHECK (id_kind IN ('hsa-id', 'person-id')),
	loa             INTEGER CHECK (loa IN (2, 3)),
	order_id        TEXT,
	download        TEXT,
	provenance      TEXT CHECK (provenance IN ('attested', 'personalised', 'session')),
	stored_at       INTEGER NOT NULL
) STRICT;
CREATE INDEX certificates_of_card ON certificates (card, stored_at) WHERE card IS NOT NULL;

-- A certificate that is replaced or revoked stands nowhere.
CREATE TABLE standings (
	certificate  BLOB PRIMARY KEY NOT NULL REFERENCES certificates (fingerprint),
	card         TEXT NOT NULL,
	organisation TEXT,
	id_kind      TEXT CHECK (id_kind IN ('hsa-id', 'person-id')),
	slot         TEXT NOT NULL CHECK (slot IN ('authentication', 'signing', 'transport')),
	kind         TEXT NOT NULL CHECK (kind IN ('pending', 'current')),
	since        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
-- NULLs are distinct in a unique index: a place without organisation must not
-- have room for two.
CREATE UNIQUE INDEX standings_place ON standings (card, slot, kind, COALESCE(organisation, ''), COALESCE(id_kind, ''));

CREATE TABLE keys_seen (
	fingerprint BLOB PRIMARY KEY NOT NULL CHECK (length(fingerprint) = 32),
	card        TEXT,
	download    TEXT,
	slot        TEXT CHECK (slot IN ('authentication', 'signing', 'transport')),
	verdict     TEXT NOT NULL,
	seen_at     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE downloads (
	id         TEXT PRIMARY KEY NOT NULL,
	card       TEXT NOT NULL REFERENCES cards (number),
	order_id   TEXT REFERENCES orders (id),
	holder     TEXT NOT NULL REFERENCES persons (id),
	login      BLOB CHECK (length(login) = 32),
	state      TEXT NOT NULL CHECK (state IN ('planned', 'installed', 'abandoned', 'lapsed')),
	plan       BLOB,
	plan_hash  BLOB CHECK (length(plan_hash) = 32),
	created_at INTEGER NOT NULL,
	ended_at   INTEGER,
	cleaned_at INTEGER,
	version    INTEGER NOT NULL,
	CHECK ((ended_at IS NULL) = (state = 'planned')),
	CHECK ((plan IS NULL) = (plan_hash IS NULL))
) STRICT;
CREATE UNIQUE INDEX downloads_open_of_card ON downloads (card) WHERE state = 'planned';
CREATE INDEX downloads_uncleaned_of_card ON downloads (card, created_at) WHERE state = 'installed' AND cleaned_at IS NULL;
CREATE INDEX downloads_open ON downloads (created_at) WHERE state = 'planned';

CREATE TABLE items (
	download          TEXT NOT NULL REFERENCES downloads (id),
	slot              TEXT NOT NULL CHECK (slot IN ('authentication', 'signing', 'transport')),
	state             TEXT NOT NULL CHECK (state IN ('planned', 'intended', 'signed', 'installed')),
	challenge         BLOB CHECK (length(challenge) = 32),
	challenge_expires INTEGER,
	serial            BLOB CHECK (length(serial) = 16),
	certificate       BLOB CHECK (length(certificate) = 32),
	version           INTEGER NOT NULL,
	PRIMARY KEY (download, slot),
	CHECK ((serial IS NULL) = (state = 'planned')),
	CHECK ((certificate IS NULL) = (state IN ('planned', 'intended')))
) STRICT, WITHOUT ROWID;

-- Rows are inserted and never updated: a graver reason is a further version.
CREATE TABLE revocations (
	serial    BLOB NOT NULL CHECK (length(serial) = 16),
	version   INTEGER NOT NULL CHECK (version >= 1),
	issuer    TEXT NOT NULL,
	partition INTEGER NOT NULL,
	not_after INTEGER NOT NULL,
	at        INTEGER NOT NULL,
	reason    INTEGER NOT NULL CHECK (reason IN (0, 1, 2, 3, 4, 5, 9)),
	rule      TEXT,
	event     TEXT NOT NULL UNIQUE,
	PRIMARY KEY (serial, version)
) STRICT, WITHOUT ROWID;
CREATE INDEX revocations_in ON revocations (issuer, partition, serial, version);

CREATE TABLE publications (
	issuer      TEXT NOT NULL,
	scope       TEXT NOT NULL,
	number      INTEGER NOT NULL,
	state       TEXT NOT NULL CHECK (state IN ('reserved', 'published')),
	this_update INTEGER NOT NULL,
	next_update INTEGER NOT NULL,
	through     INTEGER NOT NULL,
	entries     INTEGER NOT NULL,
	sha256      BLOB CHECK (length(sha256) = 32),
	PRIMARY KEY (issuer, scope, number),
	CHECK ((sha256 IS NULL) = (state = 'reserved'))
) STRICT, WITHOUT ROWID;

-- The chain covers body, which commits to the personal fields but does not hold
-- them. An event has no number until the sequencer gives it one.
CREATE TABLE events (
	seq    INTEGER PRIMARY KEY NOT NULL,
	id     TEXT NOT NULL UNIQUE,
	at     INTEGER NOT NULL,
	act    TEXT NOT NULL,
	by_who TEXT NOT NULL,
	body   BLOB NOT NULL,
	leaf   BLOB NOT NULL CHECK (length(leaf) = 32),
	number INTEGER CHECK (number >= 1),
	hash   BLOB CHECK (length(hash) = 32),
	CHECK ((number IS NULL) = (hash IS NULL))
) STRICT;
CREATE UNIQUE INDEX events_number ON events (number) WHERE number IS NOT NULL;
CREATE INDEX events_unnumbered ON events (seq) WHERE number IS NULL;

-- Retention deletes from here; the chain still verifies.
CREATE TABLE event_personal (
	event    INTEGER NOT NULL REFERENCES events (seq),
	position INTEGER NOT NULL,
	name     TEXT NOT NULL,
	value    TEXT NOT NULL,
	salt     BLOB NOT NULL CHECK (length(salt) = 16),
	PRIMARY KEY (event, position)
) STRICT, WITHOUT ROWID;
