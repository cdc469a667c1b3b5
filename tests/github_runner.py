"""A runner for the workflows under `examples/ci/github`: jobs, steps, contexts and artifacts.

It runs each script as GitHub's runner does (`bash -e -o pipefail`, values by environment, a fresh
checkout per job), with `fake_gh.py` as `gh`. Of expressions it knows those that the files use.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
WORKFLOWS = ROOT / "examples/ci/github"
ACTION = ROOT / ".github/actions/reconciler"
REPOSITORY = "acme/im"
OWN, FORK = 1, 2
_PATH = re.compile(r"\b(?:github|steps|needs|inputs|secrets|vars)(?:\.[A-Za-z_][\w-]*)+")
_EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)


class Failed(Exception):
    """A step failed, and with it its job."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclass
class Run:
    """How a run of a workflow ended."""

    id: int
    code: int = 0
    log: str = ""
    summary: str = ""
    outputs: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def heard(self) -> list[str]:
        """The lines that the runner reads for commands: those between no stop and its token."""
        heard, token = [], ""
        for line in self.log.splitlines():
            if token:
                token = "" if line == f"::{token}::" else token
                continue
            token = line.removeprefix("::stop-commands::") if "::stop-commands::" in line else ""
            heard.append(line)
        return heard

    @property
    def commands(self) -> list[str]:
        """The workflow commands that the runner obeys."""
        return [line for line in self.heard if line.startswith("::")]


