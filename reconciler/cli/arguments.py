"""Arguments: every command's options, and nothing that costs start-up time."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

TYPE_CHECKING = False  # as in `typing`, which is not worth its import time here
if TYPE_CHECKING:
    from typing import Final, NoReturn

_CODES = "exit codes: 0 done · 1 error · 64 wrong usage"
_WRITES = "exit codes: 0 done · 1 error · 5 locked · 64 wrong usage"
_FORMATS = ("text", "json")
_DRIFT_FILES = ("baseline", "write_baseline", "metrics_file")
_FINDINGS = (*_FORMATS, "github", "sarif", "junit")
_REVIEWS = (*_FORMATS, "markdown", "html", "gitlab", "github", "sarif", "junit")
_LANGUAGES = ("en", "zh-CN")
_VALUED = ("--chdir", "--log-level")
_PARTED = ("lock", "state")
_DEEDS = (
    *("create", "update", "block", "unblock", "adopt", "forget", "import", "refresh", "erase"),
    *("force-unlock", "state rm", "state mv", "state push", "state restore", "state rekey"),
)


def _layout(prog: str) -> argparse.HelpFormatter:
    """Return a help layout that need not load what it takes to ask the terminal for its width."""
    return argparse.RawDescriptionHelpFormatter(prog, max_help_position=24, width=98)


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints are usage errors (exit 64) and not an exit of its own."""

    def error(self, message: str) -> NoReturn:
        raise _Wrong(message, f"see: {self.prog} --help")

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is not None and value not in action.choices:
            from reconciler.cli import meant

            raise _Wrong(*meant.choice(self.prog, action, value))

    def understood(self, words: Sequence[str]) -> argparse.Namespace:
        """Return what all of the words say."""
        arguments, left = self.parse_known_args(words)
        if left:
            from reconciler.cli import meant

            part = getattr(arguments, "part", "")
            raise _Wrong(*meant.words(self, arguments.command, part, left))
        return arguments


class _Wrong(Exception):
    """The words are not understood: why, and what to do. Importing the real errors takes time."""


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> argparse.Namespace:
    """Return the parsed command line, with options from the environment put behind the command.

    `RECONCILER_CLI_ARGS` and `RECONCILER_CLI_ARGS_<command>` come first, so what is typed wins.
    What belongs before a command is put there; `state list` has `RECONCILER_CLI_ARGS_state_list`.
    """
    words = list(argv)
    command = _command(words)
    chosen = ""
    if command is not None:
        chosen = words[command]
        path = words[command : command + (2 if chosen in _PARTED else 1)]
        ahead, behind = _from_environment([one for one in path if one[:1] != "-"], environ)
        words[command + len(path) : command + len(path)] = behind
        words[:0] = ahead
        command += len(ahead)
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
            return _parser((chosen,), (chosen,)).understood(words)
    try:
        return _parser((*_COMMANDS,), (chosen,)).understood(words)
    except _Wrong as wrong:
        from reconciler.errors import UsageError

        message, hint = wrong.args
        raise UsageError.of("usage", message, hint=hint) from None


def _command(words: Sequence[str]) -> int | None:
    """Return where the command stands; a folder may be called like one, as in `--chdir test`."""
    for number, word in enumerate(words):
        if word in _COMMANDS and (not number or words[number - 1] not in _VALUED):
            return number
    return None


def _from_environment(path: Sequence[str], environ: Mapping[str, str]) -> tuple[list[str], ...]:
    """Return the options that the environment holds, for before the command and for behind it."""
    names = ["RECONCILER_CLI_ARGS"]
    for word in path:
        names.append(f"{names[-1]}_{word.replace('-', '_')}")
    told = [environ[name] for name in names if environ.get(name)]
    if not told:
        return [], []
    import shlex

    try:
        words = [word for text in told for word in shlex.split(text)]
    except ValueError as problem:
        from reconciler.errors import UsageError

        raise UsageError.of("usage", f"RECONCILER_CLI_ARGS: {problem}") from None
    ahead: list[str] = []
    behind: list[str] = []
    for number, word in enumerate(words):
        whole = word.partition("=")[0] in ("--no-color", *_VALUED)
        value = number > 0 and words[number - 1] in _VALUED
        (ahead if whole or value else behind).append(word)
    return ahead, behind


def whole() -> argparse.ArgumentParser:
    """Return the parser with the options of every command, for a manual and for completions."""
    return _parser((*_COMMANDS,), (*_COMMANDS,))


def _parser(names: tuple[str, ...], chosen: tuple[str, ...]) -> _Parser:
    """Return the parser of these commands; only chosen ones get options, as that costs start-up."""
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
        if name in chosen:
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


def _init(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--from",
        metavar="VENDOR",
        dest="vendors",
        action="append",
        default=[],
        help="a vendor that `providers` lists, yunxin if none is named; may be repeated, or a list",
    )


