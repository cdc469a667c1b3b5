"""Tables: the chunks of a workspace, its workers and its paces, beside DBOS's own tables."""

from __future__ import annotations

import json
import os
import socket
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import psycopg

from reconciler import __version__
from reconciler.accounts import Address, split
from reconciler.changes import Plan, to_json
from reconciler.cluster.chunks import Chunk, cut
from reconciler.errors import ReconcilerError
from reconciler.planfile import decode, encode
from reconciler.state import Identity, Run
from reconciler.stores.cipher import Cipher, Forged, Kind
from reconciler.stores.held import birth, gone
from reconciler.stores.keys import Keys
from reconciler.stores.postgres import SCHEMA
from reconciler.stores.postgres_place import PostgresPlace
from reconciler.stores.rows import Broken, Row, opened, sealed
from reconciler.values import canonical, to_text

if TYPE_CHECKING:
    from reconciler.stores.postgres_tables import Connection

DEAD: Final = 30.0
"""Seconds of silence, by the server's clock, after which a worker's chunk is another's to take."""

_LONGEST: Final = 63
_KEPT: Final = 30
"""Days for which it is known how a chunk ended."""

_SEALED: Final = Kind("chunk", "the chunk {0}", ((1, bytes),))
_MADE: Final = """
CREATE TABLE IF NOT EXISTS reconciler_chunks (
  id text COLLATE "C" PRIMARY KEY,  -- workspace, plan, app and number
  workflow text COLLATE "C" NOT NULL UNIQUE,  -- of DBOS: a new one each time it is queued
  round bigint NOT NULL DEFAULT 1,  -- how often it was queued
  workspace text COLLATE "C" NOT NULL,
  plan text NOT NULL,               -- fingerprint of the whole plan
  app text NOT NULL,
  number bigint NOT NULL,
  actions bigint NOT NULL,
  key text NOT NULL,                -- id of the key that body is encrypted with, empty for clear
  body bytea,                       -- what is to be done and for whom; NULL once it is done
  seal bytea,
  queued_at timestamptz NOT NULL DEFAULT now(),
  runs text[] NOT NULL DEFAULT '{}',
  worker text NOT NULL DEFAULT '',
  done_at timestamptz,
  result text NOT NULL DEFAULT ''   -- JSON: how many actions ended how
);
CREATE INDEX IF NOT EXISTS reconciler_chunks_open ON reconciler_chunks (workspace, app)
  WHERE done_at IS NULL;
CREATE TABLE IF NOT EXISTS reconciler_workers (
  id text PRIMARY KEY,              -- of DBOS's executor too
  workspace text COLLATE "C" NOT NULL,
  host text NOT NULL,
  pid bigint NOT NULL,
  birth text NOT NULL,
  seen timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE IF NOT EXISTS reconciler_paces (
  workspace text COLLATE "C" NOT NULL,
  app text NOT NULL,
  told text,                        -- JSON: what was sent of late; NULL while somebody sends
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (workspace, app)
);
"""

_WITHDRAW: Final = (
    b"UPDATE reconciler_chunks SET body = NULL, seal = NULL, done_at = now(),"
    b" result = json_build_object('applied', json_build_object(), 'failed', 0, 'in_doubt', 0,"
    b" 'skipped', actions)::text WHERE workspace = %s AND done_at IS NULL"
)


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker as others see it; `silent` is how many seconds it was not heard of."""

    id: str
    host: str
    pid: int
    silent: float


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the part of a plan in one app is; `result` adds up what ended."""

    plan: str
    app: str
    chunks: int
    done: int
    actions: int
    queued_at: str
    worker: str
    result: Mapping[str, Any]


def tables_of(url: str, schema: str | None, root: Any, workspace: str) -> Tables:
    """Return the tables beside the state that is in `schema` of the database at `url`."""
    return Tables(PostgresPlace(url, schema or SCHEMA, root, workspace), schema or SCHEMA)


