"""Runner: which CI job this is, who started it, and which commit is checked out."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from reconciler.errors import ConfigError
from reconciler.files import read_regular

LONGEST: Final = 500
"""Characters of one fact that are kept."""

_HASH: Final = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_REF: Final = re.compile(r"ref: (refs/[\w./+@-]{1,250})")
_SMALL, _PACKED = 4096, 16 << 20
_USER: Final = re.compile(r"(?<=://)[^/@\s]*@")

_UNMERGED: Final = (
    ("GITHUB_EVENT_NAME", ("pull_request", "pull_request_target")),
    ("CI_PIPELINE_SOURCE", ("merge_request_event", "external_pull_request_event")),
)
"""What CI services call a run for changes that nobody has merged."""

Environ = Mapping[str, str]


class _Service(NamedTuple):
    """A CI service: the variable that tells it, and where it keeps each fact.

    A fact is the first variable of its line that is set; `url` and `change` may be put together.
    """

    name: str
    sign: str
    actor: tuple[str, ...]
    url: Callable[[Environ], str]
    repository: tuple[str, ...]
    ref: tuple[str, ...]
    commit: tuple[str, ...]
    change: Callable[[Environ], str]


def _one(*names: str) -> Callable[[Environ], str]:
    return lambda environ: next((environ[name] for name in names if environ.get(name)), "")


def _put_together(text: str, *names: str) -> Callable[[Environ], str]:
    """Return what fills the `{}` of a text with variables; empty where one is missing."""
    return lambda environ: (
        text.format(*(environ[name] for name in names))
        if all(environ.get(name) for name in names)
        else ""
    )


def _pulled(environ: Environ) -> str:
    found = re.fullmatch(r"refs/pull/(\d+)/\w+", environ.get("GITHUB_REF", ""))
    return found[1] if found else ""


_SERVICES: Final = (
    _Service(
        "github",
        "GITHUB_ACTIONS",
        ("GITHUB_TRIGGERING_ACTOR", "GITHUB_ACTOR"),
        _put_together(
            "{}/{}/actions/runs/{}", "GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID"
        ),
        ("GITHUB_REPOSITORY",),
        ("GITHUB_REF",),
        ("GITHUB_SHA",),
        _pulled,
    ),
    _Service(
        "gitlab",
        "GITLAB_CI",
        ("GITLAB_USER_LOGIN",),
        _one("CI_JOB_URL", "CI_PIPELINE_URL"),
        ("CI_PROJECT_PATH",),
        ("CI_COMMIT_REF_NAME",),
        ("CI_COMMIT_SHA",),
        _one("CI_MERGE_REQUEST_IID", "CI_EXTERNAL_PULL_REQUEST_IID"),
    ),
    _Service(
        "jenkins",
        "JENKINS_URL",
        ("BUILD_USER_ID", "CHANGE_AUTHOR"),
        _one("BUILD_URL"),
        ("GIT_URL",),
        ("GIT_BRANCH", "BRANCH_NAME"),
        ("GIT_COMMIT",),
        _one("CHANGE_ID"),
    ),
    _Service(
        "buildkite",
        "BUILDKITE",
        ("BUILDKITE_BUILD_CREATOR", "BUILDKITE_BUILD_AUTHOR"),
        _one("BUILDKITE_BUILD_URL"),
        ("BUILDKITE_REPO",),
        ("BUILDKITE_BRANCH",),
        ("BUILDKITE_COMMIT",),
        _one("BUILDKITE_PULL_REQUEST"),
    ),
    _Service(
        "circleci",
        "CIRCLECI",
        ("CIRCLE_USERNAME",),
        _one("CIRCLE_BUILD_URL"),
        ("CIRCLE_REPOSITORY_URL", "CIRCLE_PROJECT_REPONAME"),
        ("CIRCLE_BRANCH", "CIRCLE_TAG"),
        ("CIRCLE_SHA1",),
        _one("CIRCLE_PULL_REQUEST"),
    ),
    _Service(
        "azure",
        "TF_BUILD",
        ("BUILD_REQUESTEDFOR", "BUILD_REQUESTEDFOREMAIL"),
        _put_together(
            "{}{}/_build/results?buildId={}",
            "SYSTEM_COLLECTIONURI",
            "SYSTEM_TEAMPROJECT",
            "BUILD_BUILDID",
        ),
        ("BUILD_REPOSITORY_NAME",),
        ("BUILD_SOURCEBRANCH",),
        ("BUILD_SOURCEVERSION",),
        _one("SYSTEM_PULLREQUEST_PULLREQUESTNUMBER", "SYSTEM_PULLREQUEST_PULLREQUESTID"),
    ),
    _Service(
        "bitbucket",
        "BITBUCKET_BUILD_NUMBER",
        ("BITBUCKET_STEP_TRIGGERER_UUID",),
        _put_together(
            "{}/pipelines/results/{}", "BITBUCKET_GIT_HTTP_ORIGIN", "BITBUCKET_BUILD_NUMBER"
        ),
        ("BITBUCKET_REPO_FULL_NAME",),
        ("BITBUCKET_BRANCH", "BITBUCKET_TAG"),
        ("BITBUCKET_COMMIT",),
        _one("BITBUCKET_PR_ID"),
    ),
)


def context(environ: Environ, root: Path) -> dict[str, str]:
    """Return what is known of where a run happens, for its line in history; each value is text.

    Keys: `ci` (which service), `actor`, `url`, `repository`, `ref`, `commit`, `change` (the number
    or address of a pull or merge request). What is not known has no key. Without a CI service the
    commit is the one that is checked out at `root`.
    """
    facts: dict[str, str] = {}
    service = next((one for one in _SERVICES if environ.get(one.sign)), None)
    if service is not None:
        facts = {
            "ci": service.name,
            "actor": _one(*service.actor)(environ),
            "url": service.url(environ),
            "repository": _one(*service.repository)(environ),
            "ref": _one(*service.ref)(environ),
            "commit": _one(*service.commit)(environ),
            "change": service.change(environ),
        }
    if not facts.get("commit"):
        facts["commit"] = commit(root)
    # Buildkite says "false" where there is no pull request; a clone URL may hold a password.
    return {
        key: _USER.sub("", value)[:LONGEST]
        for key, value in facts.items()
        if value and value != "false"
    }


def commit(root: Path) -> str:
    """Return the commit checked out at `root` or above it, empty if that cannot be told.

    Read from `.git` as files: git itself is not run, because a checkout's configuration can name
    programs. Nothing but a hash is ever taken from there.
    """
    for place in (root, *root.parents):
        git = place / ".git"
        try:
            if git.is_file():  # a worktree or a submodule
                told = _text(git, _SMALL)
                git = place / told.removeprefix("gitdir: ").strip()
            if git.is_dir():
                return _head(git)
        except (OSError, ValueError):
            return ""
    return ""


def _head(git: Path) -> str:
    head = _text(git / "HEAD", _SMALL)
    if _HASH.fullmatch(head):
        return head
    found = _REF.fullmatch(head)
    if found is None or ".." in found[1]:
        return ""
    name = found[1]
    shared = git
    if (git / "commondir").is_file():
        shared = git / _text(git / "commondir", _SMALL)
    for folder in (git, shared):
        if (folder / name).is_file():
            held = _text(folder / name, _SMALL)
            return held if _HASH.fullmatch(held) else ""
    for line in _text(shared / "packed-refs", _PACKED).splitlines():
        hash, _, packed = line.partition(" ")
        if packed == name and _HASH.fullmatch(hash):
            return hash
    return ""


def _text(path: Path, largest: int) -> str:
    return read_regular(path, largest).decode("utf-8").strip()


def disposable(environ: Environ) -> bool:
    """Tell whether this machine is likely thrown away: a CI runner, as `CI` says."""
    return environ.get("CI", "").lower() not in ("", "0", "false", "no")


def refuse_unmerged(environ: Environ) -> None:
    """Raise ConfigError for a pull request: whoever opens one would hold the credentials."""
    for name, events in _UNMERGED:
        if environ.get(name) in events:
            raise ConfigError.of(
                "unmerged",
                "apply does not run for changes that are not merged",
                detail=f"{name} is {environ[name]}, so this is the run of a pull request.",
                hint="plan here; apply in a run for a push to the protected branch",
            )
