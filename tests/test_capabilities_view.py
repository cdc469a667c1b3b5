"""What `providers` prints: the tables the code runs on, for people, documents and programs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from config_capabilities import TABLES

from reconciler.capabilities import Support
from reconciler.views.capabilities import markdown, text
from tests.world import World

VENDORS = list(TABLES.values())


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A workspace whose vendor nobody asks."""
    return World(tmp_path, "http://127.0.0.1:9")


@pytest.mark.parametrize("width", [80, 120])
def test_the_text_fits_the_terminal(width):
    """No line is wider than the terminal, and none than is good to read."""
    assert max(len(line) for line in text(VENDORS, width)) <= min(width, 100)


def test_the_matrix_comes_first_with_every_field_of_every_vendor():
    """The first lines are one matrix: how each vendor holds each field."""
    lines = list(text(VENDORS, 80))
    header, *rows = (re.split(r" {2,}", line) for line in lines[: lines.index("")])
    assert header == ["field", *TABLES]
    section, told = "", {}
    for first, *cells in rows:
        if first:
            section, path = first, first
        else:
            name, *cells = cells
            path = f"{section}.{name}"
        if cells:
            told[path] = dict(zip(TABLES, cells, strict=True))
    assert told.keys() == {path for one in VENDORS for path in one.fields}
    for path, by_type in told.items():
        for type, support in by_type.items():
            field = TABLES[type].fields.get(path)
            assert support == (field.support if field else Support.UNSUPPORTED), (type, path)


@pytest.mark.parametrize("type", TABLES)
def test_a_vendor_is_told_with_rule_limits_rates_batches_and_sources(type):
    """A vendor's part has its id rule, every limit and default, rates, batches and sources."""
    one = TABLES[type]
    whole = "\n".join(text(VENDORS, 80))
    part = whole[whole.index(f"{type}: {one.title}") :].split("\n\n")[:3]
    facts, fields, sources = (re.sub(r"\s+", " ", block) for block in part)
    assert one.id.words in facts
    assert ", ".join(one.regions) in facts
    for api, rate in one.rates.items():
        assert (f"{api} {rate:g}" if api else f"{rate:g} calls/s per API") in facts
    for work, count in one.batch.items():
        assert f"{work} {count}" in facts
    for field in one.fields.values():
        assert field.note in fields
        assert field.source in sources
    assert all(source in sources for source in one.sources.values())
    numbers = {int(number) for number in re.findall(r"\[(\d+)\]", facts + fields)}
    assert numbers == set(range(1, sources.count("[") + 1))


def test_a_vendors_part_as_a_person_reads_it():
    """Limits, choices, defaults and notes of a vendor stand as they are shown here."""
    lines = list(text([TABLES["tencent"]], 80))
    at = lines.index("tencent: Tencent Cloud Chat, server API v4")
    assert lines[at : at + 6] == [
        "tencent: Tencent Cloud Chat, server API v4",
        "  ids        1 to 32 of the letters A-Z and a-z, digits, _ and - [1]",
        "  regions    china, singapore, seoul, tokyo, frankfurt, silicon-valley, jakarta",
        "             [2]",
        "  rates      200 calls/s per API, multiaccount_import 100, account_check 100; a",
        "             throttled API rests 1 s [3]",
    ]
    assert '    name              500 bytes                          ""            [5]' in lines
    where = lines.index(
        "    allow_type        need_confirm, allow_any, deny_any  need_confirm  [5]"
    )
    assert lines[where + 1] == "      no page says with which one an account begins"


def test_providers_prints_each_format(world):
    """Text is the default; markdown is the README's table; json has every table."""
    assert world.run("providers").out.startswith("field")
    assert world.run("providers", "--format", "markdown").out.splitlines() == list(
        markdown(VENDORS)
    )
    ended = world.run("providers", "--json")
    assert ended.code == 0
    assert [one["type"] for one in ended.json["providers"]] == list(TABLES)
    assert world.run("providers", "--format", "html").code == 64


def test_json_says_all_that_the_tables_say(world):
    """Each vendor has its id rule, regions, rates, batches and sources; each field all it has."""
    for one in world.run("providers", "--json").json["providers"]:
        table = TABLES[one["type"]]
        assert one["id"] == {
            "pattern": table.id.pattern.pattern,
            "limit": table.id.limit,
            "unit": table.id.unit,
            "folds": table.id.folds,
            "words": table.id.words,
        }
        for name in ("title", "regions", "rates", "penalty", "batch", "sources"):
            assert one[name] == getattr(table, name), name
        for name in ("calls", "waits", "after_login", "credentials"):
            assert one[name] == json.loads(json.dumps(getattr(table, name), default=dict)), name
        for path, field in table.fields.items():
            assert one["fields"][path] == {
                "support": str(field.support),
                "default": field.default,
                "limit": field.limit,
                "unit": field.unit,
                "choices": list(field.choices),
                "note": field.note,
                "source": field.source,
            }
