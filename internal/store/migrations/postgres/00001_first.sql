-- +goose Up
-- Times are microseconds since 1970 UTC. What does not apply is NULL, never a
-- made-up value. Every state column has its closed list here as in Go, and what
-- a state implies for other columns is a CHECK beside it.

CREATE TABLE organisations (
	id              TEXT COLLATE "C" PRIMARY KEY NOT NULL,
	number          TEXT COLLATE "C" NOT NULL UNIQUE,
	name            TEXT COLLATE "C" NOT NULL,
	parent          TEXT COLLATE "C" REFERENCES organisations (id),
	signing_allowed BIGINT NOT NULL CHECK (signing_allowed IN (0, 1)),
	created_at      BIGINT NOT NULL
);

CREATE TABLE persons (
	id          TEXT COLLATE "C" PRIMARY KEY NOT NULL,
	number      TEXT COLLATE "C" NOT NULL UNIQUE,
	number_kind TEXT COLLATE "C" NOT NULL CHECK (number_kind IN ('personnummer', 'samordningsnummer')),
	given_name  TEXT COLLATE "C" NOT NULL,
	surname     TEXT COLLATE "C" NOT NULL,
	protected   BIGINT NOT NULL CHECK (protected IN (0, 1)),
	created_at  BIGINT NOT NULL
);

CREATE TABLE assignments (
	person       TEXT COLLATE "C" NOT NULL REFERENCES persons (id),
	organisation TEXT COLLATE "C" NOT NULL REFERENCES organisations (id),
	hsa_id       TEXT COLLATE "C" NOT NULL,
	email        TEXT COLLATE "C",
	upn          TEXT COLLATE "C",
	account      TEXT COLLATE "C",
	sid          TEXT COLLATE "C",
	ends_at      BIGINT,
	updated_at   BIGINT NOT NULL,
	PRIMARY KEY (person, organisation)
);
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
	organisation TEXT COLLATE "C" NOT NULL,
	folded       TEXT COLLATE "C" NOT NULL,
	person       TEXT COLLATE "C" NOT NULL,
	PRIMARY KEY (organisation, folded, person)
);
CREATE INDEX person_search_person ON person_search (person, organisation);

CREATE TABLE grants (
	person       TEXT COLLATE "C" NOT NULL REFERENCES persons (id),
	organisation TEXT COLLATE "C" NOT NULL REFERENCES organisations (id),
	role         TEXT COLLATE "C" NOT NULL CHECK (role IN ('administrator', 'reserve-administrator', 'reader')),
	statement    TEXT COLLATE "C",
	granted_at   BIGINT NOT NULL,
	ended_at     BIGINT
);
CREATE UNIQUE INDEX grants_in_force ON grants (person, organisation, role) WHERE ended_at IS NULL;
CREATE INDEX grants_of_organisation ON grants (organisation, person) WHERE ended_at IS NULL;

CREATE TABLE cards (
	number       TEXT COLLATE "C" PRIMARY KEY NOT NULL,
	product      TEXT COLLATE "C" NOT NULL,
	kind         TEXT COLLATE "C" NOT NULL CHECK (kind IN ('ordinary', 'reserve')),
	organisation TEXT COLLATE "C" NOT NULL REFERENCES organisations (id),
	state        TEXT COLLATE "C" NOT NULL CHECK (state IN ('ordered', 'sent', 'active', 'locked', 'blocked', 'scrapped', 'expired')),
	holder       TEXT COLLATE "C" REFERENCES persons (id),
	expires_at   BIGINT NOT NULL,
	armed_until  BIGINT,
	armed_for    TEXT COLLATE "C",
	identity     TEXT COLLATE "C",
	version      BIGINT NOT NULL,
	CHECK (holder IS NOT NULL OR state NOT IN ('active', 'locked'))
);
CREATE INDEX cards_of_holder ON cards (holder, number) WHERE holder IS NOT NULL;
CREATE INDEX cards_of_organisation ON cards (organisation, number);

