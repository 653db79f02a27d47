"""A long story told to the real code: people print, staff refund, servers misbehave, runs are killed, backups put back.

What belongs here: the events, chosen by a seed, and the bookkeeping that the oracle needs. What does not: the oracle,
and how a process is killed. Every event is a step; what happens in which order follows from the seed, while threads and
processes race as they like, so a replay tells the same story without the same accidents.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from pipeline.domain.money.reconcile import summary
from pipeline.operations.held import decide
from pipeline.operations.recover import recover_site
from pipeline.steps.reconcile import compare
from pipeline.store import backup
from pipeline.store.lines import lines_in
from tests.campaign import runs
from tests.campaign.crashes import FAULTS, WRITES
from tests.campaign.oracle import Finding, examine
from tests.harness import Harness, running
from tests.worlds import credit, customer, world

PAYERS, HOLDERS = range(101, 131), range(201, 211)
GRANT = 90_000
LEFT_TO_PEOPLE = ("customer_gone", "overdrawn")
START = datetime.fromisoformat("2026-11-01T00:00:00+00:00")

Json = dict[str, Any]

CHARGING = {"prints": 6, "late_row": 1, "refund": 2, "part_refund": 1, "revise": 1, "kill": 8, "run": 1}
"""How often each event happens: a story about charges, with a kill in most runs."""

EVERYTHING = {
    "prints": 80, "late_row": 16, "refund": 32, "part_refund": 16, "revise": 16, "top_up": 16, "edit": 16, "pause": 24,
    "kill": 4, "run": 2, "overlap": 0.5, "throttle": 1, "leave": 0.4, "come_back": 0.4, "back_up": 0.6, "restore": 0.3,
}  # fmt: skip
"""A story about everything; most steps are people, as in life."""


@dataclass
class Simulation:
    """One story.

    Attributes:
        harness: the sandbox, and printbridge in the hands of the person who decides what is held.
        seed: what follows from it: the events and their details.
        weights: how often each event happens.
        steps: the assets of a run.
        prints: jobs of one print event.
        faulted: the share of calls that misbehave.
    """

    harness: Harness
    seed: int
    weights: Mapping[str, float]
    assets: tuple[str, ...] = runs.CHARGES
    prints: int = 10
    faulted: float = 0.2
    happened: Counter[str] = field(default_factory=Counter[str])
    granted: dict[int, int] = field(default_factory=lambda: dict.fromkeys(HOLDERS, GRANT))
    jobs: dict[int, int] = field(default_factory=dict[int, int])
    made: set[int] = field(default_factory=set[int])
    left: set[int] = field(default_factory=set[int])
    skip: set[tuple[str, int]] = field(default_factory=set[tuple[str, int]])
    backups: list[Path] = field(default_factory=list[Path])
    kills: int = 0
    fired: int = 0
    refused: Counter[str] = field(default_factory=Counter[str])

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def step(self) -> str:
        """Let one event happen; its name."""
        name = self.random.choices(list(self.weights), list(self.weights.values()))[0]
        self.happened[name] += 1
        getattr(self, f"_{name}")()
        return name

    # People

    def _prints(self) -> None:
        now = self._now()
        self._submit([now - timedelta(seconds=self.random.randrange(600)) for _ in range(self.prints)])

    def _late_row(self) -> None:
        earliest = max(START, self._now() - timedelta(days=3))
        span = (self._now() - earliest).total_seconds()
        self._submit([earliest + timedelta(seconds=self.random.random() * span)])

    def _submit(self, moments: list[datetime]) -> None:
        people = [number for number in (*PAYERS, *HOLDERS) if number not in self.left]
        bodies = [
            {"site": "london", "username": f"c{self.random.choice(people)}@example.com", "printer": "p1", "pages": 2,
             "color_pages": 0, "cost": self.random.randint(1, 60), "at": moment.isoformat()}
            for moment in moments
        ]  # fmt: skip
        for body, answer in zip(bodies, self.harness.control.post("print", json=bodies).json(), strict=True):
            self.jobs[answer["job_id"]] = body["cost"]
            self.made.add(answer["job_id"])

    def _recent(self) -> int | None:
        jobs = list(self.jobs)[-400:]
        return self.random.choice(jobs) if jobs else None

    def _refund(self) -> None:
        if job := self._recent():
            self.harness.refund(job)
            del self.jobs[job]

    def _part_refund(self) -> None:
        if (job := self._recent()) and self.jobs[job] > 2:
            amount = self.random.randint(1, self.jobs[job] - 1)
            self.harness.refund(job, amount=amount)
            self.jobs[job] -= amount

    def _revise(self) -> None:
        if job := self._recent():
            self.jobs[job] = self.random.randint(1, 60)
            body = {"site": "london", "job_id": job, "cost": self.jobs[job]}
            self.harness.control.post("print", json=body).raise_for_status()

    def _top_up(self) -> None:
        holder, more = self.random.choice(HOLDERS), self.random.randint(1, 500)
        now = next(each for each in self._credits() if each["CoworkerId"] == holder)
        self.granted[holder] += more
        values = {"TotalUses": now["TotalUses"] + more, "RemainingUses": now["RemainingUses"] + more}
        self.harness.edit("coworkerextraservices", now["Id"], **values)

    def _edit(self) -> None:
        self.harness.edit("coworkers", self.random.choice(PAYERS), FullName=f"Name {self.random.randrange(1000)}")

    def _pause(self) -> None:
        self.harness.advance(minutes=self.random.randint(1, 40))

    def _leave(self) -> None:
        if len(self.left) < 5:
            self.settle()
            number = self.random.choice([each for each in PAYERS if each not in self.left])
            self.left.add(number)
            self.harness.edit("coworkers", number, Archived=True, Active=False)
            self._freeze(f"c{number}@example.com")

    def _come_back(self) -> None:
        if self.left:
            number = self.left.pop()
            self.harness.edit("coworkers", number, Archived=False, Active=True)
            self.settle()

    # printbridge

    def _run(self) -> None:
        self._advance()
        runs.run(self._order())

    def _kill(self) -> None:
        self._misbehave()
        self._advance()
        self.kills += runs.run(self._order(odds=(self.random.randrange(2**32), 0.02))).killed

    def _overlap(self) -> None:
        self._misbehave()
        self._advance()
        begun = [runs.started(self._order()) for _ in range(self.random.randint(2, 4))]
        for each in begun:
            runs.finished(each)

    def _throttle(self) -> None:
        self.harness.fault("nexudus", "*", "throttle", times=6, style="429_text", seconds=1)
        self._run()

    def _back_up(self) -> None:
        store = self.harness.sites.store
        self.backups.append(backup.back_up(store, self.harness.state_folder.backups, self.harness.sites.clock()).folder)

    def _restore(self) -> None:
        """An older warehouse comes back; the operator recovers, and confirms what happened before."""
        if not self.backups:
            return
        self.settle()
        self.harness.advance(minutes=2)  # lists lag; a backup is put back once the settle time has passed
        older = self.backups.pop(0)
        if not older.exists():
            return
        backup.restore(self.harness.sites.store, older, ["london"], self.harness.sites.clock())
        recover_site(self.harness.sites["london"], "test")
        with self.harness.sites.store.connect() as con:
            held = lines_in(con, "london", "held").filter(pl.col("reason").str.starts_with("recovered:"))
        for ref in held["ref"]:
            self._decide(ref, "confirmed")  # everything was settled before, so it has happened
        self.harness.resume("london", "charges")

    def settle(self) -> None:
        """Servers behave, and clean runs go on until nothing is open; a person decides what is held."""
        self.fired = self.harness.control.delete("faults").json()["fired"]
        for _ in range(9):
            self._advance()
            self.harness.advance(minutes=35)
            report = runs.run(self._order())
            self.refused.update(report.failures.values())
            if not self._open():
                return
        raise AssertionError(f"seed {self.seed}: the ledger has lines that no clean run settles: {report.failures}")

    def examine(self) -> Finding:
        """What the servers' ledgers say, once settled."""
        self.settle()
        return examine(self.harness.state(), self.granted, frozenset(self.skip))

    def unexplained(self) -> int:
        """Cents that printbridge's own reconciliation of all days cannot explain."""
        self.harness.advance(minutes=2)  # lists lag
        day, cents = START.date(), 0
        while day <= self._now().date():
            cents += abs(summary(compare(self.harness.sites["london"], day).frame)["unexplained_cents"])
            day += timedelta(days=1)
        return cents

    def calls(self) -> int:
        """Calls that reached the servers so far; the few of the sandbox's own database are among them."""
        calls = self.harness.calls()
        return sum(calls["nexudus"].values()) + sum(calls["sites"]["london"].values())

    def _order(self, **fields: Any) -> runs.Order:
        return runs.Order(dict(os.environ), self.harness.config, self.assets, **fields)

    def _now(self) -> datetime:
        return datetime.fromisoformat(self.harness.control.get("clock").json()["now"])

    def _credits(self) -> list[Json]:
        return [each for each in self.harness.state()["nexudus"]["coworkerextraservices"] if not each.get("Deleted")]

    def _advance(self) -> None:
        self.harness.advance(minutes=11)
        self.harness.advance(minutes=5)

    def _misbehave(self) -> None:
        """Plan faults for the calls of the next run."""
        faults = []
        expected = {"POST coworkerproducts": 40, "PUT coworkerextraservices": 8, "DELETE coworkerproducts": 6}
        for write in WRITES:
            for place in range(expected[write]):
                if self.random.random() < self.faulted * 1.2:
                    kind = dict(FAULTS[self.random.choice(list(FAULTS))])
                    if kind["action"] == "throttle" and self.random.random() < 0.9:
                        continue  # it ends the run, so it is rarer than the others
                    faults.append(
                        {"target": "nexudus", "match": write, **kind, "after": max(0, place - len(faults) % 2)}
                    )
        spoiled = ("drop_before", "status", "truncate")
        faults += [
            {"target": "nexudus", "match": "GET co*", "action": self.random.choice(spoiled),
             "after": self.random.randrange(16)}
            for _ in range(self.random.randint(5, 9))
        ]  # fmt: skip
        self.harness.control.post("faults", json=faults).raise_for_status()

    def _open(self) -> bool:
        with self.harness.sites.store.connect() as con:
            held = lines_in(con, "london", "held").filter(~pl.col("rule").is_in(LEFT_TO_PEOPLE))
            waiting = lines_in(con, "london", "priced", "sending", "unknown").height
        done = {sale["PurchaseOrder"] for sale in self.harness.sales()} if held.height else set[str]()
        done |= self._put_right(held)
        for ref in held["ref"]:
            self._decide(ref, "confirmed" if ref in done else "priced")
        return bool(held.height or waiting)

    def _put_right(self, held: pl.DataFrame) -> set[str]:
        """Do in Nexudus what the reasons of held credit lines ask for; the lines that are done then."""
        crossed = held.with_columns(by=pl.col("reason").str.extract(r"change what is left by (-?\d+)").cast(pl.Int64))
        crossed = crossed.drop_nulls("by")
        left = self.harness.credits()
        for credit_id, by in crossed.select("credit_id", "by", "reason").unique().drop("reason").iter_rows():
            self.harness.edit("coworkerextraservices", credit_id, RemainingUses=left[credit_id] + by)
        return set(crossed["ref"])

    def _decide(self, ref: str, state: str) -> None:
        decide(self.harness.sites, [ref], state, reason="as the servers show", operator="test")

    def _freeze(self, username: str) -> None:
        """Leave the jobs of a user alone from now on."""
        for job in self.harness.state()["sites"]["london"]["jobs"]:
            if job["username"] == username:
                self.jobs.pop(job["job_id"], None)


@contextmanager
def simulated(
    folder: Path, seed: int, weights: Mapping[str, float], **fields: Any
) -> Generator[Simulation, None, None]:
    """A world of forty people, each of them a print user already."""
    people = [customer(each, PaperCutPayAsYouPrint=each in PAYERS) for each in (*PAYERS, *HOLDERS)]
    grants = [credit(1000 + each, each, GRANT) for each in HOLDERS]
    with running(folder, world(people, grants, list_lag_seconds=20)) as harness:
        first = harness.sync()
        assert first.ok, first.failures
        yield Simulation(harness, seed, weights, **fields)
