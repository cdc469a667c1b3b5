"""A server of processes: forked when all is imported, they end where they are told.

`fork_server.py serve SOCKET` serves. Any other words after a socket are a command line of
`reconciler` for it, with the caller's own streams: so scripts run the command without its start-up.
What a process does before it ends is the product's own code: a point only wraps a function of it.
"""

from __future__ import annotations

import os
import socket
import sys

if __name__ == "__main__" and sys.argv[1] != "serve":
    import marshal

    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(sys.argv[1])
        how = {"argv": sys.argv[2:], "cwd": os.getcwd(), "environ": dict(os.environ)}
        order = marshal.dumps(how)
        socket.send_fds(asking, [len(order).to_bytes(4, "big")], [0, 1, 2])
        asking.sendall(order)
        told = asking.makefile()
        told.readline()
        sys.exit(int(told.readline().split()[0]))

import importlib
import itertools
import marshal
import pkgutil
import resource
import selectors
import signal
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any

import reconciler.cli.apply as asking
import reconciler.files as files
import reconciler.session.apply as applying
import reconciler.settle as settling
import reconciler.stores.lease as locks
import reconciler.stores.sqlite as store
import reconciler.stores.sqlite_file as sqlite_file
import reconciler.stores.sqlite_tables as tables
import reconciler.stores.table_store as stores
import reconciler.stores.table_writer as writers
import reconciler.transport as transport
import reconciler.transport.wire as wire

WORKSPACE = """\
version: 1
workspace: warm
providers:
  app:
    type: yunxin
    endpoint: http://127.0.0.1:9
    credentials: {app_key: env:APP_KEY, app_secret: env:APP_SECRET}
"""

Act = Callable[[], None]


class Nth:
    """Does something at the n-th call of all threads together, and nothing at the others."""

    def __init__(self, n: int, act: Act) -> None:
        self._calls, self._n, self._act = itertools.count(1), n, act

    def __call__(self) -> None:
        if next(self._calls) == self._n:
            self._act()


def before(owner: Any, name: str, reached: Act) -> None:
    """Reach the point whenever the function is about to run."""
    inner = getattr(owner, name)

    def wrapped(*args: Any, **more: Any) -> Any:
        reached()
        return inner(*args, **more)

    setattr(owner, name, wrapped)


def after(owner: Any, name: str, reached: Act) -> None:
    """Reach the point whenever the function has run."""
    inner = getattr(owner, name)

    def wrapped(*args: Any, **more: Any) -> Any:
        result = inner(*args, **more)
        reached()
        return result

    setattr(owner, name, wrapped)


class Flight(threading.local):
    """What the request of this thread is: does it mutate, has its body begun, was it read of."""

    mutates = wrote = read = False


FLIGHT = Flight()


