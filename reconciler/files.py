"""Files: writing one so that it is there whole or not at all, and private."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from reconciler.errors import ConfigError


def write_private(path: Path, pieces: Iterable[bytes]) -> None:
    """Write a file with mode 0600 by way of a temporary one beside it; durable on return.

    Raises ConfigError if it cannot be written; what stood there before then still stands.
    """
    temporary = ""
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        temporary = ""
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as problem:
        raise ConfigError.of(
            "unwritable", f"{path} cannot be written", detail=f"{problem.strerror}."
        ) from None
    finally:
        if temporary:
            os.unlink(temporary)
