"""A state store in memory: reader and writer, with a journal that tests may look into."""

from __future__ import annotations

import json
from dataclasses import replace

from reconciler.accounts import Address
from reconciler.state import IN_DOUBT, Identity, Record, Run, Status
from reconciler.values import canonical

RUN = Run("run-1", "apply", "2027-01-15T08:00:00Z", "ann@ci")


class Crash(BaseException):
    """The process dies here."""


class Memory:
    """Keeps records as their JSON, so that what does not survive being stored is found out.

    `step` is called around every write and may raise `Crash`; `asked` lists the addresses whose
    records were read.
    """

    scope = None

    def __init__(self, *records, workspace="prod-im", lineage="l-1", serial=7):
        self.workspace, self.lineage, self.serial = workspace, lineage, serial
        self.rows = {}
        self.intents, self.ends, self.log = {}, {}, []
        self.asked, self.run = [], RUN
        self.step = lambda name: None
        for one in records:
            self._keep(one)

    def _keep(self, one):
        self.rows[one.address] = canonical(one.to_json())

    def _load(self, row):
        return Record.from_json(json.loads(row))

    def identity(self):
        return Identity(self.workspace, self.lineage, self.serial, chain=f"tip-{self.serial}")

    def index(self):
        for address in sorted(self.rows):
            yield address, self._load(self.rows[address]).index_digest

    def records(self, addresses):
        for address in addresses:
            self.asked.append(address)
            if address in self.rows:
                yield self._load(self.rows[address])

    def everything(self):
        for address in sorted(self.rows):
            yield self._load(self.rows[address])

    def record(self, id):
        address = id if "/" in id else f"cn/{id}"
        return self._load(self.rows[address]) if address in self.rows else None

    def unresolved(self):
        return tuple(
            intent for id, intent in self.intents.items() if self.ends[id].status in IN_DOUBT
        )

    def apps(self):
        return {"cn": "yunxin:key"}

    def history(self, address=None):
        return iter(())

    def held(self):
        return None

    def begin(self, run):
        self.run = run

    def check(self):
        """The lock is never lost here."""

    def intend(self, intents):
        self.step("before intend")
        for intent in intents:
            assert intent.id not in self.intents, "an intent is written down once"
            self.intents[intent.id] = intent
            self.ends[intent.id] = intent
            self.log.append(("intent", intent.action["action"], intent.address))
        self.step("after intend")

    def settle(self, settlements):
        self.step("before settle")
        changes = {}
        for one in settlements:
            assert self.ends[one.intent].status in IN_DOUBT, "an intent is settled once"
            self.ends[one.intent] = replace(self.intents[one.intent], status=one.status)
            intent = self.intents[one.intent]
            self.log.append((str(one.status), intent.action["action"], intent.address))
            if one.record is not None:
                changes[one.record.address] = one.record
            if one.forget is not None:
                changes[one.forget] = None
        self._change(changes)
        self.step("after settle")

    def save(self, records, forget, operation):
        self.step("before save")
        self._change(dict.fromkeys(forget) | {one.address: one for one in records})
        self.step("after save")

    def _change(self, changes):
        real = {}
        for address, one in changes.items():
            old = self.rows.get(address)
            if one is None:
                if old is not None:
                    real[address] = None
            elif old is None or self._bare(one) != self._bare(self._load(old)):
                real[address] = one
        if not real:
            return
        self.serial += 1
        for address, one in real.items():
            if one is None:
                del self.rows[address]
            else:
                self._keep(replace(one, version=self.serial, run=self.run.id))

    @staticmethod
    def _bare(one):
        return canonical(replace(one, version=0, run="", updated_at="").to_json())

    def status(self, kind, id):
        """Return how the last intent of a kind on an account ended."""
        found = [
            end.status
            for end in self.ends.values()
            if end.address == f"cn/{id}" and end.action["action"] == kind
        ]
        return found[-1] if found else None

    def open_intents(self, id):
        """Return the kinds in doubt of an account, as another process would see them."""
        return [
            intent.action["action"]
            for intent in self.unresolved()
            if intent.address == Address(f"cn/{id}") and intent.status is Status.INTENT
        ]
