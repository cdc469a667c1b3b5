"""GitHub as the action uses it: comments, issues and artifacts, all through `gh api`.

Nothing here passes a shell, and what a pull request may have written (its branch, its artifact)
is never taken for more than data.
"""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

BOT: Final = "github-actions[bot]"
"""Who the workflow's own token writes as. What anybody else wrote is not ours to trust or edit."""

COMMENT: Final = 65_536
"""Characters that a comment or an issue takes; a longer one is refused."""

SUMMARY: Final = 1 << 20
"""Bytes that a step's summary takes; a longer one is dropped whole."""

LARGEST: Final = 64 << 20
"""Bytes of an artifact's file that are read at most."""

_FINGERPRINT: Final = re.compile(r"`(sha256:[0-9a-f]{64})`")
_FENCE: Final = re.compile(r"^(`{3,})")


class Failure(Exception):
    """What ends the action, in one sentence, with the exit code it ends with."""

    def __init__(self, told: str, code: int = 1) -> None:
        super().__init__(told)
        self.code = code


def event() -> dict[str, Any]:
    """Return what started this run."""
    found: dict[str, Any] = json.loads(Path(os.environ["GITHUB_EVENT_PATH"]).read_bytes())
    return found


def run_url(run: str = "") -> str:
    """Return the address of a run, of this one without a number."""
    run = run or os.environ["GITHUB_RUN_ID"]
    return f"{os.environ['GITHUB_SERVER_URL']}/{_repository()}/actions/runs/{run}"


def comment(number: int, body: str) -> None:
    """Post the body in a pull request; its first line is the mark of the comment it replaces."""
    mark = body.partition("\n")[0]
    path = f"issues/{number}/comments"
    for one in _pages(path):
        if _ours(one, mark):
            _send("PATCH", f"issues/comments/{one['id']}", {"body": fit(body, COMMENT)})
            return
    _send("POST", path, {"body": fit(body, COMMENT)})


def outdate(number: int, told: str) -> None:
    """Replace the plan in our comments of a pull request, so that none is read that is not so."""
    for one in _pages(f"issues/{number}/comments"):
        if _ours(one, "<!-- reconciler:plan:"):
            mark = one["body"].partition("\n")[0].strip()
            _send("PATCH", f"issues/comments/{one['id']}", {"body": f"{mark}\n{told}\n"})


def issue(title: str, body: str, *, wanted: bool) -> None:
    """Have one open issue with the body's first line as its mark while it is wanted, else none."""
    mark = body.partition("\n")[0]
    labelled = _pages("issues", state="open", labels="reconciler")
    found = [one for one in labelled if _ours(one, mark)]
    fitted = fit(body, COMMENT)
    if not wanted:
        for one in found:
            closed = {"state": "closed", "state_reason": "completed"}
            _send("PATCH", f"issues/{one['number']}", closed)
    elif not found:
        _send("POST", "issues", {"title": title, "body": fitted, "labels": ["reconciler"]})
    elif found[0]["body"] != fitted:
        _send("PATCH", f"issues/{found[0]['number']}", {"body": fitted})


def pull_request(run: dict[str, Any]) -> int | None:
    """Return the open pull request that a workflow run is of; None where it has moved on.

    Asked of GitHub by the run's own commit, as the run's artifacts could name any number.
    """
    source = run["head_repository"]
    head = f"{source['owner']['login']}:{run['head_branch']}"
    for one in _pages("pulls", state="open", head=head):
        place = one["head"]
        if place["sha"] == run["head_sha"] and (place["repo"] or {}).get("id") == source["id"]:
            return int(one["number"])
    return None


def reviewed(mark: str) -> str | None:
    """Return the fingerprint in the comment of the pull request that this commit was merged by.

    It is empty where the comment says that nothing changes, and None where there is no comment.
    """
    sha = os.environ["GITHUB_SHA"]
    merged = [
        int(one["number"])
        for one in _pages(f"commits/{sha}/pulls")
        if one["merged_at"] and one["merge_commit_sha"] == sha
    ]
    for number in merged:
        for one in _pages(f"issues/{number}/comments"):
            if _ours(one, mark):
                found = _FINGERPRINT.search(one["body"][:2000])
                if found or "No changes." in one["body"]:
                    return found[1] if found else ""
    return None


