"""What each vendor app holds: account rows in memory, written through to SQLite when asked."""

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

Key = tuple[str, str, str]
"""Vendor, app and account id."""

_NOTHING: Mapping[str, object] = {}
_TABLE = """
CREATE TABLE IF NOT EXISTS accounts (
    vendor TEXT NOT NULL, app TEXT NOT NULL, id TEXT NOT NULL, held TEXT NOT NULL,
    PRIMARY KEY (vendor, app, id)
) WITHOUT ROWID
"""
_READ = "SELECT vendor, app, id, held FROM accounts"
_WRITE = "INSERT OR REPLACE INTO accounts (vendor, app, id, held) VALUES (?, ?, ?, ?)"
_DELETE = "DELETE FROM accounts WHERE vendor = ? AND app = ? AND id = ?"


def _nothing() -> Mapping[str, object]:
    return _NOTHING


@dataclass(frozen=True, slots=True)
class Account:
    """Hold one account of one vendor app, in no single vendor's words.

    `profile` and `configuration` hold only what was set: a missing key means the vendor's
    default, which is the vendor file's affair. `extra` is what only one vendor knows. No
    mapping is ever changed in place. Times are seconds since the epoch.
    """

    vendor: str
    app: str
    id: str
    token: str | None
    created_at: float
    updated_at: float
    enabled: bool = True
    profile: Mapping[str, object] = field(default_factory=_nothing)
    configuration: Mapping[str, object] = field(default_factory=_nothing)
    extra: Mapping[str, object] = field(default_factory=_nothing)
    logged_in: bool = False
    kicks: int = 0
    last_kick: str | None = None

    @property
    def key(self) -> Key:
        """Return vendor, app and id."""
        return (self.vendor, self.app, self.id)


def view(account: Account) -> dict[str, object]:
    """Return an account as the control routes show it: its token as a SHA-256, never as text."""
    token = account.token
    return {
        "vendor": account.vendor,
        "app": account.app,
        "account_id": account.id,
        "enabled": account.enabled,
        "profile": dict(account.profile),
        "configuration": dict(account.configuration),
        "extra": dict(account.extra),
        "token_sha256": None if token is None else hashlib.sha256(token.encode()).hexdigest(),
        "logged_in": account.logged_in,
        "kicks": account.kicks,
        "last_kick": account.last_kick,
        "created_at": account.created_at,
        "updated_at": account.updated_at,
    }


class Store:
    """Hold the accounts of every app of every vendor.

    With `data`, each change is also written to that SQLite file before the call returns, so
    that a killed emulator starts again with what it held. This is a test double: the file is
    written with synchronous OFF, which survives the death of the process but not of the machine.

    Raises ValueError when `data` is no such file or another emulator holds it.
    """

    __slots__ = ("_accounts", "_database", "_undo")

    def __init__(self, data: Path | None = None) -> None:
        self._accounts: dict[Key, Account] = {}
        self._undo: list[tuple[Key, Account | None]] | None = None
        self._database: sqlite3.Connection | None = None
        if data is not None:
            self._database = _opened(data)
            for vendor, app, id_, held in self._database.execute(_READ):
                account = Account(vendor=vendor, app=app, id=id_, **json.loads(held))
                self._accounts[account.key] = account

    def get(self, vendor: str, app: str, id_: str) -> Account | None:
        """Return the account, or None."""
        return self._accounts.get((vendor, app, id_))

    def put(self, account: Account) -> None:
        """Add or replace one account."""
        key = account.key
        if self._undo is not None:
            self._undo.append((key, self._accounts.get(key)))
        elif self._database is not None:
            self._database.execute(_WRITE, _encoded(account))
        self._accounts[key] = account

    def put_all(self, accounts: Iterable[Account]) -> int:
        """Add or replace many accounts in one transaction; return how many."""
        batch = list(accounts)
        if self._database is not None:
            self._database.execute("BEGIN")
            self._database.executemany(_WRITE, map(_encoded, batch))
            self._database.execute("COMMIT")
        self._accounts.update((account.key, account) for account in batch)
        return len(batch)

    def delete(self, vendor: str, app: str, id_: str) -> bool:
        """Drop one account; return whether it was there."""
        key = (vendor, app, id_)
        old = self._accounts.get(key)
        if old is None:
            return False
        if self._undo is not None:
            self._undo.append((key, old))
        elif self._database is not None:
            self._database.execute(_DELETE, key)
        del self._accounts[key]
        return True

    def all(self) -> list[Account]:
        """Return every account, sorted by vendor, app and id."""
        return [account for _, account in sorted(self._accounts.items())]

    @contextmanager
    def rehearsed(self) -> Iterator[None]:
        """Take back, at the end, every put and delete made inside. Not for nesting."""
        self._undo = []
        try:
            yield
        finally:
            undo, self._undo = self._undo, None
            for key, account in reversed(undo):
                if account is None:
                    self._accounts.pop(key, None)
                else:
                    self._accounts[key] = account

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._database is not None:
            self._database.close()
            self._database = None


def _encoded(account: Account) -> tuple[str, str, str, str]:
    held = {
        "token": account.token,
        "created_at": account.created_at,
        "updated_at": account.updated_at,
        "enabled": account.enabled,
        "profile": dict(account.profile),
        "configuration": dict(account.configuration),
        "extra": dict(account.extra),
        "logged_in": account.logged_in,
        "kicks": account.kicks,
        "last_kick": account.last_kick,
    }
    return (*account.key, json.dumps(held))


def _opened(data: Path) -> sqlite3.Connection:
    # Made in the thread that asks, used in the thread that serves; never by two at a time.
    try:
        database = sqlite3.connect(data, timeout=0.5, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise ValueError(f"{data}: cannot be opened: {error}") from error
    try:
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = OFF")
        database.execute(_TABLE)
        # The exclusive lock comes with the first write; an empty one takes it now.
        database.execute("BEGIN IMMEDIATE")
        database.execute("COMMIT")
    except sqlite3.OperationalError as error:
        database.close()
        raise ValueError(f"{data}: another emulator holds this file ({error})") from error
    except sqlite3.DatabaseError as error:
        database.close()
        raise ValueError(f"{data}: this is no emulator data file ({error})") from error
    return database
