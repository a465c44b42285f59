-- +goose Up
-- What stands in a CRL for a revoked serial is encoded once, when it is revoked.
-- The lines of earlier revocations are made here, octet for octet as the program
-- makes them (RFC 5280, 5.1): SEQUENCE { INTEGER, UTCTime or GeneralizedTime,
-- reasonCode }; serials have 16 octets and begin with 0x40 to 0x7f.
ALTER TABLE revocations ADD COLUMN line BYTEA;
UPDATE revocations SET line =
	CASE
		WHEN at < 2524608000000000 AND reason <> 0 THEN '\x302f0210'::bytea
		WHEN at < 2524608000000000 THEN '\x30210210'::bytea
		WHEN reason <> 0 THEN '\x30310210'::bytea
		ELSE '\x30230210'::bytea
	END || serial ||
	CASE
		WHEN at < 2524608000000000 THEN '\x170d'::bytea || convert_to(to_char(to_timestamp(at / 1000000) AT TIME ZONE 'UTC', 'YYMMDDHH24MISS"Z"'), 'UTF8')
		ELSE '\x180f'::bytea || convert_to(to_char(to_timestamp(at / 1000000) AT TIME ZONE 'UTC', 'YYYYMMDDHH24MISS"Z"'), 'UTF8')
	END ||
	CASE reason
		WHEN 0 THEN ''::bytea
		WHEN 1 THEN '\x300c300a0603551d1504030a0101'::bytea
		WHEN 2 THEN '\x300c300a0603551d1504030a0102'::bytea
		WHEN 3 THEN '\x300c300a0603551d1504030a0103'::bytea
		WHEN 4 THEN '\x300c300a0603551d1504030a0104'::bytea
		WHEN 5 THEN '\x300c300a0603551d1504030a0105'::bytea
		WHEN 9 THEN '\x300c300a0603551d1504030a0109'::bytea
	END;

-- Entries leave a list by the end of their certificates.
CREATE INDEX revocations_by_end ON revocations (issuer, not_after);

-- The list has no entry of a certificate that ended before. NULL while reserved,
-- and for lists of earlier versions.
ALTER TABLE publications ADD COLUMN kept_from BIGINT;
