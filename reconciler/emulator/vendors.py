"""Vendors: every API that the emulator serves, by the `type` that a workspace names."""

from collections.abc import Mapping
from typing import Final

from reconciler.emulator import commsease, tencent, yunxin
from reconciler.emulator.emulated import Emulated

VENDORS: Final[Mapping[str, Emulated]] = {
    "yunxin": yunxin.EMULATED,
    "commsease": commsease.EMULATED,
    "tencent": tencent.EMULATED,
}


def stored_as(vendor: str) -> str:
    """Return the name that the accounts of an API are stored under; any other name is its own."""
    known = VENDORS.get(vendor)
    return known.stored_as or vendor if known else vendor


def folded(vendor: str, account_id: str) -> str:
    """Return an account id as the vendor keeps it."""
    known = VENDORS.get(stored_as(vendor))
    return account_id.lower() if known and known.folds else account_id
