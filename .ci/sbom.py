"""The bill of materials, as CycloneDX JSON: what the package runs on, all its extras included.

    .venv/bin/python .ci/sbom.py >bom.json

Versions, and who needs what, come from the lock; licences from what is installed.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, metadata
from typing import Any, Final

import lock

_CLASSIFIERS: Final = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
}
"""What packages call their licence that have no SPDX expression for it."""


def licence(name: str) -> str:
    """Return the licence of a package as an SPDX expression, or "" where it tells none."""
    try:
        told: Any = metadata(name)
    except PackageNotFoundError:  # it is for another machine
        return ""
    if expression := told.get("License-Expression"):
        return str(expression)
    named = [one.rpartition(" :: ")[2] for one in told.get_all("Classifier", [])]
    known = [_CLASSIFIERS[one] for one in named if one in _CLASSIFIERS]
    return known[0] if known else str(told.get("License", ""))


def _component(kind: str, name: str, version: str, **more: Any) -> Mapping[str, Any]:
    reference = f"pkg:pypi/{name}@{version}"
    licences = [{"expression": told}] if (told := licence(name)) else []
    known = {"type": kind, "bom-ref": reference, "name": name, "version": version}
    return {**known, "purl": reference, **({"licenses": licences} if licences else {}), **more}


def version() -> str:
    """Return the version of this checkout."""
    text = (lock.ROOT / "reconciler/__init__.py").read_text(encoding="utf-8")
    return str(re.findall(r'^__version__ = "(.+)"$', text, re.MULTILINE)[0])


def bom() -> Mapping[str, Any]:
    """Return the document; it is the same each time it is made of the same lock."""
    core = {one.name for one in lock.part(lock.asked([]))}
    parts = lock.part(lock.asked(lock.extras()))
    name = lock.normal(lock.project()["project"]["name"])
    own = _component("application", name, version())
    scopes = {True: "required", False: "optional"}
    components = [
        _component("library", one.name, one.version, scope=scopes[one.name in core])
        for one in parts
    ]
    references = {one["name"]: one["bom-ref"] for one in (own, *components)}
    depends = [
        {"ref": reference, "dependsOn": [references[one.name] for one in parts if who in one.via]}
        for who, reference in references.items()
    ]
    content = {"metadata": {"component": own}, "components": components, "dependencies": depends}
    number = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(content, sort_keys=True))
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{number}",
        "version": 1,
        **content,
    }


if __name__ == "__main__":
    print(json.dumps(bom(), indent=1))
