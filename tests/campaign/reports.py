"""A site on ezeep under kills, faults and overlapping runs: jobs and refunds come from reports, money goes to Nexudus.

What belongs here: how people print and staff refund there, and a story of it. What does not: the cycle, the faults and
the looks at the servers' ledgers, which are those of every print system (`crashes.py`, `oracle.py`).

A refund is a row with pages below 0. People print on another printer in each cycle, so that one print alone fits; and
each report has all jobs so far, as one of a month does. Reading the reports is among the points, as it keeps which
print a row takes back.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.campaign import runs
from tests.campaign.crashes import FAULTS, HOLDER, PAYER, WRITES, Crashes
from tests.campaign.oracle import EZEEP_PAGE, Finding
from tests.harness import running
from tests.worlds import credit, ezeep_world, printer_customer

SITE = "lisbon"
WATCHED = ("print_jobs", "nexudus_print_charges", "print_user_sync")
MUCH = 10_000_000
"""The credits of the one who has some: enough for any story."""
ODDS = 0.02
"""How likely a run of a story is killed at one of its points."""


@dataclass
class Reports(Crashes):
    """A site on ezeep in which one cycle after the other is broken.

    Attributes:
        happened: the events of a story.
        fired: the faults that met a write.
        writes: the writes that reached Nexudus while faults were planned.
    """

    happened: Counter[str] = field(default_factory=Counter[str])
    fired: int = 0
    writes: int = 0

    def prepare(self) -> None:
        """New jobs, the refund of older ones, and a report with both; no older report is needed beside it."""
        super().prepare()
        folder = Path(self.harness.ready["sites"][SITE]["reports_folder"])
        self.harness.report(SITE, name=f"report-{self.cycle:05}.csv")
        for old in sorted(folder.glob("report-*.csv"))[:-2]:
            old.unlink()

    def printed(self, username: str) -> str:
        """A new job; no other one of this second has as many pages."""
        pages = 1 + self.cycle % 40 + (50 if username == HOLDER else 0)
        body = {"site": SITE, "username": username, "printer": f"p{self.cycle}", "pages": pages, "color_pages": 0}
        return self.harness.control.post("print", json=body).raise_for_status().json()["job_id"]

    def refund(self, job: str) -> None:
        """Staff take a job back."""
        body = {"site": SITE, "job_id": job, "how": "negative"}
        self.harness.control.post("refund", json=body).raise_for_status()

    def story(self, seed: int, jobs: int, seconds: float, look: int = 10) -> Finding:
        """Cycles with faults at many writes and kills by chance; the ledgers are looked at now and then.

        Args:
            seed: what follows from it: what is printed, and what breaks.
            jobs: so many jobs in all end it, or
            seconds: so much time.
            look: runs between two looks.
        """
        chance, finding, end = Random(seed), Finding(), time.monotonic() + seconds
        while 2 * self.cycle < jobs and time.monotonic() < end and not finding:
            self.harness.forget_calls()
            for _ in range(look):
                self._shaken(chance)
            self.writes += sum(self.harness.calls()["nexudus"].get(write, 0) for write in WRITES)
            self.fired = self.harness.control.delete("faults").json()["fired"]  # since the beginning
            finding = self.settled()
        return finding

    def share(self) -> float:
        """The share of writes that a fault met."""
        return self.fired / max(self.writes, 1)

    def _shaken(self, chance: Random) -> None:
        for _ in range(chance.randint(1, 3)):
            self.prepare()
        faults = [
            {"target": "nexudus", "match": write, "times": 1, "after": place, **FAULTS[chance.choice(list(FAULTS))]}
            for write in WRITES for place in range(6) if chance.random() < 0.4
        ]  # fmt: skip
        self.harness.control.post("faults", json=faults).raise_for_status()
        report = runs.run(self.order(odds=(chance.randrange(2**32), ODDS)))
        self.kills += report.killed
        self.happened.update(killed=report.killed, failed=bool(report.failures), runs=1)
        self.pass_time()


@contextmanager
def reporting(folder: Path) -> Generator[Reports]:
    """A site on ezeep with a customer who pays and one with credits, both logged in, and lists that lag."""
    people, grants = [printer_customer(101), printer_customer(102)], [credit(401, 102, MUCH)]
    prices = [{"credits_per_page": EZEEP_PAGE}]
    given = {SITE: {"ezeep": {"invite": "automatic"}, "prices": prices, "max_credits": MUCH}}
    with running(folder, ezeep_world(people, grants, list_lag_seconds=30), sites=given) as harness:
        for _ in range(2):  # the second one sees them in the group, which is our mark
            first = harness.sync(SITE)
            assert first.ok, first.failures
            harness.advance(minutes=2)
        for name in (PAYER, HOLDER):
            harness.accept(name)
        yield Reports(harness, SITE, WATCHED, {102: MUCH})
