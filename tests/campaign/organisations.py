"""The users of an ezeep organisation under faults, kills and people's hands; ezeep's own state is the oracle.

What belongs here: the rounds of one organisation, what people do in it, and what may never happen. What does not: a
print system with balances (`syncs.py`), and charges (`simulation.py`), which are the same for every system. A seed
tells the same story again, while threads and processes race as they like.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.services.ezeep.system import Ezeep
from tests.campaign import runs
from tests.campaign.syncs import STEPS
from tests.harness import Harness, running
from tests.worlds import Json, ezeep_world, mail, printer_customer

SITE, GROUP = "lisbon", "printbridge"
CUSTOMERS = range(1, 25)
WRITES = ("POST userinvitations", "PATCH users", "DELETE users", "PUT printing/users", "POST groups")
READS = ("GET users", "GET printing/users", "GET userinvitations", "GET groups", "POST access_token")
BROKEN: tuple[Json, ...] = (
    {"action": "drop_before"}, {"action": "drop_after"}, {"action": "status", "code": 500},
    {"action": "status", "code": 502, "effect": True}, {"action": "truncate"}, {"action": "html_200"},
    {"action": "late_commit", "seconds": 60}, {"action": "throttle", "style": "429_retry_after", "seconds": 1},
)  # fmt: skip
SHORT = ("short_list", "empty_list", "truncate", "html_200", "drop_before")
"""How a read comes back incomplete or not at all."""


@dataclass
class Organisations:
    """One organisation and its story.

    Attributes:
        harness: the sandbox.
        seed: what follows from it: what people do, what breaks.
        foreign: the users that are not ours, as they were made, by e-mail.
        gone: how often a user of an e-mail went, so that an invitation more is right.
        happened: what happened, by name.
    """

    harness: Harness
    seed: int
    foreign: dict[str, Json] = field(default_factory=dict[str, Json])
    gone: Counter[str] = field(default_factory=Counter[str])
    happened: Counter[str] = field(default_factory=Counter[str])

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.foreign = self._users()

    def round(self) -> str:
        """People do something, runs go wrong, servers behave again; what is wrong then, or nothing."""
        for _ in range(self.random.randint(1, 3)):
            self._deed()
        for _ in range(self.random.randint(1, 2)):
            self._break()
            odds = (self.random.randrange(2**32), 0.03) if self.random.random() < 0.5 else None
            report = runs.run(runs.Order(dict(os.environ), self.harness.config, STEPS, odds=odds, sites=(SITE,)))
            self.happened["killed"] += report.killed
            self.happened["failed"] += bool(report.failures)
            self.harness.advance(minutes=2)
        self.happened["faults"] += self.harness.control.delete("faults").json()["fired"]
        for _ in range(3):
            outcome = self.harness.sync(SITE, STEPS)
            self.harness.advance(minutes=2)
        if not outcome.ok:
            return f"a run of three on servers that behave fails: {outcome.failures}"
        return self._wrong() or self._unrest()

    # People

    def _deed(self) -> None:
        name = self.random.choice((
            *4 * ("toggle",), *3 * ("suspend",), "rename", "delete", "outside", "stranger", "namesake", "decorate",
        ))  # fmt: skip
        self.happened[name] += 1
        getattr(self, f"_{name}")(self.random.choice(list(self._customers().values())))

    def _toggle(self, customer: Json) -> None:
        self._edit(customer, EzeepBluePrintingEnabled=not customer["EzeepBluePrintingEnabled"])

    def _suspend(self, customer: Json) -> None:
        self._edit(customer, Active=not customer["Active"])

    def _rename(self, customer: Json) -> None:
        self._edit(customer, Email=f"c{customer['Id']}.{self.random.randrange(10**6)}@example.com", FullName="New Name")

    def _delete(self, customer: Json) -> None:
        """Staff delete a user of ours in ezeep."""
        if user := self._ours().get(customer["Email"]):
            self._ezeep.client.delete_user(user["id"])
            self.gone[user["email"]] += 1

    def _outside(self, customer: Json) -> None:
        """Staff take a user of ours out of its group."""
        if user := self._ours().get(customer["Email"]):
            self._ezeep.client.set_groups(user["id"], [])

    def _decorate(self, customer: Json) -> None:
        """Staff give a user of ours another name."""
        if user := self._ours().get(customer["Email"]):
            self._ezeep.client.change_user(user["id"], {"first_name": "By", "last_name": "Hand"})

    def _stranger(self, _: Json) -> None:
        """Staff invite somebody who is no customer."""
        self._invite(f"guest{self.random.randrange(10**6)}@example.com")

    def _namesake(self, customer: Json) -> None:
        """Staff invite a customer by hand, before we do."""
        if customer["Email"] not in self._users():
            self._invite(customer["Email"])

    def _invite(self, email: str) -> None:
        self._ezeep.client.invite(email, "2027-06-01T00:00:00")
        self.foreign[email] = self._users()[email]

    def _edit(self, customer: Json, **values: Any) -> None:
        self.harness.edit("coworkers", customer["Id"], **values)

    # What breaks

    def _break(self) -> None:
        writes = [
            {"match": write, "after": place, **self.random.choice(BROKEN)}
            for write in WRITES for place in range(6) if self.random.random() < 0.4
        ]  # fmt: skip
        reads = [
            {"match": read, "action": self.random.choice(SHORT), "after": self.random.randrange(2)}
            for read in READS if self.random.random() < 0.25
        ]  # fmt: skip
        planned = [{"target": SITE, "times": 1, **fault} for fault in writes + reads]
        self.harness.control.post("faults", json=planned).raise_for_status()

    # What must hold

    def _wrong(self) -> str:
        users = self._users()
        for email, before in self.foreign.items():
            if users.get(email) != before:
                return f"{email} is none of ours and was touched: {before} became {users.get(email)}"
        wanted = {
            customer["Email"] for customer in self._customers().values()
            if customer["Active"] and customer["EzeepBluePrintingEnabled"] and customer["Email"] not in self.foreign
        }  # fmt: skip
        ours = self._ours()
        if ours.keys() != wanted:
            return f"too many: {sorted(ours.keys() - wanted)}; missing: {sorted(wanted - ours.keys())}"
        outside = [email for email, user in ours.items() if user["groups"] != [GROUP]]
        if outside:
            return f"not in the group: {outside}"
        mails = {email: number for email, number in self._state()["mails"].items() if email not in self.foreign}
        twice = {email: number for email, number in mails.items() if number > 1 + self.gone[email]}
        return f"more e-mails than invitations: {twice}, gone {dict(self.gone)}" if twice else ""

    def _unrest(self) -> str:
        self.harness.forget_calls()
        self.harness.sync(SITE, STEPS)
        written = self.harness.writes()
        return f"a run that had nothing to do wrote {written}" if written else ""

    def removed(self, before: set[str]) -> None:
        """Note whose user went since a moment: an invitation more is right then."""
        self.gone.update(before - self._users().keys())

    def names(self) -> set[str]:
        """The e-mails that have a user now."""
        return set(self._users())

    @property
    def _ezeep(self) -> Any:
        system = self.harness.sites[SITE].printing
        assert isinstance(system, Ezeep)
        return system

    def _ours(self) -> dict[str, Json]:
        return {email: user for email, user in self._users().items() if email not in self.foreign}

    def _users(self) -> dict[str, Json]:
        return {user["email"]: user for user in self._state()["users"]}

    def _state(self) -> Json:
        return self.harness.state()["sites"][SITE]

    def _customers(self) -> dict[int, Json]:
        return {each["Id"]: each for each in self.harness.state()["nexudus"]["coworkers"]}


def violation(story: Organisations, rounds: int) -> str:
    """What went wrong within so many rounds, or nothing."""
    for number in range(rounds):
        before = story.names()
        wrong = story.round()
        if wrong:
            return f"seed {story.seed}, round {number}: {wrong}"
        story.removed(before)
        story.harness.advance(hours=25)  # so that the caps on removals within a day are not what is tried here
    return ""


@contextmanager
def organised(folder: Path, seed: int) -> Generator[Organisations]:
    """An organisation in which everybody who may print was invited."""
    people = [printer_customer(number, EzeepBluePrintingEnabled=number % 4 != 0) for number in CUSTOMERS]
    users = [{"email": "guest@example.com", "first_name": "A", "last_name": "Guest", "is_verified": True}]
    given = {SITE: {"ezeep": {"invite": "automatic"}}}
    with running(folder, ezeep_world(people, users=users), sites=given) as harness:
        story = Organisations(harness, seed)
        for _ in range(2):  # the second one sees them in the group, which is our mark
            outcome = harness.sync(SITE)
            assert outcome.ok, outcome.failures
            harness.advance(minutes=2)
        assert mail(1) in story.names()
        yield story
