"""Crash points: the real code, killed before and after every commit, send and receive, while a server misbehaves.

What belongs here: the cycle that holds every kind of charge, the faults, and the pairs of both. What does not: how a
process is killed (`runs.py`), what is right (`oracle.py`).

One sandbox serves many pairs, with fresh jobs for each. A cycle has a sale, a credit use, and the reversal of one of
each; once the process is dead the servers behave again, clean runs go on, and the servers' ledgers are compared.
"""

from __future__ import annotations

import os
import random
import re
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import polars as pl

from pipeline.domain.money.references import found_in
from pipeline.errors import PermanentError
from pipeline.operations.held import decide
from pipeline.operations.recover import recover_site
from pipeline.store import backup
from pipeline.store.lines import lines_in, lines_of_site
from tests.campaign import power, runs
from tests.campaign.oracle import Finding, examine
from tests.harness import Harness, running
from tests.worlds import credit, customer, world

GRANT = 100_000
PAYER, HOLDER = "c101@example.com", "c102@example.com"
FAULTS: dict[str, dict[str, Any]] = {
    "dropped before": {"action": "drop_before"},
    "dropped after": {"action": "drop_after"},
    "late effect": {"action": "late_commit", "seconds": 600},
    "500 before": {"action": "status", "code": 500},
    "500 after": {"action": "status", "code": 500, "effect": True},
    "502 after": {"action": "status", "code": 502, "effect": True},
    "400 without errors": {"action": "status", "code": 400, "effect": True},
    "403": {"action": "status", "code": 403},
    "truncated": {"action": "truncate"},
    "HTML with 200": {"action": "html_200"},
    "refused in a 200": {"action": "was_successful_false"},
    "refused with a reason": {"action": "rejected"},
    "429 by header": {"action": "throttle", "style": "429_retry_after", "seconds": 1, "times": 4},
    "409 throttle": {"action": "throttle", "style": "409_legacy", "seconds": 1, "times": 4},
    "slow": {"action": "delay", "seconds": 0.05},
}
WRITES = ("POST coworkerproducts", "PUT coworkerextraservices", "DELETE coworkerproducts")