class Hub:
    """A repository on GitHub: its pull requests, comments, issues and artifacts, and its runner."""

    def __init__(
        self, folder: Path, checkout: Path, secrets: dict[str, str], reconciler: str
    ) -> None:
        self.folder, self.checkout, self.secrets = folder, checkout, secrets
        self.reconciler = reconciler
        self.runs = 0
        self.before: dict[str, Callable[[], object]] = {}
        (folder / "bin").mkdir(parents=True)
        (folder / "calls.jsonl").touch()
        self.save({"pulls": [], "comments": [], "issues": [], "artifacts": []})
        program(folder / "bin/gh", f'exec "{sys.executable}" -I -S "{ROOT}/tests/fake_gh.py" "$@"')
        (folder / "bin/python3").symlink_to(sys.executable)

    @property
    def state(self) -> dict[str, list[Any]]:
        """All there is."""
        held: dict[str, list[Any]] = json.loads((self.folder / "hub.json").read_text())
        return held

    def save(self, state: dict[str, list[Any]]) -> None:
        """Replace all there is."""
        (self.folder / "hub.json").write_text(json.dumps(state))

    def calls(self, *methods: str) -> list[dict[str, Any]]:
        """Return the calls so far."""
        lines = (self.folder / "calls.jsonl").read_text().splitlines()
        return [one for one in map(json.loads, lines) if not methods or one["method"] in methods]

    def kept(self, name: str) -> bytes:
        """Return the file in the newest artifact of a name."""
        (*_, last) = (one for one in self.state["artifacts"] if one["name"] == name)
        with zipfile.ZipFile(self.folder / f"{last['id']}.zip") as archive:
            return archive.read(archive.namelist()[0])

    def open(self, number: int, branch: str, sha: str, *, fork: bool = True) -> dict[str, Any]:
        """Open a pull request and return it."""
        owner, repo = ("mallory", FORK) if fork else ("acme", OWN)
        one = {
            "number": number,
            "state": "open",
            "merged_at": None,
            "merge_commit_sha": None,
            "head": {"label": f"{owner}:{branch}", "ref": branch, "sha": sha, "repo": {"id": repo}},
        }
        held = self.state
        held["pulls"].append(one)
        self.save(held)
        return one

    def merge(self, number: int, sha: str) -> None:
        """Merge a pull request as a commit."""
        held = self.state
        (one,) = (one for one in held["pulls"] if one["number"] == number)
        one |= {"state": "closed", "merged_at": "2026-01-01T00:00:00Z", "merge_commit_sha": sha}
        self.save(held)

    def asked(self, pull: dict[str, Any]) -> Run:
        """Run what a pull request runs, and then what its end runs."""
        fork = pull["head"]["repo"]["id"] != OWN
        event = {"pull_request": pull, "repository": {"default_branch": "main"}}
        ref = f"refs/pull/{pull['number']}/merge"
        ended = self.run("plan", "pull_request", event, ref, pull["head"]["sha"], fork=fork)
        owner, _, branch = pull["head"]["label"].partition(":")
        told = {
            "id": ended.id,
            "event": "pull_request",
            "conclusion": "failure" if ended.code else "success",
            "head_branch": branch,
            "head_sha": pull["head"]["sha"],
            "head_repository": {"id": pull["head"]["repo"]["id"], "owner": {"login": owner}},
        }
        self.run("comment", "workflow_run", {"workflow_run": told}, "refs/heads/main", "f" * 40)
        return ended

    def run(
        self,
        name: str,
        event_name: str,
        event: dict[str, Any],
        ref: str = "refs/heads/main",
        sha: str = "a" * 40,
        *,
        fork: bool = False,
        inputs: dict[str, str] | None = None,
    ) -> Run:
        """Run a workflow to its end."""
        self.runs += 1
        run = Run(self.runs)
        event = {"repository": {"id": OWN, "default_branch": "main"}, **event}
        workflow = yaml.safe_load((WORKFLOWS / f"{name}.yml").read_text())
        contexts = {
            "github": {"ref": ref, "event": event, "token": "gh-token-of-the-job"},
            "inputs": inputs or {},
            "secrets": {} if fork else self.secrets,
            "vars": {},
            "needs": {},
        }
        around = {
            "GITHUB_ACTIONS": "true",
            "CI": "true",
            "GITHUB_EVENT_NAME": event_name,
            "GITHUB_REF": ref,
            "GITHUB_SHA": sha,
            "GITHUB_RUN_ID": str(run.id),
            "GITHUB_REPOSITORY": REPOSITORY,
            "GITHUB_SERVER_URL": "https://github.com",
            "GITHUB_ACTOR": "mallory" if fork else "alice",
        }
        for key, job in workflow["jobs"].items():
            needed = [job["needs"]] if "needs" in job else []
            if any(run.outputs.get(one) is None for one in needed):
                continue
            contexts["needs"] = {one: {"outputs": run.outputs[one]} for one in needed}
            if "if" in job and not _evaluate(job["if"], contexts):
                continue
            self.before.get(key, lambda: None)()
            _Job(self, run, job, contexts, around, fork=fork).run(key)
        return run

    def keep(self, name: str, file: Path, run: Run, *, fork: bool, branch: str) -> None:
        """Keep an artifact."""
        held = self.state
        number = len(held["artifacts"]) + 1
        data = io.BytesIO()
        with zipfile.ZipFile(data, "w") as archive:
            archive.write(file, file.name)
        (self.folder / f"{number}.zip").write_bytes(data.getvalue())
        made_by = {
            "id": run.id,
            "repository_id": OWN,
            "head_repository_id": FORK if fork else OWN,
            "head_branch": branch,
        }
        created = f"2026-01-01T00:00:{number:02}Z"
        held["artifacts"].append(
            {
                "id": number,
                "name": name,
                "expired": False,
                "created_at": created,
                "workflow_run": made_by,
            }
        )
        self.save(held)


