"""Providers: one vendor's API as data per file, found by the `type` a workspace names."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reconciler.capabilities import Capabilities
    from reconciler.conversation import Provider

TYPES = ("yunxin",)


def provider(type: str) -> Provider:
    """Return the provider of a vendor type. Raises KeyError for a type this version lacks."""
    if type not in TYPES:
        raise KeyError(type)
    found: Provider = import_module(f"reconciler.providers.{type}").PROVIDER
    return found


def capabilities(type: str) -> Capabilities | None:
    """Return the capability table of a vendor type, None for a type this version lacks."""
    return provider(type).capabilities if type in TYPES else None
