-- Empty for clear state; else the id of the key (6 bytes) that it is encrypted with, and an
-- HMAC-SHA-256 over the seal. Encrypted, accounts keep look_digest masked and all else in document,
-- the journal in action, runs in context.
ALTER TABLE meta ADD COLUMN proof BLOB NOT NULL DEFAULT X'';