class Tables:
    """What is shared by way of the database; every method takes a connection of its own thread's.

    Each raises StateError for whatever is wrong with the database, and keeps its address secret.
    """

    def __init__(self, place: PostgresPlace, schema: str) -> None:
        self.place = place
        self.workspace = place.workspace
        self._schema = schema
        self.schema = f"{schema[: _LONGEST - 6]}_queue"
        self._connection: Connection | None = None

    def apart(self) -> Tables:
        """Return the same tables by way of another connection, for another thread."""
        return Tables(self.place, self._schema)

    @contextmanager
    def connected(self) -> Iterator[Connection]:
        """Give the connection, made anew where the server has ended it meanwhile."""
        with self.place.told():
            if self._connection is not None:
                with suppress(psycopg.Error):
                    self._connection.execute(b"SELECT 1")
            if self._connection is None or self._connection.closed:
                self._connection = self.connect()
            yield self._connection

    def connect(self) -> Connection:
        """Return a connection in autocommit mode that looks into the schema."""
        connection = self.place.plain()
        try:
            connection.execute(
                b"SELECT set_config('search_path', quote_ident(%s), false)", (self.schema,)
            )
        except BaseException:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def make(self) -> None:
        """Make schema and tables, where they are not there yet."""
        with self.connected() as connection, connection.transaction():
            connection.execute(
                b"SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))",
                (f"reconciler {self.schema}",),
            )
            named = (self.schema,)
            if not connection.execute(
                b"SELECT 1 FROM pg_namespace WHERE nspname = %s", named
            ).fetchone():
                name = psycopg.sql.Identifier(self.schema)
                connection.execute(psycopg.sql.SQL("CREATE SCHEMA {}").format(name))
            connection.execute(_MADE.encode())

    @property
    def made(self) -> bool:
        """Whether anything was ever queued here."""
        with self.connected() as connection:
            row = connection.execute(b"SELECT to_regclass('reconciler_chunks') IS NOT NULL")
            return bool((row.fetchone() or (False,))[0])

    # Chunks

    def queue(
        self, connection: Connection, plan: Plan, who: Identity, run: Run, cipher: Cipher
    ) -> tuple[list[tuple[str, str]], int]:
        """Write a plan's chunks; return workflow and app of each, and how many were not queued yet.

        It is the caller's transaction. One that was done is queued anew: its plan was made again.
        So is one that waits and was made of another state, or of accounts that changed since.
        """
        found, fresh = [], 0
        for app, number, piece in cut(plan):
            id = self._id(plan.fingerprint, app, number)
            place = plan.fingerprint, app, number
            if not self._waits(connection, place, piece, cipher):
                connection.execute(_WITHDRAW + b" AND id = %s", (self.workspace, id))
            told = {"run": run.to_json(), "plan": encode(piece, __version__).decode()}
            _, body, seal = sealed(_SEALED, (id, canonical(told)), cipher)
            fresh += connection.execute(
                b"INSERT INTO reconciler_chunks"
                b" (id, workflow, workspace, plan, app, number, actions, key, body, seal)"
                b" VALUES (%s,%s,%s,%s,%s,%s,%s,%s,%s,%s) ON CONFLICT (id) DO UPDATE SET"
                b" round = reconciler_chunks.round + 1,"
                b" workflow = reconciler_chunks.id || '/' || (reconciler_chunks.round + 1),"
                b" plan = excluded.plan, app = excluded.app, number = excluded.number,"
                b" actions = excluded.actions, key = excluded.key, body = excluded.body,"
                b" seal = excluded.seal, queued_at = now(), runs = '{}', worker = '',"
                b" done_at = NULL, result = '' WHERE reconciler_chunks.done_at IS NOT NULL",
                (
                    *(
                        id,
                        f"{id}/1",
                        self.workspace,
                        plan.fingerprint,
                        app,
                        number,
                        len(piece.actions),
                    ),
                    *(who.key, body, seal),
                ),
            ).rowcount
            row = connection.execute(
                b"SELECT workflow FROM reconciler_chunks WHERE id = %s", (id,)
            ).fetchone()
            found.append((row[0] if row else "", app))
        connection.execute(
            b"DELETE FROM reconciler_chunks WHERE done_at < now() - make_interval(days => %s)",
            (_KEPT,),
        )
        return found, fresh

    def _id(self, plan: str, app: str, number: int) -> str:
        return f"{self.workspace}/{plan}/{app}/{number:05}"

    def _waits(
        self, connection: Connection, place: tuple[str, str, int], piece: Plan, cipher: Cipher
    ) -> bool:
        """Tell whether a chunk that waits at this place, plan, app and number, is just this one."""
        id = self._id(*place)
        row = connection.execute(
            b"SELECT body, seal FROM reconciler_chunks WHERE id = %s AND done_at IS NULL"
            b" AND plan = %s AND app = %s AND number = %s",
            (id, *place),
        ).fetchone()
        if row is None or None in row:
            return False
        try:
            _, told = opened(_SEALED, (id, *map(bytes, row)), cipher)
            plan = decode(json.loads(told)["plan"].encode(), id)
        except (Broken, Forged, ReconcilerError):
            return False
        same = [canonical([to_json(one) for one in its.actions]) for its in (plan, piece)]
        return plan.lineage == piece.lineage and same[0] == same[1]

    def withdraw(
        self, apps: Sequence[str] | None, plan: str, before: str | None
    ) -> tuple[int, int]:
        """Let nobody carry out the chunks of these apps, or of all, but for those of one plan.

        With `before` (RFC 3339) only what was queued by then. Return how many they are and of how
        many actions. Hold the lock of the apps: who waits for
        it finds its chunk done, and what a worker that died left in doubt is settled already.
        """
        with self.connected() as connection:
            rows = connection.execute(
                _WITHDRAW + b" AND plan <> %s AND (%s::text[] IS NULL OR app = ANY(%s::text[]))"
                b" AND (%s::timestamptz IS NULL OR queued_at <= %s::timestamptz)"
                b" RETURNING actions",
                (self.workspace, plan, *[apps and [*apps]] * 2, before, before),
            ).fetchall()
        return len(rows), sum(int(row[0]) for row in rows)

    def app(self, workflow: str) -> str:
        """Return the app of a chunk that is still to be done, empty where there is none."""
        with self.connected() as connection:
            row = connection.execute(
                b"SELECT app FROM reconciler_chunks WHERE workflow = %s AND done_at IS NULL",
                (workflow,),
            ).fetchone()
        return row[0] if row else ""

    def begin(
        self, workflow: str, run: str, worker: str, keys: Keys, who: Identity
    ) -> Chunk | None:
        """Note that a run begins to carry a chunk out; return it, None if it is done already."""
        with self.connected() as connection:
            row = connection.execute(
                b"UPDATE reconciler_chunks SET runs = runs || %s::text, worker = %s"
                b" WHERE workflow = %s AND done_at IS NULL"
                b" RETURNING id, body, seal, app, number, plan, key, runs, queued_at",
                (run, worker, workflow),
            ).fetchone()
            return self._chunk(row, keys, who) if row else None

    def _chunk(self, row: Row, keys: Keys, who: Identity) -> Chunk:
        id, body, seal, app, number, fingerprint, key, runs, queued = row
        if body is None or seal is None:
            raise Broken(f"the chunk {id} is empty, and it is not done")
        cipher = keys.reading(key, self.workspace, who.lineage, self.place.name)
        _, told = opened(_SEALED, (id, bytes(body), bytes(seal)), cipher)
        shape = json.loads(told)
        plan = decode(shape["plan"].encode(), f"the chunk {id}")
        apps = {split(action.address)[0] for action in plan.actions}
        # What is sealed names its row: what stands beside it says under which lock it is done.
        if (id, apps) != (self._id(fingerprint, app, number), {app}):
            raise Broken(f"the chunk {id} is not of the plan and app that its row says")
        run = Run.from_json(shape["run"])
        return Chunk(id, app, number, fingerprint, plan, run, tuple(runs), to_text(queued))

    def forget(self, workflow: str, run: str) -> None:
        """Note that a run has not carried out anything of a chunk, and says nothing about it."""
        with self.connected() as connection:
            connection.execute(
                b"UPDATE reconciler_chunks SET runs = array_remove(runs, %s::text)"
                b" WHERE workflow = %s",
                (run, workflow),
            )

    def finish(self, workflow: str, result: Mapping[str, Any]) -> None:
        """Note how a chunk ended, and keep nothing else of it."""
        with self.connected() as connection:
            connection.execute(
                b"UPDATE reconciler_chunks SET body = NULL, seal = NULL, done_at = now(),"
                b" result = %s WHERE workflow = %s",
                (canonical(dict(result)).decode(), workflow),
            )

    def open(self) -> int:
        """Return how many chunks are not done."""
        with self.connected() as connection:
            row = connection.execute(
                b"SELECT count(*) FROM reconciler_chunks WHERE workspace = %s AND done_at IS NULL",
                (self.workspace,),
            ).fetchone()
        return int(row[0]) if row else 0

    def holding(self, where: Address, app: str, keys: Keys, who: Identity) -> Iterator[str]:
        """Yield the ids of chunks that are not done and are about an account."""
        with self.connected() as connection:
            rows = connection.execute(
                b"SELECT id, body, seal, app, number, plan, key, runs, queued_at"
                b" FROM reconciler_chunks WHERE workspace = %s AND app = %s AND done_at IS NULL"
                b" ORDER BY id",
                (self.workspace, app),
            ).fetchall()
            chunks = [self._chunk(row, keys, who) for row in rows]
        for chunk in chunks:
            if any(action.address == where for action in chunk.plan.actions):
                yield chunk.id

    def progress(self) -> Iterator[Progress]:
        """Yield how far each app's part of each plan is, of this month's, oldest first."""
        with self.connected() as connection:
            rows = connection.execute(
                b"SELECT plan, app, count(*), count(done_at), sum(actions)::int8,"
                b" to_char(min(queued_at) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),"
                b" coalesce(max(worker) FILTER (WHERE done_at IS NULL), ''),"
                b" array_agg(result) FROM reconciler_chunks WHERE workspace = %s"
                b" GROUP BY plan, app ORDER BY min(queued_at), plan, app",
                (self.workspace,),
            ).fetchall()
            told = [Progress(*(*row[:-1], _summed(filter(None, row[-1])))) for row in rows]
        yield from told

    # Paces

    def pace(self, app: str) -> tuple[Mapping[str, Any] | None, float]:
        """Return what was sent to an app of late, and how many seconds ago that was noted.

        Until `rest` nobody knows it: None for the next who asks, if this one never comes to it.
        """
        with self.connected() as connection, connection.transaction():
            row = connection.execute(
                b"SELECT told, extract(epoch FROM clock_timestamp() - at)::float8"
                b" FROM reconciler_paces WHERE workspace = %s AND app = %s FOR UPDATE",
                (self.workspace, app),
            ).fetchone()
            connection.execute(
                b"INSERT INTO reconciler_paces (workspace, app) VALUES (%s, %s)"
                b" ON CONFLICT (workspace, app)"
                b" DO UPDATE SET told = NULL, at = clock_timestamp()",
                (self.workspace, app),
            )
        if row is None:
            return {}, 0.0
        told = _paces(row[0]) if row[0] else None
        return (told, row[1]) if told is not None else (None, 0.0)

    def rest(self, app: str, told: Mapping[str, Any] | None) -> None:
        """Note what was sent to an app of late; call it when nothing more is sent."""
        text = None if told is None else canonical(told).decode()
        with self.connected() as connection:
            connection.execute(
                b"UPDATE reconciler_paces SET told = %s, at = clock_timestamp()"
                b" WHERE workspace = %s AND app = %s",
                (text, self.workspace, app),
            )

    # Workers

    def beat(self, id: str) -> None:
        """Say that a worker of this process lives."""
        with self.connected() as connection:
            connection.execute(
                b"INSERT INTO reconciler_workers (id, workspace, host, pid, birth)"
                b" VALUES (%s,%s,%s,%s,%s) ON CONFLICT (id) DO UPDATE SET"
                b" seen = clock_timestamp()",
                (id, self.workspace, socket.gethostname(), os.getpid(), birth(os.getpid())),
            )

    def leave(self, id: str) -> None:
        """Say that a worker is no more."""
        with self.connected() as connection:
            connection.execute(b"DELETE FROM reconciler_workers WHERE id = %s", (id,))

    @contextmanager
    def burying(self) -> Iterator[frozenset[str] | None]:
        """Give the workers that live, the others being dropped; None while another process does so.

        One on this host whose process is gone is dead at once, another after some silence.
        """
        here = socket.gethostname()
        with self.connected() as connection, connection.transaction():
            (alone,) = connection.execute(
                b"SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 1))",
                (f"reconciler {self.schema} {self.workspace}",),
            ).fetchone() or (False,)
            if not alone:
                yield None
                return
            rows = connection.execute(
                b"SELECT id, host, pid, birth,"
                b" extract(epoch FROM clock_timestamp() - seen)::float8"
                b" FROM reconciler_workers WHERE workspace = %s",
                (self.workspace,),
            ).fetchall()
            dead = [
                id
                for id, host, pid, born, silent in rows
                if silent > DEAD or (host == here and gone(pid, born))
            ]
            if dead:
                connection.execute(b"DELETE FROM reconciler_workers WHERE id = ANY(%s)", (dead,))
            yield frozenset(row[0] for row in rows) - {*dead}

    def workers(self) -> Iterator[Worker]:
        """Yield the workers, as far as they are known to live."""
        here = socket.gethostname()
        with self.connected() as connection:
            rows = connection.execute(
                b"SELECT id, host, pid, birth,"
                b" extract(epoch FROM clock_timestamp() - seen)::float8"
                b" FROM reconciler_workers WHERE workspace = %s ORDER BY host, pid",
                (self.workspace,),
            ).fetchall()
        for id, host, pid, born, silent in rows:
            if silent <= DEAD and not (host == here and gone(pid, born)):
                yield Worker(id, host, pid, silent)


def _summed(results: Iterable[str]) -> dict[str, Any]:
    """Return the counts of several chunks together. Raises Broken for what is none."""
    applied: Counter[str] = Counter()
    found = Counter({"failed": 0, "skipped": 0, "in_doubt": 0})
    try:
        for one in map(json.loads, results):
            applied.update(one["applied"])
            found.update({name: one[name] for name in found})
    except (ValueError, TypeError, LookupError, AttributeError):
        raise Broken("how a chunk ended is not told as it was written") from None
    return {"applied": dict(applied), **found}


def _paces(text: str) -> Mapping[str, Any] | None:
    """Return what a pacer told; None, as of one that never came to it, for what none has told."""
    try:
        return {
            str(api): {"heard": [*map(float, one["heard"])], "paused": float(one["paused"])}
            for api, one in json.loads(text).items()
        }
    except (ValueError, TypeError, LookupError, AttributeError):
        return None
