"""Secrets: references resolve within bounds, sinks are durable, and texts come out clean."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from reconciler.errors import SecretError
from reconciler.redaction import HIDDEN
from reconciler.secrets import Resolver, fingerprint, mint
from reconciler.values import Reference
from reconciler.workspace import SecretSettings

VALUE = "v4lue-of/the+secret="
ALLOW = SecretSettings(allow=("env:IM_TOKEN_*", "file:secrets/*", "cmd:*", "file:out/*"))


def resolver(root, environ=None, settings=ALLOW, **more):
    """Return a resolver over a folder and an environment."""
    return Resolver(Path(root), settings, environ=environ or {}, **more)


def put(path, data=VALUE, mode=0o600):
    """Write a file with a mode, its folders included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    path.chmod(mode)
    return path


def command(code, *arguments):
    """Return a reference to a Python program."""
    return Reference("cmd:" + json.dumps([sys.executable, "-c", code, *arguments]))


def refusal(found, text, call=Resolver.resolve):
    """Return what the refusal of a reference says: always its name, never a value."""
    with pytest.raises(SecretError) as caught:
        call(found, Reference(text))
    finding = caught.value.diagnostics[0]
    assert text in finding.summary
    assert VALUE not in repr(finding)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return f"{finding.summary} {finding.hint}"


def test_a_variable_is_resolved_once(tmp_path):
    """env: is the variable's value, remembered for the run."""
    environ = {"A": VALUE}
    found = resolver(tmp_path, environ)
    assert found.resolve(Reference("env:A")) == VALUE
    environ["A"] = "another"
    assert found.resolve(Reference("env:A")) == VALUE
    assert VALUE not in repr(found) + repr(found.redactor)


@pytest.mark.parametrize("environ", [{}, {"A": ""}])
def test_a_missing_or_empty_variable_is_refused(tmp_path, environ):
    """Nothing is no secret."""
    assert "not set or empty" in refusal(resolver(tmp_path, environ), "env:A")


@pytest.mark.parametrize(
    "value",
    [f"{VALUE}\n", f"{VALUE}\0", f"\t{VALUE}", f"{VALUE}\x1b[2J", f"{VALUE}\x85", f"{VALUE}\udcff"],
)
def test_control_characters_are_refused(tmp_path, value):
    """A secret is one line of text."""
    assert "control" in refusal(resolver(tmp_path, {"A": value}), "env:A")


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (VALUE, VALUE),
        (f"{VALUE}\n", VALUE),
        (f"{VALUE}\r\n", VALUE),
        ("密钥\n", "密钥"),
    ],
)
def test_a_file_is_resolved_without_its_line_end(tmp_path, data, value):
    """file: is the file's text without one line end, by relative or absolute path."""
    put(tmp_path / "secrets/a", data)
    assert resolver(tmp_path).resolve(Reference("file:secrets/a")) == value
    assert resolver(tmp_path).resolve(Reference("file:./secrets//a")) == value
    assert resolver(tmp_path).resolve(Reference(f"file:{tmp_path}/secrets/a")) == value


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"\n", "empty"),
        (b"a\nb", "control"),
        (b"\xff\xfe", "UTF-8"),
        (b"a" * (64 * 1024 + 1), "64 KiB"),
        (b"a\0b", "control"),
        (b"a\n\n", "control"),
    ],
)
def test_an_unfit_file_is_refused(tmp_path, data, reason):
    """Empty, binary, large and many-lined files hold no secret."""
    put(tmp_path / "a", data)
    assert reason in refusal(resolver(tmp_path), "file:a")


@pytest.mark.parametrize(
    "text",
    [
        "file:../outside",
        "file:in/../../outside",
        "file:/etc/passwd",
        "file:/proc/self/environ",
        "file:/dev/stdin",
        "file:/sys/kernel/notes",
        "file:",
        "file:.",
        "file:/",
        "file:missing",
        "file:in",
        "file:a\0b",
        "file:/run/secrets",
        "file:/run/secrets/../../etc/passwd",
        "file:~/x",
    ],
)
def test_files_elsewhere_are_refused(tmp_path, text):
    """Nothing outside of the workspace but /run/secrets, no folder, nothing that is not there."""
    put(tmp_path / "outside")
    put(tmp_path / "root/in/a")
    refusal(resolver(tmp_path / "root"), text)


def test_kernel_files_are_refused_in_any_workspace():
    """A workspace at the file system's root does not reach what the kernel shows."""
    assert "outside" in refusal(resolver("/"), "file:proc/self/environ")


@pytest.mark.parametrize("text", ["file:link", "file:way/a", "file:out/a"])
def test_symbolic_links_are_not_followed(tmp_path, text):
    """A link is refused, as the file or on the way to it, wherever it points."""
    root = tmp_path / "root"
    put(root / "real/a")
    put(tmp_path / "elsewhere/a")
    (root / "link").symlink_to(root / "real/a")
    (root / "way").symlink_to("real")
    (root / "out").symlink_to(tmp_path / "elsewhere")
    refusal(resolver(root), text)


