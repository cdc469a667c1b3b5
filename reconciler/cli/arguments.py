"""Arguments: every command's options, and nothing that costs start-up time."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress

TYPE_CHECKING = False  # as in `typing`, which is not worth its import time here
if TYPE_CHECKING:
    from typing import Final, NoReturn

_CODES = "exit codes: 0 done · 1 error · 64 wrong usage"
_FORMATS = ("text", "json")
_DRIFT_FILES = ("baseline", "write_baseline", "metrics_file")
_FINDINGS = (*_FORMATS, "github", "sarif", "junit")
_REVIEWS = (*_FORMATS, "markdown", "html", "gitlab", "github", "sarif", "junit")
_LANGUAGES = ("en", "zh-CN")
_DEEDS = (
    *("create", "update", "block", "unblock", "adopt", "forget", "import", "refresh", "erase"),
    *("force-unlock", "state rm", "state mv", "state push", "state restore"),
)


def _layout(prog: str) -> argparse.HelpFormatter:
    """Return a help layout that need not load what it takes to ask the terminal for its width."""
    return argparse.RawDescriptionHelpFormatter(prog, max_help_position=24, width=98)


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints are usage errors (exit 64) and not an exit of its own."""

    def error(self, message: str) -> NoReturn:
        raise _Wrong(message, f"see: {self.prog} --help")


class _Wrong(Exception):
    """The words are not understood: why, and what to do. Importing the real errors takes time."""


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> argparse.Namespace:
    """Return the parsed command line, with options from the environment put behind the command.

    `RECONCILER_CLI_ARGS` and `RECONCILER_CLI_ARGS_<command>` come first, so what is typed wins.
    """
    words = list(argv)
    command = next((number for number, word in enumerate(words) if word in _COMMANDS), None)
    chosen = ""
    if command is not None:
        chosen = words[command]
        words[command + 1 : command + 1] = _from_environment(chosen, environ)
    arguments = _parsed(words, chosen, command or 0)
    for name in ("out", "planfile", "snapshot", "data", "keep", *_DRIFT_FILES):
        # As with Terraform's -chdir, relative names are beneath that folder.
        if getattr(arguments, name, None) and arguments.chdir != ".":
            setattr(arguments, name, os.path.join(arguments.chdir, getattr(arguments, name)))
    if arguments.log_level is None:
        arguments.log_level = environ.get("RECONCILER_LOG", "warning").lower() or "warning"
    return arguments


def _parsed(words: Sequence[str], chosen: str, at: int) -> argparse.Namespace:
    """Return the parsed words; all commands are there only where one of them may be told of."""
    if chosen and not any(word.startswith(("-h", "--h")) for word in words[:at]):
        with suppress(_Wrong):
            return _parser(chosen, (chosen,)).parse_args(words)
    try:
        return _parser(chosen, _COMMANDS).parse_args(words)
    except _Wrong as wrong:
        from reconciler.errors import UsageError

        message, hint = wrong.args
        raise UsageError.of("usage", message, hint=hint) from None


def _from_environment(command: str, environ: Mapping[str, str]) -> list[str]:
    names = ("RECONCILER_CLI_ARGS", f"RECONCILER_CLI_ARGS_{command.replace('-', '_')}")
    told = [environ[name] for name in names if environ.get(name)]
    if not told:
        return []
    import shlex

    try:
        return [word for text in told for word in shlex.split(text)]
    except ValueError as problem:
        from reconciler.errors import UsageError

        raise UsageError.of("usage", f"RECONCILER_CLI_ARGS: {problem}") from None


def _parser(chosen: str, names: Iterable[str]) -> argparse.ArgumentParser:
    """Return the parser; only the chosen command gets its options, as building costs start-up."""
    parser = _Parser(
        prog="reconciler",
        formatter_class=_layout,
        description="Plan and apply for the accounts of instant-messaging apps, from YAML.",
        epilog="first time: reconciler demo        a workspace of your own: reconciler init",
    )
    parser.add_argument("--chdir", metavar="DIR", default=".", help="work in this folder")
    parser.add_argument("--no-color", action="store_true", help="no colours")
    parser.add_argument(
        "--log-level",
        metavar="L",
        choices=("debug", "info", "warning", "error"),
        default=None,
        help="debug, info, warning (default) or error; logs go to stderr",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in names:
        purpose, example, codes = _TEXTS[name]
        one = commands.add_parser(
            name,
            help=purpose,
            description=purpose,
            formatter_class=_layout,
            epilog=f"example: reconciler {example}\n{codes}",
        )
        one.set_defaults(module="import_" if name == "import" else name.replace("-", "_"))
        if name == chosen:
            _COMMANDS[name](one)
    return parser


def _formats(parser: argparse.ArgumentParser, formats: Sequence[str] = _FORMATS) -> None:
    parser.add_argument(
        "--format",
        metavar="F",
        choices=formats,
        default="text",
        help=", ".join(formats).replace("text", "text (default)"),
    )
    _json(parser)


def _reviews(parser: argparse.ArgumentParser) -> None:
    _formats(parser, _REVIEWS)
    parser.add_argument(
        "--lang",
        metavar="L",
        choices=_LANGUAGES,
        default="en",
        help="language of text, markdown and html: en (default) or zh-CN",
    )


def _providers(parser: argparse.ArgumentParser) -> None:
    _formats(parser, (*_FORMATS, "markdown"))


def _validate(parser: argparse.ArgumentParser) -> None:
    _formats(parser, _FINDINGS)


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--json",
        action="store_const",
        const="json",
        dest="format",
        default="text",
        help="the same as --format json",
    )


