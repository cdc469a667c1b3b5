"""Yunxin against its emulated vendor: the suite that every provider passes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.provider_conformance import ProviderConformance, Vendor, speaking


@pytest.fixture
def vendor(endpoint: str) -> Iterator[Vendor]:
    """Yunxin IM v2 on loopback."""
    with speaking(endpoint, "yunxin") as made:
        yield made


class TestYunxin(ProviderConformance):
    """NetEase Yunxin, IM server API v2."""
