"""The people of a story: who prints, who refunds, who works in Nexudus, who comes and goes.

What belongs here: their events, chosen by a seed, and the bookkeeping that the oracle needs. What does not: runs of
printbridge and what a person decides about its held lines (`simulation.py`).
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tests.harness import Harness

PAYERS, HOLDERS, POOR = range(101, 131), range(201, 211), 251
GRANT, PENNIES = 90_000, 100
START = datetime.fromisoformat("2026-11-01T00:00:00+00:00")
ABOVE = 60_000
"""More than the largest charge of the site."""

Json = dict[str, Any]


@dataclass
class Crowd:
    """The people of one story.

    Attributes:
        harness: the sandbox.
        seed: what follows from it: the events and their details.
        prints: jobs of one print event.
        granted: for each customer with credits, all that were ever granted.
        jobs: the cost of each job as PaperCut has it, without those that nobody touches any more.
        made: every job.
        left: the customers who are archived.
        unmarked: the print users that lost our mark.
        skip: (site, job) of jobs that nobody is to be charged for.
        seen: what happened that the world does not show afterwards.
        struck: whether staff deleted a sale that no run has missed yet.
    """

    harness: Harness
    seed: int
    prints: int = 10
    granted: dict[int, int] = field(default_factory=lambda: {**dict.fromkeys(HOLDERS, GRANT), POOR: PENNIES})
    jobs: dict[int, int] = field(default_factory=dict[int, int])
    made: set[int] = field(default_factory=set[int])
    left: set[int] = field(default_factory=set[int])
    unmarked: set[str] = field(default_factory=set[str])
    skip: set[tuple[str, int]] = field(default_factory=set[tuple[str, int]])
    seen: Counter[str] = field(default_factory=Counter[str])
    struck: bool = False

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    # Printing

    def _prints(self) -> None:
        now = self._now()
        self._submit([now - timedelta(seconds=self.random.randrange(600)) for _ in range(self.prints)])

    def _late_row(self) -> None:
        earliest = max(START, self._now() - timedelta(days=3))
        span = (self._now() - earliest).total_seconds()
        self._submit([earliest + timedelta(seconds=self.random.random() * span)])

    def _big_print(self) -> None:
        self._submit([self._now()], cost=ABOVE, people=[each for each in PAYERS if each not in self.left])

    def _free_print(self) -> None:
        self._submit([self._now()], cost=0)

    def _overdraw(self) -> None:
        """Somebody prints for all credits that they have, and staff take one of these back."""
        now = next(each for each in self._credits() if each["CoworkerId"] == POOR)
        if now["RemainingUses"] > 1:
            self._submit([self._now()], cost=now["RemainingUses"], people=[POOR])
            self.jobs.popitem()  # whoever waives it does not look at it again
            values = {"TotalUses": now["TotalUses"] - 1, "RemainingUses": now["RemainingUses"] - 1}
            self.harness.edit("coworkerextraservices", now["Id"], **values)
            self.granted[POOR] -= 1

    def _submit(self, moments: list[datetime], cost: int | None = None, people: list[int] | None = None) -> None:
        people = people or [number for number in (*PAYERS, *HOLDERS) if number not in self.left]
        bodies = [
            {"site": "london", "username": f"c{self.random.choice(people)}@example.com", "printer": "p1", "pages": 2,
             "color_pages": 0, "cost": self.random.randint(1, 60) if cost is None else cost, "at": moment.isoformat()}
            for moment in moments
        ]  # fmt: skip
        for body, answer in zip(bodies, self.harness.control.post("print", json=bodies).json(), strict=True):
            self.jobs[answer["job_id"]] = body["cost"]
            self.made.add(answer["job_id"])

    def _recent(self) -> int | None:
        jobs = list(self.jobs)[-400:]
        return self.random.choice(jobs) if jobs else None

    # Refunds, and rows that change

    def _refund(self) -> None:
        if job := self._recent():
            self.harness.refund(job)
            del self.jobs[job]

    def _part_refund(self) -> None:
        if (job := self._recent()) and self.jobs[job] > 2:
            self._lower(job, self.random.randint(1, self.jobs[job] - 1))

    def _lower(self, job: int, amount: int) -> None:
        self.harness.refund(job, amount=amount)
        self.jobs[job] -= amount

    def _revise(self) -> None:
        if job := self._recent():
            self.jobs[job] = self.random.randint(1, 60)
            body = {"site": "london", "job_id": job, "cost": self.jobs[job]}
            self.harness.control.post("print", json=body).raise_for_status()

    # Nexudus

    def _top_up(self, holder: int | None = None) -> None:
        holder, more = holder or self.random.choice(HOLDERS), self.random.randint(1, 500)
        now = next(each for each in self._credits() if each["CoworkerId"] == holder)
        self.granted[holder] += more
        values = {"TotalUses": now["TotalUses"] + more, "RemainingUses": now["RemainingUses"] + more}
        self.harness.edit("coworkerextraservices", now["Id"], **values)

    def _edit(self) -> None:
        self.harness.edit("coworkers", self.random.choice(PAYERS), FullName=f"Name {self.random.randrange(1000)}")

    def _bill(self) -> None:
        """The invoice day: everybody gets an invoice for what they bought so far."""
        self.harness.bill(*(each for each in PAYERS if each not in self.left))

    def _strike(self) -> None:
        """Staff delete a sale that stands; the next reading of many days misses it."""
        jobs = set(list(self.jobs)[-400:])
        sales = [each for each in self.harness.sales() if not each.get("Invoiced") and _job(each) in jobs]
        if sales:
            self.harness.delete("coworkerproducts", self.random.choice(sales)["Id"])
            self.struck = True

    def _desert(self) -> None:
        """A customer who has just printed is archived: what they owe is a person's business."""
        if len(self.left) < 5:
            number = self.random.choice([each for each in PAYERS if each not in self.left])
            self._submit([self._now()], people=[number])
            self._archive(number)
            self.seen["left with an open charge"] += 1

    def _archive(self, number: int) -> None:
        self.left.add(number)
        self.harness.edit("coworkers", number, Archived=True, Active=False)
        self._freeze(f"c{number}@example.com")

    def _freeze(self, username: str) -> None:
        """Leave the jobs of a user alone from now on."""
        for job in self.harness.state()["sites"]["london"]["jobs"]:
            if job["username"] == username:
                self.jobs.pop(job["job_id"], None)

    def _lose_mark(self) -> None:
        """Staff write over our mark: the user is left alone from then on."""
        names = [f"c{each}@example.com" for each in PAYERS if each not in self.left]
        name = self.random.choice(names)
        if len(self.unmarked) < 2 and name in self.harness.users():
            self.harness.papercut("setUserProperty", name, "notes", "kept by staff")
            self.unmarked.add(name)

    def _now(self) -> datetime:
        return datetime.fromisoformat(self.harness.control.get("clock").json()["now"])

    def _credits(self) -> list[Json]:
        return [each for each in self.harness.state()["nexudus"]["coworkerextraservices"] if not each.get("Deleted")]


def _job(sale: Json) -> int:
    """The job that a sale names."""
    return int(sale["Notes"].split(" print job ")[1].split(" ")[0])
