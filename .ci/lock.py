"""The lock: what is installed, by hash. Print the part of it that is needed, or write it anew.

    python3 .ci/lock.py                        what the package needs
    python3 .ci/lock.py object report          the same with these extras; `all` is every extra
    python3 .ci/lock.py --wheel dist/X.whl     the same, and the wheel itself as its first line
    python3 .ci/lock.py --build                what builds the package
    python3 .ci/lock.py --write [--upgrade]    resolve anew with uv, which is looked for on the path

Needs nothing but Python. The lock is one for Linux and macOS and for every supported Python.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
LOCK: Final = ROOT / "requirements.lock"
_ENTRY: Final = re.compile(r"^([a-z0-9-]+)==(\S+).*\n(?:[ #].*\n)*", re.MULTILINE)
_WRITE: Final = (
    *("uv", "pip", "compile", "pyproject.toml", "--all-extras", "--universal"),
    *("--python-version", "3.11", "--generate-hashes", "--no-emit-index-url", "--quiet"),
    *("--custom-compile-command", "python3 .ci/lock.py --write", "--output-file", LOCK.name),
)


@dataclass(frozen=True, slots=True)
class Entry:
    """A release of a package: its lines in the lock, and who asks for it."""

    name: str
    version: str
    text: str
    via: frozenset[str]


def normal(requirement: str) -> str:
    """Return the name in a requirement as indexes compare it."""
    name = re.match(r"[\w.-]+", requirement)
    return re.sub(r"[-_.]+", "-", name[0] if name else "").lower()


def project() -> Mapping[str, Any]:
    """Return pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def entries() -> dict[str, Entry]:
    """Return the releases in the lock by their names."""
    found = {}
    for match in _ENTRY.finditer(LOCK.read_text(encoding="utf-8")):
        said = re.findall(r"^ +# (?:via|  ) ?([\w.-]+)", match[0], re.MULTILINE)
        found[match[1]] = Entry(match[1], match[2], match[0], frozenset(map(normal, said)))
    return found


def extras() -> list[str]:
    """Return the extras that are for users."""
    return sorted(set(project()["project"]["optional-dependencies"]) - {"dev"})


def asked(wanted: Iterable[str]) -> list[str]:
    """Return the requirements of the package itself with these extras. Raises KeyError."""
    own = project()["project"]
    named = list(own["dependencies"])
    for extra in wanted:
        for requirement in own["optional-dependencies"][extra]:
            inner = re.fullmatch(rf"{own['name']}\[(.*)\]", requirement)
            named += asked(inner[1].split(",")) if inner else [requirement]
    return named


def part(requirements: Iterable[str]) -> list[Entry]:
    """Return these requirements and what they ask for in turn, as locked. Raises KeyError."""
    lock = entries()
    names = {normal(requirement) for requirement in requirements}
    found = {name: lock[name] for name in names}
    while more := {n: e for n, e in lock.items() if n not in found and e.via & found.keys()}:
        found |= more
    return [found[name] for name in sorted(found)]


def of_wheel(wheel: Path) -> str:
    """Return the line that holds a wheel of the package itself."""
    name, version, *_ = wheel.name.split("-")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return f"{normal(name)}=={version} --hash=sha256:{digest}\n"


def text(requirements: Iterable[str]) -> str:
    """Return the lines of the lock for these requirements and what they ask for."""
    return "".join(entry.text for entry in part(requirements))


def main() -> None:
    """Print a part of the lock, or write it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "extras", metavar="EXTRA", nargs="*", help=f"all, or: {', '.join(extras())}"
    )
    parser.add_argument("--wheel", type=Path, metavar="FILE", help="begin with this wheel")
    parser.add_argument("--build", action="store_true", help="print what builds the package")
    parser.add_argument("--write", action="store_true", help="resolve anew, with uv")
    parser.add_argument("--upgrade", action="store_true", help="with --write: the newest versions")
    told = parser.parse_args()
    wanted = extras() if told.extras == ["all"] else told.extras
    if unknown := set(wanted) - set(extras()):
        parser.error(f"there is no extra {', '.join(sorted(unknown))}")
    if told.write:
        try:
            sys.exit(subprocess.call([*_WRITE, *["--upgrade"] * told.upgrade], cwd=ROOT))
        except FileNotFoundError:
            parser.error("uv is not on the path; pip installs it, best apart from this project")
    if told.wheel:
        print(of_wheel(told.wheel), end="")
    needed = project()["build-system"]["requires"] if told.build else asked(wanted)
    print(text(needed), end="")


if __name__ == "__main__":
    main()