CREATE TABLE ceremony (
	id              BIGINT PRIMARY KEY NOT NULL CHECK (id = 1),
	officer_1       BYTEA NOT NULL CHECK (length(officer_1) = 32),
	officer_2       BYTEA NOT NULL CHECK (length(officer_2) = 32),
	officer_name_1  TEXT COLLATE "C" NOT NULL,
	officer_name_2  TEXT COLLATE "C" NOT NULL,
	organisation    TEXT COLLATE "C" REFERENCES organisations (id),
	administrator_1 TEXT COLLATE "C" REFERENCES persons (id),
	administrator_2 TEXT COLLATE "C" REFERENCES persons (id),
	closed_at       BIGINT
);

CREATE TABLE idempotency_keys (
	caller    TEXT COLLATE "C" NOT NULL,
	operation TEXT COLLATE "C" NOT NULL,
	key       TEXT COLLATE "C" NOT NULL,
	request   BYTEA NOT NULL CHECK (length(request) = 32),
	result    TEXT COLLATE "C" NOT NULL,
	at        BIGINT NOT NULL,
	PRIMARY KEY (caller, operation, key)
);

CREATE TABLE orders (
	id           TEXT COLLATE "C" PRIMARY KEY NOT NULL,
	type         TEXT COLLATE "C" NOT NULL CHECK (type IN ('ordinary', 'reserve-loa3', 'reserve-loa2', 'extra', 'update', 'renewal')),
	organisation TEXT COLLATE "C" NOT NULL REFERENCES organisations (id),
	person       TEXT COLLATE "C" NOT NULL REFERENCES persons (id),
	card         TEXT COLLATE "C" NOT NULL REFERENCES cards (number),
	id_kind      TEXT COLLATE "C" NOT NULL CHECK (id_kind IN ('hsa-id', 'person-id')),
	loa          BIGINT NOT NULL CHECK (loa IN (2, 3)),
	state        TEXT COLLATE "C" NOT NULL CHECK (state IN ('placed', 'approved', 'installed', 'withdrawn', 'refused', 'expired')),
	rule         TEXT COLLATE "C",
	bytes        BYTEA NOT NULL,
	placed_by    TEXT COLLATE "C" REFERENCES persons (id),
	placed_at    BIGINT NOT NULL,
	expires_at   BIGINT,
	version      BIGINT NOT NULL,
	CHECK ((rule IS NOT NULL) = (state = 'refused'))
);
CREATE INDEX orders_open_of_card ON orders (card) WHERE state IN ('placed', 'approved');
CREATE INDEX orders_open_by_expiry ON orders (expires_at) WHERE state IN ('placed', 'approved');
CREATE INDEX orders_list ON orders (organisation, placed_at);
CREATE INDEX orders_list_in_state ON orders (organisation, state, placed_at);

CREATE TABLE statements (
	id          TEXT COLLATE "C" PRIMARY KEY NOT NULL,
	act         TEXT COLLATE "C" NOT NULL,
	subject     TEXT COLLATE "C" NOT NULL,
	by_person   TEXT COLLATE "C" REFERENCES persons (id),
	certificate BYTEA NOT NULL CHECK (length(certificate) = 32),
	content     BYTEA NOT NULL,
	signature   BYTEA NOT NULL,
	at          BIGINT NOT NULL
);
CREATE INDEX statements_about ON statements (subject, at);

CREATE TABLE intents (
	serial          BYTEA PRIMARY KEY NOT NULL CHECK (length(serial) = 16),
	issuer          TEXT COLLATE "C" NOT NULL,
	partition       BIGINT NOT NULL,
	profile         TEXT COLLATE "C" NOT NULL,
	not_before      BIGINT NOT NULL,
	not_after       BIGINT NOT NULL,
	key_fingerprint BYTEA NOT NULL CHECK (length(key_fingerprint) = 32),
	tbs             BYTEA NOT NULL,
	slot            TEXT COLLATE "C" CHECK (slot IN ('authentication', 'signing', 'transport')),
	card            TEXT COLLATE "C",
	person          TEXT COLLATE "C",
	organisation    TEXT COLLATE "C",
	id_kind         TEXT COLLATE "C" CHECK (id_kind IN ('hsa-id', 'person-id')),
	loa             BIGINT CHECK (loa IN (2, 3)),
	order_id        TEXT COLLATE "C",
	download        TEXT COLLATE "C",
	provenance      TEXT COLLATE "C" CHECK (provenance IN ('attested', 'personalised', 'session')),
	state           TEXT COLLATE "C" NOT NULL CHECK (state IN ('open', 'signed', 'abandoned')),
	owner           TEXT COLLATE "C" NOT NULL,
	deadline        BIGINT NOT NULL,
	recorded_at     BIGINT NOT NULL,
	settled_at      BIGINT,
	CHECK ((settled_at IS NULL) = (state = 'open'))
);
CREATE INDEX intents_open ON intents (recorded_at) WHERE state = 'open';
CREATE INDEX intents_of_card ON intents (card, recorded_at) WHERE card IS NOT NULL;

