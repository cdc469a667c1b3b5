"""The floor: what each step of a plan takes of the processor, an account, in one process."""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from tests.benchmarks.scene import record, workspace


def rows(count: int) -> Iterator[str]:
    """Yield lines of a table: the step, and its microseconds an account."""
    from reconciler.config import desired, lines, load, text
    from reconciler.config.judge import Judge
    from reconciler.config.known import Known
    from reconciler.config.quick import doubt
    from reconciler.config.sheet import Sheet, pack
    from reconciler.planning import _alike
    from reconciler.providers import capabilities
    from reconciler.stores import open_store
    from reconciler.values import canonical, digest

    def told(step: str, work: Callable[[], Any], best_of: int = 3) -> Any:
        taken = []
        for _ in range(best_of):
            began = time.process_time()
            made = work()
            taken.append(time.process_time() - began)
        lines_.append(f"| {step} | {min(taken) / count * 1e6:.2f} |")
        return made

    lines_: list[str] = []
    gc.disable()
    with tempfile.TemporaryDirectory(prefix="reconciler-bench-") as name:
        home = workspace(Path(name) / "w", count)
        record(home)
        (file,) = home.glob("accounts/*")
        told("bare libyaml event scan", lambda: _scan(file), 1)
        loaded = load(home, capabilities=capabilities)
        tables = {one: capabilities(app.type) for one, app in loaded.apps.items()}
        with file.open("rb", buffering=0) as stream:
            pieces = told(
                "bytes read, decoded, looked through for what no file may hold",
                lambda: stream.seek(0) or list(text.pieces(stream, "x")),
            )
        raws = told("lines into raw values", lambda: list(lines.read(pieces)))
        bench = Judge(loaded, tables).within("x", {})
        table = bench.table("cn-prod", doubt)
        assert table
        documents = told(
            "values checked and typed",
            lambda: [bench.document(raw, table, doubt) for _, _, raw in raws],
        )
        data = told("canonical form", lambda: [canonical(one) for one in documents])
        told("its digest", lambda: [digest(one) for one in data])
        accounts = told(
            "all of the judgement: the three above, id, address, account",
            lambda: [
                one for key, line, raw in raws for one in bench.accounts(key, raw, line, doubt)
            ],
        )
        packed = told("packed for the other process", lambda: pack(accounts, {}))
        sheet = told("unpacked there", lambda: Sheet(*packed, "x"))
        told("made accounts again, where one differs", sheet.accounts)
        store = open_store(loaded.state, home, loaded.name)
        index = told("recorded digests read and verified", lambda: dict(store.index()))
        told("compared with them", lambda: _alike(sheet, dict(index)), 1)
        store.close()
        told("known file: its digest", lambda: sha256(file.read_bytes()).digest())
        known = Known(Path(name) / "known", loaded)
        stream_ = desired(loaded, tables, [])
        (found,) = stream_._files
        known._asked.add(found.file)
        known.keep(found, b"", [sheet.columns])
        told(
            "known file: what is known of it",
            lambda: known.get(found, known._key(found, b""), same=True),
        )
        stream_.close()
    gc.enable()
    yield "| step | µs an account |"
    yield "| --- | --- |"
    yield from lines_


def _scan(file: Path) -> None:
    import yaml

    data = file.read_bytes()
    for _ in yaml.parse(data, Loader=yaml.CSafeLoader):
        pass
