-- The tables of the SQLite file, for many workspaces: `workspace` leads every key. Text that is
-- sorted or compared is so by its bytes, as SQLite does. Cells have the types that seals are made of.
CREATE TABLE schema_version (
  version bigint PRIMARY KEY,
  at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE meta (
  workspace text COLLATE "C" PRIMARY KEY,
  lineage text NOT NULL,      -- empty until the first write
  serial bigint NOT NULL,
  content bytea NOT NULL,     -- sum over accounts of SHA-256(address, look_digest)
  tip bytea NOT NULL,         -- digest of the newest serial
  doubt bytea NOT NULL,       -- sum over the seals of journal rows in doubt
  told bytea NOT NULL,        -- sum over the seals of all other journal rows
  apps bytea NOT NULL,        -- canonical JSON: provider to vendor app
  seal bytea NOT NULL
);

-- Who holds the lock (empty id: nobody); the fence only ever rises. Every write locks this row.
CREATE TABLE lock (
  workspace text COLLATE "C" PRIMARY KEY,
  id text NOT NULL,
  name text NOT NULL,
  host text NOT NULL,
  pid bigint NOT NULL,
  birth text NOT NULL,        -- boot, pid namespace and start ticks of the process
  operation text NOT NULL,
  acquired double precision NOT NULL,   -- seconds since 1970 by the server's clock
  expires double precision NOT NULL,
  fence bigint NOT NULL,
  seal bytea NOT NULL
);

CREATE TABLE accounts (
  workspace text COLLATE "C" NOT NULL,
  address text COLLATE "C" NOT NULL,
  look_digest bytea,          -- NULL: planning must look closer
  document bytea NOT NULL,
  banned bigint NOT NULL,
  version bigint NOT NULL,
  observed bytea,
  token_key text NOT NULL,
  waiting bytea NOT NULL,     -- canonical JSON: paths the vendor could not take
  updated_at text NOT NULL,
  run text NOT NULL,
  seal bytea NOT NULL,
  PRIMARY KEY (workspace, address)
);

-- The chain: digest = SHA-256(prev, content, serial).
CREATE TABLE serials (
  workspace text COLLATE "C" NOT NULL,
  serial bigint NOT NULL,
  digest bytea NOT NULL,
  prev bytea NOT NULL,
  content bytea NOT NULL,
  at text NOT NULL,
  run text NOT NULL,
  PRIMARY KEY (workspace, serial)
);

CREATE TABLE runs (
  workspace text COLLATE "C" NOT NULL,
  id text COLLATE "C" NOT NULL,
  operation text NOT NULL,
  started_at text NOT NULL,
  operator text NOT NULL,
  fingerprint text NOT NULL,
  context bytea NOT NULL,
  seal bytea NOT NULL,
  PRIMARY KEY (workspace, id)
);

-- Intents with their outcomes, and (without an id) what was saved outside an apply.
CREATE TABLE journal (
  workspace text COLLATE "C" NOT NULL,
  seq bigint NOT NULL,
  id text COLLATE "C",
  run text COLLATE "C" NOT NULL,
  fence bigint NOT NULL,
  address text COLLATE "C" NOT NULL,
  action bytea NOT NULL,
  known_absent bigint NOT NULL,
  status text NOT NULL,
  code text NOT NULL,
  message text NOT NULL,
  started_at text NOT NULL,
  ended_at text NOT NULL,
  seal bytea NOT NULL,
  PRIMARY KEY (workspace, seq),
  FOREIGN KEY (workspace, run) REFERENCES runs (workspace, id)
);
CREATE UNIQUE INDEX journal_by_id ON journal (workspace, id) WHERE id IS NOT NULL;
CREATE INDEX journal_by_address ON journal (workspace, address, seq);
CREATE INDEX journal_in_doubt ON journal (workspace, seq) WHERE status IN ('intent', 'ambiguous');
