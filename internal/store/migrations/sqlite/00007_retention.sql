-- +goose Up
-- What ends when its time has come. What is erased leaves its row: with empty octets
-- where the personal data stood, and everything that hashes and references rest on.

-- One row for each act retention.erased: what the check of the rows holds empty
-- octets against, and where the next run goes on.
CREATE TABLE erasures (
	event       TEXT PRIMARY KEY NOT NULL,
	what        TEXT NOT NULL,
	through     INTEGER NOT NULL,
	from_number INTEGER,
	to_number   INTEGER,
	count       INTEGER NOT NULL CHECK (count >= 1),
	CHECK ((from_number IS NULL) = (to_number IS NULL)),
	CHECK (from_number <= to_number)
) STRICT, WITHOUT ROWID;
CREATE INDEX erasures_of ON erasures (what, to_number);

-- Which events about or by a person have personal values, or tell that he logged in or
-- was refused: who asks what is held of him is answered without reading the whole log.
CREATE TABLE event_people (
	person TEXT NOT NULL,
	event  INTEGER NOT NULL REFERENCES events (seq),
	about  INTEGER NOT NULL CHECK (about IN (0, 1)),
	PRIMARY KEY (person, event)
) STRICT, WITHOUT ROWID;
CREATE INDEX event_people_of ON event_people (event);

INSERT INTO event_people (person, event, about)
	SELECT json_extract(f.value, '$.value'), e.seq, 1
	FROM events e, json_each(CAST(e.body AS TEXT), '$.public') f
	WHERE json_extract(f.value, '$.name') = 'person' AND json_extract(f.value, '$.value') LIKE 'per\_%' ESCAPE '\'
		AND (e.act IN ('login.accepted', 'login.refused', 'request.refused', 'key.refused')
			OR EXISTS (SELECT 1 FROM event_personal p WHERE p.event = e.seq));
INSERT INTO event_people (person, event, about)
	SELECT e.by_who, e.seq, 0 FROM events e
	WHERE e.by_who LIKE 'per\_%' ESCAPE '\' AND instr(e.by_who, ',') = 0
		AND (e.act IN ('login.accepted', 'login.refused', 'request.refused', 'key.refused')
			OR EXISTS (SELECT 1 FROM event_personal p WHERE p.event = e.seq))
	ON CONFLICT DO NOTHING;

-- A person who was erased keeps the row that others refer to, without name and number.
ALTER TABLE persons ADD COLUMN erased_at INTEGER;

-- Everything that belongs to a card ends together, so one time finds it.
ALTER TABLE cards ADD COLUMN erased_at INTEGER;
CREATE INDEX cards_kept ON cards (expires_at, number) WHERE erased_at IS NULL AND holder IS NOT NULL;
CREATE INDEX orders_of_card ON orders (card, placed_at);
CREATE INDEX downloads_of_card ON downloads (card, created_at);
CREATE INDEX grants_of_person ON grants (person, granted_at);
-- A certificate is kept as long as what was signed with it.
CREATE INDEX statements_of_certificate ON statements (certificate);
-- Statements about neither an order nor a card are few.
CREATE INDEX statements_kept ON statements (at, id)
	WHERE act NOT IN ('order.place', 'order.approve', 'card.handout', 'card.arm', 'card.block') AND length(content) > 0;
-- Which numbers in the log of certificates are erased with a card.
CREATE INDEX log_leaves_of_serial ON log_leaves (serial);
