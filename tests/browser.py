"""A headless Chromium spoken to over a pipe, for the tests of pages; it needs no driver."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FOUND = next(filter(None, map(shutil.which, NAMES)), None)


class Gone(Exception):
    """The browser has ended by itself."""


class Browser:
    """One page. Messages end with a NUL byte, as DevTools' pipe has them."""

    def __init__(self, reader: int, writer: int) -> None:
        self.reader, self.writer, self.rest, self.number = reader, writer, b"", 0
        self.session = ""
        self.events: list[dict] = []
        target = self.tell("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.tell("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.tell(f"{domain}.enable")

    def tell(self, method: str, **params) -> dict:
        """Send a command and return its answer; events on the way are kept."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.writer, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.next()
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def next(self) -> dict:
        """Return the next message."""
        while b"\0" not in self.rest:
            data = os.read(self.reader, 1 << 16)
            if not data:
                raise Gone
            self.rest += data
        message, _, self.rest = self.rest.partition(b"\0")
        return json.loads(message)

    def open(self, page: Path, fragment: str = "") -> None:
        """Open a file and wait until it has loaded."""
        for url in ("about:blank", f"{page.as_uri()}{fragment}"):
            self.events.clear()
            self.tell("Page.navigate", url=url)
            while not any(one.get("method") == "Page.loadEventFired" for one in self.events):
                self.events.append(self.next())

    def run(self, script: str):
        """Return the value of an expression in the page."""
        made = self.tell(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in made, made
        return made["result"].get("value")

    def key(self, key: str, code: int, text: str = "") -> None:
        """Press and release a key."""
        shape = {"key": key, "windowsVirtualKeyCode": code}
        self.tell("Input.dispatchKeyEvent", type="keyDown", text=text, **shape)
        self.tell("Input.dispatchKeyEvent", type="keyUp", **shape)

    def type(self, text: str) -> None:
        """Type a text where the focus is."""
        self.tell("Input.insertText", text=text)

    def wide(self, width: int, height: int = 900) -> None:
        """Make the window this wide."""
        self.tell(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def media(self, media: str = "", **features: str) -> None:
        """Show the page as another medium, or with other preferences."""
        told = [
            {"name": name.replace("_", "-"), "value": value} for name, value in features.items()
        ]
        self.tell("Emulation.setEmulatedMedia", media=media, features=told)

    def complaints(self) -> list[str]:
        """Return what the page's console, its policy and its scripts complained of."""
        found = []
        for event in self.events:
            if event.get("method") == "Log.entryAdded":
                found.append(event["params"]["entry"]["text"])
            if event.get("method") == "Runtime.exceptionThrown":
                found.append(str(event["params"]["exceptionDetails"]))
        return found

    def blocked(self) -> list[str]:
        """Return why each request was blocked that was."""
        return [
            event["params"]["blockedReason"]
            for event in self.events
            if event.get("method") == "Network.loadingFailed" and "blockedReason" in event["params"]
        ]

    def requests(self) -> list[str]:
        """Return every address that was asked for since the page was opened."""
        return [
            event["params"]["request"]["url"]
            for event in self.events
            if event.get("method") == "Network.requestWillBeSent"
        ]


@contextlib.contextmanager
def running(profile: Path) -> Iterator[Browser]:
    """Run a browser with a profile of its own to the end of the block."""
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
    assert FOUND
    words = [
        *(FOUND, "--headless", "--disable-gpu", "--no-first-run", "--remote-debugging-pipe"),
        *("--disable-dev-shm-usage", "--disable-background-networking", "--disable-extensions"),
        *(["--no-sandbox"] if os.geteuid() == 0 else []),
        f"--user-data-dir={profile}",
    ]
    # It reads at descriptor 3 and writes at 4.
    shell = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'
    process = subprocess.Popen(
        ["bash", "-c", shell, "browser", *words],
        pass_fds=(theirs_in, theirs_out),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "HOME": str(profile)},
    )
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        yield Browser(ours_in, ours_out)
    finally:
        os.close(ours_out)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(ours_in)
