"""Pricing the jobs of a large operator in one process: prints the times and the peak of memory as JSON.

What belongs here: made-up jobs, accounts and credits of a size, priced by the rules and by bare Polars in turn. Each
person has two credits, one of which ends in the middle of the month.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import polars as pl

from benchmarks.peers import bare_pricing
from benchmarks.worlds import paired, peak_mb, timed
from pipeline.domain import tables
from pipeline.domain.money.attribution import attributed
from pipeline.domain.money.charges import print_charges
from pipeline.domain.money.references import references
from pipeline.domain.people.accounts import print_accounts
from pipeline.domain.rules import SiteRules

PEOPLE = 10_000
NOW = datetime(2026, 11, 20, tzinfo=UTC)
START = datetime(2026, 10, 1, tzinfo=UTC)
MIDDLE = datetime(2026, 10, 12, tzinfo=UTC)
TIME = pl.Datetime("us", "UTC")

RULES = SiteRules(
    name="site", business_id=1, timezone="Europe/London", pricing_model="credits_and_pay_per_print",
    charge_from=START, charge_product_id=9, credit_ids=(7,),
)  # fmt: skip


def _fit(frame: pl.DataFrame, table: str) -> pl.DataFrame:
    return frame.select(pl.col(name).cast(dtype) for name, dtype in tables.columns(table).items())


def _customers() -> pl.DataFrame:
    number = pl.int_range(PEOPLE, eager=True).alias("coworker_id")
    email = pl.format("c{}@example.com", "coworker_id")
    return _fit(
        pl.DataFrame(number).with_columns(
            email=email, email_key=email, full_name=pl.lit("Bench"), kind=pl.lit("individual"), active=True,
            archived=False, member=True, free=False, pay=pl.col("coworker_id") % 2 == 0, business_id=1,
            pin_digest=pl.col("coworker_id").cast(pl.String), access_card_digest=None, key_fob_digest=None, team=None,
            company=None, registered_at=pl.lit(START, TIME), updated_on=pl.lit(START, TIME),
            read_at=pl.lit(NOW, TIME),
        ),
        "nexudus_customers",
    )  # fmt: skip


def _grants() -> pl.DataFrame:
    number = pl.int_range(PEOPLE * 2, eager=True).alias("credit_id")
    first = pl.col("credit_id") < PEOPLE
    return _fit(
        pl.DataFrame(number).with_columns(
            coworker_id=pl.col("credit_id") % PEOPLE, business_id=1, extra_service_id=7, total_uses=500,
            remaining_uses=pl.when(first).then(200).otherwise(300), valid_from=pl.lit(None),
            expires_at=pl.when(first).then(pl.lit(MIDDLE, TIME)), updated_on=pl.lit(START, TIME),
            read_at=pl.lit(NOW, TIME), last_use=pl.lit(None),
        ),
        "nexudus_credits",
    )  # fmt: skip


def _jobs(count: int) -> pl.DataFrame:
    number = pl.int_range(count, eager=True).alias("n")
    return _fit(
        pl.DataFrame(number).with_columns(
            site=pl.lit("site"), job_id=pl.col("n").cast(pl.String), revision=0,
            printed_at=pl.lit(START, TIME) + pl.duration(seconds=pl.col("n") * 2_000_000 // count),
            username=pl.format("c{}@example.com", (pl.col("n") * 7919) % PEOPLE), printer=pl.lit("p1"), pages=2,
            color_pages=0, copies=1, duplex=False, cost=(pl.col("n") % 40).cast(pl.Decimal(18, 6)), allowed=True,
            printed=True, refunded=False, job_type=pl.lit("PRINT"), shared_account=False,
            first_seen_at=pl.lit(NOW, TIME),
        ),
        "print_jobs",
    )  # fmt: skip


class World(NamedTuple):
    """What the rules are given besides the jobs."""

    customers: pl.DataFrame
    grants: pl.DataFrame
    uses: pl.DataFrame
    accounts: pl.DataFrame
    names: pl.DataFrame
    ledger: pl.DataFrame


def world() -> World:
    """People with user names and credits, and an empty ledger."""
    customers, grants = _customers(), _grants()
    uses = pl.DataFrame(schema={"credit_id": pl.Int64, "open_cents": pl.Int64})
    names = customers.select(
        username="email_key", owned_from=pl.lit(START, TIME), coworker_id="coworker_id", email_key="email_key"
    )
    ledger = pl.DataFrame(schema={**tables.columns("print_charges"), "remote_id": pl.Int64})
    return World(customers, grants, uses, print_accounts(customers, grants, uses, RULES, NOW), names, ledger)


def priced(path: Path, given: World) -> pl.DataFrame:
    """The jobs of a file, priced by the rules of printbridge."""
    customers, grants, uses, accounts, names, ledger = given
    return print_charges(
        pl.read_parquet(path), accounts=accounts, customers=customers, names=names, grants=grants, uses=uses,
        ledger=ledger, rules=RULES, now=NOW,
    )  # fmt: skip


def made(count: int, folder: str) -> Path:
    """A file of jobs, written by a process of its own, whose memory is not counted."""
    path = Path(folder) / "jobs.parquet"
    command = [sys.executable, "-m", "benchmarks.pricing", "make", str(count), str(path)]
    subprocess.run(command, check=True)
    return path


def _both(path: Path, given: World, rounds: int) -> dict[str, object]:
    customers, accounts, grants, names = given.customers, given.accounts, given.grants, given.names
    priced(path, given)
    mine, bare = paired(
        lambda: priced(path, given), lambda: bare_pricing(path, names, customers, accounts, grants), rounds
    )
    lines, jobs = priced(path, given), pl.read_parquet(path)
    parts = {
        "reading the jobs": lambda: pl.read_parquet(path),
        "owner of the name at the time": lambda: attributed(jobs, names),
        "references with check characters": lambda: references(lines),
    }
    seconds = {name: statistics.median(timed(part)[0] for _ in range(rounds)) for name, part in parts.items()}
    seconds["allocation, texts and building the lines"] = statistics.median(mine) - sum(seconds.values())
    return {"ours": mine, "bare": bare, "parts": seconds}


def main() -> None:
    """`make COUNT PATH` writes jobs; `ours|both COUNT ROUNDS` prices them."""
    what, count, last = sys.argv[1:]
    if what == "make":
        _jobs(int(count)).write_parquet(last)
        return
    given = world()
    with tempfile.TemporaryDirectory(prefix="printbridge-bench-") as folder:
        path = made(int(count), folder)
        if what == "both":
            found = _both(path, given, int(last))
        else:
            found = {"ours": [timed(lambda: priced(path, given))[0] for _ in range(int(last))]}
    sys.stdout.write(json.dumps({**found, "peak_mb": peak_mb()}))


if __name__ == "__main__":
    main()