def _approve(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--auto-approve", action="store_true", help="do not ask")


def _lock_timeout(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--lock-timeout", metavar="TIME", default="0s", help="wait this long for the lock (90s, 3m)"
    )


def _targets(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--target",
        metavar="ADDR",
        nargs="+",
        action="extend",
        default=[],
        help="only these accounts (provider/id) or providers",
    )


def _allow(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--allow",
        metavar="KIND=COUNT",
        nargs="+",
        action="extend",
        default=[],
        help="exceed a limit by exactly this many actions (block=37)",
    )


def _cache(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--no-cache",
        dest="cache",
        action="store_false",
        help="read every account file, also those that were read before",
    )


def _plan(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", metavar="FILE", help="write the plan to apply it later")
    parser.add_argument("--refresh", action="store_true", help="read the vendors first")
    parser.add_argument(
        "--state",
        metavar="SNAPSHOT",
        dest="snapshot",
        help="plan against a pulled snapshot instead of the store",
    )
    _targets(parser)
    parser.add_argument("--as-of", metavar="TIME", help="judge bans as of this moment")
    parser.add_argument("--detailed-exitcode", action="store_true", help="exit 2 if changes")
    _allow(parser)
    _cache(parser)
    _reviews(parser)


def _show(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("planfile", metavar="PLANFILE", nargs="?", help="a saved plan")
    _reviews(parser)


def _apply(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("planfile", metavar="PLANFILE", nargs="?", help="a saved plan")
    _approve(parser)
    parser.add_argument(
        "--expect", metavar="FINGERPRINT", help="apply only the plan with this fingerprint"
    )
    _targets(parser)
    parser.add_argument("--as-of", metavar="TIME", help="judge bans as of this moment")
    _allow(parser)
    _cache(parser)
    _lock_timeout(parser)
    _json(parser)


def _drift(parser: argparse.ArgumentParser) -> None:
    _targets(parser)
    add = parser.add_argument
    add("--baseline", metavar="FILE", help="known differences that are accepted for a time")
    add("--write-baseline", metavar="FILE", help="accept what is found now; see the next three")
    add("--owner", metavar="NAME", help="who answers for what is accepted")
    add("--expires", metavar="TIME", help="until when it is accepted: 30d, or a moment")
    add("--reason", metavar="TEXT", help="why it is accepted")
    add("--metrics-file", metavar="FILE", help="write metrics in Prometheus' text format")
    add(
        "--notify",
        metavar="REF",
        nargs="+",
        action="extend",
        default=[],
        help="tell drift to webhooks: references to their addresses (env:NAME)",
    )
    add("--heartbeat", action="store_true", help="notify also when all is well")
    _reviews(parser)


def _refresh(parser: argparse.ArgumentParser) -> None:
    _targets(parser)
    _lock_timeout(parser)


def _import(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("addresses", metavar="ADDR", nargs="+", help="provider/account-id")
    _lock_timeout(parser)


def _state(parser: argparse.ArgumentParser) -> None:
    parts = parser.add_subparsers(dest="part", metavar="PART", required=True)

    def part(name: str, purpose: str) -> argparse.ArgumentParser:
        return parts.add_parser(name, help=purpose, description=purpose)

    _json(part("list", "every recorded account"))
    show = part("show", "one recorded account")
    show.add_argument("address", metavar="ADDR")
    _json(show)
    drop = part("rm", "stop recording accounts; the vendor is not touched")
    drop.add_argument("addresses", metavar="ADDR", nargs="+")
    move = part("mv", "move an account, or every account of a provider, to another address")
    move.add_argument("old", metavar="A")
    move.add_argument("new", metavar="B")
    push = part("push", "replace the recorded accounts by a newer snapshot of the same state")
    restore = part("restore", "go back to a snapshot or backup; the serial goes on rising")
    for one in (push, restore):
        one.add_argument("snapshot", metavar="FILE")
    part("backup", "write a snapshot into .reconciler/backups")
    for one in (drop, move, push, restore):
        _approve(one)
        _lock_timeout(one)
    pull = part("pull", "print the whole state as a snapshot")
    pull.add_argument("--redact", action="store_true", help="leave personal fields out")
    _json(part("verify", "read all that is recorded and check every seal and the chain"))
    history = part("history", "what was done, by whom and why, oldest first")
    history.add_argument("address", metavar="ADDR", nargs="?")
    history.add_argument("--since", metavar="TIME", help="only from this moment on")
    history.add_argument(
        "--action", metavar="KIND", choices=_DEEDS, help="only this kind of action (block)"
    )
    _json(history)


def _erase(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("address", metavar="ADDR", help="provider/account-id")
    _approve(parser)
    _lock_timeout(parser)


def _lock(parser: argparse.ArgumentParser) -> None:
    parts = parser.add_subparsers(dest="part", metavar="PART", required=True)
    _json(parts.add_parser("status", help="who holds the lock", description="who holds the lock"))


def _force_unlock(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", help="the exact id that `lock status` shows")
    _approve(parser)


def _schema(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", nargs="?", help="print this schema")


def _emulator(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="a loopback address")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--data", metavar="FILE", help="keep the accounts in this file")
    parser.add_argument(
        "--rate",
        type=float,
        default=100,
        metavar="N",
        help="calls per second per app and API; 0 is no limit",
    )
    for name, meant in (
        ("app-key", "NetEase AppKey"),
        ("app-secret", "NetEase AppSecret"),
        ("sdk-app-id", "Tencent SDKAppID"),
        ("admin", "Tencent admin account"),
        ("secret-key", "Tencent secret key"),
    ):
        parser.add_argument(f"--{name}", metavar="TEXT", default=None, help=meant)


def _demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--keep", metavar="DIR", help="leave the workspace in this new folder")


def _nothing(_parser: argparse.ArgumentParser) -> None:
    return


_COMMANDS: Final[Mapping[str, Callable[[argparse.ArgumentParser], None]]] = {
    "init": _nothing,
    "validate": _validate,
    "plan": _plan,
    "show": _show,
    "apply": _apply,
    "drift": _drift,
    "refresh": _refresh,
    "import": _import,
    "state": _state,
    "erase": _erase,
    "lock": _lock,
    "force-unlock": _force_unlock,
    "providers": _providers,
    "schema": _schema,
    "version": _json,
    "emulator": _emulator,
    "demo": _demo,
}

_APPLIED = (
    "exit codes: 0 done · 1 error · 3 applied in part, run again · 4 refused by a limit "
    "or rule\n            5 locked · 6 stale plan · 64 wrong usage · 130 interrupted"
)

_TEXTS = {
    "init": ("write a commented workspace into this folder", "--chdir my-im init", _CODES),
    "validate": ("check every file, offline, and list all findings", "validate --json", _CODES),
    "plan": (
        "show what apply would do, offline unless --refresh",
        "plan --out plan.json",
        "exit codes: 0 done · 1 error · 2 changes (--detailed-exitcode) · 4 refused by a "
        "limit or rule",
    ),
    "show": (
        "show a saved plan, also a stale one, or the recorded state",
        "show plan.json",
        _CODES,
    ),
    "apply": ("carry out a plan", "apply plan.json", _APPLIED),
    "drift": (
        "compare what the vendors hold with what is recorded; changes nothing",
        "drift",
        "exit codes: 0 no drift · 1 error · 2 drift",
    ),
    "refresh": ("accept what the vendors hold now into recorded state", "refresh", _CODES),
    "import": (
        "record accounts that exist at a vendor; changes nothing there",
        "import cn-prod/support-bot",
        _CODES,
    ),
    "state": (
        "look at recorded state and its history, and mend it",
        "state show cn-prod/a",
        _CODES,
    ),
    "erase": (
        "take a person's data out of records, backups and history; the vendor is not touched",
        "erase cn-prod/a",
        _CODES,
    ),
    "lock": ("show the state lock", "lock status", _CODES),
    "force-unlock": (
        "break the lock of a run that is gone",
        "force-unlock ID --auto-approve",
        _CODES,
    ),
    "providers": ("show what each vendor can hold, and its limits", "providers", _CODES),
    "schema": ("list the JSON Schemas, or print one", "schema accounts", _CODES),
    "version": ("show the version", "version --json", _CODES),
    "emulator": (
        "serve the vendors on loopback, for trying and testing",
        "emulator --port 8900 --data vendor.db",
        _CODES,
    ),
    "demo": ("walk through the whole story on loopback", "demo --keep story", _CODES),
}
