"""Changes: the fingerprint of a plan, and what each action does to a record."""

from __future__ import annotations

import pytest
from core_accounts import NOW, SOON, TOKEN, account, planned, record, where
from core_store import Memory

from reconciler.accounts import Observed
from reconciler.changes import (
    Adopt,
    Block,
    Change,
    Create,
    Kind,
    Reason,
    Unblock,
    Update,
    ban_of,
    carried_out,
    fingerprint,
    token_change,
)

BOT = where("bot")


def update(*changes, address=BOT, reason=Reason.CONFIG_CHANGED, version=4, file="", line=0):
    return Update(address, reason, version, changes, file, line)


BASE = (update(Change("profile.name", "A", "B")),)


class TestFingerprint:
    @pytest.mark.parametrize(
        "same",
        [
            update(Change("profile.name", "A", "B"), reason=Reason.DRIFT),
            update(Change("profile.name", "A", "B"), version=99),
            update(Change("profile.name", "A", "B"), file="b.yaml", line=7),
        ],
    )
    def test_what_only_explains_does_not_count(self, same):
        """Reason, version, file and line leave the fingerprint as it is."""
        assert fingerprint([same]) == fingerprint(BASE)

    @pytest.mark.parametrize(
        "other",
        [
            update(Change("profile.name", "A", "C")),
            update(Change("profile.name", "X", "B")),
            update(Change("profile.sign", "A", "B")),
            update(Change("profile.name", "A", "B", removed=True)),
            update(Change("profile.name", "A", "B"), address=where("cat")),
            update(Change("profile.name", "A", "B"), address=where("bot", "sg")),
            update(Change("profile.name", "A", "B"), Change("profile.sign", "", "s")),
            update(),
            Block(BOT, Reason.CONFIG_CHANGED, 4, BASE[0].changes),
            update(token_change(TOKEN, TOKEN)),
        ],
    )
    def test_what_is_done_counts(self, other):
        """Any other value, path, address, app or kind is another fingerprint."""
        assert fingerprint([other]) != fingerprint(BASE)

    @pytest.mark.parametrize(
        "token",
        [
            {**TOKEN, "version": 2},
            {**TOKEN, "from": "env:IM_TOKEN_X"},
            {"generate": True, "sink": "file:x", "version": 1},
        ],
    )
    def test_a_token_counts_by_reference_and_version(self, token):
        """Another reference, version or way of a token is another fingerprint."""
        base = update(token_change(None, TOKEN))
        assert fingerprint([update(token_change(None, token))]) != fingerprint([base])
        made = [Create(BOT, Reason.NOT_RECORDED, account(token=t).document) for t in (TOKEN, token)]
        assert fingerprint([made[0]]) != fingerprint([made[1]])

    def test_files_times_serials_and_neighbours_do_not_count(self):
        """Planning the same thing later, from other files, among other accounts, agrees."""
        one = planned(
            [account("a", profile={"name": "B"}), account("u")],
            Memory(record("a", profile={"name": "A"}), record("u")),
        )
        moved = [
            account("u", file="z.yaml"),
            account("v"),
            account("a", file="z.yaml", line=99, profile={"name": "B"}),
        ]
        later = NOW.replace(month=6)
        two = planned(
            moved,
            Memory(
                record("a", profile={"name": "A"}, version=9), record("u"), record("v"), serial=40
            ),
            now=later,
            as_of=later,
        )
        assert one.fingerprint == two.fingerprint
        assert one.fingerprint.startswith("sha256:")

    def test_the_order_of_desired_accounts_does_not_count(self):
        """Accounts in any order give one fingerprint."""
        desired = [account(id, profile={"name": id}) for id in "abc"]
        assert (
            planned(desired, Memory()).fingerprint == planned(desired[::-1], Memory()).fingerprint
        )

    def test_a_ban_record_counts(self):
        """A changed reason on a standing ban is part of the fingerprint."""
        store = Memory(record(ban={"reason": "spam"}))
        prints = {
            planned([account(ban={"reason": reason})], store).fingerprint
            for reason in ("spam", "abuse", "fraud")
        }
        assert len(prints) == 3


