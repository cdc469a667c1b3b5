"""Pictures for the READMEs, made of what the program really prints.

    .venv/bin/python .ci/pictures.py

plans a small workspace against the emulator, on a terminal of its own, in English and in Chinese,
and as a page; writes `examples/pictures/`. The page's PNG needs a Chromium (`apt-get install
chromium`); without one it is left as it is, and said so.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import html
import importlib
import io
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
import unicodedata
import zlib
from collections.abc import Iterator, Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Final

from reconciler.cli import run
from reconciler.emulator import Settings, running

ROOT: Final = Path(__file__).resolve().parents[1]
FOLDER: Final = ROOT / "examples/pictures"
COLUMNS: Final = 100
BEFORE, NOW = "2026-11-01T09:00:00Z", "2026-12-01T09:00:00Z"

_WORKSPACE: Final = """\
version: 1
workspace: shop-im
providers:
  cn-prod:
    type: yunxin
    endpoint: {endpoint}
    credentials: {{app_key: env:YUNXIN_APP_KEY, app_secret: env:YUNXIN_APP_SECRET}}
secrets: {{allow: ["env:IM_TOKEN_*"]}}
limits: {{update: {{percent: 100}}}}
"""
_TEAM: Final = """\
accounts:
  support-bot:
    protected: true
    profile: {{name: {name}}}
    token: {{from: env:IM_TOKEN_SUPPORT, version: {version}}}
"""
_BANS: Final = """\
accounts:
  troll-12: {banned: {reason: abuse, ticket: TS-988, until: 2026-11-15}}
"""
_NEW: Final = """\
defaults: {adopt: true}
accounts:
  spammer-77: {banned: {reason: spam, ticket: TS-1042, until: 2027-01-31}}
"""
_ENVIRON: Final = {
    "YUNXIN_APP_KEY": "demo-app-key",
    "YUNXIN_APP_SECRET": "demo-app-secret",
    "IM_TOKEN_SUPPORT": "a-login-token",
}
_SERIAL: Final = re.compile(r"(?<=\(serial )\d+|(?<=序号 )\d+")
_SGR: Final = re.compile(r"\x1b\[([\d;]*)m")
_COLOURS: Final = {
    "31": "#ff7b72",
    "32": "#56d364",
    "33": "#e3b341",
    "34": "#79c0ff",
    "35": "#d2a8ff",
    "36": "#39c5cf",
}


def shown() -> Iterator[tuple[str, str]]:
    """Yield each file that is text, by its name: two terminals and a page."""
    with tempfile.TemporaryDirectory() as name, running(Settings(rate=0)) as endpoint:
        root = Path(name)
        _recorded(root, endpoint)
        for picture, words in (("plan.svg", ()), ("plan.zh-CN.svg", ("--lang", "zh-CN"))):
            typed = " ".join(("reconciler", "plan", *words))
            yield picture, drawn(typed, _SERIAL.sub("12", terminal(root, "plan", *words)))
        yield "plan.html", _SERIAL.sub("12", _ran(root, "plan", "--as-of", NOW, "--format", "html"))


def _recorded(root: Path, endpoint: str) -> None:
    """Lay out a workspace that is applied, and then change its files."""
    files = {
        "reconciler.yaml": _WORKSPACE.format(endpoint=endpoint),
        "accounts/team.yaml": _TEAM.format(name="Support", version=1),
        "accounts/guide.yaml": "accounts:\n  tour-guide: {}\n",
        "accounts/bans.yaml": _BANS,
    }
    (root / "accounts").mkdir()
    for name, text in files.items():
        (root / name).write_text(text, encoding="utf-8")
    _ran(root, "apply", "--auto-approve", "--as-of", BEFORE)
    (root / "accounts/team.yaml").write_text(
        _TEAM.format(name="Support desk", version=2), encoding="utf-8"
    )
    (root / "accounts/guide.yaml").unlink()
    (root / "accounts/new.yaml").write_text(
        "accounts:\n  order-bot: {profile: {name: Orders}, labels: {team: shop}}\n",
        encoding="utf-8",
    )
    (root / "accounts/spam.yaml").write_text(_NEW, encoding="utf-8")


def _ran(root: Path, *words: str) -> str:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run(["--chdir", str(root), *words], _ENVIRON)
    if code:
        raise SystemExit(f"{' '.join(words)} ended with {code}:\n{err.getvalue()}")
    return out.getvalue()


def terminal(root: Path, *words: str) -> str:
    """Run a command on a terminal of its own and return what it wrote there."""
    front, back = pty.openpty()
    fcntl.ioctl(back, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "reconciler", "--chdir", root, *words, "--as-of", NOW],
        stdin=back,
        stdout=back,
        stderr=back,
        env={**_ENVIRON, "TERM": "xterm-256color", "PYTHONUTF8": "1"},
    )
    os.close(back)
    told = b""
    while True:
        try:
            data = os.read(front, 1 << 16)
        except OSError:  # how Linux tells that nobody has the other end any more
            break
        if not data:
            break
        told += data
    os.close(front)
    if process.wait():
        raise SystemExit(f"{' '.join(words)} ended with {process.returncode}: {told.decode()}")
    return told.decode().replace("\r\n", "\n")


def drawn(typed: str, told: str) -> str:
    """Return a terminal as an SVG; each piece of text stands at its own column."""
    width, line = 8.4, 20
    lines = [f"$ {typed}", *told.rstrip("\n").split("\n")]
    made = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {COLUMNS * width + 40:.0f} '
        f'{len(lines) * line + 56}" role="img" aria-label="{html.escape(typed)}">',
        "<style>text{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,"
        "'Noto Sans Mono CJK SC',monospace;white-space:pre}</style>",
        '<rect width="100%" height="100%" rx="8" fill="#0d1117"/>',
        *(
            f'<circle cx="{x}" cy="18" r="5" fill="{fill}"/>'
            for x, fill in ((22, "#ff5f56"), (40, "#ffbd2e"), (58, "#27c93f"))
        ),
    ]
    for number, text in enumerate(lines):
        y = 52 + number * line
        for column, piece, style in _pieces(text):
            at = f'x="{20 + column * width:.1f}" y="{y}" textLength="{_columns(piece) * width:.1f}"'
            made.append(f"<text {at} {style}>{html.escape(piece, quote=False)}</text>")
    return "\n".join([*made, "</svg>", ""])


def _pieces(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield what is written in one style: its column, its text and the style."""
    column, state = 0, {"fill": "#e6edf3"}
    for number, part in enumerate(_SGR.split(text)):
        if number % 2:
            state = _styled(state, part)
            continue
        style = " ".join(f'{name}="{value}"' for name, value in state.items())
        for found in re.finditer(r"[^ ]+(?: [^ ]+)*", part):
            yield column + _columns(part[: found.start()]), found[0], style
        column += _columns(part)


