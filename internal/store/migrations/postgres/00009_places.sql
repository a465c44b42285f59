-- +goose Up
-- What the places that keep the logs' heads are known to have had. One that has less has
-- forgotten, and its silence about more proves nothing. Size 0: it may begin with nothing.
CREATE TABLE log_places (
	place TEXT COLLATE "C" NOT NULL,
	log   TEXT COLLATE "C" NOT NULL CHECK (log IN ('acts', 'certificates')),
	size  BIGINT NOT NULL CHECK (size >= 0),
	PRIMARY KEY (place, log)
);
