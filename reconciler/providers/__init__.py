"""Providers: one vendor's API as data, found by the `type` a workspace names."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from reconciler.capabilities import Capabilities
    from reconciler.conversation import Provider

TYPES: Final = ("yunxin", "commsease", "tencent")
_NONE: Final[Mapping[str, Any]] = MappingProxyType({})


def provider(
    type: str, options: Mapping[str, Any] = _NONE, fields: Collection[str] = ()
) -> Provider:
    """Return the provider of a vendor type, made for an app's own settings (`blocked_tag`).

    `fields` are paths beneath an open one (`profile.custom.*`) that reads are to name; of any
    other such field a read says nothing. Raises KeyError for a type that this version lacks.
    """
    if type not in TYPES:
        raise KeyError(type)
    room = import_module(f"reconciler.providers.{type}")
    made: Provider = room.make({**options, "fields": fields})
    return made


def capabilities(type: str) -> Capabilities | None:
    """Return the capability table of a vendor type, None for a type this version lacks."""
    return provider(type).capabilities if type in TYPES else None
