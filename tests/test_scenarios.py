"""The scenarios in `scenarios/`, each played by `reconciler test` at all three vendors.

They are scenarios as users write them (`reconciler schema scenario`), one a file, with two keys of
their own: `unsupported` names the vendors that lack a field of it, where the first step does not
validate; `differs` in a step says what of `when` and `expect` is otherwise at one vendor.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest

from reconciler.config.parts import plain
from reconciler.config.workspace import whole
from tests.world import World

SCENARIOS: Final = {path.stem: path for path in Path(__file__).parent.glob("scenarios/*.yaml")}
KEYS: Final = "{app_key: env:A, app_secret: env:B}"
APPS: Final = {
    "yunxin": f"{{type: yunxin, region: china, credentials: {KEYS}}}",
    "commsease": f"{{type: commsease, region: china, credentials: {KEYS}}}",
    "tencent": "{type: tencent, region: china, blocked_tag: Tag_Profile_Custom_Blocked, "
    'credentials: {sdk_app_id: "1", admin: env:A, secret_key: env:B}}',
}


def story(name: str, vendor: str) -> dict[str, Any]:
    """Return a scenario as it is at one vendor."""
    told = plain(whole(SCENARIOS[name], name, []).value)
    assert told.pop("about").endswith(".")
    assert told.keys() <= {"unsupported", "steps"}
    steps = told["steps"]
    if vendor in told.get("unsupported", ()):
        return {"when": steps[0]["when"], "expect": {"invalid": ["unsupported-field"]}}
    for step in steps:
        other = step.pop("differs", {}).get(vendor, {})
        for part in other:
            step[part] = {**step.get(part, {}), **other[part]}
    return {"steps": steps}


@pytest.mark.parametrize("vendor", APPS)
def test_scenarios(vendor: str, tmp_path: Path) -> None:
    """Each is planned, applied and held as it says, and then nothing is left to do."""
    world = World(tmp_path, "http://127.0.0.1:9")
    world.write(
        "reconciler.yaml",
        f"version: 1\nworkspace: test-im\nproviders: {{app: {APPS[vendor]}}}\n"
        'secrets: {allow: ["env:IM_TOKEN_*"]}\n',
    )
    for name in SCENARIOS:
        scenario = {"scenarios": {name: story(name, vendor)}}
        world.write(f"tests/{name}.test.yaml", json.dumps(scenario, ensure_ascii=False))

    ended = world.run("test")

    assert ended.code == 0, ended.out + ended.err
    assert ended.last == f"{len(SCENARIOS)} scenarios: {len(SCENARIOS)} passed, 0 failed."
    assert {path.name for path in tmp_path.iterdir()} == {"reconciler.yaml", "tests"}


def test_there_are_scenarios() -> None:
    """The folder is found, and every file plays at one vendor at least."""
    assert len(SCENARIOS) >= 30
    for name in SCENARIOS:
        assert any("steps" in story(name, vendor) for vendor in APPS)
