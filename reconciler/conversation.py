"""Conversation: what a provider says to a vendor and hears back, as data and without I/O."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, Protocol, TypeAlias, TypeVar

from reconciler.accounts import Document, Observed
from reconciler.capabilities import Capabilities
from reconciler.values import Reference

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sink:
    """Where a token goes that the vendor mints itself; only the transport ever sees it."""

    reference: Reference


Token: TypeAlias = Reference | Sink
"""A token to set: one that is known by reference, or one that the vendor is to mint."""


@dataclass(frozen=True, slots=True)
class Minted:
    """A token that an answer brings: the keys that lead to it, and where it is delivered."""

    at: tuple[str, ...]
    sink: Sink


@dataclass(frozen=True, slots=True)
class Request:
    """One vendor call, unsigned. `path` follows the endpoint; `api` names the rate it spends.

    A `Reference` as a value of `body` is replaced by its secret where the request is sent, and
    nowhere else; `minted` says which token of the answer is wanted. `mutates` False promises that
    the call changes nothing at the vendor. `account_ids` are the accounts it is about, for logs
    and for pacing by nobody else.
    """

    api: str
    method: Literal["GET", "POST", "PATCH"]
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    encoding: Literal["json", "form"] = "json"
    mutates: bool = True
    account_ids: tuple[str, ...] = ()
    minted: Minted | None = None


class Result(StrEnum):
    """What is known of a call. Only `confirmed` and `rejected` are facts about the vendor.

    not_sent: it cannot have run. ambiguous: it may have run, nobody knows.
    """

    CONFIRMED = "confirmed"
    REJECTED = "rejected"
    NOT_SENT = "not_sent"
    AMBIGUOUS = "ambiguous"


class Why(StrEnum):
    """What kind of rejection it is, where that decides what happens next."""

    OTHER = "other"
    EXISTS = "exists"
    MISSING = "missing"
    BANNED = "banned"
    AUTH = "auth"
    THROTTLED = "throttled"
    RETRY = "retry"
    QUOTA = "quota"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A provider's reading of one answer's envelope: `code` and `message` are the vendor's."""

    result: Result
    code: str = ""
    message: str = ""
    why: Why = Why.OTHER


@dataclass(frozen=True, slots=True)
class Answer:
    """What a conversation is sent back: the verdict and the decoded body (empty if none came).

    `undelivered` says why a token that this answer brought has not reached its sink.
    """

    verdict: Verdict
    data: Mapping[str, Any] = field(default_factory=dict)
    undelivered: str = ""


REGISTERED = "account"
"""The first `done` of a create that registered the account and then failed to set all of it."""


UNDELIVERED = "undelivered"
"""The code of an outcome where all that failed is that a minted token did not reach its sink."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one operation on one account ended.

    `done` names the paths that were confirmed where the operation as a whole was not; for a
    create it begins with `REGISTERED` once the account itself is there. `waiting` names the paths
    that the vendor cannot take yet; they are no failure and are not applied.
    """

    result: Result
    code: str = ""
    message: str = ""
    why: Why = Why.OTHER
    done: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()


Call: TypeAlias = Generator[Request, Answer, T]


@dataclass(frozen=True, slots=True)
class Credentials:
    """What signing needs, in clear: made by `transport` from references and kept nowhere else."""

    values: Mapping[str, str]

    def __repr__(self) -> str:
        return "Credentials(…)"


@dataclass(frozen=True, slots=True)
class Signed:
    """What the signature adds to a request: headers and query parameters, all of them secret."""

    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)


def inner(value: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Return the mapping beneath a key of an answer; an empty one where there is none."""
    found = value.get(key)
    return found if isinstance(found, Mapping) else {}


def token_lost(answer: Answer) -> Outcome:
    """Return the outcome of a call whose token did not reach its sink: the next one mints anew."""
    return Outcome(
        Result.REJECTED,
        UNDELIVERED,
        f"the vendor minted a token that is lost: {answer.undelivered}; "
        "the next apply has it mint another",
    )


class Provider(Protocol):
    """One vendor's API as data: generators that yield requests and are sent answers."""

    capabilities: Capabilities

    def app(self, credentials: Mapping[str, str]) -> str:
        """Return the identity of the vendor app (no secret), from the resolved credentials."""
        ...

    def sign(self, request: Request, credentials: Credentials, now: float, nonce: str) -> Signed:
        """Return what authenticates one attempt; `now` is Unix time in seconds."""
        ...

    def verdict(self, request: Request, status: int, body: Mapping[str, Any]) -> Verdict:
        """Judge a well-formed JSON answer by the vendor's envelope."""
        ...

    def read(self, ids: Sequence[str]) -> Call[Mapping[str, Observed]]:
        """Read accounts, at most `capabilities.batch['read']` of them; a missing one is MISSING.

        An id that could not be read is left out. Ends with ReadFailed if nothing could be.
        """
        ...

    def create(self, accounts: Mapping[str, Document]) -> Call[Mapping[str, Outcome]]:
        """Register accounts by id with profile, configuration and token. Never overwrites one.

        `token` of a document is `{"value": Token}` here.
        """
        ...

    def update(
        self, account_id: str, fields: Mapping[str, Any], token: Token | None
    ) -> Call[Outcome]:
        """Set fields by path (`profile.name`, `configuration.…`) to absolute values."""
        ...

    def block(self, account_id: str, ban: Mapping[str, Any]) -> Call[Outcome]:
        """Ban an account; `ban` may hold `kick` (default True) and `notify`."""
        ...

    def unblock(self, account_id: str, document: Document) -> Call[Outcome]:
        """Lift the ban; `document` is what else is recorded (a vendor may need to restore it)."""
        ...


class ReadFailed(Exception):
    """A read ended without knowledge; `outcome` says what is known of the call."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        super().__init__(outcome.message)