@dataclass
class Crashes:
    """A world in which one cycle after the other is broken.

    A batch is several cycles, each with its own point and fault; what one leaves behind meets the breakage of the next.
    Only jobs of earlier batches are refunded, so that a refund hides nothing.
    """

    harness: Harness
    site: str = "london"
    watched: tuple[str, ...] = runs.Order.watched
    granted: dict[int, int] = field(default_factory=lambda: {102: GRANT})
    charged: list[Any] = field(default_factory=list[Any])
    fresh: list[Any] = field(default_factory=list[Any])
    cycle: int = 0
    kills: int = 0
    refused: int = 0

    def order(self, **fields: Any) -> runs.Order:
        """A run of this world."""
        given = {"sites": (self.site,), "watched": self.watched, **fields}
        return runs.Order(dict(os.environ), self.harness.config, **given)

    def prepare(self) -> None:
        """New jobs, and the refund of older ones."""
        self.cycle += 1
        for _ in range(min(2, len(self.charged))):
            self.refund(self.charged.pop(0))
        self.fresh += [self.printed(name) for name in (PAYER, HOLDER)]
        self.harness.advance(minutes=31)

    def printed(self, username: str) -> Any:
        """A new job; its id at the server."""
        return self.harness.print_job(username, 10 + self.cycle % 40)["job_id"]

    def refund(self, job: Any) -> None:
        """Staff take a job back."""
        self.harness.refund(job)

    def points(self) -> list[str]:
        """The points of one cycle, found by counting; of a read only its beginning, as it changes nothing."""
        for _ in range(2):  # the second has something to reverse
            self.prepare()
            report = runs.run(self.order())
            assert not report.failures, f"the run without faults failed: {report.failures}"
            self.charged, self.fresh = self.charged + self.fresh, []
        return [name for name in report.points if not re.match("(sent|after the answer).* GET ", name)]

    def broken(self, pairs: list[tuple[str, str]]) -> Finding:
        """A batch: for each pair a cycle killed at the point, with the fault at the next write of each kind."""
        for point, fault in pairs:
            self.prepare()
            for write in WRITES:
                self.harness.fault("nexudus", write, **{"times": 1, **FAULTS[fault]})
            # A fault may end the run before the point: then the next run is killed there.
            self.kills += runs.run(self.order(kill=point)).killed or runs.run(self.order(kill=point)).killed
            self.pass_time()
        self.harness.heal()
        return self.settled()

    def commits(self) -> list[str]:
        """The moments of one cycle at which a commit was stored and its file was closed."""
        return [point for point in self.points() if point.startswith("after the file was closed")]

    def powerless(self, point: str, loss: str, chance: random.Random) -> Finding:
        """A cycle in which power is lost around a commit, so that the disk has what `power.py` makes of it.

        Whatever the warehouse is then, printbridge goes on; where it refuses, the operator does what it says. Each is
        settled before the next, so that only its own uses are in doubt when a person compares them with the credit.
        """
        self.prepare()
        sites = self.harness.sites
        made = backup.back_up(sites.store, sites.home.backups, sites.clock()).folder
        sites.store.close()
        with tempfile.TemporaryDirectory() as folder:
            images = Path(folder) / "images"
            if runs.run(self.order(kill=point, images=images)).killed:
                self.kills += 1
                power.lose(loss, images, sites.store.path, chance)
        self.pass_time()
        try:
            with sites.store.connect():
                pass
        except PermanentError:
            self.refused += 1
            backup.restore(sites.store, made, sites.names, sites.clock())
            recover_site(sites[self.site], "test")
            self._compared_with_the_credit()
            self.harness.resume(self.site, "charges")
        return self.settled()

    def _compared_with_the_credit(self) -> None:
        """A person finds out which of the uses in doubt were made: the credit names one, and its number tells all."""
        with self.harness.sites.store.connect() as con:
            lines = lines_of_site(con, self.site).filter(pl.col("kind").is_in(["credit", "undo_credit"]))
        sign = pl.when(pl.col("kind") == "credit").then(pl.col("amount_cents")).otherwise(-pl.col("amount_cents"))
        lines = lines.with_columns(cents=sign)
        used = self.granted[102] - sum(self.harness.credits().values())
        lacking = used - lines.filter(state="confirmed")["cents"].sum()
        doubtful = dict(lines.filter(state="held").select("ref", "cents").iter_rows())
        notes = self.harness.state()["nexudus"]["coworkerextraservices"][0]["Notes"]
        named = doubtful.keys() & {found_in(notes)}
        sets = [set(refs) for number in range(len(doubtful) + 1) for refs in combinations(doubtful, number)]
        fitting = [refs for refs in sets if named <= refs and sum(doubtful[ref] for ref in refs) == lacking]
        assert fitting, f"the credit lacks {lacking} cents and names {named}; no uses in doubt explain that: {doubtful}"
        for ref in doubtful:
            state = "confirmed" if ref in fitting[0] else "priced"
            decide(self.harness.sites, [ref], state, reason="as the credit shows", operator="test")

    def pass_time(self) -> None:
        """The settle time and a little more, in steps: what comes late comes at its own moment."""
        self.harness.advance(minutes=11)
        self.harness.advance(minutes=5)

    def settled(self, longest: int = 6) -> Finding:
        """Clean runs until the ledger has nothing left to do; a person decides what is held."""
        for _ in range(longest):
            self.pass_time()
            runs.run(self.order())
            if not self._open():
                break
        self.charged, self.fresh = self.charged + self.fresh, []
        return examine(self.harness.state(), self.granted)

    def _open(self) -> bool:
        with self.harness.sites.store.connect() as con:
            held = lines_in(con, self.site, "held")
            waiting = lines_in(con, self.site, "priced", "sending", "unknown").height
        sold = {sale["PurchaseOrder"] for sale in self.harness.sales()}
        for line in held.iter_rows(named=True):
            # What the reason asks of a person: look into Nexudus, then confirm or retry.
            state = "confirmed" if line["ref"] in sold else "priced"
            decide(self.harness.sites, [line["ref"]], state, reason="as Nexudus shows", operator="test")
        return bool(held.height or waiting)


@contextmanager
def crashing(folder: Path) -> Generator[Crashes, None, None]:
    """A world with a customer who pays, one with credits, and lists that lag."""
    people = [customer(101, PaperCutPayAsYouPrint=True), customer(102)]
    with running(folder, world(people, [credit(401, 102, GRANT)], list_lag_seconds=30)) as harness:
        first = harness.sync()
        assert first.ok, first.failures
        yield Crashes(harness)


def pairs(points: list[str], seed: int, faults: tuple[str, ...] = tuple(FAULTS)) -> list[tuple[str, str]]:
    """Every point with every fault, in an order that the seed decides."""
    every = [(point, fault) for point in points for fault in faults]
    random.Random(seed).shuffle(every)
    return every