class TestRecord:
    def test_only_the_changes_are_claimed(self):
        """An update changes its own fields of the record and no other."""
        held = {"profile": {"name": "A", "sign": "s"}, "labels": {"t": "x"}, "token": TOKEN}
        made = carried_out(
            held,
            update(Change("profile.name", "A", "B"), Change("labels.t", "x", None, removed=True)),
        )
        assert made == {"profile": {"name": "B", "sign": "s"}, "token": TOKEN}

    def test_a_removed_field_is_managed_no_more(self):
        """The default is set at the vendor, and the record forgets the field."""
        made = carried_out(
            {"profile": {"gender": 2}}, update(Change("profile.gender", 2, 0, removed=True))
        )
        assert made == {}

    def test_a_block_records_the_ban_and_an_unblock_ends_it(self):
        """A lapsed record stays where the YAML keeps it, and goes where the YAML dropped it."""
        block = Block(
            BOT,
            Reason.BAN_DECLARED,
            0,
            (
                Change("banned", False, True),
                Change("banned.reason", None, "spam"),
                Change("banned.until", None, SOON),
            ),
        )
        banned = record().after(block)
        assert banned.document == {"ban": {"reason": "spam", "until": SOON}}
        assert banned.banned
        flag = Change("banned", True, False)
        lapsed = banned.after(Unblock(BOT, Reason.BAN_EXPIRED, 0, (flag,)))
        assert (lapsed.document, lapsed.banned) == (banned.document, False)
        lifted = banned.after(
            Unblock(
                BOT,
                Reason.BAN_LIFTED,
                0,
                (flag, Change("banned.reason", "spam", None), Change("banned.until", SOON, None)),
            )
        )
        assert (lifted.document, lifted.banned) == ({}, False)

    def test_a_plain_ban_is_an_empty_record(self):
        """`banned: true` is recorded as a ban without words."""
        block = Block(BOT, Reason.BAN_DECLARED, 0, (Change("banned", False, True),))
        assert record().after(block).document == {"ban": {}}
        assert ban_of(block) == {}

    def test_what_was_seen_follows_what_was_done(self):
        """A confirmed change is seen from then on, or the next plan would call it drift."""
        sight = Observed(True, {"name": "C", "sign": "x"}, {}, True)
        made = record(profile={"name": "A"}, observed=sight).after(
            update(Change("profile.name", "C", "B"))
        )
        assert made.observed.profile == {"name": "B", "sign": "x"}
        open_ = made.after(Unblock(BOT, Reason.DRIFT, 0, (Change("banned", True, False),)))
        assert (open_.is_banned, open_.banned) == (False, False)

    def test_a_path_that_waits_is_remembered_until_it_is_done(self):
        """Waiting paths stay in the record and go when the path is set."""
        path = "configuration.push_enabled_when_desktop_online"
        change = update(Change(path, None, False))
        shy = record().after(update(), waiting=(path,))
        assert shy.waiting == (path,)
        assert shy.after(change).waiting == ()
        assert record().after(change, waiting=(path,)).waiting == (path,)

    def test_a_token_key_belongs_to_its_token(self):
        """The keyed fingerprint changes with the token and with nothing else."""
        held = record(token=TOKEN, token_key="old")
        assert held.after(BASE[0], token_key="new").token_key == "old"
        assert held.after(update(token_change(TOKEN, TOKEN)), token_key="new").token_key == "new"

    def test_an_adopted_account_is_recorded_as_it_was_seen(self):
        """Adopting records labels and the sight, and claims no field."""
        sight = Observed(True, {"name": "theirs"}, {}, True)
        made = record().after(
            Adopt(BOT, Reason.ADOPTED, 0, (Change("labels.t", None, "x"),)), seen=sight
        )
        assert (made.document, made.observed, made.is_banned) == (
            {"labels": {"t": "x"}},
            sight,
            True,
        )

    def test_kinds_are_in_running_order(self):
        """Adopt first, unblock before update, create and update before block, forget last."""
        assert list(Kind) == ["adopt", "unblock", "create", "update", "block", "forget"]
