"""Workspace: reconciler.yaml is read strictly, and everything wrong with it is told at once."""

from __future__ import annotations

import pytest
from config_capabilities import BOTH, TABLES, WORKSPACE
from config_files import write

from reconciler.config import load
from reconciler.errors import ConfigError
from reconciler.values import Reference
from reconciler.workspace import DEFAULT_LIMITS, Limit


def loaded(tmp_path, text):
    write(tmp_path, {}, text)
    return load(tmp_path, capabilities=TABLES.get)


def errors(tmp_path, text):
    with pytest.raises(ConfigError) as failure:
        loaded(tmp_path, text)
    return failure.value.diagnostics


def test_a_workspace_is_read_with_its_defaults(tmp_path):
    """A small workspace gets the vendor's host and every default."""
    workspace = loaded(tmp_path, BOTH)
    assert workspace.name == "prod-im"
    assert workspace.root == str(tmp_path.resolve())
    app = workspace.apps["cn"]
    assert (app.type, app.endpoint, app.rate, app.concurrency) == (
        "yunxin",
        "https://open.yunxinapi.com",
        None,
        16,
    )
    assert app.credentials == {
        "app_key": Reference("env:YUNXIN_APP_KEY"),
        "app_secret": Reference("env:YUNXIN_APP_SECRET"),
    }
    assert workspace.apps["sg"].credentials["sdk_app_id"] == "1400000000"
    assert (app.source.line, app.source.file) == (5, "reconciler.yaml")
    assert workspace.state.backend == "sqlite"
    assert workspace.limits == DEFAULT_LIMITS
    assert workspace.secrets.allow == ("env:IM_TOKEN_*", "file:secrets/*")
    assert workspace.on_absent == "forget"


def test_a_workspace_is_read_with_all_its_settings(tmp_path):
    """State, secrets, limits, rules and the settings of a provider arrive as written."""
    workspace = loaded(
        tmp_path,
        """\
version: 1
workspace: im
state: {backend: http, address: https://git.example.com/state, password: env:STATE_PASSWORD}
providers:
  local:
    type: tencent
    endpoint: http://127.0.0.1:8080/
    credentials:
      sdk_app_id: 1400000000
      admin: administrator
      secret_key: 'cmd:["op","read","op://vault/key"]'
    rate: 12.5
    concurrency: 4
    proxy: env:HTTPS_PROXY
    ca_file: ca.pem
    blocked_tag: Tag_Profile_Custom_Blocked
accounts: [a.yaml, {files: b/*.csv, adopt: true}]
secrets: {fingerprint_key: env:KEY}
on_absent: error
limits: {block: {count: 5}, update: {percent: 12.5}}
rules:
  - id: vip
    when: {action: [block], match: {labels.tier: vip}}
    deny: No.
  - {id: names, when: {}, require: {profile.name: {pattern: "^.+$"}}}
""",
    )
    app = workspace.apps["local"]
    assert (app.endpoint, app.rate, app.concurrency) == ("http://127.0.0.1:8080", 12.5, 4)
    assert app.proxy == Reference("env:HTTPS_PROXY")
    assert app.options == {"blocked_tag": "Tag_Profile_Custom_Blocked"}
    assert workspace.state.options == {
        "address": "https://git.example.com/state",
        "password": Reference("env:STATE_PASSWORD"),
    }
    assert [(one.pattern, one.defaults) for one in workspace.accounts] == [
        ("a.yaml", {}),
        ("b/*.csv", {"adopt": "true"}),
    ]
    assert workspace.secrets.fingerprint_key == Reference("env:KEY")
    assert workspace.limits["block"] == Limit(5, 10)
    assert workspace.limits["update"] == Limit(None, 12.5, 10)
    vip, names = workspace.rules
    assert (vip.actions, vip.match, vip.effect, vip.value) == (
        ("block",),
        {"labels.tier": "vip"},
        "deny",
        "No.",
    )
    assert (names.actions, names.effect) == ((), "require")
    assert vip.source.line == 22


def test_a_missing_workspace_names_init(tmp_path):
    """Without reconciler.yaml the hint says how to begin."""
    with pytest.raises(ConfigError) as failure:
        load(tmp_path, capabilities=TABLES.get)
    assert "reconciler init" in failure.value.diagnostics[0].hint


def test_everything_wrong_is_told_at_once(tmp_path):
    """Shape and meaning, in every part of the file, in one go; no secret is repeated."""
    found = errors(
        tmp_path,
        WORKSPACE.replace("version: 1\n", "")
        .replace("china", "chna")
        .replace("env:YUNXIN_APP_SECRET", "hunter2")
        .replace("secrets:", "on_absnt: block\nsecrets:"),
    )
    assert {one.id for one in found} == {
        "missing-key",
        "unknown-region",
        "literal-secret",
        "unknown-key",
    }
    assert all(one.source.line and one.hint for one in found)
    assert not any("hunter2" in str(one) for one in found)


PROVIDER = """\
version: 1
workspace: im
providers:
  cn:
    type: yunxin
    credentials: {app_key: k, app_secret: env:S}
"""