def _fmt(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "paths", metavar="PATH", nargs="*", help="files or folders; without any, the workspace"
    )
    parser.add_argument(
        "--check", action="store_true", help="change nothing; exit 2 where fmt would"
    )
    parser.add_argument("--diff", action="store_true", help="change nothing; show what fmt would")


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


def _override(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--override",
        metavar="RULE=REASON",
        action="append",
        default=[],
        help="do not let this rule refuse this plan, and record why; may be repeated",
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
    _override(parser)
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
    _override(parser)
    parser.add_argument(
        "--enqueue",
        action="store_true",
        help="put it on the queue of the workers instead (state in PostgreSQL)",
    )
    _cache(parser)
    _lock_timeout(parser)
    _json(parser)


def _worker(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--drain", action="store_true", help="end when nothing is left to do")
    parser.add_argument(
        "--status", action="store_true", help="show what is queued and who works on it"
    )
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
    add = parser.add_argument
    add("addresses", metavar="ADDR", nargs="*", help="provider/account-id")
    add("--from", metavar="FILE", dest="list", help="a list: .txt, .csv or .jsonl")
    add("--write", metavar="FILE", help="write their YAML into this file, or add it there")
    add(
        "--policy",
        choices=("adopt", "must-match"),
        default="adopt",
        help="of what the YAML declares record what is there (adopt, the default), or only "
        "accounts that are as it says (must-match)",
    )
    _lock_timeout(parser)


def _part(
    parts: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    purpose: str,
    example: str,
    codes: str = _CODES,
) -> argparse.ArgumentParser:
    """Add a part of a command, such as `state mv`, and return its parser."""
    epilog = f"example: reconciler {example}\n{codes}"
    return parts.add_parser(
        name, help=purpose, description=purpose, formatter_class=_layout, epilog=epilog
    )


def _pull(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--write", action="store_true", help="change the files; else only show it")
    _targets(parser)


def _state(parser: argparse.ArgumentParser) -> None:
    parts = parser.add_subparsers(dest="part", metavar="PART", required=True)

    def part(name: str, purpose: str, example: str, codes: str = _CODES) -> argparse.ArgumentParser:
        return _part(parts, name, purpose, f"state {name} {example}".rstrip(), codes)

    _json(part("list", "list every recorded account", ""))
    show = part("show", "show one recorded account", "cn-prod/support-bot")
    show.add_argument("address", metavar="ADDR", help="provider/account-id")
    _json(show)
    drop = part(
        "rm", "stop recording accounts; the vendor is not touched", "cn-prod/support-bot", _WRITES
    )
    drop.add_argument("addresses", metavar="ADDR", nargs="+", help="provider/account-id")
    move = part(
        "mv",
        "move an account, or every account of a provider, to another address",
        "cn-prod/support-bot cn-prod/help-bot",
        _WRITES,
    )
    move.add_argument("old", metavar="A", help="provider/account-id, or a provider")
    move.add_argument("new", metavar="B", help="the same kind of name")
    push = part(
        "push",
        "replace the recorded accounts by a newer snapshot of the same state",
        "snapshot.json",
        _WRITES,
    )
    restore = part(
        "restore",
        "go back to a snapshot or backup; the serial goes on rising",
        "snapshot.json",
        _WRITES,
    )
    for one in (push, restore):
        one.add_argument("snapshot", metavar="FILE", help="what `state pull` or a backup wrote")
    part("backup", "write a snapshot into .reconciler/backups", "")
    rekey = part(
        "rekey",
        "encrypt anew: state, history and backups, under the key named first",
        "",
        _WRITES,
    )
    for one in (drop, move, push, restore, rekey):
        _approve(one)
        _lock_timeout(one)
    pull = part("pull", "print the whole state as a snapshot", "--redact")
    pull.add_argument("--redact", action="store_true", help="leave personal fields out")
    _json(part("verify", "read all that is recorded and check every seal and the chain", ""))
    history = part(
        "history", "show what was done, by whom and why, oldest first", "cn-prod/support-bot"
    )
    history.add_argument("address", metavar="ADDR", nargs="?", help="of this account only")
    history.add_argument("--since", metavar="TIME", help="only from this moment on")
    history.add_argument(
        "--action", metavar="KIND", choices=_DEEDS, help="only this kind of action (block)"
    )
    _json(history)


def _expire(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--before",
        metavar="TIME",
        default="24h",
        help="how far ahead to look: 24h (default), 7d, or a moment",
    )
    _targets(parser)
    parser.add_argument("--as-of", metavar="TIME", help="judge bans as of this moment")
    _formats(parser, (*_FORMATS, "markdown"))


def _test(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="*",
        help="scenario files, or folders of them; tests/**/*.test.yaml if none is named",
    )
    _formats(parser, (*_FORMATS, "junit", "github"))


def _erase(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("address", metavar="ADDR", help="provider/account-id")
    _approve(parser)
    _lock_timeout(parser)


def _lock(parser: argparse.ArgumentParser) -> None:
    parts = parser.add_subparsers(dest="part", metavar="PART", required=True)
    _json(_part(parts, "status", "show who holds the lock", "lock status"))


def _force_unlock(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", help="the exact id that `lock status` shows")
    _approve(parser)


def _schema(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", nargs="?", help="print this schema")


def _emulator(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="a loopback address (127.0.0.1)")
    parser.add_argument("--port", type=int, default=0, help="0 (default) takes a free one")
    parser.add_argument("--data", metavar="FILE", help="keep the accounts in this file")
    parser.add_argument(
        "--rate",
        type=float,
        default=100,
        metavar="N",
        help="calls per second per app and API: 100 (default); 0 is no limit",
    )
    for name, meant in (
        ("app-key", "NetEase AppKey (demo-app-key)"),
        ("app-secret", "NetEase AppSecret (demo-app-secret)"),
        ("sdk-app-id", "Tencent SDKAppID (1400000000)"),
        ("admin", "Tencent admin account (administrator)"),
        ("secret-key", "Tencent secret key (demo-secret-key)"),
    ):
        parser.add_argument(f"--{name}", metavar="TEXT", default=None, help=meant)


def _demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--keep", metavar="DIR", help="leave the workspace in this new folder")


def _nothing(_parser: argparse.ArgumentParser) -> None:
    return


_COMMANDS: Final[Mapping[str, Callable[[argparse.ArgumentParser], None]]] = {
    "init": _init,
    "validate": _validate,
    "fmt": _fmt,
    "plan": _plan,
    "show": _show,
    "apply": _apply,
    "worker": _worker,
    "drift": _drift,
    "refresh": _refresh,
    "import": _import,
    "pull": _pull,
    "state": _state,
    "test": _test,
    "expire": _expire,
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
    "init": (
        "write a commented workspace into this folder",
        "--chdir my-im init --from yunxin,tencent",
        _CODES,
    ),
    "validate": (
        "check every file, offline, and list all findings",
        "validate --json",
        "exit codes: 0 valid · 1 not valid · 4 no account, or none for a glob · 64 wrong usage",
    ),
    "fmt": (
        "lay account files and reconciler.yaml out in the one way, comments kept",
        "fmt --check",
        "exit codes: 0 done · 1 a file does not read · 2 not laid out (--check) · 64 wrong usage",
    ),
    "plan": (
        "show what apply would do, offline unless --refresh",
        "plan --out plan.json",
        "exit codes: 0 done · 1 error · 2 changes (--detailed-exitcode) · 4 refused by a "
        "limit or rule\n            6 another app (--refresh) · 64 wrong usage",
    ),
    "show": (
        "show a saved plan, also a stale one, or the recorded state",
        "show plan.json",
        "exit codes: 0 done · 1 error · 6 not a plan as it was written · 64 wrong usage",
    ),
    "apply": (
        "carry out a saved plan; without one plan, ask for `yes` and apply",
        "apply plan.json",
        _APPLIED,
    ),
    "worker": (
        "carry out what `apply --enqueue` queued, as one of many machines",
        "worker --drain",
        "exit codes: 0 nothing is left (--drain) · 1 error · 3 of what it did some failed\n"
        "            5 lost the lock · 6 another app · 64 wrong usage · 130 interrupted",
    ),
    "drift": (
        "compare what the vendors hold with what is recorded; changes nothing",
        "drift",
        "exit codes: 0 no drift · 1 error · 2 drift · 6 another app · 64 wrong usage",
    ),
    "refresh": (
        "accept what the vendors hold now into recorded state",
        "refresh",
        "exit codes: 0 done · 1 error · 5 locked · 6 another app · 64 wrong usage",
    ),
    "import": (
        "record accounts that exist at a vendor and write their YAML; changes nothing there",
        "import --from ids.txt --write accounts/app.yaml",
        "exit codes: 0 done · 1 error · 3 some accounts were not recorded · 5 locked\n"
        "            64 wrong usage · 130 interrupted; the same command goes on",
    ),
    "pull": (
        "turn recorded drift into edits of the YAML, comments kept; shows them unless --write",
        "pull --write",
        "exit codes: 0 done, or nothing to do · 1 nothing could be pulled · 3 some was left, as "
        "told\n            64 wrong usage",
    ),
    "state": (
        "look at recorded state and its history, and mend it",
        "state show cn-prod/support-bot",
        _WRITES,
    ),
    "test": (
        "play your own scenarios against vendors in memory; no secret, no network, no state",
        "test tests/bans.test.yaml",
        "exit codes: 0 all as expected · 1 not so, or a file cannot be read · 64 wrong usage",
    ),
    "expire": (
        "list bans that end soon, or have ended and are not lifted; offline",
        "expire --before 7d",
        "exit codes: 0 done, whether or not there are any · 1 error · 64 wrong usage",
    ),
    "erase": (
        "take a person's data out of records, backups and history; the vendor is not touched",
        "erase cn-prod/support-bot",
        _WRITES,
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
