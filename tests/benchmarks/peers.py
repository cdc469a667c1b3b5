"""Peers: other tools that plan the same accounts in the same run, where they are installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.benchmarks.measure import Row, once, pairs, ratios, spent
from tests.benchmarks.scene import ENVIRON, account, reconciler, record, workspace

OCTODNS = """\
manager: {max_workers: 1}
providers:
  desired: {class: octodns.provider.yaml.YamlProvider, directory: ./desired}
  recorded: {class: octodns.provider.yaml.YamlProvider, directory: ./recorded}
zones:
  example.com.: {sources: [desired], targets: [recorded]}
"""


def rows(sizes: list[int], repeat: int) -> Iterator[Row]:
    """Compare plans in which nothing is recorded, and nothing changed."""
    with tempfile.TemporaryDirectory(prefix="reconciler-bench-") as name:
        for tool, program, lay in (
            ("octoDNS", "octodns-sync", _octodns),
            ("Terraform", "terraform", _terraform),
        ):
            if (found := shutil.which(program)) is None:
                print(f"{tool} is skipped: there is no {program} on the PATH", file=sys.stderr)
                continue
            # Terraform takes minutes to apply ten thousand, before which nothing is the same.
            for count in [min(sizes)] if tool == "Terraform" else sizes:
                root = Path(name) / f"{tool}-{count}"
                yield from _compared(tool, lay(root, found, count), root, count, repeat)


def _compared(
    tool: str, steps: Iterator[list[str]], root: Path, count: int, repeat: int
) -> Iterator[Row]:
    home = workspace(root / "ours", count)
    for title, command in zip(("nothing recorded", "nothing changed"), steps, strict=True):
        if title == "nothing changed":
            record(home)
        found = pairs(
            lambda: once(reconciler(home, "plan", "--no-cache"), ENVIRON),
            lambda command=command: once(command, {}),
            repeat,
        )
        yield Row(
            f"cold `plan`, {count:,} accounts, {title}", tool, "", ratios(found), spent(found)
        )


def _octodns(root: Path, program: str, count: int) -> Iterator[list[str]]:
    """Yield the command that plans as many TXT records, one a name, of one zone in YAML."""
    for folder in ("desired", "recorded"):
        (root / folder).mkdir(parents=True)
    (root / "octodns.yaml").write_text(OCTODNS)
    zone = "---\n" + "".join(
        f"user-{number:07}:\n  ttl: 300\n  type: TXT\n  value: customer {number}\n"
        for number in range(count)
    )
    (root / "desired/example.com.yaml").write_text(zone)
    (root / "recorded/example.com.yaml").write_text("---\n{}\n")
    command = [program, "--config-file", "octodns.yaml", "--force", "--quiet"]
    yield ["sh", "-c", f"cd {root} && exec {' '.join(command)}"]
    (root / "recorded/example.com.yaml").write_text(zone)
    yield ["sh", "-c", f"cd {root} && exec {' '.join(command)}"]


def _terraform(root: Path, program: str, count: int) -> Iterator[list[str]]:
    """Yield the command that plans as many `terraform_data`, one block an account."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / "main.tf").open("w", encoding="utf-8") as file:
        for number in range(count):
            fields = account(number)["profile"]
            inner = ", ".join(f'{key} = "{value}"' for key, value in fields.items())
            file.write(
                f'resource "terraform_data" "user_{number:07}" {{\n  input = {{ {inner} }}\n}}\n'
            )
    run = _terraform_runner(root, program)
    run("init", "-input=false")
    yield [program, f"-chdir={root}", "plan", "-input=false", "-compact-warnings"]
    run("apply", "-input=false", "-auto-approve")
    yield [program, f"-chdir={root}", "plan", "-input=false", "-compact-warnings"]


def _terraform_runner(root: Path, program: str) -> Callable[..., object]:
    environ = {key: value for key, value in os.environ.items() if key != "TF_CLI_CONFIG_FILE"}

    def run(*words: str) -> object:
        return subprocess.run(
            [program, f"-chdir={root}", *words],
            env=environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )

    return run
