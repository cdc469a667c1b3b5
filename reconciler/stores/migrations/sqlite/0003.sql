-- The apps that are locked by themselves, a row each. A lock of several apps has as many rows with
-- one id and one fence; fences are counted in `lock`, which every writer reads first.
CREATE TABLE app_lock (
  app TEXT PRIMARY KEY NOT NULL,
  id TEXT NOT NULL,
  name TEXT NOT NULL,
  host TEXT NOT NULL,
  pid INTEGER NOT NULL,
  birth TEXT NOT NULL,
  operation TEXT NOT NULL,
  acquired REAL NOT NULL,
  expires REAL NOT NULL,
  fence INTEGER NOT NULL,
  wrote BLOB NOT NULL,        -- seal of the row of meta that this lock wrote last
  seal BLOB NOT NULL
) STRICT, WITHOUT ROWID;
