"""A `gh` for tests: answers `gh api` from a folder that stands for GitHub, and records each call.

It refuses what the token of the job may not do, as GitHub would.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

HUB = Path(os.environ["FAKE_GITHUB"])
NEEDED = {"actions": ("actions",), "pulls": ("pull-requests",), "commits": ("pull-requests",)}
Fields = dict[str, str]


def main(words: list[str]) -> int:
    """Answer one call."""
    assert words.pop(0) == "api", words
    method, fields, slurp, body = "GET", Fields(), False, None
    while words and words[0].startswith("-"):
        match words.pop(0):
            case "--method":
                method = words.pop(0)
            case "--paginate":
                pass
            case "--slurp":
                slurp = True
            case other:
                raise AssertionError(other)
    url = urlsplit(words.pop(0))
    fields = {name: values[0] for name, values in parse_qs(url.query).items()}
    while words:
        match words.pop(0):
            case "-f":
                name, _, value = words.pop(0).partition("=")
                fields[name] = value
            case "--input":
                assert words.pop(0) == "-"
                body = json.load(sys.stdin)
            case other:
                raise AssertionError(other)
    path = url.path.removeprefix(f"repos/{os.environ['GITHUB_REPOSITORY']}/")
    with (HUB / "calls.jsonl").open("a") as file:
        file.write(json.dumps({"method": method, "path": path, "body": body}) + "\n")
    if not permitted(method, path):
        sys.stderr.write("gh: Resource not accessible by integration (HTTP 403)\n")
        return 1
    answer = answered(method, path, fields, body)
    if isinstance(answer, bytes):
        sys.stdout.buffer.write(answer)
    else:
        # Every list in two pages, as a long one would be.
        paged = [answer[:1], answer[1:]] if slurp else answer
        sys.stdout.write(json.dumps(paged))
    return 0


def permitted(method: str, path: str) -> bool:
    """Tell whether the job's token may do this."""
    held = json.loads(os.environ["FAKE_PERMISSIONS"])
    names = NEEDED.get(path.partition("/")[0], ("issues",))
    if "comments" in path:
        names = ("issues", "pull-requests")
    if method == "GET":
        return any(held.get(name) in ("read", "write") for name in names)
    return any(held.get(name) == "write" for name in names)


def answered(method: str, path: str, fields: Fields, body: Any) -> Any:
    """Do what is asked and return the answer."""
    for (verb, pattern), answer in ROUTES.items():
        if verb == method and (found := re.fullmatch(pattern, path)):
            hub = json.loads((HUB / "hub.json").read_text())
            told = answer(hub, fields, body, *found.groups())
            if method != "GET":
                (HUB / "hub.json").write_text(json.dumps(hub))
            return told
    raise AssertionError(f"{method} {path}")


def pulls(hub: Any, fields: Fields, _body: Any) -> Any:
    """Open pull requests of a head."""
    return [
        one
        for one in hub["pulls"]
        if one["state"] == fields["state"] and one["head"]["label"] == fields["head"]
    ]


def merged(hub: Any, _fields: Fields, _body: Any, sha: str) -> Any:
    """Pull requests that a commit belongs to."""
    return [one for one in hub["pulls"] if sha in (one["merge_commit_sha"], one["head"]["sha"])]


def comments(hub: Any, _fields: Fields, _body: Any, number: str) -> Any:
    """Comments of an issue or a pull request."""
    return [one for one in hub["comments"] if one["on"] == int(number)]


def post_comment(hub: Any, _fields: Fields, body: Any, number: str) -> Any:
    """Add a comment."""
    assert len(body["body"]) <= 65_536
    made = {
        "id": len(hub["comments"]) + 900,
        "on": int(number),
        "user": {"login": "github-actions[bot]"},
        "body": body["body"],
    }
    hub["comments"].append(made)
    return made


def patch(kind: str, key: str) -> Callable[..., Any]:
    """Return what changes one of a kind."""

    def change(hub: Any, _fields: Fields, body: Any, number: str) -> Any:
        (one,) = (one for one in hub[kind] if one[key] == int(number))
        one.update(body)
        return one

    return change


def issues(hub: Any, fields: Fields, _body: Any) -> Any:
    """Issues with a label; a pull request is one of them."""
    return [
        one
        for one in hub["issues"]
        if one["state"] == fields["state"] and fields["labels"] in one["labels"]
    ]


def post_issue(hub: Any, _fields: Fields, body: Any) -> Any:
    """Open an issue."""
    number = 500 + len(hub["issues"])
    user = {"login": "github-actions[bot]"}
    hub["issues"].append({"number": number, "state": "open", "user": user, **body})
    return hub["issues"][-1]


def artifacts(hub: Any, fields: Fields, _body: Any, run: str = "") -> Any:
    """Artifacts of a name, or of a run."""
    found = [
        one
        for one in hub["artifacts"]
        if (one["name"] == fields.get("name", one["name"]))
        and run in ("", str(one["workflow_run"]["id"]))
    ]
    return {"total_count": len(found), "artifacts": found}


def archive(_hub: Any, _fields: Fields, _body: Any, number: str) -> bytes:
    """The bytes of an artifact."""
    return (HUB / f"{number}.zip").read_bytes()


ROUTES: dict[tuple[str, str], Callable[..., Any]] = {
    ("GET", r"pulls"): pulls,
    ("GET", r"commits/([0-9a-f]{40})/pulls"): merged,
    ("GET", r"issues/(\d+)/comments"): comments,
    ("POST", r"issues/(\d+)/comments"): post_comment,
    ("PATCH", r"issues/comments/(\d+)"): patch("comments", "id"),
    ("GET", r"issues"): issues,
    ("POST", r"issues"): post_issue,
    ("PATCH", r"issues/(\d+)"): patch("issues", "number"),
    ("GET", r"actions/artifacts"): artifacts,
    ("GET", r"actions/runs/(\d+)/artifacts"): artifacts,
    ("GET", r"actions/artifacts/(\d+)/zip"): archive,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
