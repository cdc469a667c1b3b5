"""What tests share explains its failed assertions, whichever test imports it first."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite(
    *("tests.forks", "tests.scene", "spoilt_workspace", "store_child", "store_conformance"),
    *("store_conformance_journal", "store_conformance_lock", "store_encrypted", "store_http"),
    *("store_object", "store_postgres", "store_sqlite"),
)
