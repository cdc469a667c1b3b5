"""emulator: the vendors on loopback, for trying things out and for tests."""

from __future__ import annotations

from argparse import Namespace

from reconciler.cli.console import Console
from reconciler.errors import ConfigError, UsageError
from reconciler.exits import Exit


def run(arguments: Namespace, console: Console) -> int:
    """Serve until interrupted."""
    from reconciler.emulator import Settings, serve

    given = {
        name: getattr(arguments, name)
        for name in ("app_key", "app_secret", "sdk_app_id", "admin", "secret_key")
        if getattr(arguments, name) is not None
    }

    def announce(line: str) -> None:
        console.print(line)
        console.flush()

    try:
        settings = Settings(
            host=arguments.host,
            port=arguments.port,
            data=arguments.data,
            rate=arguments.rate,
            **given,
        )
        serve(settings, announce=announce)
    except ValueError as problem:
        raise UsageError.of("usage", str(problem)) from None
    except ModuleNotFoundError as problem:
        raise ConfigError.of(
            "no-emulator",
            f"the emulator needs {problem.name}, which is not installed",
            hint="pip install 'im-reconciler[emulator]'",
        ) from None
    except OSError as problem:
        raise ConfigError.of(
            "no-port",
            f"cannot listen on {arguments.host}:{arguments.port}",
            detail=f"{problem.strerror}.",
        ) from None
    return Exit.DONE
