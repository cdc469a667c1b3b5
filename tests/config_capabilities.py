"""Workspaces for the tests of the configuration room, and the vendors' own tables."""

from __future__ import annotations

from reconciler.providers import TYPES, provider

TABLES = {type: provider(type).capabilities for type in TYPES}

WORKSPACE = """\
version: 1
workspace: prod-im
providers:
  cn:
    type: yunxin
    region: china
    credentials: {app_key: env:YUNXIN_APP_KEY, app_secret: env:YUNXIN_APP_SECRET}
accounts:
  - accounts/**/*.yaml
secrets: {allow: ["env:IM_TOKEN_*", "file:secrets/*"]}
"""

BOTH = WORKSPACE.replace(
    "accounts:\n",
    """\
  sg:
    type: tencent
    region: singapore
    credentials: {sdk_app_id: 1400000000, admin: administrator, secret_key: env:TENCENT_KEY}
accounts:
""",
)
