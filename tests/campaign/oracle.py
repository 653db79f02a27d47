"""The oracle: what the servers' own ledgers say about money, against what people printed.

What belongs here: comparing PaperCut's jobs with Nexudus' sales and credits. What does not: any table of printbridge.

It relies on facts of the worlds of this package: a job is paid either with money or with credits, whole; the user name
of customer N is `cN@example.com`; and no two jobs of ezeep have the same second and number of pages. A sale belongs to
the job that its notes name, whatever its reference.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]

_JOB = re.compile(r"print job (\w+) at (\w+)")
EZEEP_PAGE = 5
"""What a page costs at the sites on ezeep, in cents."""
_NAMED_SINCE, _DIGITS = datetime(2000, 1, 1, tzinfo=UTC), "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_CUSTOMER = re.compile(r"c(\d+)@example\.com")


@dataclass
class Finding:
    """What is wrong, in words: charged twice or too much, not charged or too little."""

    double: list[str] = field(default_factory=list[str])
    lost: list[str] = field(default_factory=list[str])

    def __bool__(self) -> bool:
        return bool(self.double or self.lost)

    def __str__(self) -> str:
        return "; ".join([f"double: {each}" for each in self.double] + [f"lost: {each}" for each in self.lost])


def examine(state: Json, granted: Mapping[int, int], skip: frozenset[tuple[str, int]] = frozenset()) -> Finding:
    """Hold the servers' ledgers against each other.

    Args:
        state: what `GET /state` answers.
        granted: for each customer, the credits that were ever granted.
        skip: (site, job) of jobs that nobody is to be charged for, or not yet.
    """
    finding, (sold, left) = Finding(), _nexudus(state["nexudus"])
    unpaid: defaultdict[int, int] = defaultdict(int)
    for site, server in state["sites"].items():
        for job in map(_as_logged, server["jobs"]):
            amounts = sold.pop((site, str(job["job_id"])), [])
            customer, due = _owed(job)
            label = f"job {job['job_id']} at {site} ({due} cents) has sales of {amounts}"
            if len(amounts) > 1 or sum(amounts) > due:
                finding.double.append(label)
            elif amounts and amounts != [due]:
                finding.lost.append(label)
            elif due and not amounts and (site, job["job_id"]) not in skip:
                unpaid[customer] += due
    for (site, job_id), amounts in sold.items():
        finding.double.append(f"sales of {amounts} cents for job {job_id} at {site}, which PaperCut does not have")
    for customer in sorted({*granted, *unpaid}):
        used = granted.get(customer, 0) - left[customer]
        if used != unpaid[customer]:
            kind = finding.double if used > unpaid[customer] else finding.lost
            kind.append(f"customer {customer} used {used} credits for jobs of {unpaid[customer]} that no sale paid")
    return finding


def _as_logged(job: Json) -> Json:
    """A job of ezeep as one of PaperCut: what is left of it, under the name that its report gives it."""
    if "refunded_pages" not in job:
        return job
    left, second = job["pages"] - job["refunded_pages"], datetime.fromisoformat(job["at"]) - _NAMED_SINCE
    number, name = int(second.total_seconds()) * 1024 + job["pages"] % 1024, ""
    for _ in range(8):
        number, digit = divmod(number, 36)
        name = _DIGITS[digit] + name
    done = {"allowed": True, "printed": job["status"] == "succeeded", "cost": left * EZEEP_PAGE}
    return job | done | {"job_id": f"1{name}00", "refunded": not left}


def _nexudus(state: Json) -> tuple[dict[tuple[str, str], list[int]], defaultdict[int, int]]:
    """The amounts of the sales of each job, and the credits that each customer has left."""
    sold: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for sale in state["coworkerproducts"]:
        named = _JOB.search(sale.get("Notes") or "")
        if named and not sale.get("Deleted"):
            sold[named[2], named[1]].append(sale["Quantity"])
    left: defaultdict[int, int] = defaultdict(int)
    for credit in state["coworkerextraservices"]:
        if not credit.get("Deleted"):
            left[credit["CoworkerId"]] += credit["RemainingUses"]
    return sold, left


def _owed(job: Json) -> tuple[int, int]:
    """Who owes how many cents for a job as PaperCut has it now."""
    customer = _CUSTOMER.fullmatch(job["username"])
    counts = job["allowed"] and job["printed"] and not job["refunded"]
    return (int(customer[1]), int(job["cost"])) if customer and counts else (0, 0)
