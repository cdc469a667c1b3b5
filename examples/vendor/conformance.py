"""Minichat against its emulated vendor: the suite that every provider passes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.provider_conformance import ProviderConformance, Vendor, speaking


@pytest.fixture
def vendor(endpoint: str) -> Iterator[Vendor]:
    """Minichat on loopback."""
    with speaking(endpoint, "minichat") as made:
        yield made


class TestMinichat(ProviderConformance):
    """Minichat, which does not exist."""

    THROTTLED = 429
