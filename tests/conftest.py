"""What tests share explains its failed assertions, whichever test imports it first."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite(
    "tests.forks", "tests.scene", "spoilt_workspace", "store_postgres", "store_sqlite"
)
