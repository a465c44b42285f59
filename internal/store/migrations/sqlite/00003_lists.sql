-- +goose Up
-- What stands in a CRL for a revoked serial is encoded once, when it is revoked.
-- The lines of earlier revocations are made here, octet for octet as the program
-- makes them (RFC 5280, 5.1): SEQUENCE { INTEGER, UTCTime or GeneralizedTime,
-- reasonCode }; serials have 16 octets and begin with 0x40 to 0x7f.
ALTER TABLE revocations ADD COLUMN line BLOB;
UPDATE revocations SET line = CAST(
	CASE
		WHEN at < 2524608000000000 AND reason <> 0 THEN x'302f0210'
		WHEN at < 2524608000000000 THEN x'30210210'
		WHEN reason <> 0 THEN x'30310210'
		ELSE x'30230210'
	END || serial ||
	CASE
		WHEN at < 2524608000000000 THEN x'170d' || substr(strftime('%Y%m%d%H%M%SZ', at / 1000000, 'unixepoch'), 3)
		ELSE x'180f' || strftime('%Y%m%d%H%M%SZ', at / 1000000, 'unixepoch')
	END ||
	CASE reason
		WHEN 0 THEN x''
		WHEN 1 THEN x'300c300a0603551d1504030a0101'
		WHEN 2 THEN x'300c300a0603551d1504030a0102'
		WHEN 3 THEN x'300c300a0603551d1504030a0103'
		WHEN 4 THEN x'300c300a0603551d1504030a0104'
		WHEN 5 THEN x'300c300a0603551d1504030a0105'
		WHEN 9 THEN x'300c300a0603551d1504030a0109'
	END AS BLOB);

-- Entries leave a list by the end of their certificates.
CREATE INDEX revocations_by_end ON revocations (issuer, not_after);

-- The list has no entry of a certificate that ended before. NULL while reserved,
-- and for lists of earlier versions.
ALTER TABLE publications ADD COLUMN kept_from INTEGER;
