"""The n-th failure: whichever request or write fails, an apply ends well or the next one does."""

from __future__ import annotations

import itertools
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from reconciler import transport
from reconciler.stores import sqlite_file
from reconciler.stores.sqlite import SqliteStore
from reconciler.transport.pacing import Pacer
from tests.forks import Forks
from tests.scene import VENDORS, Scene, staged

THROTTLED = {"yunxin": 416, "commsease": 416, "tencent": 60007}
FAULTS: dict[str, dict[str, Any]] = {
    "reset before": {"fault": "reset"},
    "reset after": {"fault": "reset", "executed": True},
    "hang before": {"fault": "hang", "seconds": 60},
    "hang after": {"fault": "hang", "seconds": 60, "executed": True},
    "truncated": {"fault": "truncated", "executed": True},
    "HTML 200": {"fault": "html"},
    "HTML 200 after": {"fault": "html", "executed": True},
    "empty 200": {"fault": "empty"},
    "status 500": {"fault": "status", "status": 500, "executed": True},
    "throttled": {"fault": "code"},
    "late": {"fault": "late", "seconds": 0.03},
}


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten what a person would wait for: deadlines, pauses and a busy disk."""
    penalize = Pacer.penalize
    monkeypatch.setitem(transport.Transport.__init__.__kwdefaults__, "deadline", 0.5)
    monkeypatch.setattr(Pacer, "penalize", lambda pacer, api, _: penalize(pacer, api, 0.001))
    monkeypatch.setattr(sqlite_file, "BUSY_SECONDS", 0.05)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """One action of every kind to do."""
    with staged("yunxin", tmp_path) as scene:
        yield scene


def met(scene: Scene, name: str, n: int) -> bool:
    """Apply with a fault at the n-th request; False if there were fewer requests."""
    scene.reset()
    fault = {"match": {"vendor": scene.speaks.type}, "after": n - 1, **FAULTS[name]}
    if name == "throttled":
        fault["code"] = THROTTLED[scene.speaks.type]
    scene.faults(fault)
    ended = scene.run("apply", "--auto-approve")
    assert ended.code in (0, 3), (name, n, ended)
    reached = not scene.control("faults")["faults"]
    scene.control("faults", method="DELETE")
    if ended.code == 3:
        scene.settled()
    else:
        scene.complete()
    return reached


@pytest.mark.parametrize("fault", ["reset before", "truncated", "throttled", "late"])
def test_every_request_may_fail(scene: Scene, fault: str) -> None:
    """Whichever request is lost, done unseen, put off or done late: all is done, and once.

    These are what a fault comes to beyond the transport, whatever the wire looked like.
    """
    assert next(n for n in itertools.count(1) if not met(scene, fault, n)) > 12


@pytest.mark.parametrize("vendor", VENDORS)
def test_every_request_may_meet_any_fault(vendor: str, tmp_path: Path) -> None:
    """The same at every vendor, where each request meets two of all the faults in turn."""
    with staged(vendor, tmp_path) as scene:
        turns = itertools.cycle(FAULTS)
        for n in itertools.count(1):
            if not (met(scene, next(turns), n) and met(scene, next(turns), n)):
                break
        assert n > 12


# Writes


def connecting(monkeypatch: pytest.MonkeyPatch, connect: Callable[..., Any]) -> None:
    """Have every store opened from now on connect so."""
    monkeypatch.setitem(SqliteStore.__init__.__kwdefaults__, "connect", connect)


@pytest.mark.parametrize(
    ("word", "name", "late"),
    [
        pytest.param("COMMIT", "SQLITE_IOERR_FSYNC", False, id="commit-fails"),
        pytest.param("COMMIT", "SQLITE_IOERR_FSYNC", True, id="commit-fails-and-holds"),
        pytest.param("BEGIN IMMEDIATE", "SQLITE_BUSY", False, id="busy"),
    ],
)
def test_every_transaction_may_fail(scene: Scene, word: str, name: str, late: bool) -> None:
    """Whichever transaction fails, also one that holds though it said no, the next run ends it."""
    for n in itertools.count(1):
        scene.reset()
        child = scene.apply(failing=(word, n, name, late))
        code = child.wait()
        if not (child.folder / "reached").exists():
            break
        assert code in (0, 1), child.err
        assert "internal error" not in child.err
        scene.settled()
    assert code == 0
    assert n > 6


def test_a_full_disk(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many pages are free, a full disk is an error that says so, and nothing is lost."""
    scene.reset()
    with closing(sqlite3.connect(scene.state)) as other:
        (pages,) = other.execute("PRAGMA page_count").fetchone()
    for more in itertools.count():
        scene.reset()

        def connect(*args: Any, most: int = pages + more, **how: Any) -> sqlite3.Connection:
            connection = sqlite3.connect(*args, **how)
            connection.execute(f"PRAGMA max_page_count = {most}")
            return connection

        with monkeypatch.context() as patch:
            connecting(patch, connect)
            ended = scene.run("apply", "--auto-approve")
        if ended.code == 0:
            break
        assert (ended.code, "the disk or its quota is full" in ended.err) == (1, True), ended
        scene.settled()
    assert more > 0