CREATE TABLE certificates (
	fingerprint     BYTEA PRIMARY KEY NOT NULL CHECK (length(fingerprint) = 32),
	serial          BYTEA NOT NULL UNIQUE CHECK (length(serial) = 16),
	issuer          TEXT COLLATE "C" NOT NULL,
	partition       BIGINT NOT NULL,
	profile         TEXT COLLATE "C" NOT NULL,
	not_before      BIGINT NOT NULL,
	not_after       BIGINT NOT NULL,
	key_fingerprint BYTEA NOT NULL CHECK (length(key_fingerprint) = 32),
	der             BYTEA NOT NULL,
	slot            TEXT COLLATE "C" CHECK (slot IN ('authentication', 'signing', 'transport')),
	card            TEXT COLLATE "C",
	person          TEXT COLLATE "C",
	organisation    TEXT COLLATE "C",
	id_kind         TEXT COLLATE "C" CHECK (id_kind IN ('hsa-id', 'person-id')),
	loa             BIGINT CHECK (loa IN (2, 3)),
	order_id        TEXT COLLATE "C",
	download        TEXT COLLATE "C",
	provenance      TEXT COLLATE "C" CHECK (provenance IN ('attested', 'personalised', 'session')),
	stored_at       BIGINT NOT NULL
);
CREATE INDEX certificates_of_card ON certificates (card, stored_at) WHERE card IS NOT NULL;

-- A certificate that is replaced or revoked stands nowhere.
CREATE TABLE standings (
	certificate  BYTEA PRIMARY KEY NOT NULL REFERENCES certificates (fingerprint),
	card         TEXT COLLATE "C" NOT NULL,
	organisation TEXT COLLATE "C",
	id_kind      TEXT COLLATE "C" CHECK (id_kind IN ('hsa-id', 'person-id')),
	slot         TEXT COLLATE "C" NOT NULL CHECK (slot IN ('authentication', 'signing', 'transport')),
	kind         TEXT COLLATE "C" NOT NULL CHECK (kind IN ('pending', 'current')),
	since        BIGINT NOT NULL
);
-- NULLs are distinct in a unique index: a place without organisation must not
-- have room for two.
CREATE UNIQUE INDEX standings_place ON standings (card, slot, kind, COALESCE(organisation, ''), COALESCE(id_kind, ''));

CREATE TABLE keys_seen (
	fingerprint BYTEA PRIMARY KEY NOT NULL CHECK (length(fingerprint) = 32),
	card        TEXT COLLATE "C",
	download    TEXT COLLATE "C",
	slot        TEXT COLLATE "C" CHECK (slot IN ('authentication', 'signing', 'transport')),
	verdict     TEXT COLLATE "C" NOT NULL,
	seen_at     BIGINT NOT NULL
);

CREATE TABLE downloads (
	id         TEXT COLLATE "C" PRIMARY KEY NOT NULL,
	card       TEXT COLLATE "C" NOT NULL REFERENCES cards (number),
	order_id   TEXT COLLATE "C" REFERENCES orders (id),
	holder     TEXT COLLATE "C" NOT NULL REFERENCES persons (id),
	login      BYTEA CHECK (length(login) = 32),
	state      TEXT COLLATE "C" NOT NULL CHECK (state IN ('planned', 'installed', 'abandoned', 'lapsed')),
	plan       BYTEA,
	plan_hash  BYTEA CHECK (length(plan_hash) = 32),
	created_at BIGINT NOT NULL,
	ended_at   BIGINT,
	cleaned_at BIGINT,
	version    BIGINT NOT NULL,
	CHECK ((ended_at IS NULL) = (state = 'planned')),
	CHECK ((plan IS NULL) = (plan_hash IS NULL))
);
CREATE UNIQUE INDEX downloads_open_of_card ON downloads (card) WHERE state = 'planned';
CREATE INDEX downloads_uncleaned_of_card ON downloads (card, created_at) WHERE state = 'installed' AND cleaned_at IS NULL;
CREATE INDEX downloads_open ON downloads (created_at) WHERE state = 'planned';