class _Job:
    """One job, on a machine of its own."""

    def __init__(
        self,
        hub: Hub,
        run: Run,
        job: dict[str, Any],
        contexts: dict[str, Any],
        around: dict[str, str],
        *,
        fork: bool,
    ) -> None:
        self.hub, self.result, self.job, self.fork = hub, run, job, fork
        self.contexts = {**contexts, "steps": {}}
        self.machine = hub.folder / f"machine-{run.id}-{len(run.outputs)}"
        temp = self.machine / "temp"
        (temp / "reconciler/bin").mkdir(parents=True)
        program(temp / "reconciler/bin/reconciler", hub.reconciler)
        (self.machine / "work").mkdir()
        self.event = self.machine / "event.json"
        self.event.write_text(json.dumps(contexts["github"]["event"]))
        granted = job["permissions"]
        if fork:
            granted = dict.fromkeys(granted, "read")
        self.around = around | {
            "PATH": f"{hub.folder / 'bin'}:{os.environ['PATH']}",
            "HOME": str(self.machine),
            "RUNNER_TEMP": str(temp),
            "GITHUB_WORKSPACE": str(self.machine / "work"),
            "GITHUB_EVENT_PATH": str(self.event),
            "FAKE_GITHUB": str(hub.folder),
            "FAKE_PERMISSIONS": json.dumps(granted),
        }

    def run(self, key: str) -> None:
        failed = False
        for number, step in enumerate(self.job["steps"]):
            condition = str(step.get("if", "success()"))
            if failed and "always()" not in condition:
                continue
            if "if" in step and not _evaluate(condition, self.contexts):
                continue
            try:
                self._step(step, step.get("id", f"step-{number}"))
            except Failed as problem:
                failed = True
                self.result.code = self.result.code or problem.code
        if not failed:
            told = self.job.get("outputs", {})
            self.result.outputs[key] = {
                one: _filled(text, self.contexts) for one, text in told.items()
            }

    def _step(self, step: dict[str, Any], id: str) -> None:
        environ = {one: _filled(text, self.contexts) for one, text in step.get("env", {}).items()}
        given = {one: _filled(text, self.contexts) for one, text in step.get("with", {}).items()}
        match step["uses"].partition("@")[0]:
            case "actions/checkout":
                shutil.copytree(self.hub.checkout, self.machine / "work", dirs_exist_ok=True)
            case "actions/upload-artifact":
                branch = self.contexts["github"]["ref"].removeprefix("refs/heads/")
                self.hub.keep(
                    given["name"], Path(given["path"]), self.result, fork=self.fork, branch=branch
                )
            case "your-org/im-reconciler/.github/actions/reconciler":
                self._action(given, environ, id)
            case other:
                raise AssertionError(other)

    def _action(self, given: dict[str, str], environ: dict[str, str], id: str) -> None:
        action = yaml.safe_load((ACTION / "action.yml").read_text())
        assert given.keys() <= action["inputs"].keys()
        inputs = {
            name: given.get(name) or _filled(one.get("default", ""), self.contexts)
            for name, one in action["inputs"].items()
        }
        contexts = {**self.contexts, "inputs": inputs, "steps": {}}
        environ = environ | {"GITHUB_ACTION_PATH": str(ACTION)}
        code = 0
        for step in action["runs"]["steps"]:
            if "run" in step and not code:
                told = {one: _filled(text, contexts) for one, text in step["env"].items()}
                code, outputs = self._bash(step["run"], environ | told)
                contexts["steps"][step.get("id", "")] = {"outputs": outputs}
        held = {name: _filled(one["value"], contexts) for name, one in action["outputs"].items()}
        self.contexts["steps"][id] = {"outputs": held}
        if code:
            raise Failed(code)

    def _bash(self, script: str, environ: dict[str, str]) -> tuple[int, dict[str, str]]:
        output, summary = self.machine / "output", self.machine / "summary"
        output.write_text("")
        summary.write_text("")
        ended = subprocess.run(
            ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", script],
            cwd=self.machine / "work",
            env=self.around
            | environ
            | {"GITHUB_OUTPUT": str(output), "GITHUB_STEP_SUMMARY": str(summary)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=60,
        )
        self.result.log += ended.stdout
        assert summary.stat().st_size <= 1 << 20
        self.result.summary += summary.read_text()
        told = dict(line.split("=", 1) for line in output.read_text().splitlines())
        return ended.returncode, told


def program(path: Path, script: str) -> None:
    """Write a program of one line of shell."""
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def _filled(text: Any, contexts: dict[str, Any]) -> str:
    return _EXPRESSION.sub(lambda found: str(_evaluate(found[1], contexts)), str(text))


def _evaluate(expression: str, contexts: dict[str, Any]) -> Any:
    """Evaluate an expression; what is not there is the empty text, as at GitHub."""

    def looked_up(found: re.Match[str]) -> str:
        held: Any = contexts
        for name in found[0].split("."):
            held = held.get(name, "") if isinstance(held, dict) else ""
        return repr(held)

    python = _PATH.sub(looked_up, expression.strip().removeprefix("${{").removesuffix("}}"))
    python = python.replace("&&", " and ").replace("||", " or ")
    functions = {"always": lambda: True, "format": str.format}
    return eval(python, {"__builtins__": {}}, functions)
