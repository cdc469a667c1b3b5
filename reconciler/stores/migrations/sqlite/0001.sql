-- One row: which state this is, and sums over what it holds (each 32 bytes, big-endian).
CREATE TABLE meta (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  workspace TEXT NOT NULL,
  lineage TEXT NOT NULL,      -- empty until the first write
  serial INTEGER NOT NULL,
  content BLOB NOT NULL,      -- sum over accounts of SHA-256(address, look_digest)
  tip BLOB NOT NULL,          -- digest of the newest serial
  doubt BLOB NOT NULL,        -- sum over the seals of journal rows in doubt
  told BLOB NOT NULL,         -- sum over the seals of all other journal rows
  apps BLOB NOT NULL,         -- canonical JSON: provider to vendor app
  seal BLOB NOT NULL
) STRICT;

-- One row: who holds the lock (empty id: nobody); the fence only ever rises.
CREATE TABLE lock (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  id TEXT NOT NULL,
  name TEXT NOT NULL,
  host TEXT NOT NULL,
  pid INTEGER NOT NULL,
  birth TEXT NOT NULL,        -- boot, pid namespace and start ticks of the process
  operation TEXT NOT NULL,
  acquired REAL NOT NULL,     -- seconds since 1970 by the store's clock
  expires REAL NOT NULL,
  fence INTEGER NOT NULL,
  seal BLOB NOT NULL
) STRICT;

CREATE TABLE accounts (
  address TEXT PRIMARY KEY NOT NULL,
  look_digest BLOB,           -- NULL: planning must look closer
  document BLOB NOT NULL,
  banned INTEGER NOT NULL,
  version INTEGER NOT NULL,
  observed BLOB,
  token_key TEXT NOT NULL,
  waiting BLOB NOT NULL,      -- canonical JSON: paths the vendor could not take
  updated_at TEXT NOT NULL,
  run TEXT NOT NULL,
  seal BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- The chain: digest = SHA-256(prev, content, serial).
CREATE TABLE serials (
  serial INTEGER PRIMARY KEY,
  digest BLOB NOT NULL,
  prev BLOB NOT NULL,
  content BLOB NOT NULL,
  at TEXT NOT NULL,
  run TEXT NOT NULL
) STRICT;

CREATE TABLE runs (
  id TEXT PRIMARY KEY NOT NULL,
  operation TEXT NOT NULL,
  started_at TEXT NOT NULL,
  operator TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  context BLOB NOT NULL,
  seal BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Intents with their outcomes, and (without an id) what was saved outside an apply.
CREATE TABLE journal (
  seq INTEGER PRIMARY KEY,
  id TEXT,
  run TEXT NOT NULL REFERENCES runs (id),
  fence INTEGER NOT NULL,
  address TEXT NOT NULL,
  action BLOB NOT NULL,
  known_absent INTEGER NOT NULL,
  status TEXT NOT NULL,
  code TEXT NOT NULL,
  message TEXT NOT NULL,
  started_at TEXT NOT NULL,
  ended_at TEXT NOT NULL,
  seal BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX journal_by_id ON journal (id) WHERE id IS NOT NULL;
CREATE INDEX journal_by_address ON journal (address, seq);
CREATE INDEX journal_in_doubt ON journal (seq) WHERE status IN ('intent', 'ambiguous');