CREATE TABLE items (
	download          TEXT COLLATE "C" NOT NULL REFERENCES downloads (id),
	slot              TEXT COLLATE "C" NOT NULL CHECK (slot IN ('authentication', 'signing', 'transport')),
	state             TEXT COLLATE "C" NOT NULL CHECK (state IN ('planned', 'intended', 'signed', 'installed')),
	challenge         BYTEA CHECK (length(challenge) = 32),
	challenge_expires BIGINT,
	serial            BYTEA CHECK (length(serial) = 16),
	certificate       BYTEA CHECK (length(certificate) = 32),
	version           BIGINT NOT NULL,
	PRIMARY KEY (download, slot),
	CHECK ((serial IS NULL) = (state = 'planned')),
	CHECK ((certificate IS NULL) = (state IN ('planned', 'intended')))
);

-- Rows are inserted and never updated: a graver reason is a further version.
CREATE TABLE revocations (
	serial    BYTEA NOT NULL CHECK (length(serial) = 16),
	version   BIGINT NOT NULL CHECK (version >= 1),
	issuer    TEXT COLLATE "C" NOT NULL,
	partition BIGINT NOT NULL,
	not_after BIGINT NOT NULL,
	at        BIGINT NOT NULL,
	reason    BIGINT NOT NULL CHECK (reason IN (0, 1, 2, 3, 4, 5, 9)),
	rule      TEXT COLLATE "C",
	event     TEXT COLLATE "C" NOT NULL UNIQUE,
	PRIMARY KEY (serial, version)
);
CREATE INDEX revocations_in ON revocations (issuer, partition, serial, version);

CREATE TABLE publications (
	issuer      TEXT COLLATE "C" NOT NULL,
	scope       TEXT COLLATE "C" NOT NULL,
	number      BIGINT NOT NULL,
	state       TEXT COLLATE "C" NOT NULL CHECK (state IN ('reserved', 'published')),
	this_update BIGINT NOT NULL,
	next_update BIGINT NOT NULL,
	through     BIGINT NOT NULL,
	entries     BIGINT NOT NULL,
	sha256      BYTEA CHECK (length(sha256) = 32),
	PRIMARY KEY (issuer, scope, number),
	CHECK ((sha256 IS NULL) = (state = 'reserved'))
);

-- The chain covers body, which commits to the personal fields but does not hold
-- them. An event has no number until the sequencer gives it one.
CREATE TABLE events (
	seq    BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	id     TEXT COLLATE "C" NOT NULL UNIQUE,
	at     BIGINT NOT NULL,
	act    TEXT COLLATE "C" NOT NULL,
	by_who TEXT COLLATE "C" NOT NULL,
	body   BYTEA NOT NULL,
	leaf   BYTEA NOT NULL CHECK (length(leaf) = 32),
	number BIGINT CHECK (number >= 1),
	hash   BYTEA CHECK (length(hash) = 32),
	CHECK ((number IS NULL) = (hash IS NULL))
);
CREATE UNIQUE INDEX events_number ON events (number) WHERE number IS NOT NULL;
CREATE INDEX events_unnumbered ON events (seq) WHERE number IS NULL;

-- Retention deletes from here; the chain still verifies.
CREATE TABLE event_personal (
	event    BIGINT NOT NULL REFERENCES events (seq),
	position BIGINT NOT NULL,
	name     TEXT COLLATE "C" NOT NULL,
	value    TEXT COLLATE "C" NOT NULL,
	salt     BYTEA NOT NULL CHECK (length(salt) = 16),
	PRIMARY KEY (event, position)
);
