"""A `reconciler` for scripts under test: its processes are forked from one that imported it all.

As a script with a socket and words it is the command; `warm` gives the socket. A process is as its
own as one that was started: arguments, folder, environment and streams are the script's.
"""

import os
import socket
import sys

if __name__ == "__main__" and sys.argv[1] != "serve":
    import marshal

    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(sys.argv[1])
        order = marshal.dumps((os.getcwd(), dict(os.environ), sys.argv[2:]))
        socket.send_fds(asking, [len(order).to_bytes(4, "big")], [0, 1, 2])
        asking.sendall(order)
        sys.exit(int(asking.recv(16)))

import importlib
import marshal
import pkgutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

WORKSPACE = """\
version: 1
workspace: warm
providers:
  app:
    type: yunxin
    endpoint: http://127.0.0.1:9
    credentials: {app_key: env:APP_KEY, app_secret: env:APP_SECRET}
"""


@contextmanager
def warm() -> Iterator[str]:
    """Give a line of shell that is `reconciler`, until the block ends."""
    with (
        tempfile.TemporaryDirectory(dir="/tmp") as folder,  # a socket's path has to be short
        subprocess.Popen(
            [sys.executable, "-P", __file__, "serve", (place := f"{folder}/warm.sock")],
            stdout=subprocess.PIPE,
        ) as process,
    ):
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        try:
            yield f'exec "{sys.executable}" -I -S "{__file__}" "{place}" "$@"'
        finally:
            process.terminate()


def _serve(place: str) -> None:
    from reconciler.cli import run

    for name in ("cli", "providers", "stores", "transport", "views"):
        package = importlib.import_module(f"reconciler.{name}")
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"reconciler.{name}.{module.name}")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "reconciler.yaml").write_text(WORKSPACE)
        Path(folder, "accounts").mkdir()
        Path(folder, "accounts/a.yaml").write_text("accounts:\n  a: {profile: {name: A}}\n")
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
            for format in ("markdown", "github"):
                run(["--chdir", folder, "plan", "--format", format], {})
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(place)
        server.listen()
        os.write(1, b"ready\n")
        while True:
            asked, _ = server.accept()
            if os.fork() == 0:
                server.close()
                _become(asked)
            asked.close()


def _become(asked: socket.socket) -> None:
    from reconciler.__main__ import main

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    size, streams, _, _ = socket.recv_fds(asked, 4, 3)
    left, data = int.from_bytes(size, "big"), b""
    while len(data) < left:
        data += asked.recv(left - len(data))
    folder, environ, words = marshal.loads(data)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    sys.argv[1:] = words
    sys.stdin, sys.stdout = open(0), open(1, "w")  # noqa: SIM115 (for the life of the process)
    sys.stderr = open(2, "w", buffering=1)  # noqa: SIM115 (likewise)
    code = 70
    try:
        main()
    except SystemExit as ended:
        code = int(ended.code or 0)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        asked.sendall(str(code).encode())
        os._exit(0)


if __name__ == "__main__":
    _serve(sys.argv[2])
