"""The pages in a real browser: filtering, keyboard, paper, phones, and nothing from outside."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import browser
import pytest
from core_accounts import SOON, account, planned, record
from core_store import Memory
from golden_plans import ATTACKS, ZH, big, drifted, hostile, small

from reconciler.guard import Judgement
from reconciler.views import html

pytestmark = pytest.mark.skipif(
    browser.FOUND is None, reason="no Chromium is installed (Debian: apt-get install chromium)"
)

LIST = "[...document.querySelectorAll('#list .account code')].map(one => one.textContent)"
VISIBLE = "getComputedStyle(document.querySelector('{0}')).display !== 'none'"


@pytest.fixture(scope="module")
def chrome(tmp_path_factory) -> Iterator[browser.Browser]:
    """One browser for all tests of the module."""
    with contextlib.ExitStack() as kept:
        try:
            one = kept.enter_context(browser.running(tmp_path_factory.mktemp("profile")))
        except (browser.Gone, BrokenPipeError):
            pytest.skip(f"{browser.FOUND} does not start here")
        yield one


@pytest.fixture
def page(chrome: browser.Browser) -> Iterator[browser.Browser]:
    """The browser with an ordinary window."""
    chrome.media()
    chrome.wide(1280)
    yield chrome
    assert chrome.complaints() == []
    assert [url for url in chrome.requests() if not url.startswith(("file:", "about:"))] == []


def write(folder: Path, lines) -> Path:
    file = folder / "page.html"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def choose(page, id: str, value: str) -> None:
    """Choose an option by its text, or put a text into the field, as a reader would."""
    page.run(
        f"""(() => {{
          const field = document.getElementById({id!r});
          const option = [...(field.options ?? [])].find(one => one.textContent === {value!r});
          field.value = option ? option.value : {value!r};
          field.dispatchEvent(new Event("input", {{bubbles: true}}));
        }})()"""
    )


def two_apps():
    """Return a plan over two apps with labels."""
    desired = [
        account("a", profile={"name": "Ann"}, labels={"team": "x"}),
        account("b", profile={"name": "Bob"}, labels={"team": "y"}),
        account("a", provider="sg", profile={"name": "Ann"}, labels={"team": "x"}),
        account("bad", provider="sg", ban={"reason": "spam", "until": SOON}),
    ]
    return planned(desired, Memory(record("bad", provider="sg")))


def test_a_filter_shows_what_it_names(page, tmp_path):
    """App, action, label and text narrow the list, together and each alone."""
    page.open(write(tmp_path, html.plan(two_apps(), Judgement(()))))
    assert page.run(LIST) == ["cn/a", "cn/b", "sg/a", "sg/bad"]
    choose(page, "app", "sg")
    assert page.run(LIST) == ["sg/a", "sg/bad"]
    choose(page, "action", "+ create")
    assert page.run(LIST) == ["sg/a"]
    choose(page, "app", "all")
    assert page.run(LIST) == ["cn/a", "cn/b", "sg/a"]
    choose(page, "action", "all")
    choose(page, "label", "team=x")
    assert page.run(LIST) == ["cn/a", "sg/a"]
    choose(page, "label", "")
    choose(page, "text", "SPAM")
    assert page.run(LIST) == ["sg/bad"]
    assert page.run("document.getElementById('status').textContent") == "1 of 4 accounts"
    choose(page, "text", "nothing like it")
    assert page.run("document.getElementById('status').textContent") == "No account matches."


def test_a_link_leads_to_what_is_filtered(page, tmp_path):
    """The filter stands in the address, so that a link opens the page with it."""
    file = write(tmp_path, html.plan(two_apps(), Judgement(())))
    page.open(file)
    choose(page, "text", '"ann"')
    fragment = page.run("location.hash")
    page.open(file, fragment)
    assert page.run(LIST) == ["cn/a", "sg/a"]
    page.open(file, "#app=99&text=%3Cimg+src%3Dx%3E&other=1")
    assert page.run(LIST) == []
    assert page.run("document.images.length") == 0


def test_twenty_thousand_accounts_are_filtered_within_a_tenth_of_a_second(page, tmp_path):
    """Each of several filters answers within 100 ms, measured in the page; most are not drawn."""
    page.open(write(tmp_path, html.plan(*big(20_000, 4000))))
    assert page.run("document.documentElement.dataset.found") == "20000"
    assert page.run(f"{LIST}.length") == 100
    for text, count in (("user-19999", 1), ("spam", 4000), ("e", 20_000), ("nobody", 0)):
        took = []
        for _ in range(5):
            choose(page, "text", text)
            took.append(float(page.run("document.documentElement.dataset.milliseconds")))
        assert page.run("Number(document.documentElement.dataset.found)") == count
        # The fastest of five: a busy machine makes any single one slow.
        assert min(took) <= 100, (text, took)


def test_before_and_after_stand_side_by_side(page, tmp_path):
    """An opened account shows each field that differs, and of an extension its keys."""
    page.open(write(tmp_path, html.plan(*small())), "#text=cn/up")
    page.run("document.querySelector('#list summary').click()")
    page.run("new Promise(done => setTimeout(done))")
    cells = "[...document.querySelectorAll('#list tbody tr')].map(r => [...r.cells].map(c => c.{}))"
    rows = page.run(cells.format("textContent"))
    assert ["profile.extension.level", "3", "4"] in rows
    assert ["profile.extension.tags.a", "(none)", "1"] in rows
    assert ["profile.name", '"A"', '"B"'] in rows
    places = page.run(cells.format("getBoundingClientRect().left"))
    assert all(name < before < after for name, before, after in places)


def test_a_ban_says_why_without_being_opened(page, tmp_path):
    """A closed row shows reason and ticket of a block, and those of the ban that an unblock ends.

    They are text, whatever they say, and no other kind of action has them.
    """
    ban = {"reason": "spam", "ticket": "TS-1042", "evidence": ["https://x.example/1"]}
    desired = [
        account("bad", ban=ban),
        account("good", profile={"name": "Ann"}),
        account("lifted"),
        account("evil", ban={"reason": "<img src=x>", "ticket": '"quoted"'}),
        account("bare", ban={}),
    ]
    held = [record("bad"), record("lifted", ban=ban), record("evil"), record("bare")]
    page.open(write(tmp_path, html.plan(planned(desired, Memory(*held)), Judgement(()))))
    rows = page.run(
        """Object.fromEntries([...document.querySelectorAll('#list .account')].map(one => [
          one.querySelector('code').textContent,
          [...one.querySelectorAll('summary .why')].map(why => why.textContent)]))"""
    )
    assert rows == {
        "cn/bad": ["spam", "TS-1042"],
        "cn/bare": [],
        "cn/evil": ["<img src=x>", '"quoted"'],
        "cn/good": [],
        "cn/lifted": ["spam", "TS-1042"],
    }
    assert page.run("document.querySelectorAll('#list details[open], #list img').length") == 0


def test_the_keyboard_is_enough(page, tmp_path):
    """`/` leads to the search, typing filters, tab and enter open an account."""
    page.open(write(tmp_path, html.plan(two_apps(), Judgement(()))))
    page.key("/", 191, "/")
    assert page.run("document.activeElement.id") == "text"
    page.type("bob")
    assert page.run(LIST) == ["cn/b"]
    for _ in range(5):
        page.key("Tab", 9)
    assert page.run("document.activeElement.tagName") == "SUMMARY"
    page.key("Enter", 13, "\r")
    assert page.run("document.querySelector('#list details').open")


def test_more_are_drawn_when_they_are_asked_for(page, tmp_path):
    """A button draws the next hundred and leads the keyboard to them."""
    page.open(write(tmp_path, html.plan(*big(250, 0))))
    page.run("document.getElementById('more').click()")
    assert page.run(f"{LIST}.length") == 200
    assert page.run("document.activeElement.textContent").endswith("cn/user-00100")
    page.run("document.getElementById('more').click()")
    assert page.run(f"{LIST}.length") == 250
    assert page.run("document.getElementById('more').hidden")


def test_paper_shows_every_destructive_action(page, tmp_path):
    """In print all blocks are listed, whatever is filtered on the screen; controls are not."""
    page.open(write(tmp_path, html.plan(*big(600, 500))), "#text=nobody")
    assert not page.run(VISIBLE.format(".static"))
    page.media("print")
    assert page.run(VISIBLE.format(".static"))
    assert page.run("document.querySelectorAll('.static li').length") == 500
    assert not page.run(VISIBLE.format(".live"))


@pytest.mark.parametrize("width", [360, 768, 1600])
def test_no_width_needs_sideways_scrolling(page, tmp_path, width):
    """On a phone, a tablet and a desk the page is as wide as its window."""
    page.wide(width)
    page.open(write(tmp_path, html.plan(*small())))
    page.run("document.querySelectorAll('#list details').forEach(one => { one.open = true; })")
    page.run("new Promise(done => setTimeout(done))")
    assert page.run("document.documentElement.scrollWidth <= innerWidth")


def test_it_follows_what_a_reader_prefers(page, tmp_path):
    """Dark and light follow the system, and the language is told to readers aloud."""
    file = write(tmp_path, html.plan(*small(), say=ZH))
    colours = []
    for scheme in ("light", "dark"):
        page.media(prefers_color_scheme=scheme)
        page.open(file)
        colours.append(page.run("getComputedStyle(document.body).backgroundColor"))
    assert colours == ["rgb(255, 255, 255)", "rgb(13, 17, 23)"]
    assert page.run("document.documentElement.lang") == "zh-CN"


@pytest.mark.parametrize("attack", ["plan", "drift"])
def test_nothing_hostile_comes_alive(page, tmp_path, attack):
    """With every attack in every place there is no link, image, frame, request or script of it."""
    if attack == "plan":
        lines = html.plan(*hostile())
    else:
        lines = html.drift(drifted(ATTACKS.values()), "".join(ATTACKS.values())[:100])
    page.open(write(tmp_path, lines))
    page.run("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    page.run("new Promise(done => setTimeout(done))")
    alive = "a, img, iframe, object, embed, video, audio, link, base, [onerror], [onclick]"
    assert page.run(f"document.querySelectorAll({alive!r}).length") == 0
    assert page.run("document.scripts.length") == (2 if attack == "plan" else 0)
    assert "<img src=x onerror=alert(1)>" in page.run("document.body.textContent")


def test_the_policy_stops_what_would_come_alive(chrome, tmp_path):
    """Were an image or a script put into the page all the same, the browser would refuse it."""
    chrome.open(write(tmp_path, html.plan(*small())))
    chrome.run(
        """new Promise((done) => {
          let stopped = 0;
          document.addEventListener("securitypolicyviolation", () => {
            stopped += 1;
            if (stopped === 2) done();
          });
          const image = document.createElement("img");
          image.src = "https://evil.example/x.png";
          const script = document.createElement("script");
          script.textContent = "window.evil = true";
          document.body.append(image, script);
        })"""
    )
    assert chrome.run("window.evil === undefined")
    assert chrome.blocked() == ["csp"]