def _mutating(reached: Act, when: str) -> None:
    """Follow mutating requests through the transport, and reach the point in or after each."""
    ask, write, read = transport.Transport._ask, wire._Stream.write, wire._Stream.read

    def asked(self: Any, request: Any) -> Any:
        FLIGHT.mutates, FLIGHT.wrote, FLIGHT.read = request.mutates, False, False
        answer = ask(self, request)
        if when == "parsed" and request.mutates:
            reached()
        return answer

    def written(self: Any, buffer: bytes, timeout: float | None = None) -> None:
        body = FLIGHT.mutates and not buffer.startswith((b"POST ", b"PATCH "))
        if when == "half" and body and not FLIGHT.wrote:
            FLIGHT.wrote = True
            write(self, buffer[: len(buffer) // 2], timeout)
            reached()
            write(self, buffer[len(buffer) // 2 :], timeout)
            return
        write(self, buffer, timeout)

    def had(self: Any, most: int, timeout: float | None = None) -> bytes:
        first, FLIGHT.read = FLIGHT.mutates and not FLIGHT.read, True
        if first and when == "sent":
            reached()
        if not (first and when == "partly"):
            return read(self, most, timeout)
        piece = read(self, 20, timeout)
        reached()
        return piece

    transport.Transport._ask = asked  # type: ignore[method-assign]
    wire._Stream.write = written  # type: ignore[method-assign]
    wire._Stream.read = had  # type: ignore[method-assign]


Put = Callable[[Act], None]

POINTS: dict[str, Put] = {
    "C1 before the lock": lambda at: before(store.SqliteStore, "_writable", at),
    "C2 locked": lambda at: after(stores, "take", at),
    "C3 judged": lambda at: before(applying.Applying, "carry_out", at),
    "C4 before the intents": lambda at: before(writers.TableWriter, "intend", at),
    "C5 in the intents' transaction": lambda at: after(tables.SqliteTables, "add_journal", at),
    "C6 intents committed": lambda at: after(writers.TableWriter, "intend", at),
    "C7 half the body sent": lambda at: _mutating(at, "half"),
    "C8 sent": lambda at: _mutating(at, "sent"),
    "C9 half the answer read": lambda at: _mutating(at, "partly"),
    "C10 answer parsed": lambda at: _mutating(at, "parsed"),
    "C11 in the outcomes' transaction": lambda at: after(writers.TableWriter, "_put", at),
    "C12 outcomes committed": lambda at: after(writers.TableWriter, "settle", at),
    "C13 before the high-water mark": lambda at: before(writers, "write_mark", at),
    "C13 in the high-water mark": lambda at: before(files.os, "rename", at),
    "C14 before the unlock": lambda at: before(writers, "give_up", at),
    "C15 unlocked": lambda at: after(writers.TableWriter, "release", at),
    "C15 before the file is shrunk": lambda at: before(tables.SqliteTables, "shrink", at),
    "C16 before the read-back": lambda at: before(settling, "look", at),
    "C16 read back": lambda at: after(settling, "look", at),
    "the lock was asked for": lambda at: after(stores, "take", at),
    "planning": lambda at: before(asking, "make", at),
    "paced": lambda at: before(transport.Pacer, "wait", at),
}


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _failing(order: dict[str, Any]) -> Callable[..., sqlite3.Connection]:
    """Return a connect whose n-th statement of a kind fails, before it ran or, late, after it."""
    word, n, name, late = order["failing"]
    calls = itertools.count(1)

    class Failing(sqlite3.Connection):
        def execute(self, sql: str, *more: Any) -> sqlite3.Cursor:
            if not (sql.startswith(word) and next(calls) == n):
                return super().execute(sql, *more)
            if late:
                super().execute(sql, *more)
            Path(order["reached"]).touch()
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorname = name
            raise error

    return lambda *args, **how: sqlite3.connect(*args, factory=Failing, **how)


def _waiting(order: dict[str, Any]) -> Act:
    """Return what says that the point is reached, and then waits to be let go, 20 s at most."""

    def wait() -> None:
        Path(order["reached"]).touch()
        ends = time.monotonic() + 20
        while time.monotonic() < ends and not os.path.exists(order["go"]):
            time.sleep(0.01)

    return wait


def _bend(order: dict[str, Any]) -> None:
    """Have the command meet what the order says of its lease, disk, memory and end."""
    if "umask" in order:
        os.umask(order["umask"])
    defaults = store.SqliteStore.__init__.__kwdefaults__
    defaults["lease"] = order.get("lease", defaults["lease"])
    if not order.get("heartbeat", True):
        locks.Lease._beat = lambda self: None  # type: ignore[method-assign]
    if "failing" in order:
        defaults["connect"] = _failing(order)
    sqlite_file.BUSY_SECONDS = order.get("busy", sqlite_file.BUSY_SECONDS)  # type: ignore[misc]
    transport._BACKOFF = 0.01  # type: ignore[misc]
    transport._GRACE = order.get("grace", transport._GRACE)  # type: ignore[misc]
    if limit := order.get("limit"):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    if memory := order.get("memory"):
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    if "core" in order:
        resource.setrlimit(resource.RLIMIT_CORE, order["core"])
    if point := order.get("point"):
        POINTS[point](Nth(order["n"], _die if order["then"] == "die" else _waiting(order)))


def _become(order: dict[str, Any], streams: list[int]) -> None:
    """Turn this fork into the command, or the function that is to run; it never returns."""
    code = 70
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        sys.stdin, sys.stdout = open(0), open(1, "w")  # noqa: SIM115 (for the life of the process)
        sys.stderr = open(2, "w", buffering=1)  # noqa: SIM115 (likewise)
        os.chdir(order["cwd"])
        os.environ.clear()
        os.environ.update(order["environ"])
        sys.argv[1:] = order["argv"]
        _bend(order)
        module, _, name = order.get("run", "reconciler.__main__:main").partition(":")
        getattr(importlib.import_module(module), name)(*order.get("args", ()))
        code = 0
    except KeyboardInterrupt:
        code = 130
    except SystemExit as ended:
        code = int(ended.code or 0)
    finally:
        # A second signal may come just where the first one is taken notice of.
        if isinstance(sys.exc_info()[1], KeyboardInterrupt):
            code = 130
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _warm_up() -> None:
    """Plan, so that what a command imports and compiles on its way is there already."""
    from reconciler.cli import run

    for name in ("cli", "providers", "session", "stores", "transport", "views"):
        package = importlib.import_module(f"reconciler.{name}")
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"reconciler.{name}.{module.name}")
    for name in ("encodings.idna", "httpcore", "yaml", "store_child"):
        importlib.import_module(name)
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as nowhere:
        Path(folder, "reconciler.yaml").write_text(WORKSPACE)
        Path(folder, "accounts").mkdir()
        Path(folder, "accounts/a.yaml").write_text("accounts:\n  a: {banned: {reason: x}}\n")
        with redirect_stdout(nowhere), redirect_stderr(nowhere):
            for format in ("text", "markdown", "github"):
                if code := run(["--chdir", folder, "plan", "--format", format], {}):
                    raise SystemExit(f"the plan of the warm-up ended with {code}")


def _told(asked: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Return the order that comes, and its streams."""
    size, streams, _, _ = socket.recv_fds(asked, 4, 3)
    left, data = int.from_bytes(size, "big"), b""
    while len(data) < left:
        data += asked.recv(left - len(data))
    return marshal.loads(data), streams


def serve(place: str) -> None:
    """Start processes as they are asked for, until stdin ends; tell who asked of pid and end."""
    _warm_up()
    ended, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    running: dict[int, socket.socket] = {}
    with socket.socket(socket.AF_UNIX) as server, selectors.DefaultSelector() as selector:
        server.bind(place)
        server.listen(100)
        for one in (0, ended, server):
            selector.register(one, selectors.EVENT_READ)
        os.write(1, b"ready\n")
        while ready := [key.fileobj for key, _ in selector.select()]:
            if 0 in ready:
                return
            if server in ready:
                asked, _ = server.accept()
                order, streams = _told(asked)
                pid = os.fork()
                if pid == 0:
                    selector.close()
                    server.close()
                    _become(order, streams)
                for stream in streams:
                    os.close(stream)
                asked.sendall(f"{pid}\n".encode())
                running[pid] = asked
            if ended in ready:
                os.read(ended, 4096)
            while running and (found := os.wait4(-1, os.WNOHANG))[0]:
                pid, status, took = found
                seconds = took.ru_utime + took.ru_stime
                line = f"{os.waitstatus_to_exitcode(status)} {took.ru_maxrss} {seconds}\n"
                with running.pop(pid) as asked, suppress(OSError):
                    asked.sendall(line.encode())


if __name__ == "__main__":
    serve(sys.argv[2])
