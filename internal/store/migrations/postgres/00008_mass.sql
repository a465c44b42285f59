-- +goose Up
-- Two administrators revoke many certificates at once: the one orders by a list, the
-- other approves. From then on the row says how far down the list it is done, in the
-- transactions that revoke.
CREATE TABLE mass_revocations (
	id           TEXT COLLATE "C" PRIMARY KEY NOT NULL,
	organisation TEXT COLLATE "C" NOT NULL REFERENCES organisations (id),
	kind         TEXT COLLATE "C" NOT NULL CHECK (kind IN ('serials', 'cards')),
	reason       BIGINT NOT NULL,
	entries      BIGINT NOT NULL CHECK (entries > 0),
	document     BYTEA NOT NULL,
	state        TEXT COLLATE "C" NOT NULL CHECK (state IN ('ordered', 'approved', 'finished')),
	ordered      TEXT COLLATE "C" NOT NULL REFERENCES statements (id),
	ordered_by   TEXT COLLATE "C" NOT NULL REFERENCES persons (id),
	ordered_at   BIGINT NOT NULL,
	approved     TEXT COLLATE "C" REFERENCES statements (id),
	approved_by  TEXT COLLATE "C" REFERENCES persons (id),
	approved_at  BIGINT,
	done         BIGINT NOT NULL CHECK (done >= 0),
	revoked      BIGINT NOT NULL CHECK (revoked >= 0),
	failed       TEXT COLLATE "C" NOT NULL,
	finished_at  BIGINT,
	version      BIGINT NOT NULL,
	CHECK (approved_by <> ordered_by),
	CHECK ((state = 'ordered') = (approved IS NULL) AND (approved IS NULL) = (approved_by IS NULL) AND (approved IS NULL) = (approved_at IS NULL)),
	CHECK ((state = 'finished') = (finished_at IS NOT NULL)),
	CHECK (state <> 'ordered' OR done = 0 AND revoked = 0),
	CHECK (done <= entries AND (state <> 'finished' OR done = entries AND failed = ''))
);
CREATE INDEX mass_revocations_open ON mass_revocations (approved_at, id) WHERE state = 'approved';
CREATE INDEX mass_revocations_of ON mass_revocations (organisation, id);

-- The list stands apart: it is never changed, and the row above often.
CREATE TABLE mass_lists (
	id   TEXT COLLATE "C" PRIMARY KEY NOT NULL REFERENCES mass_revocations (id),
	list BYTEA NOT NULL
);
