-- +goose Up
-- The role of auditor. The closed list of roles is a CHECK, which SQLite cannot change:
-- the table is made anew, its rows and indexes with it.

ALTER TABLE grants RENAME TO grants_before;

CREATE TABLE grants (
	person       TEXT COLLATE "C" NOT NULL REFERENCES persons (id),
	organisation TEXT COLLATE "C" NOT NULL REFERENCES organisations (id),
	role         TEXT COLLATE "C" NOT NULL CHECK (role IN ('administrator', 'reserve-administrator', 'reader', 'auditor')),
	statement    TEXT COLLATE "C",
	granted_at   BIGINT NOT NULL,
	ended_at     BIGINT
);

INSERT INTO grants (person, organisation, role, statement, granted_at, ended_at)
	SELECT person, organisation, role, statement, granted_at, ended_at FROM grants_before;

DROP TABLE grants_before;

CREATE UNIQUE INDEX grants_in_force ON grants (person, organisation, role) WHERE ended_at IS NULL;
CREATE INDEX grants_of_organisation ON grants (organisation, person) WHERE ended_at IS NULL;