def _styled(state: Mapping[str, str], codes: str) -> dict[str, str]:
    made = dict(state)
    for code in codes.split(";"):
        if code in ("", "0"):
            made = {"fill": "#e6edf3"}
        elif code == "1":
            made["font-weight"] = "bold"
        elif code == "2":
            made["opacity"] = "0.7"
        else:
            made["fill"] = _COLOURS[code]
    return made


def _columns(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text)


def photographed(page: Path, picture: Path) -> bool:
    """Take a picture of a page with a headless Chromium; tell whether there is one."""
    sys.path.insert(0, str(ROOT / "tests"))
    browser = importlib.import_module("browser")
    if browser.FOUND is None:
        return False
    with tempfile.TemporaryDirectory() as profile, browser.running(Path(profile)) as chrome:
        chrome.media(prefers_color_scheme="light")
        chrome.tell("Emulation.setScrollbarsHidden", hidden=True)
        chrome.wide(1000, 1210)
        chrome.open(page)
        chrome.run("document.querySelector('#list .account:nth-child(3) summary').click()")
        chrome.run("new Promise(done => setTimeout(done))")
        taken = chrome.tell("Page.captureScreenshot", format="png")
    picture.write_bytes(noted(base64.b64decode(taken["data"]), of(page.read_bytes())))
    return True


def of(page: bytes) -> bytes:
    """Return the text in a PNG that says which page it is of."""
    return b"Source\0sha256:" + hashlib.sha256(page).hexdigest().encode()


def noted(picture: bytes, text: bytes) -> bytes:
    """Return a PNG with a text in it, behind its header of 33 bytes."""
    chunk = b"tEXt" + text
    made = struct.pack(">I", len(text)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return picture[:33] + made + picture[33:]


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in shown():
        (FOLDER / name).write_text(text, encoding="utf-8")
        print(FOLDER / name)
    if photographed(FOLDER / "plan.html", FOLDER / "plan.png"):
        print(FOLDER / "plan.png")
    else:
        print("plan.png is left as it is: no Chromium is installed")
