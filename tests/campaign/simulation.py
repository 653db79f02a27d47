"""A long story told to the real code: people print, staff refund, servers misbehave, runs are killed, backups put back.

What belongs here: runs, what breaks them, and the decisions of a person about held lines. What does not: the people of
the story (`crowd.py`), the oracle, and how a process is killed. Every event is a step; what happens in which order
follows from the seed, while threads and processes race as they like, so a replay tells the same story without the same
accidents.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl

from pipeline.dagster.runs import REREAD_TAG
from pipeline.domain.money.reconcile import summary
from pipeline.operations.held import decide
from pipeline.operations.recover import recover_site
from pipeline.steps.reconcile import compare
from pipeline.store import backup
from pipeline.store.lines import lines_in
from tests.campaign import runs, states
from tests.campaign.crashes import FAULTS, WRITES
from tests.campaign.crowd import GRANT, HOLDERS, PAYERS, PENNIES, POOR, START, Crowd
from tests.campaign.oracle import Finding, examine
from tests.campaign.witness import RestlessError, Witness
from tests.harness import running
from tests.worlds import credit, customer, world

LEFT_TO_PEOPLE = ("customer_gone", "overdrawn")
"""Rules of lines that a person voids: nobody can be charged for them."""

SYNC_USERS = "print_user_sync"

Json = dict[str, Any]

CHARGING = {
    "prints": 6,
    "late_row": 1,
    "refund": 2,
    "part_refund": 1,
    "revise": 1,
    "bill": 0.2,
    "correct": 0.25,
    "gauntlet": 2,
    "kill": 8,
    "run": 1,
}
"""How often each event happens: a story about charges, with a kill in most runs."""

EVERYTHING = {
    "prints": 80, "late_row": 16, "refund": 32, "part_refund": 16, "revise": 16, "top_up": 16, "edit": 16, "pause": 24,
    "kill": 4, "run": 2, "overlap": 0.5, "throttle": 1, "leave": 0.4, "come_back": 0.4, "back_up": 0.6, "restore": 0.3,
    "gauntlet": 2, "free_print": 2, "big_print": 1, "overdraw": 0.5, "bill": 0.6, "strike": 0.6, "desert": 0.3,
    "lose_mark": 0.1, "correct": 0.3, "cross": 0.3,
}  # fmt: skip
"""A story about everything; most steps are people, as in life."""


@dataclass
class Simulation(Crowd):
    """One story, told to printbridge.

    Attributes:
        weights: how often each event happens.
        assets: the steps of a run.
        faulted: the share of calls that misbehave.
        happened: the events so far.
        backups: those that nobody has put back.
        kills: the runs that were killed.
        fired: the faults that met a call.
        refused: what clean runs said when they failed.
    """

    weights: Mapping[str, float] = field(default_factory=dict[str, float])
    assets: tuple[str, ...] = runs.CHARGES
    faulted: float = 0.3
    happened: Counter[str] = field(default_factory=Counter[str])
    backups: list[Path] = field(default_factory=list[Path])
    kills: int = 0
    fired: int = 0
    refused: Counter[str] = field(default_factory=Counter[str])

    def __post_init__(self) -> None:
        super().__post_init__()
        self.witness = Witness(self.harness, states.EVERYTHING)

    def step(self) -> str:
        """Let one event happen; its name."""
        name = self.random.choices(list(self.weights), list(self.weights.values()))[0]
        self.happened[name] += 1
        getattr(self, f"_{name}")()
        return name

    def look(self) -> None:
        """Note what can be seen of the world now."""
        if self.unmarked and SYNC_USERS in self.assets:
            users = self.harness.users()
            left_alone = all(users[name]["notes"] == "kept by staff" for name in self.unmarked)
            self.seen["left alone without its mark"] += left_alone
        self.witness.look(self.seen)

    # People who come and go

    def _pause(self) -> None:
        self.harness.advance(minutes=self.random.randint(1, 40))

    def _leave(self) -> None:
        if len(self.left) < 5:
            self.settle()
            self._archive(self.random.choice([each for each in PAYERS if each not in self.left]))

    def _come_back(self) -> None:
        if self.left:
            number = self.left.pop()
            self.harness.edit("coworkers", number, Archived=False, Active=True)
            self.settle()

    # printbridge

    def _run(self) -> None:
        self._advance()
        self.seen["failed"] += bool(runs.run(self._order()).failures)

    def _kill(self) -> None:
        self._misbehave()
        self._advance()
        report = runs.run(self._order(odds=(self.random.randrange(2**32), 0.02)))
        self.kills += report.killed
        self.seen.update(killed=report.killed, failed=bool(report.failures))

    def _gauntlet(self) -> None:
        """In one run each fault meets a write of each kind; at the end Nexudus asks for a pause in mid-chunk."""
        self._prints()
        self._prints()
        for _ in range(6):
            self._refund()
        faults = [fault for fault in FAULTS.values() if fault["action"] not in ("throttle", "delay")]
        self.random.shuffle(faults)
        faults = [{"match": write, **fault} for write in WRITES for fault in faults]
        faults.append({"match": WRITES[0], "action": "throttle", "style": "429_text", "seconds": 1, "times": 12})
        planned = [{"target": "nexudus", "times": 1, **fault} for fault in faults]
        self.harness.control.post("faults", json=planned).raise_for_status()
        self.harness.advance(minutes=35)
        self._run()

    def _cross(self) -> None:
        """A use of a credit that is carried out late goes over a top-up."""
        holder = self.random.choice(HOLDERS)
        self._submit([self._now()], people=[holder])
        self.harness.advance(minutes=35)
        self.harness.fault("nexudus", WRITES[1], "late_commit", times=4, seconds=600)
        self._run()
        self.harness.advance(minutes=5)
        self._top_up(holder)

    def _correct(self) -> None:
        """Jobs are refunded in parts before their invoice, again, and after it, which a person puts right."""
        self._heal()
        before = set(self.jobs)
        payers = [each for each in PAYERS if each not in self.left]
        self._submit([self._now()] * 3, cost=40, people=payers)
        jobs = [job for job in self.jobs if job not in before]
        self._clean_run()
        for _ in range(2):
            self._lower(jobs[0], 10)
            self._clean_run()
        self._bill()
        self._lower(jobs[1], 10)
        self.settle()

    def _overlap(self) -> None:
        self._misbehave()
        self._advance()
        begun = [runs.started(self._order()) for _ in range(self.random.randint(2, 4))]
        for each in begun:
            runs.finished(each)
        self.seen["overlap"] += 1

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
        self.look()  # the ledger of now is about to be lost
        backup.restore(self.harness.sites.store, older, ["london"], self.harness.sites.clock())
        refused = runs.run(replace(self._order(), steps=runs.CHARGES))
        self.seen["refused while stopped"] += "printbridge recover" in str(refused.failures)
        recover_site(self.harness.sites["london"], "test")
        with self.harness.sites.store.connect() as con:
            held = lines_in(con, "london", "held").filter(pl.col("reason").str.starts_with("recovered:"))
        for ref in held["ref"]:
            self._decide(ref, "confirmed")  # everything was settled before, so it has happened
        self.harness.resume("london", "charges")

    def converge(self) -> None:
        """Servers behave: after two runs only a person's work is left, and a third run writes nothing anywhere.

        Raises:
            RestlessError: it is not so.
        """
        self._heal()
        said = [self._clean_run().failures for _ in range(2)]
        try:
            self.witness.at_rest()
        except RestlessError as error:
            raise RestlessError(f"{error}; the two runs said: {said}") from None
        before = self.witness.written()
        self._clean_run()
        self.witness.unmoved(before)

    def settle(self) -> None:
        """Servers behave, and clean runs go on until nothing is open; a person decides what is held."""
        self._heal()
        for _ in range(9):
            report = self._clean_run()
            if not self._open():
                return
        raise AssertionError(f"seed {self.seed}: the ledger has lines that no clean run settles: {report.failures}")

    def _heal(self) -> None:
        self.fired = self.harness.control.delete("faults").json()["fired"]

    def _clean_run(self) -> runs.Report:
        """A run once late effects have come and all jobs are mature; it looks for sales that staff deleted."""
        self._advance()
        self.harness.advance(minutes=35)
        report = runs.run(self._order(tags=((REREAD_TAG, "45"),) if self.struck else ()))
        self.struck &= bool(report.failures)
        self.refused.update(report.failures.values())
        return report

    def examine(self) -> Finding:
        """What the servers' ledgers say, once all came to rest by itself and a person decided what is held.

        Raises:
            AssertionError: it does not come to rest, or a line went a way that the model does not know.
        """
        self.converge()
        self.settle()
        self.look()
        if strange := self.witness.strange:
            shown = "; ".join(strange[:5])
            raise AssertionError(f"{len(strange)} lines went ways that the model does not know: {shown}")
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
            held = lines_in(con, "london", "held")
            waiting = lines_in(con, "london", "priced", "sending", "unknown").height
        sold = {sale["PurchaseOrder"]: sale["Id"] for sale in self.harness.sales()} if held.height else {}
        done = self._put_right(held)
        for line in held.iter_rows(named=True):
            sale = sold.get(line["ref"]) if line["kind"] == "sale" else None
            if self._waives(line):
                self.skip.add(("london", int(line["job_id"])))
                self._decide(line["ref"], "void")
            else:
                self._decide(line["ref"], "confirmed" if sale or line["ref"] in done else "priced", sale)
        return bool(held.height or waiting)

    def _waives(self, line: Json) -> bool:
        """Whether the person waives a line that a rule held: some, and those for which nobody can be charged."""
        waived = line["rule"] == "above_max_charge" and int(line["job_id"]) % 2 == 0 and line["n"] == 0
        self.seen["waived by a person"] += waived
        return waived or line["rule"] in LEFT_TO_PEOPLE

    def _put_right(self, held: pl.DataFrame) -> set[str]:
        """Do in Nexudus what the reasons of held lines ask for; the lines that are done then."""
        crossed = held.with_columns(by=pl.col("reason").str.extract(r"change what is left by (-?\d+)").cast(pl.Int64))
        crossed = crossed.drop_nulls("by")
        left = self.harness.credits() if crossed.height else {}
        for credit_id, by in crossed.select("credit_id", "by", "reason").unique().drop("reason").iter_rows():
            self.harness.edit("coworkerextraservices", credit_id, RemainingUses=left[credit_id] + by)
        billed = held.filter(pl.col("reason").str.contains("is on invoice", literal=True))
        for sale in billed["remote_id"]:
            self.harness.delete("coworkerproducts", sale)  # stands for a credit note
        return set(crossed["ref"]) | set(billed["ref"])

    def _decide(self, ref: str, state: str, sale: int | None = None) -> None:
        decide(self.harness.sites, [ref], state, reason="as the servers show", operator="test", sale=sale)


@contextmanager
def simulated(
    folder: Path, seed: int, weights: Mapping[str, float], **fields: Any
) -> Generator[Simulation, None, None]:
    """A world of forty people, each of them a print user already."""
    people = [customer(each, PaperCutPayAsYouPrint=each in PAYERS) for each in (*PAYERS, *HOLDERS, POOR)]
    grants = [credit(1000 + each, each, GRANT) for each in HOLDERS] + [credit(1000 + POOR, POOR, PENNIES)]
    with running(folder, world(people, grants, list_lag_seconds=20)) as harness:
        first = harness.sync()
        assert first.ok, first.failures
        yield Simulation(harness, seed, weights=weights, **fields)
