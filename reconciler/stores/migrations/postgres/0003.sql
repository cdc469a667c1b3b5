-- The apps that are locked by themselves, a row each. A lock of several apps has as many rows with
-- one id and one fence; fences are counted in `lock`, whose row every writer locks first.
CREATE TABLE app_lock (
  workspace text COLLATE "C" NOT NULL,
  app text COLLATE "C" NOT NULL,
  id text NOT NULL,
  name text NOT NULL,
  host text NOT NULL,
  pid bigint NOT NULL,
  birth text NOT NULL,
  operation text NOT NULL,
  acquired double precision NOT NULL,
  expires double precision NOT NULL,
  fence bigint NOT NULL,
  wrote bytea NOT NULL,       -- seal of the row of meta that this lock wrote last
  seal bytea NOT NULL,
  PRIMARY KEY (workspace, app)
);
