"""Engine: DBOS, which hands each chunk to one worker, of each app one at a time and in order."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final, NoReturn

from reconciler.changes import Plan
from reconciler.cluster.chunks import VERSION
from reconciler.cluster.tables import DEAD, Tables
from reconciler.errors import ConfigError, StateError
from reconciler.state import Identity, Run
from reconciler.stores.cipher import Cipher

if TYPE_CHECKING:
    from dbos import DBOSClient, WorkflowStatus
    from sqlalchemy import Engine as Database

log = logging.getLogger(__name__)

POLL: Final = 0.1
"""Seconds after which an idle worker looks for a chunk again."""

BEAT: Final = 2.0
"""Seconds after which a worker says that it lives, and looks for those that do not."""

_LISTEN: Final = 0.2
"""Seconds after which DBOS looks for messages to workflows: none are sent, but its end waits so."""

_PATIENCE: Final = 5.0
"""Seconds that DBOS is given to end; it needs a tenth of one, but for ever without a database."""

_WORKFLOW: Final = "reconciler.chunk"
_ENDED: Final = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]


class Returned(BaseException):
    """A chunk was not carried out: DBOS keeps no outcome of it, and another worker takes it.

    No Exception, as DBOS takes those for the end of a workflow.
    """


@dataclass(slots=True, eq=False)
class Claim:
    """A chunk that this worker has to carry out, until it is `done` or `returned`.

    `id` is that of DBOS's workflow.
    """

    id: str
    ended: threading.Event = field(default_factory=threading.Event)
    carried: bool = False

    def done(self) -> None:
        """Let DBOS go on to the next one of the app."""
        self.carried = True
        self.ended.set()

    def returned(self) -> None:
        """Leave it to another worker."""
        self.ended.set()


def require() -> None:
    """Raise ConfigError where what the engine needs is not installed."""
    try:
        import dbos
        import psycopg
        import sqlalchemy
    except ImportError as missing:
        raise ConfigError.of(
            "no-dbos",
            f"many machines need the package {missing.name}, which is not installed",
            hint="run: pip install 'im-reconciler[cluster]'",
        ) from None
    del dbos, psycopg, sqlalchemy


@contextmanager
def running(tables: Tables, *, takes: bool) -> Iterator[Engine]:
    """Run the engine; with `takes` it claims chunks as a worker, else it only queues them.

    Raises StateError for whatever DBOS cannot do. On leaving, what was claimed and not carried out
    is given back to the others.
    """
    require()
    with _quiet():
        tables.make()
        engine = Engine(tables, takes=takes)
        try:
            engine.launch()
            yield engine
        finally:
            engine.leave()


class Engine:
    """One executor of DBOS, on the database and in the schema of the tables.

    It works in threads of its own, so it is used from one place in a process.
    """

    def __init__(self, tables: Tables, *, takes: bool) -> None:
        self.id = str(uuid.uuid4())
        self.failure: Exception | None = None
        self._tables, self._takes = tables, takes
        self._own = tables.apart()  # for the thread of the heartbeat
        self._queue = tables.workspace
        self._claims: SimpleQueue[Claim] = SimpleQueue()
        self._held: set[Claim] = set()
        self._last: Claim | None = None
        self._left = threading.Event()
        self._over = False
        self._pulse = threading.Thread(target=self._beat, name="worker-heartbeat", daemon=True)
        self._database: Database = self._connecting()
        self._client: DBOSClient | None = None

    def launch(self) -> None:
        """Start DBOS; a worker claims from now on."""
        from dbos import DBOS, DBOSClient, WorkflowSerializationFormat

        if self._takes:
            # Before it can claim anything, so that nothing is ever claimed by nobody.
            self._tables.beat(self.id)
        with _told(self._tables):
            DBOS(config=self._config())
            _refuse_pickles()

            @DBOS.workflow(
                name=_WORKFLOW,
                max_recovery_attempts=None,
                serialization_type=WorkflowSerializationFormat.PORTABLE,
            )
            def chunk() -> None:
                self._claimed()

            DBOS.listen_queues([self._queue] if self._takes else [])
            DBOS.launch()
            DBOS.register_queue(
                self._queue,
                worker_concurrency=1,
                partition_concurrency=1,
                polling_interval_sec=POLL,
                on_conflict="always_update",
            )
            self._client = DBOSClient(
                system_database_engine=self._database,
                dbos_system_schema=self._tables.schema,
                application_name=self._name,
                retry_connection_errors=False,
            )
        if self._takes:
            self._pulse.start()

    @property
    def _name(self) -> str:
        return f"reconciler-{self._tables.workspace}"

    @property
    def _version(self) -> str:
        """What workers of this version take; DBOS wants it to be no other workspace's."""
        return f"{self._name}-{VERSION}"

    def _config(self) -> Any:
        return {
            "name": self._name,
            "system_database_engine": self._database,
            "dbos_system_schema": self._tables.schema,
            "use_listen_notify": False,
            "application_version": self._version,
            "executor_id": self.id,
            "enable_otlp": False,
            "notification_listener_polling_interval_sec": _LISTEN,
        }

    def _connecting(self) -> Database:
        """Return what connects DBOS: without an address, so that it can tell nobody any."""
        import sqlalchemy

        def connect() -> Any:
            if self._over:
                raise StateError.of("left", "this worker has left")
            connection = self._tables.connect()
            connection.autocommit = False
            return connection

        return sqlalchemy.create_engine(
            "postgresql+psycopg://",
            creator=connect,
            pool_size=3,
            max_overflow=7,
            pool_pre_ping=True,
        )

    def queue(self, plan: Plan, who: Identity, run: Run, cipher: Cipher) -> tuple[int, int]:
        """Queue the chunks of a plan that are not queued yet; return how many there are, and were.

        All of them or, if that fails, none.
        """
        from dbos import EnqueueOptions, WorkflowSerializationFormat

        assert self._client is not None
        with _told(self._tables):
            # How they ended is told by our own tables.
            ended = self._client.list_workflows(
                status=_ENDED, queue_name=self._queue, load_input=False, load_output=False
            )
            if ended:
                self._client.delete_workflows([one.workflow_id for one in ended])
            with self._database.begin() as transaction:
                connection: Any = transaction.connection.driver_connection
                chunks, fresh = self._tables.queue(connection, plan, who, run, cipher)
                for id, app in chunks:
                    options: EnqueueOptions = {
                        "workflow_name": _WORKFLOW,
                        "queue_name": self._queue,
                        "workflow_id": id,
                        "queue_partition_key": app,
                        "app_version": self._version,
                        "serialization_type": WorkflowSerializationFormat.PORTABLE,
                    }
                    self._client.enqueue_in_transaction(transaction, options)
        return len(chunks), fresh

    def next(self, seconds: float) -> Claim | None:
        """Return a chunk that was claimed, None if none was in that time.

        Raises what ended the heartbeat: without it others take this worker's chunks.
        """
        if self.failure is not None:
            raise self.failure
        with suppress(Empty):
            self._last = self._claims.get(timeout=seconds)
            return self._last
        return None

    def leave(self) -> None:
        """Stop claiming, and give back what was claimed and not carried out."""
        self._left.set()
        for claim in tuple(self._held):
            claim.returned()
        if self._pulse.ident is not None:
            self._pulse.join()
        try:
            # What cannot be given back now is taken over when this process is seen to be gone.
            if self._takes and self._client is not None and self.failure is None:
                with suppress(StateError), _told(self._tables):
                    self._await_outcomes()
                    self._end()
                    self._resume(self._pending(self.id))
                    self._tables.leave(self.id)
        finally:
            self._over = True
            self._end()
            self._database.dispose()

    def _end(self) -> None:
        """End DBOS; where it waits for the database, it is left behind as this process ends."""
        from dbos import DBOS

        ending = threading.Thread(
            target=DBOS.destroy, kwargs={"destroy_registry": True}, daemon=True
        )
        ending.start()
        ending.join(_PATIENCE)

    def _await_outcomes(self) -> None:
        """Wait, not for long, until DBOS has written down what was carried out last."""
        done = self._last.id if self._last and self._last.carried else ""
        for _ in range(100):
            if done not in {one.workflow_id for one in self._pending(self.id)}:
                return
            time.sleep(0.01)

    def _pending(self, executor: str | None = None) -> Sequence[WorkflowStatus]:
        """Return the workflows of chunks that somebody has claimed and not ended."""
        assert self._client is not None
        return self._client.list_workflows(
            status="PENDING",
            queue_name=self._queue,
            executor_id=executor,
            load_input=False,
            load_output=False,
        )

    def _resume(self, ones: Iterable[WorkflowStatus]) -> None:
        """Put claimed workflows back where they were in the queue."""
        assert self._client is not None
        if ids := [one.workflow_id for one in ones]:
            self._client.resume_workflows(ids, queue_name=self._queue)

    def _claimed(self) -> None:
        """Be the workflow of a chunk: wait in DBOS's thread for what the worker makes of it."""
        from dbos import DBOS

        claim = Claim(DBOS.workflow_id or "")
        self._held.add(claim)
        if self._left.is_set():
            raise Returned
        self._claims.put(claim)
        claim.ended.wait()
        self._held.discard(claim)
        if not claim.carried:
            raise Returned

    def _beat(self) -> None:
        """Say that this worker lives, and have the chunks of those that died carried out anew."""
        silent = pause = 0.0
        while not self._left.wait(pause):
            pause = BEAT
            try:
                self._own.beat(self.id)
                with self._own.burying() as living, _told(self._own):
                    if living is not None:
                        self._resume(x for x in self._pending() if x.executor_id not in living)
                silent = 0.0
            except Exception as problem:
                silent += BEAT
                log.debug("no heartbeat for %s s: %s", silent, problem)
                if silent >= DEAD:
                    self.failure = problem
                    break
        self._own.close()


