"""Reconciliation as a detector: 1,000 injected errors, each found alone, and 100 clean months."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any

import polars as pl
import pytest

from pipeline.domain import tables
from pipeline.domain.money.reconcile import day_bounds, reconcile
from pipeline.domain.money.references import reference
from pipeline.domain.rules import SiteRules
from tests.domain.money.books import DAY, SALES, ZONES
from tests.frames import LEDGER, rules

ref_of = cache(reference)


@dataclass(frozen=True)
class Books:
    """The three books as lists of rows, so that an error can be put into one of them."""

    jobs: list[dict[str, Any]]
    ledger: list[dict[str, Any]]
    sales: list[dict[str, Any]]

    def compared(self, day: date, now: datetime, site: SiteRules) -> pl.DataFrame:
        return reconcile(
            pl.DataFrame(self.jobs, schema=tables.columns("print_jobs")),
            pl.DataFrame(self.ledger, schema=LEDGER),
            pl.DataFrame(self.sales, schema=SALES),
            rules=site,
            day=day,
            now=now,
            names=pl.DataFrame({"username": [f"c{number}" for number in range(20)]}),
        )


def within(chance: random.Random, day: date, zone: str, count: int) -> list[datetime]:
    start, end = day_bounds(day, zone)
    return [start + chance.random() * (end - start) for _ in range(count)]


def clean(chance: random.Random, site: SiteRules, times: list[datetime]) -> Books:
    """Books that agree: jobs of every fate, by customers and by people who are not ours."""
    books = Books([], [], [])
    for number, at in enumerate(times, start=1):
        customer, cost = chance.randrange(20), chance.randint(1, 900)
        fate = chance.choices(
            ["sale", "mixed", "credit", "waive", "held", "refunded", "staff", "shared", "denied", "voided", "priced"],
            [40, 8, 15, 8, 4, 6, 5, 3, 4, 2, 5],
        )[0]
        job = {
            "site": site.name, "job_id": str(number), "revision": int(fate == "refunded"), "printed_at": at,
            "username": "staff" if fate == "staff" else f"c{customer}", "printer": "hall", "pages": 1,
            "color_pages": 0, "copies": 1, "duplex": False, "cost": Decimal(cost), "allowed": fate != "denied",
            "printed": True, "refunded": fate == "refunded", "job_type": "PRINT", "shared_account": fate == "shared",
            "first_seen_at": at,
        }  # fmt: skip
        books.jobs.append(job)
        for line in _entered(fate, cost, chance):
            _enter(books, job, customer, line)
    return books


def _entered(fate: str, cost: int, chance: random.Random) -> list[tuple[str, int, str]]:
    part = chance.randrange(cost)
    return {
        "sale": [("sale", cost, chance.choice(["confirmed", "invoiced"]))],
        "mixed": [("credit", part, "confirmed"), ("sale", cost - part, "confirmed")],
        "credit": [("credit", cost, "confirmed")],
        "waive": [("waive", cost, "confirmed")],
        "held": [("sale", cost, "held")],
        "priced": [("sale", cost, "priced")],
        "voided": [("sale", cost, "void")],
        "refunded": [("sale", cost, "confirmed"), ("undo_sale", cost, "confirmed")],
    }.get(fate, [])


def _enter(books: Books, job: dict[str, Any], customer: int, line: tuple[str, int, str]) -> None:
    kind, amount, state = line
    original = ref_of(job["site"], job["job_id"], kind.removeprefix("undo_"), 0)
    books.ledger.append(
        dict.fromkeys(LEDGER) | {
            "ref": ref_of(job["site"], job["job_id"], kind, 0), "site": job["site"], "job_id": job["job_id"],
            "revision": job["revision"], "kind": kind, "seq": 0, "printed_at": job["printed_at"],
            "username": job["username"], "coworker_id": customer, "amount_cents": amount, "state": state,
            "undoes": original if kind.startswith("undo_") else None, "rule": "money",
        }
    )  # fmt: skip
    if kind == "sale" and state in {"confirmed", "invoiced"}:
        books.sales.append(
            {
                "remote_id": 1000 + len(books.sales), "ref": original, "coworker_id": customer, "quantity": amount,
                "total_cents": amount,
            }
        )  # fmt: skip
    if kind == "undo_sale":
        books.sales.pop()


ERRORS = ("one cent", "total only", "duplicate", "wrong customer", "edited", "deleted")


def spoil(row: dict[str, Any], error: str, chance: random.Random) -> list[dict[str, Any]]:
    """What Nexudus holds instead of a sale."""
    cents = row["quantity"] + (13 if error == "edited" else chance.choice([-1, 1]))
    return {
        "one cent": [row | {"quantity": cents, "total_cents": cents}],
        "total only": [row | {"total_cents": cents}],
        "duplicate": [row, row | {"remote_id": row["remote_id"] + 5000}],
        "wrong customer": [row | {"coworker_id": row["coworker_id"] + 1}],
        "edited": [row | {"quantity": cents, "total_cents": cents}],
        "deleted": [],
    }[error]


NIGHT = datetime(2026, 11, 21, 2, tzinfo=UTC)
LONDON = rules(charge_from=datetime(2020, 1, 1, tzinfo=UTC))


def injected_into_nexudus(books: Books, chance: random.Random, errors: int) -> tuple[Books, set[str]]:
    spoilt = set(chance.sample([row["ref"] for row in books.sales], errors))
    sold: list[dict[str, Any]] = []
    for row in books.sales:
        sold += spoil(row, chance.choice(ERRORS), chance) if row["ref"] in spoilt else [row]
    known = {row["ref"]: row["job_id"] for row in books.ledger}
    return replace(books, sales=sold), {known[ref] for ref in spoilt}


def injected_into_the_ledger(books: Books, chance: random.Random, errors: int) -> tuple[Books, set[str]]:
    """A line lost, a line one cent off, a line entered as void: with the sale left as it was."""
    spoilt = set(chance.sample([row["ref"] for row in books.ledger if row["kind"] == "sale"], errors))
    spoilt -= {row["undoes"] for row in books.ledger} | {row["ref"] for row in books.ledger if row["state"] == "void"}
    told: list[dict[str, Any]] = []
    for row in books.ledger:
        if row["ref"] not in spoilt:
            told.append(row)
        elif chance.random() < 0.5:
            told.append(row | {"amount_cents": row["amount_cents"] + chance.choice([-1, 1])})
    return replace(books, ledger=told), {row["job_id"] for row in books.ledger if row["ref"] in spoilt}


@pytest.mark.parametrize("seed", range(50))  # 1,000 errors in Nexudus and about as many in the ledger
def test_every_injected_error_is_found_and_nothing_else(seed: int) -> None:
    chance = random.Random(seed)
    books = clean(chance, LONDON, within(chance, DAY, "Europe/London", 120))
    for inject in (injected_into_nexudus, injected_into_the_ledger):
        spoilt, wrong = inject(books, chance, 20)
        frame = spoilt.compared(DAY, NIGHT, LONDON)
        found = set(frame.filter(pl.col("unexplained_cents") > 0)["job_id"])
        assert found == wrong, f"seed {seed}: missed {wrong - found}, false alarms {found - wrong}"


@pytest.mark.parametrize("seed", range(10))
def test_clean_months_raise_no_alarm(seed: int) -> None:
    for number in range(10):
        chance = random.Random(1000 + seed * 10 + number)
        zone = chance.choice(ZONES)
        site = replace(LONDON, timezone=zone)
        first = date(2026, number + 1, 1)
        last = (first + timedelta(days=32)).replace(day=1) - timedelta(days=1)
        days = {first, last, *(first + timedelta(days=chance.randrange(28)) for _ in range(7))}
        books = clean(chance, site, [at for day in sorted(days) for at in within(chance, day, zone, 16)])
        later = day_bounds(last, zone)[1] + timedelta(hours=1)
        frames = pl.concat([books.compared(day, later, site) for day in sorted(days)])
        alarms = frames.filter(pl.col("unexplained_cents") != 0)["finding"].to_list()
        assert alarms == [], f"seed {1000 + seed * 10 + number}: {alarms}"
        assert sorted(frames["job_id"]) == sorted(job["job_id"] for job in books.jobs), "a job of no day, or of two"