def test_the_workspace_itself_may_be_a_link(tmp_path):
    """Only what is beneath the root is held against links."""
    put(tmp_path / "real/a")
    (tmp_path / "root").symlink_to("real")
    assert resolver(tmp_path / "root").resolve(Reference("file:a")) == VALUE


def test_a_pipe_is_refused_without_waiting(tmp_path):
    """A FIFO laid in the way does not hold the run up."""
    os.mkfifo(tmp_path / "a", 0o600)
    assert "regular" in refusal(resolver(tmp_path), "file:a")


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602, 0o660, 0o620, 0o666])
def test_an_open_file_is_refused_with_the_remedy(tmp_path, mode):
    """What everyone can read or others can write is refused, and the chmod is said."""
    put(tmp_path / "a", mode=mode)
    assert "chmod 600 a" in refusal(resolver(tmp_path), "file:a")


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o440])
def test_a_closed_file_is_taken(tmp_path, mode):
    """One's own file, which one's group may read at most."""
    put(tmp_path / "a", mode=mode)
    assert resolver(tmp_path).resolve(Reference("file:a")) == VALUE


def test_another_users_file_is_refused(tmp_path, monkeypatch):
    """A file that neither we nor root own is nobody's secret."""
    put(tmp_path / "a")
    os_ = SimpleNamespace(**vars(os))
    real = os.fstat
    os_.fstat = lambda fd: os.stat_result([*real(fd)[:4], 54321, *real(fd)[5:]])
    monkeypatch.setattr("reconciler.secrets.os", os_)
    assert "another user" in refusal(resolver(tmp_path), "file:a")


def test_a_command_is_run_without_a_shell(tmp_path):
    """cmd: is what the program writes to stdout; its arguments are taken as they are."""
    ref = command("import sys, os; print(sys.argv[1] + os.environ['X'] + os.getcwd())", "$(id);'")
    found = resolver(tmp_path, {**os.environ, "X": VALUE})
    assert found.resolve(ref) == f"$(id);'{VALUE}{tmp_path}"