@pytest.mark.parametrize(
    ("line", "id"),
    [
        ("", "missing-key"),
        ("region: mars", "unknown-region"),
        ("region: china\n    endpoint: https://x.example.com", "region-and-endpoint"),
        ("endpoint: http://im.example.com", "plain-http"),
        ("endpoint: ftp://im.example.com", "bad-url"),
        ("endpoint: https://u:p@im.example.com", "bad-url"),
        ("endpoint: https://im.example.com?a=b", "bad-url"),
        ("endpoint: 'https://im.example.com#a'", "bad-url"),
        ("endpoint: https://[x", "bad-url"),
        ("endpoint: https://h:99999", "bad-url"),
        ("endpoint: nothing", "bad-url"),
        ("region: china\n    rate: 0", "out-of-range"),
        ("region: china\n    rate: fast", "wrong-type"),
        ("region: china\n    proxy: http://proxy", "bad-reference"),
        ("region: china\n    timeout: 3", "unknown-key"),
        ("region: china\naccounts: [../x.yaml]", "outside"),
        ("region: china\naccounts: [/etc/*]", "outside"),
        ("region: china\naccounts: [a**/x.yaml]", "bad-glob"),
        ("region: china\naccounts: []", "empty"),
        ("region: china\nsecrets: {allow: ['cmd:*']}", "bad-form"),
        ("region: china\nsecrets: {allow: ['file:../*']}", "outside"),
        ("region: china\nstate: {backend: postgres}", "missing-key"),
        ("region: china\nstate: {backend: postgres, url: 'postgres://u:p@h/d'}", "literal-secret"),
        ("region: china\nstate: {backend: sqlite, url: env:X}", "unknown-key"),
        ("region: china\nstate: {backend: object, url: 'https://x'}", "bad-url"),
        ("region: china\nstate: {backend: redis}", "bad-choice"),
        ("region: china\nstate: {encryption: {key: c2VjcmV0}}", "literal-secret"),
        ("region: china\nstate: {encryption: {previous: [c2VjcmV0]}}", "literal-secret"),
        ("region: china\nstate: {encryption: {}}", "missing-key"),
        ("region: china\nstate: {encryption: {key: 'env:'}}", "bad-reference"),
        ("region: china\nstate: {encryption: {cipher: env:X}}", "unknown-key"),
        ("region: china\nstate: {encryption: env:X}", "wrong-type"),
        ("region: china\nlimits: {delete: {count: 1}}", "unknown-key"),
        ("region: china\nrules: [{id: a, when: {}}]", "bad-rule"),
        ("region: china\nrules: [{id: a, when: {}, deny: x, warn: y}]", "bad-rule"),
        (
            "region: china\nrules: [{id: a, when: {}, deny: x}, {id: a, when: {}, deny: x}]",
            "duplicate-key",
        ),
        (
            "region: china\nrules: [{id: a, when: {}, require: {banned.ticket: {pattern: '('}}}]",
            "bad-form",
        ),
        ("region: china\nrules: [{id: a, when: {}, limit: {}}]", "empty"),
        ("region: china\nrules: [{id: a, when: {}, require: {path: {pattern: x}}}]", "unknown-key"),
        ("region: china\nrules: [{id: a, when: {match: {label.x: y}}, deny: x}]", "unknown-key"),
        ("region: china\nrules: [{id: a, when: {match: {labels: y}}, deny: x}]", "unknown-key"),
        ("region: china\nrules: [{id: a, when: {match: {acount_id: y}}, deny: x}]", "unknown-key"),
        ("region: china\nnotify: [{webhook: https://x.example/hook}]", "literal-secret"),
        ("region: china\nnotify: [{webhook: 'env:'}]", "bad-reference"),
        (
            "region: china\nnotify: [{webhook: env:H, format: feishu, secret: S3C}]",
            "literal-secret",
        ),
        (
            "region: china\nnotify: [{webhook: env:H, format: slack, secret: env:S}]",
            "unused-secret",
        ),
        ("region: china\nnotify: [{format: slack}]", "missing-key"),
        ("region: china\nnotify: [{webhook: env:H, format: teams}]", "bad-choice"),
        ("region: china\non_absent: null", "null"),
        ("region: china\n    region: china", "duplicate-key"),
        ("region: !x china", "tag"),
        ("region: china\n---\na: b", "several-documents"),
        ("region: 'china", "syntax"),
        ("region: chi\u202ena", "control-character"),
    ],
)
def test_a_wrong_setting_is_told_with_its_place(tmp_path, line, id):
    """Each wrong setting gives a finding of its kind with a place and a hint."""
    found = errors(tmp_path, f"{PROVIDER}    {line}\n")
    match = next((one for one in found if one.id == id), None)
    assert match, [(str(one.source), one.id, one.summary) for one in found]
    assert match.source.line
    assert match.hint


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://localhost:1/nimserver",
        "http://127.0.0.2",
        "'http://[::1]:80'",
        "https://im.example.com",
        "http://im.example.com\n    allow_http: true",
    ],
)
def test_plain_http_is_for_this_machine(tmp_path, endpoint):
    """Plain http is allowed to loopback hosts, and elsewhere only where the provider says so."""
    assert loaded(tmp_path, f"{PROVIDER}    endpoint: {endpoint}\n").apps["cn"].endpoint


def test_a_provider_name_and_a_vendor_are_checked(tmp_path):
    """Names have the form of names, vendors are known, and a slip gets its suggestion."""
    found = errors(tmp_path, PROVIDER.replace("cn:", "CN/x:").replace("yunxin", "yunxn"))
    assert {one.id for one in found} == {"bad-form", "bad-choice"}
    assert any("yunxin" in one.hint for one in found)


def test_an_account_file_never_holds_the_workspace(tmp_path):
    """A glob over everything does not take reconciler.yaml or hidden files for accounts."""
    from config_files import read

    write(
        tmp_path,
        {"a.yaml": "accounts: {x: {}}\n", ".hidden/b.yaml": "accounts: {y: {}}\n"},
        WORKSPACE.replace("accounts/**/*.yaml", "'**/*.yaml'"),
    )
    assert [account.address for account in read(tmp_path).accounts] == ["cn/x"]