@contextmanager
def _told(tables: Tables) -> Iterator[None]:
    """Turn what DBOS and SQLAlchemy raise inside into StateErrors, without an address."""
    from dbos import error as theirs
    from sqlalchemy.exc import DBAPIError, SQLAlchemyError

    try:
        with tables.place.told():
            try:
                yield
            except DBAPIError as problem:
                raise (problem.orig or problem) from None
    except (SQLAlchemyError, theirs.DBOSException) as problem:
        log.debug("%s: %s", type(problem).__name__, problem)
        raise StateError.of(
            "queue-unusable",
            f"{tables.place.name}: DBOS cannot use the queue: {type(problem).__name__}",
            hint="--log-level debug shows what it says",
        ) from None


def _refuse_pickles() -> None:
    """Have DBOS read JSON alone: whoever can write to the database must not run code here."""
    from dbos import _serialization

    def refuse(_: str) -> NoReturn:
        raise ValueError("a pickle is code, and is not read")

    setattr(_serialization.DBOSDefaultSerializer, "deserialize", refuse)  # noqa: B010


@contextmanager
def _quiet() -> Iterator[None]:
    """Take what DBOS logs for debugging only: it tells its start, its tracebacks and its page."""

    class Demoted(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            log.debug("%s: %s", record.name, record.getMessage())

    theirs, demoted = logging.getLogger("dbos"), Demoted()
    before = theirs.handlers[:], theirs.propagate
    theirs.handlers, theirs.propagate = [demoted], False
    try:
        yield
    finally:
        theirs.handlers, theirs.propagate = before
