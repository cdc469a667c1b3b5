"""GitLab, Jenkins, Atlantis, Kubernetes, Docker and pre-commit: their files run as they stand."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

import tests.state_server as state_server
from tests.forks import forking
from tests.github_runner import ROOT, program
from tests.world import Result, World

CI = ROOT / "examples/ci"
GITLAB = yaml.safe_load((CI / "gitlab/.gitlab-ci.yml").read_text(encoding="utf-8"))
CREDENTIALS = {"YUNXIN_APP_KEY": "demo-app-key", "YUNXIN_APP_SECRET": "demo-app-secret"}
MERGE_REQUEST = {
    "CI_PIPELINE_SOURCE": "merge_request_event",
    "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "1",
    "CI_MERGE_REQUEST_PROJECT_ID": "1",
}
PUSH = {"CI_PIPELINE_SOURCE": "push", "CI_COMMIT_BRANCH": "main"}
SCHEDULE = {"CI_PIPELINE_SOURCE": "schedule", "CI_COMMIT_BRANCH": "main"}


@pytest.fixture
def world(tmp_path: Path, endpoint: str) -> World:
    """A workspace whose state is in a folder that stands for a bucket, with one account to make."""
    world = World(tmp_path / "repo", endpoint)
    place(world, f'{{backend: object, url: "file://{tmp_path}/state"}}')
    world.accounts("bot-1: {profile: {name: One}}")
    program(tmp_path / "reconciler", forking().line)
    world.environ = {"PATH": f"{tmp_path}:{world.environ['PATH']}", "CI": "true"}
    return world


def place(world: World, state: str) -> None:
    """Keep the state somewhere."""
    world.workspace(f"state: {state}")
    file = world.root / "reconciler.yaml"
    file.write_text(re.sub("env:(APP_KEY|APP_SECRET)", r"env:YUNXIN_\1", file.read_text()))


def shell(world: World, script: str, **environ: str) -> Result:
    """Run a script in the workspace, as a runner does."""
    ended = subprocess.run(
        ["sh", "-e", "-c", script],
        cwd=world.root,
        env=world.environ | environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return Result(ended.returncode, ended.stdout, ended.stderr)


# GitLab


def filled(text: str, given: dict[str, str]) -> str:
    """Return a text with its variables filled in."""
    return re.sub(r"\$(?:\{(\w+)\}|(\w+))", lambda found: given.get(found[1] or found[2], ""), text)


def jobs(given: dict[str, str]) -> list[str]:
    """Return the names of the jobs in a pipeline with these variables."""
    given = {"CI_DEFAULT_BRANCH": "main", **given}

    def holds(rule: dict[str, str]) -> bool:
        python = re.sub(r"\$(\w+)", lambda found: repr(given.get(found[1])), rule["if"])
        return bool(eval(python.replace("&&", " and "), {"__builtins__": {}}))

    named = [name for name, job in GITLAB.items() if isinstance(job, dict) and "script" in job]
    return [name for name in named if any(map(holds, GITLAB[name].get("rules", [])))]


@pytest.fixture
def job(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Result]]:
    """What runs a job of the GitLab pipeline, with the state kept by a GitLab."""
    monkeypatch.setattr(state_server, "USER", "gitlab-ci-token")
    monkeypatch.setattr(state_server, "PASSWORD", "the-token-of-the-job")
    place(world, "{backend: http}")
    with state_server.serving(gitlab=True, clock=time.time) as server:
        around = {
            "GITLAB_CI": "true",
            "CI_API_V4_URL": f"{server.address}/api/v4",
            "CI_PROJECT_ID": "1",
            "CI_JOB_TOKEN": "the-token-of-the-job",
        }
        variables = {name: filled(text, around) for name, text in GITLAB["variables"].items()}

        def run(name: str, pipeline: dict[str, str], **environ: str) -> Result:
            assert name in jobs(pipeline)
            script = "\n".join(GITLAB[name]["script"])
            return shell(world, script, **{**around, **variables, **pipeline, **environ})

        yield run


def test_gitlab_pipelines_have_their_jobs() -> None:
    """Merge requests never apply, forks only validate, schedules only look for drift."""
    fork = {**MERGE_REQUEST, "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "666"}
    assert jobs(MERGE_REQUEST) == ["validate", "review"]
    assert jobs(fork) == ["validate"]
    assert jobs(PUSH) == ["validate", "plan", "apply"]
    assert jobs(SCHEDULE) == ["drift"]
    assert jobs({**PUSH, "CI_PIPELINE_SOURCE": "web"}) == ["validate", "plan", "apply"]
    assert jobs({**PUSH, "CI_COMMIT_BRANCH": "feature"}) == []
    apply = GITLAB["apply"]
    assert apply["rules"][0]["when"] == "manual"
    assert (apply["resource_group"], apply["interruptible"]) == ("reconciler", False)
    assert all(GITLAB[name]["artifacts"]["access"] == "developer" for name in ("plan", "review"))


def test_gitlab_reviews_and_applies_the_plan(world: World, job: Callable[..., Result]) -> None:
    """The widget has the counts, nothing before apply has a secret, and apply does that plan."""
    assert job("validate", MERGE_REQUEST).code == 0
    assert ElementTree.parse(world.root / "validate.xml").getroot().tag == "testsuites"
    assert job("review", MERGE_REQUEST).code == 0
    widget = json.loads((world.root / "widget.json").read_text())
    assert widget == {"create": 1, "update": 0, "delete": 0}
    assert world.control("requests")["requests"] == []

    assert job("plan", PUSH).code == 0
    planned = json.loads((world.root / "plan.json").read_text())
    refused = job("apply", PUSH, **CREDENTIALS, EXPECT=f"sha256:{'0' * 64}")
    assert refused.code == 6, refused.err
    applied = job("apply", PUSH, **CREDENTIALS, EXPECT=planned["fingerprint"])
    assert applied.last == (
        "Apply complete: 1 created, 0 updated, 0 blocked, 0 unblocked, 0 forgotten."
    )
    assert job("apply", PUSH, **CREDENTIALS).code == 6, "a plan is applied once"


def test_gitlab_apply_is_refused_in_a_merge_request(
    world: World, job: Callable[..., Result]
) -> None:
    """Where somebody lets the apply job into merge requests, the reconciler refuses."""
    job("plan", PUSH)

    ended = job("apply", PUSH, **CREDENTIALS, CI_PIPELINE_SOURCE="merge_request_event")

    assert (ended.code, "not merged" in ended.err) == (1, True)
    assert world.mutations() == []


def test_gitlab_shows_a_plan_that_is_refused(world: World, job: Callable[..., Result]) -> None:
    """A plan over a limit fails its job with 4, and its widget is there all the same."""
    world.accounts("\n".join(f"b-{n}: {{adopt: true, banned: true}}" for n in range(5)))

    assert job("review", MERGE_REQUEST).code == 4
    assert json.loads((world.root / "widget.json").read_text())["delete"] == 5


def test_gitlab_drift_fails_with_two(world: World, job: Callable[..., Result]) -> None:
    """Drift is exit 2, as is something that is merged and not applied; else the job is green."""
    job("plan", PUSH)
    job("apply", PUSH, **CREDENTIALS)
    assert job("drift", SCHEDULE, **CREDENTIALS).code == 0

    world.console("bot-1", profile={"name": "Two"})
    drifted = job("drift", SCHEDULE, **CREDENTIALS)
    assert (drifted.code, "Two" in drifted.out) == (2, True)

    world.console("bot-1", profile={"name": "One"})
    world.accounts("bot-1: {profile: {name: One}}\nbot-2: {}")
    assert job("drift", SCHEDULE, **CREDENTIALS).code == 2


# Jenkins


def steps() -> dict[str, list[str]]:
    """Return the shell steps of each stage of the Jenkinsfile."""
    text = (CI / "jenkins/Jenkinsfile").read_text(encoding="utf-8")
    _, *parts = re.split(r"stage\('(\w+)'\)", text)
    return {
        name: re.findall(r"\bsh '([^']*)'", body)
        for name, body in zip(parts[::2], parts[1::2], strict=True)
    }


def test_jenkins_stages_do_as_they_say(world: World) -> None:
    """Validate, plan, apply and drift run, each with no more secrets than its stage is given."""
    stages = steps()
    assert [len(stages[name]) for name in ("Validate", "Plan", "Apply", "Drift")] == [1, 1, 1, 1]

    assert shell(world, stages["Validate"][0]).code == 0
    assert ElementTree.parse(world.root / "validate.xml").getroot().tag == "testsuites"
    assert shell(world, stages["Plan"][0]).code == 0
    assert shell(world, stages["Apply"][0], **CREDENTIALS).code == 0
    assert shell(world, stages["Drift"][0], **CREDENTIALS).code == 0
    world.accounts("bot-1: {banned: maybe}")
    broken = shell(world, stages["Validate"][0])
    assert (broken.code, "accounts/team.yaml:2" in broken.err) == (1, True)


def test_jenkins_applies_what_is_merged_one_at_a_time() -> None:
    """The apply stage is for the main branch, asks first without an agent, and holds a lock."""
    text = (CI / "jenkins/Jenkinsfile").read_text(encoding="utf-8")
    apply = text.partition("stage('Apply')")[2].partition("stage('Drift')")[0]
    for part in (
        "branch 'main'",
        "not { changeRequest() }",
        "beforeInput true",
        "lock(",
        "input {",
    ):
        assert part in apply
    assert "disableConcurrentBuilds(abortPrevious: false)" in text
    assert '"' not in text, "a Groovy text in double quotes would put a secret into the script"
    assert text.count("{") == text.count("}")


# Atlantis


def test_atlantis_plans_and_applies_with_the_server_s_settings(
    world: World, tmp_path: Path
) -> None:
    """The server's steps run; a reconciler.yaml that is not the server's stops both of them."""
    (tmp_path / "etc").mkdir()
    kept = tmp_path / "etc/reconciler.yaml"
    shutil.copy(world.root / "reconciler.yaml", kept)
    told = "".join(f"{name}={value}\n" for name, value in CREDENTIALS.items())
    (tmp_path / "etc/credentials.env").write_text(told)
    server = yaml.safe_load((CI / "atlantis/repos.yaml").read_text(encoding="utf-8"))
    around = {"RECONCILER_ETC": str(kept.parent), "PLANFILE": str(tmp_path / "default.tfplan")}

    def run(command: str) -> int:
        script = server["workflows"]["reconciler"][command]["steps"]
        codes = (shell(world, one["run"], **around).code for one in script)
        return next(filter(None, codes), 0)

    assert (run("plan"), run("apply")) == (0, 0)
    assert world.vendor("bot-1")["enabled"] is True

    kept.write_text(kept.read_text() + "# as the server has it\n")
    assert (run("plan"), run("apply")) == (1, 1)
    (repo,) = server["repos"]
    assert (repo["allowed_overrides"], repo["allow_custom_workflows"]) == ([], False)
    assert "approved" in repo["apply_requirements"]
    own = yaml.safe_load((CI / "atlantis/atlantis.yaml").read_text(encoding="utf-8"))
    assert own.keys() == {"version", "projects"}
    assert all("workflow" not in project for project in own["projects"])


# Kubernetes, Docker, pre-commit


def test_kubernetes_runs_drift_from_mounted_files(world: World, tmp_path: Path) -> None:
    """The CronJob's own words find a workspace whose files are links, as a ConfigMap's are."""
    assert shell(world, "reconciler apply --auto-approve", **CREDENTIALS).code == 0
    told = yaml.safe_load((CI / "kubernetes/cronjob.yaml").read_text(encoding="utf-8"))
    job = told["spec"]["jobTemplate"]["spec"]
    pod = job["template"]["spec"]
    (container,) = pod["containers"]
    mounted = tmp_path / "workspace"
    (mounted / "accounts/..data").mkdir(parents=True)
    shutil.copy(world.root / "reconciler.yaml", mounted)
    shutil.copy(world.root / "accounts/team.yaml", mounted / "accounts/..data")
    (mounted / "accounts/team.yaml").symlink_to("..data/team.yaml")
    words = [one.replace("/workspace", str(mounted)) for one in container["args"]]
    script = shlex.join(["reconciler", *words])
    before = sorted(mounted.rglob("*"))
    assert shell(world, shlex.join(["reconciler", *words[:2], "validate"])).code == 0
    assert shell(world, script, **CREDENTIALS).code == 0
    assert sorted(mounted.rglob("*")) == before, "nothing is written beside the files"


def test_kubernetes_holds_back_what_it_can() -> None:
    """No second run beside the first, no root, no writable image, no secret in the manifest."""
    told = yaml.safe_load((CI / "kubernetes/cronjob.yaml").read_text(encoding="utf-8"))
    assert (told["apiVersion"], told["kind"]) == ("batch/v1", "CronJob")
    assert told["spec"]["concurrencyPolicy"] == "Forbid"
    job = told["spec"]["jobTemplate"]["spec"]
    pod = job["template"]["spec"]
    (container,) = pod["containers"]
    assert (job["backoffLimit"], pod["restartPolicy"]) == (0, "Never")
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert "env" not in container
    mounts = {mount["name"] for mount in container["volumeMounts"]}
    assert mounts == {volume["name"] for volume in pod["volumes"]}


def test_dockerfile_ships_the_reconciler_alone() -> None:
    """One base, held by its digest; hashes alone; no root and no pip at the end.

    Its steps themselves are run by `test_installed.py`.
    """
    text = (CI / "docker/Dockerfile").read_text(encoding="utf-8")
    assert re.search(r"^ARG PYTHON=python:3\.\d+-slim@sha256:[0-9a-f]{64}$", text, re.MULTILINE)
    build, final = text.split("\nFROM ")[1:]
    assert build.startswith("${PYTHON} AS build\n")
    assert final.startswith("${PYTHON}\n")
    assert "PIP_REQUIRE_HASHES=1" in build
    assert "PIP_ONLY_BINARY=:all:" in build
    assert "pip uninstall --yes pip" in final
    assert re.search(r"^USER 65532:65532$", final, re.MULTILINE)
    assert 'ENTRYPOINT ["reconciler"]' in final
    let_in = re.findall(r"^!(\S+)$", (CI / "docker/Dockerfile.dockerignore").read_text(), re.M)
    assert all((ROOT / name).exists() for name in let_in)
    assert not {"tests", "examples", ".git", ".github"} & set(let_in)
    pod = (CI / "kubernetes/cronjob.yaml").read_text(encoding="utf-8")
    assert "runAsUser: 65532" in pod


def test_pre_commit_hooks_look_at_the_whole_workspace(world: World) -> None:
    """The hooks take no file names; one validates every kind of account file, one lays YAML out."""
    hook, layout = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    for one in (hook, layout):
        assert (one["language"], one["pass_filenames"], one["require_serial"]) == (
            "python",
            False,
            True,
        )
    for name in ("reconciler.yaml", "accounts/a.yml", "accounts/b.jsonl", "accounts/c.csv"):
        assert re.search(hook["files"], name)
    assert not re.search(hook["files"], "README.md")
    assert shell(world, hook["entry"]).code == 0
    world.accounts("bot-1: {profile: {nmae: One}}")
    assert shell(world, hook["entry"]).code == 1
    assert shell(world, layout["entry"]).code == 0
    assert re.search(layout["files"], "accounts/team.yaml")
    text = (world.root / "accounts/team.yaml").read_text()
    assert text == "accounts:\n  bot-1:\n    profile: {nmae: One}\n"


def test_every_example_is_told_of() -> None:
    """The page about CI names every file beside it, and every YAML among them is read here."""
    page = (CI / "README.md").read_text(encoding="utf-8")
    for file in sorted(CI.rglob("*")):
        if file.is_file() and file.name != "README.md":
            assert file.relative_to(CI).as_posix() in page, file
        if file.suffix in (".yml", ".yaml"):
            told: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
            assert isinstance(told, dict)