def test_a_limit_of_file_size(scene: Scene) -> None:
    """However far the files may grow, no write that was acknowledged is lost (RLIMIT_FSIZE)."""
    failures = 0
    for limit in itertools.count(8192, 24576):
        scene.reset()
        child = scene.apply(limit=limit)
        if child.wait() == 0:
            break
        failures += 1
        assert child.code == 1, child.err
        assert "internal error" not in child.err
        scene.settled()
    assert failures > 2


def test_a_read_only_state(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state that cannot be written is an error before anything is sent to the vendor."""

    def connect(*args: Any, **how: Any) -> sqlite3.Connection:
        connection = sqlite3.connect(*args, **how)
        connection.execute("PRAGMA query_only = ON")
        return connection

    with monkeypatch.context() as patch:
        connecting(patch, connect)
        ended = scene.run("apply", "--auto-approve")

    assert (ended.code, "read-only" in ended.err) == (1, True), ended
    assert scene.requests() == []
    scene.settled()


def test_a_state_that_is_kept_busy(scene: Scene) -> None:
    """A process that keeps the state busy from any request on ends the run, and loses nothing."""
    for wanted in itertools.count(1):
        scene.reset()
        code, said, busy = _beside_a_hog(scene, wanted)
        if not busy:
            break
        assert (code, "busy" in said) == (1, True), said
        scene.settled()
    assert code == 0
    assert wanted > 12


def _beside_a_hog(scene: Scene, wanted: int) -> tuple[int, str, bool]:
    """Apply while another process takes the file at a request; tell whether it came to that."""
    count = itertools.count(1)
    hog = sqlite3.connect(scene.state, isolation_level=None, check_same_thread=False)

    def take(_entry: object) -> None:
        if next(count) == wanted:
            hog.execute("BEGIN IMMEDIATE")

    with closing(hog):
        scene.also = take
        child = scene.apply(busy=0.05)
        code = child.wait()
        scene.also = None
        return code, child.err, hog.in_transaction


# A disk that fails for true

SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

/* Fails the EIO_AT-th call of the kind EIO_OF on a file whose path holds "state.db". */
static int calls;

static int fails(const char *kind, int fd) {
    const char *of = getenv("EIO_OF"), *at = getenv("EIO_AT");
    char link[64], path[4096];
    ssize_t size;
    if (!of || !at || strcmp(of, kind)) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    size = readlink(link, path, sizeof path - 1);
    if (size < 0) return 0;
    path[size] = 0;
    if (!strstr(path, "state.db")) return 0;
    if (__sync_add_and_fetch(&calls, 1) != atoi(at)) return 0;
    errno = EIO;
    return 1;
}

#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

int fsync(int fd) { REAL(fsync); return fails("sync", fd) ? -1 : real(fd); }
int fdatasync(int fd) { REAL(fdatasync); return fails("sync", fd) ? -1 : real(fd); }
ssize_t pwrite(int fd, const void *b, size_t n, off_t o) {
    REAL(pwrite); return fails("write", fd) ? -1 : real(fd, b, n, o);
}
ssize_t pwrite64(int fd, const void *b, size_t n, off64_t o) {
    REAL(pwrite64); return fails("write", fd) ? -1 : real(fd, b, n, o);
}
"""


@pytest.fixture(scope="session")
def failing_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    """A server of processes whose disk fails when it is told to (EIO)."""
    if not (compiler := shutil.which("cc") or shutil.which("gcc")):
        pytest.skip("a C compiler makes the library that has the disk fail")
    folder = tmp_path_factory.mktemp("shim")
    (folder / "shim.c").write_text(SHIM)
    command = [compiler, "-shared", "-fPIC", "-o", "shim.so", "shim.c", "-ldl"]
    made = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"the C compiler cannot make the library: {made.stderr[:200]}")
    forks = Forks(LD_PRELOAD=str(folder / "shim.so"))
    yield forks
    forks.sweep()
    forks.close()


@pytest.mark.parametrize(("kind", "step"), [("sync", 2), ("write", 9)])
def test_a_failing_disk(scene: Scene, failing_disk: Forks, kind: str, step: int) -> None:
    """Whichever sync or write of the state fails with EIO: no acknowledged row is lost."""
    scene.forks = failing_disk
    failures = 0
    for n in itertools.count(1, step):
        scene.reset()
        scene.environ |= {"EIO_OF": kind, "EIO_AT": str(n)}
        child = scene.apply()
        code = child.wait()
        assert code in (0, 1), child.err
        assert "internal error" not in child.err
        scene.settled()
        failures += code == 1
        if code == 0 and n > 8:
            break
    assert failures > 2
