"""The GitHub action by itself, and the rules that it and the workflows keep."""

from __future__ import annotations

import importlib
import io
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from tests.github_runner import ACTION, REPOSITORY, ROOT, WORKFLOWS, program

OWN = ROOT / ".github/workflows"
"""The workflows of this project itself, beside those that are examples."""


def test_a_cancelled_run_interrupts_the_command(tmp_path: Path) -> None:
    """What the runner sends to the step reaches the reconciler, whose exit code is the step's."""
    step = yaml.safe_load((ACTION / "action.yml").read_text())["runs"]["steps"][-1]
    place = tmp_path / "reconciler/bin"
    place.mkdir(parents=True)
    waits = """trap 'exit 130' INT
echo "ready ${GH_TOKEN-none} ${INPUT_EXPECT-none}"
for n in $(seq 1000); do sleep 0.01; done; exit 1"""
    program(place / "reconciler", waits)
    process = subprocess.Popen(
        ["bash", "-e", "-o", "pipefail", "-c", step["run"]],
        env={
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "RUNNER_TEMP": str(tmp_path),
            "GITHUB_ACTION_PATH": str(ACTION),
            "GITHUB_OUTPUT": str(tmp_path / "output"),
            "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
            "GH_TOKEN": "gh-token-of-the-job",
            "INPUT_COMMAND": "apply",
            "INPUT_EXPECT": f"sha256:{'0' * 64}",
        },
        stdout=subprocess.PIPE,
        text=True,
        # Where the tests run in the background, an interrupt may be ignored from the start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    with process:
        assert process.stdout is not None
        while "ready" not in (line := process.stdout.readline()):
            assert process.poll() is None
        assert line == "ready none none\n", "the command has no use for the job's token"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 130
    assert "exit-code=130\n" in (tmp_path / "output").read_text()


def test_scenarios_are_annotated(tmp_path: Path) -> None:
    """The command `test` gives what the reconciler annotates to the runner, and its exit code."""
    step = yaml.safe_load((ACTION / "action.yml").read_text())["runs"]["steps"][-1]
    place = tmp_path / "reconciler/bin"
    place.mkdir(parents=True)
    program(place / "reconciler", 'echo "::error title=unexpected-actions::$*"; exit 1')
    ended = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", step["run"]],
        env={
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "RUNNER_TEMP": str(tmp_path),
            "GITHUB_ACTION_PATH": str(ACTION),
            "GITHUB_OUTPUT": str(tmp_path / "output"),
            "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
            "INPUT_COMMAND": "test",
            "INPUT_FOLDER": "im",
        },
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    last = ended.stdout.splitlines()[-1]
    assert last == "::error title=unexpected-actions::--chdir im test --format github"


def test_what_is_too_long_is_cut_loudly(monkeypatch: pytest.MonkeyPatch) -> None:
    """A text beyond what GitHub takes keeps its beginning and last line, and counts the rest."""
    monkeypatch.setenv("GITHUB_RUN_ID", "5")
    monkeypatch.setenv("GITHUB_SERVER_URL", "https://github.com")
    monkeypatch.setenv("GITHUB_REPOSITORY", REPOSITORY)
    monkeypatch.syspath_prepend(str(ACTION))
    github = importlib.import_module("github")
    lines = [
        "<!-- mark -->",
        "````diff",
        *(f"- block 客-{number}" for number in range(60_000)),
        "````",
        "Plan.",
    ]
    text = "\n".join(lines)
    sizes = ((github.COMMENT, len), (github.SUMMARY, lambda part: len(part.encode())))
    for most, size in sizes:
        short = github.fit(text + "\n", most, size)
        kept = short.split("\n")
        assert most - 1000 < size(short) <= most
        assert kept[:2] == lines[:2]
        assert kept.count("````") == 1
        cut = len([line for line in kept if line.startswith("- block")])
        assert f"**{len(lines) - 2 - cut:,} more lines do not fit here" in short
        assert kept[-1] == "Plan."
    assert github.fit("short\n", 100) == "short\n"


def test_an_artifact_is_read_as_what_anybody_may_have_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No archive, one without the file, or a file beyond the bound ends in a sentence."""
    monkeypatch.setenv("GITHUB_REPOSITORY", REPOSITORY)
    monkeypatch.syspath_prepend(str(ACTION))
    github = importlib.import_module("github")
    monkeypatch.setattr(github, "LARGEST", 1000)

    def archive(name: str, size: int) -> bytes:
        data = io.BytesIO()
        with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as made:
            made.writestr(name, b"0" * size)
        return data.getvalue()

    def read(data: bytes) -> bytes:
        monkeypatch.setattr(github, "_gh", lambda *_: data)
        held: bytes = github._member({"id": 1, "name": "reconciler-plan"}, "plan.json")
        return held

    assert len(read(archive("plan.json", 1000))) == 1000
    for data in (b"", b"PK", archive("other.json", 10), archive("plan.json", 1001)):
        with pytest.raises(github.Failure, match="artifact reconciler-plan "):
            read(data)


def test_install_takes_the_action_s_own_commit_or_what_is_asked(tmp_path: Path) -> None:
    """Installing is done once, apart from the checkout, and with hashes where they are given."""
    script = next(
        step["run"]
        for step in yaml.safe_load((ACTION / "action.yml").read_text())["runs"]["steps"]
        if step.get("name") == "Install"
    )
    programs = tmp_path / "bin"
    programs.mkdir()
    fake = programs / "python3"
    fake.write_text(
        '#!/bin/sh\necho "$@" >>"$LOG"\nfor last; do :; done\n'
        '[ "$3" = venv ] && mkdir -p "$last/bin" && cp "$0" "$last/bin/python"\n'
        '[ "$3" = pip ] && touch "${0%/*}/reconciler" && chmod +x "${0%/*}/reconciler"\nexit 0\n'
    )
    fake.chmod(0o755)

    def install(**environ: str) -> list[str]:
        log, temp = tmp_path / "log", tmp_path / "temp"
        log.write_text("")
        shutil.rmtree(temp, ignore_errors=True)
        temp.mkdir()
        told = {"PACKAGE": "", "EXTRAS": "", "REQUIREMENTS": "", **environ}
        for _ in range(2):
            subprocess.run(
                ["bash", "-e", "-o", "pipefail", "-c", script],
                env={
                    "PATH": f"{programs}:/usr/bin:/bin",
                    "LOG": str(log),
                    "RUNNER_TEMP": str(temp),
                    "GITHUB_ACTION_PATH": str(ACTION),
                    **told,
                },
                check=True,
            )
        return log.read_text().splitlines()

    own = f"{ACTION}/../../.."
    assert Path(own, "pyproject.toml").resolve() == ROOT / "pyproject.toml"
    tools, needs, package = install(EXTRAS="object, report")[3:]
    for line, part in ((tools, "build"), (needs, "needs")):
        assert "--require-hashes --only-binary :all:" in line
        assert line.endswith(f"/reconciler-{part}.txt")
    assert package.endswith(f"--no-deps --no-build-isolation -- {own}[object, report]")
    asked = [line.partition("lock.py")[2].split() for line in install(EXTRAS="object, report")[1:3]]
    assert asked == [["--build"], ["object", "report"]]
    assert install()[2].endswith("/.ci/lock.py")
    assert install()[-1].endswith(f"-- {own}")
    _, locked, package = install(PACKAGE="im.whl", REQUIREMENTS="locked.txt")
    assert locked.endswith("--require-hashes --requirement locked.txt")
    assert package.endswith("--no-deps -- im.whl")
    assert len(install(PACKAGE="im.whl")) == 2


def texts() -> dict[str, str]:
    """Return the workflows and the action by name."""
    files = [*sorted(WORKFLOWS.glob("*.yml")), ACTION / "action.yml"]
    own = {f"own/{file.name}": file for file in sorted(OWN.glob("*.yml"))}
    named = {file.name: file for file in files} | own
    return {name: file.read_text(encoding="utf-8") for name, file in named.items()}


@pytest.mark.parametrize("name", texts())
def test_workflows_keep_the_rules(name: str) -> None:
    """Pinned actions, least permissions, no credentials left, no expression in a script."""
    text, told = texts()[name], yaml.safe_load(texts()[name])
    assert "pull_request_target" not in text
    for used in re.findall(r"(?m)^ *(?:- )?uses: (\S+)(.*)", text):
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", used[0]), used
        assert re.fullmatch(r" # .+", used[1]), "a pin says its version"
    jobs = told.get("jobs", {"action": {"steps": told.get("runs", {}).get("steps", [])}})
    for job in jobs.values():
        for step in job["steps"]:
            assert "${{" not in step.get("run", "")
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"] == {"persist-credentials": False}
    if "jobs" in told:
        assert told["permissions"] == {}
        assert all("permissions" in job and "timeout-minutes" in job for job in jobs.values())


def test_only_what_runs_merged_files_has_secrets() -> None:
    """No secret is named in what pull requests run, nor in what may write comments."""
    for name in ("plan.yml", "comment.yml"):
        assert "secrets." not in texts()[name]
    assert "actions/checkout" not in texts()["comment.yml"]
    apply = yaml.safe_load(texts()["apply.yml"])
    assert apply["concurrency"] == {"group": "reconciler-apply", "cancel-in-progress": False}
    assert apply["jobs"]["apply"]["environment"] == "production"