def published(name: str, member: str) -> bytes | None:
    """Return a file of the newest artifact of this name that the default branch made.

    A pull request's run may make one of the same name, and its branch may have the same name too.
    """
    branch = event()["repository"]["default_branch"]
    artifacts = _asked(f"actions/artifacts?per_page=100&name={name}")["artifacts"]
    found = [one for one in artifacts if not one["expired"] and _from(one["workflow_run"], branch)]
    if not found:
        return None
    return _member(max(found, key=lambda one: str(one["created_at"])), member)


def artifact(run: int, name: str, member: str) -> bytes | None:
    """Return a file of an artifact that a run made."""
    for one in _asked(f"actions/runs/{run}/artifacts?per_page=100")["artifacts"]:
        if one["name"] == name and not one["expired"]:
            return _member(one, member)
    return None


def fit(text: str, most: int, size: Callable[[str], int] = len) -> str:
    """Return the text; where it is too long, its beginning and how much is left out."""
    if size(text) <= most:
        return text
    lines, kept, room, fence = text.rstrip("\n").split("\n"), 0, most - 500, ""
    for line in lines:
        room -= size(line) + 1
        if room < 0:
            break
        kept += 1
        if found := _FENCE.match(line):
            fence = "" if fence else found[1]
    left = len(lines) - kept
    told = f"**{left:,} more lines do not fit here and are left out:** see [the run]({run_url()})."
    return "\n".join([*lines[:kept], *([fence] if fence else []), "", told, "", lines[-1][:200]])


def _from(run: dict[str, Any], branch: str) -> bool:
    own = run["head_repository_id"] == run["repository_id"]
    return own and bool(run["head_branch"] == branch)


def _ours(one: dict[str, Any], mark: str) -> bool:
    return one["user"]["login"] == BOT and str(one["body"] or "").startswith(mark)


def _member(one: dict[str, Any], member: str) -> bytes:
    """Return a file of an artifact, which is read as the untrusted archive that it may be."""
    data = _gh("--method", "GET", f"repos/{_repository()}/actions/artifacts/{int(one['id'])}/zip")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive, archive.open(member) as file:
            read = file.read(LARGEST + 1)
    except (zipfile.BadZipFile, KeyError, OSError, RuntimeError, NotImplementedError):
        raise Failure(f"the artifact {one['name']} holds no {member} that can be read") from None
    if len(read) > LARGEST:
        raise Failure(f"the artifact {one['name']} holds a {member} that is too large")
    return read


def _pages(path: str, **fields: str) -> Iterator[dict[str, Any]]:
    words = [word for name, value in fields.items() for word in ("-f", f"{name}={value}")]
    url = f"repos/{_repository()}/{path}"
    pages = json.loads(_gh("--method", "GET", "--paginate", "--slurp", url, *words))
    return (one for page in pages for one in page)


def _asked(path: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_gh("--method", "GET", f"repos/{_repository()}/{path}"))
    return found


def _send(method: str, path: str, body: dict[str, Any]) -> None:
    text = json.dumps(body).encode()
    _gh("--method", method, f"repos/{_repository()}/{path}", "--input", "-", stdin=text)


def _gh(*words: str, stdin: bytes = b"") -> bytes:
    ended = subprocess.run(  # noqa: S603 (no shell, and words of our own)
        ["gh", "api", *words],  # noqa: S607 (as the runner's PATH has it)
        input=stdin,
        capture_output=True,
        check=False,
    )
    if ended.returncode:
        told = ended.stderr.decode(errors="replace").strip()[:500]
        asked = next(word for word in words if word.startswith("repos/"))
        raise Failure(f"GitHub refused {words[1]} {asked}: {told!r}")
    return ended.stdout


def _repository() -> str:
    return os.environ["GITHUB_REPOSITORY"]