def test_a_command_runs_once(tmp_path):
    """Threads that need the same command's value at once run it once."""
    runs = []

    def run(argv, **options):
        runs.append((argv, options["timeout"], options["check"]))
        return SimpleNamespace(returncode=0, stdout=b"value-0\n")

    found = resolver(tmp_path, run=run)
    threads = [
        threading.Thread(target=found.resolve, args=(Reference('cmd:["op"]'),)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert runs == [(["op"], 30.0, False)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("cmd:op read", "no command"),
        ("cmd:[]", "no command"),
        ('cmd:["op",1]', "no command"),
        ('cmd:"op"', "no command"),
        ('cmd:{"a":1}', "no command"),
        ('cmd:[""]', "no command"),
        ('cmd:["/nonexistent/op"]', "No such file"),
        ("vault:x", "no secret reference"),
    ],
)
def test_what_is_no_command_is_refused(tmp_path, text, reason):
    """A command is a JSON list of texts, and a program that exists."""
    assert reason in refusal(resolver(tmp_path), text)


def test_a_failing_command_says_its_exit_code_and_no_more(tmp_path):
    """What a command wrote is never shown, as it may well be the secret."""
    ref = command(f"import sys; print({VALUE!r}); sys.stderr.write({VALUE!r}); sys.exit(7)")
    with pytest.raises(SecretError) as caught:
        resolver(tmp_path).resolve(ref)
    assert "exit code 7" in caught.value.diagnostics[0].summary
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_command_that_hangs_is_ended(tmp_path):
    """After thirty seconds a command is over, and its output is not told."""

    def run(argv, **options):
        raise subprocess.TimeoutExpired(argv, options["timeout"], output=VALUE.encode())

    assert "within 30 s" in refusal(resolver(tmp_path, run=run), 'cmd:["op"]')


@pytest.mark.parametrize("text", ["env:IM_TOKEN_A", "file:secrets/a", "file:./secrets/a"])
def test_accounts_use_what_is_allowed(tmp_path, text):
    """A reference of an account file resolves if secrets.allow matches it."""
    put(tmp_path / "secrets/a")
    assert resolver(tmp_path, {"IM_TOKEN_A": VALUE}).resolve_for_account(Reference(text)) == VALUE


@pytest.mark.parametrize(
    "text",
    [
        "env:APP_SECRET",
        "env:im_token_a",
        "file:secrets/../b",
        "file:b",
        "file:x/secrets/a",
        'cmd:["op"]',
        "env:IM_TOKEN_OF_APP",
        "file:secrets/app",
        "file:./secrets/app",
        "env:IM_TOKEN_KEY",
    ],
)
def test_accounts_use_nothing_else(tmp_path, text):
    """No other name, no command, and no credential, also not one that the pattern matches."""
    put(tmp_path / "secrets/a")
    put(tmp_path / "secrets/app")
    put(tmp_path / "b")
    environ = dict.fromkeys(("APP_SECRET", "IM_TOKEN_OF_APP", "IM_TOKEN_KEY"), VALUE)
    settings = SecretSettings(ALLOW.allow, fingerprint_key=Reference("env:IM_TOKEN_KEY"))
    found = resolver(
        tmp_path,
        environ,
        settings,
        reserved=[Reference("env:IM_TOKEN_OF_APP"), Reference("file:secrets/app")],
    )
    refusal(found, text, Resolver.resolve_for_account)


def test_an_empty_allow_list_allows_nothing(tmp_path):
    """Without secrets.allow no account has a token."""
    found = resolver(tmp_path, {"IM_TOKEN_A": VALUE}, SecretSettings())
    assert "secrets.allow" in refusal(found, "env:IM_TOKEN_A", Resolver.resolve_for_account)


def test_a_file_sink_is_private_and_whole(tmp_path):
    """A delivered token is a file of mode 0600 in folders of 0700, with nothing left beside it."""
    found = resolver(tmp_path)
    ref = Reference("file:out/deep/token")
    found.deliver(ref, VALUE)
    found.deliver(ref, VALUE)
    path = tmp_path / "out/deep/token"
    assert path.read_text() == VALUE
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [p.name for p in path.parent.iterdir()] == ["token"]
    assert resolver(tmp_path).resolve(Reference("file:out/deep/token")) == VALUE


def test_a_delivered_token_is_known_for_the_rest_of_the_run(tmp_path):
    """What a sink took is given back for the vendor's call, also by a sink that only swallows."""
    ref = command("import sys; open('got', 'w').write(sys.stdin.read()); print('noise')")
    found = resolver(tmp_path, dict(os.environ))
    found.deliver(ref, VALUE)
    assert (tmp_path / "got").read_text() == VALUE
    assert found.resolve_for_account(ref) == VALUE
    assert found.redactor.redact(VALUE) == HIDDEN


@pytest.mark.parametrize(
    "text",
    [
        "env:IM_TOKEN_A",
        "file:elsewhere",
        "file:out/../x",
        "file:out",
        "file:/run/secrets/x",
        "file:link/x",
        'cmd:["false"]',
    ],
)
def test_an_unfit_sink_is_refused(tmp_path, text):
    """A sink is allowed by secrets.allow, beneath the workspace, and able to take a token."""
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere_").mkdir()
    (tmp_path / "link").symlink_to("elsewhere_")
    settings = SecretSettings((*ALLOW.allow, "file:link/*", "file:/run/*", "file:out"))
    found = resolver(tmp_path, dict(os.environ), settings)
    refusal(found, text, lambda self, ref: self.deliver(ref, VALUE))
    assert not [*(tmp_path / "elsewhere_").iterdir(), *(tmp_path / "out").iterdir()]


def test_a_sink_that_is_a_link_is_replaced_not_followed(tmp_path):
    """A link in the place of the sink's file does not lead the token elsewhere."""
    target = put(tmp_path / "target", "old")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a").symlink_to(target)
    resolver(tmp_path).deliver(Reference("file:out/a"), VALUE)
    assert target.read_text() == "old"
    assert not (tmp_path / "out/a").is_symlink()


def test_a_failed_delivery_leaves_the_old_token(tmp_path, monkeypatch):
    """A disk that fails before the rename leaves the sink as it was, and no temporary file."""
    old = put(tmp_path / "out/a", "old")
    os_ = SimpleNamespace(**vars(os))

    def full(fd):
        raise OSError(28, "No space left on device")

    os_.fsync = full
    monkeypatch.setattr("reconciler.files.os", os_)
    text = refusal(resolver(tmp_path), "file:out/a", lambda self, ref: self.deliver(ref, VALUE))
    assert "No space left" in text
    assert [p.name for p in old.parent.iterdir()] == ["a"]
    assert old.read_text() == "old"


def test_minted_tokens_differ_and_fit():
    """A token is 32 URL-safe characters, never the same."""
    tokens = {mint() for _ in range(1000)}
    assert len(tokens) == 1000
    assert all(len(t) == 32 and t.replace("-", "").replace("_", "").isalnum() for t in tokens)


def test_fingerprints_are_keyed_and_keep_parts_apart():
    """The same parts and key give the same 128 bits; a moved border or another key does not."""
    assert fingerprint("k", "a", "b") == fingerprint("k", "a", "b")
    assert (
        len(
            {
                fingerprint("k", "ab", ""),
                fingerprint("k", "a", "b"),
                fingerprint("k", "ab"),
                fingerprint("l", "ab"),
            }
        )
        == 4
    )
    assert len(fingerprint("k", "客")) == 32
    assert int(fingerprint("k"), 16) >= 0


def test_every_resolved_value_is_redacted(tmp_path):
    """The resolver's redactor knows what it resolved, and nothing before."""
    found = resolver(tmp_path, {"A": VALUE})
    assert found.redactor.redact(VALUE) == VALUE
    found.resolve(Reference("env:A"))
    assert found.redactor.redact(f"x{VALUE}") == "x***"


def test_importing_it_loads_no_subprocess():
    """A plan without commands does not pay for them."""
    code = "import sys, reconciler.secrets; sys.exit('subprocess' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
