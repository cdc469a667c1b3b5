"""What every test may use, whichever imports it first."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite(
    "tests.forks", "tests.scene", "spoilt_workspace", "store_postgres", "store_sqlite"
)

from tests.shared_emulator import endpoint  # noqa: E402

__all__ = ["endpoint"]
