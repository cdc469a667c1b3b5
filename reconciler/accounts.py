"""Accounts: what is desired of one account and what a vendor was seen to hold."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple, NewType, Protocol, TypeAlias

from reconciler.diagnostics import Source
from reconciler.values import canonical, to_moment

Address = NewType("Address", str)
"""`provider/account_id`, the id as the vendor keeps it: the one name of an account."""

Document: TypeAlias = Mapping[str, Any]
"""What is written of an account, in canonical sections; a section that nobody wrote is missing.

`profile` and `configuration` map field to value (`profile.extension` is text, `profile.custom` a
mapping); `ban` is the ban record, `{}` for a plain `banned: true`, missing for not banned;
`token` is `{from|generate, sink, version}` with references only; `labels` maps text to text;
`manage` maps the sections that are left to the end user once they are set to `on_create`;
`protected`, `on_absent` and `manage` are kept because they must hold without the YAML at hand.
"""


def address(provider: str, account_id: str) -> Address:
    """Return the address of an account id (as the vendor folds it) in a provider."""
    return Address(f"{provider}/{account_id}")


def split(where: str) -> tuple[str, str]:
    """Return provider and account id of an address. Raises ValueError if it is not one."""
    provider, slash, account_id = where.partition("/")
    if not (provider and slash and account_id):
        raise ValueError(f"{where!r} is not an address like provider/account-id")
    return provider, account_id


def targeted(where: Address, targets: Collection[str]) -> bool:
    """Tell whether an address is among the targets (addresses or providers); none means all."""
    return not targets or where in targets or split(where)[0] in targets


def apps_of(targets: Iterable[str]) -> tuple[str, ...]:
    """Return the providers that targets name, by themselves or in addresses."""
    return tuple(sorted({target.partition("/")[0] for target in targets}))


class Account(NamedTuple):
    """One desired account in one provider.

    `document` is the canonical JSON of its Document, so that a million of them stay small and
    comparing two is comparing digests; it is empty where it was not read. `once` names the
    sections set at creation and then left to the end user (`manage: {profile: on_create}`).
    `siblings` are all accounts of its entry, the same tuple for each; empty where the entry names
    one provider, as most do. `until` is when its ban ends, empty where it has none that does.
    """

    address: Address
    document: bytes
    digest: bytes
    file: str
    line: int
    adopt: bool = False
    once: tuple[str, ...] = ()
    siblings: tuple[Address, ...] = ()
    until: str = ""

    @property
    def source(self) -> Source:
        """Where the account is written."""
        return Source(self.file, self.line)

    def written(self) -> dict[str, Any]:
        """Return the decoded Document."""
        decoded: dict[str, Any] = json.loads(self.document)
        return decoded


class Batch(Protocol):
    """Desired accounts that came together, to be compared at once before one is looked at."""

    @property
    def addresses(self) -> Sequence[Address]:
        """Their addresses, each once."""
        ...

    @property
    def digests(self) -> bytes:
        """Their digests, one behind the other."""
        ...

    @property
    def until(self) -> str:
        """When the first of their bans ends, empty if none does."""
        ...

    @property
    def same(self) -> bool:
        """Whether an earlier plan found them recorded so, in the state that `Alike` is of."""
        ...

    def accounts(self) -> Sequence[Account]:
        """Return the accounts themselves."""
        ...


class Alike(NamedTuple):
    """What the files said when the state was found to be just that, so that it need not be read.

    So many accounts were recorded, the first of their bans ending at `until`, empty if none does.
    `others` are those whose files are others now, with their digests. Batches of all other files
    are `same`; `whole` says that these are all files that there are.
    """

    accounts: int
    until: str
    others: Mapping[Address, bytes]
    whole: bool


@dataclass(frozen=True, slots=True)
class Observed:
    """What a vendor was seen to hold. Only fields that were read have a key.

    `banned` is None where the vendor cannot be asked. `exists` False means the vendor does not
    know the account.
    """

    exists: bool
    profile: Mapping[str, Any] = field(default_factory=dict)
    configuration: Mapping[str, Any] = field(default_factory=dict)
    banned: bool | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the JSON shape kept in state."""
        return {
            "exists": self.exists,
            "profile": dict(self.profile),
            "configuration": dict(self.configuration),
            "banned": self.banned,
        }

    def holding(self, path: str, value: Any) -> Observed:
        """Return the same sight with one field (`profile.x`, `configuration.x`, `banned`) set."""
        if path == "banned":
            return replace(self, banned=None if self.banned is None else value)
        section = path.partition(".")[0]
        if section not in ("profile", "configuration"):
            return self
        flat = flatten({section: getattr(self, section)})
        flat[path] = value
        return replace(self, **unflatten(flat))

    @classmethod
    def from_json(cls, shape: Mapping[str, Any]) -> Observed:
        """Read the shape that `to_json` wrote."""
        return cls(bool(shape["exists"]), shape["profile"], shape["configuration"], shape["banned"])


SECTIONS = ("profile", "configuration", "labels", "manage")
MISSING = Observed(exists=False)


def flatten(document: Document) -> dict[str, Any]:
    """Return the fields of a document by path, without ban and token.

    `profile.custom` opens one level further: `profile.custom.Key`.
    """
    flat: dict[str, Any] = {}
    for section in SECTIONS:
        for name, value in document.get(section, {}).items():
            if isinstance(value, Mapping):
                flat.update((f"{section}.{name}.{key}", inner) for key, inner in value.items())
            else:
                flat[f"{section}.{name}"] = value
    for name in ("protected", "on_absent"):
        if name in document:
            flat[name] = document[name]
    return flat


def owned(document: Document, path: str) -> bool:
    """Tell whether a field is ours: it is not once its section was set and left to the user."""
    return path.partition(".")[0] not in document.get("manage", ())


def unflatten(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document whose fields these are; the inverse of `flatten`."""
    document: dict[str, Any] = {}
    for path, value in flat.items():
        # Only profile has a level below its fields; a label's own name may hold dots.
        *parents, leaf = path.split(".", 2 if path.startswith("profile.") else 1)
        place = document
        for name in parents:
            place = place.setdefault(name, {})
        place[leaf] = value
    return document


def is_banned(document: Document, as_of: datetime) -> bool:
    """Tell whether the document asks for a ban that still holds at `as_of`."""
    ban = document.get("ban")
    if ban is None:
        return False
    until = ban.get("until")
    return until is None or to_moment(until) > as_of


def encode(document: Document) -> bytes:
    """Return the canonical bytes of a document, the ones its digest is taken of."""
    return canonical(document)
