"""Attribution: which jobs count, whose they are, and which nothing has paid yet."""

from __future__ import annotations

from decimal import Decimal

import polars as pl
import pytest

from pipeline.domain.money.attribution import attributed, counts, unattributed, unsettled
from tests.frames import World, customers, jobs, ledger, mapping, moment, names_of, rules, shuffled

PAYER = customers("coworker_id pay\n1 y")


@pytest.mark.parametrize(
    ("row", "chargeable"),
    [
        ("y y n PRINT", True),
        ("n y n PRINT", False),
        ("y n n PRINT", False),
        ("y y y PRINT", False),
        ("y n n COPY", True),
        ("y n y COPY", False),
        ("n n n SCAN", False),
    ],
)
def test_which_rows_count(row: str, chargeable: bool) -> None:
    row_of = jobs(f"job_id allowed printed refunded job_type\n1 {row}")
    assert row_of.select(counts()).to_series().item() is chargeable
    assert World(PAYER, row_of).charge().height == chargeable


def test_a_job_belongs_to_who_had_the_name_when_it_was_printed() -> None:
    owners = mapping("username owned_from coworker_id\nann 02-01T00:00 1\nann 03-01T00:00 2\nbob 02-01T00:00 3")
    printed = jobs(
        """
        job_id username printed_at
        1      ann      01-15T00:00
        2      ann      02-01T00:00
        3      ann      02-28T23:59
        4      ann      03-01T00:00
        5      bob      01-01T00:00
        6      guest    03-01T00:00
        """
    )
    for seed in range(3):
        made = attributed(shuffled(printed, seed), shuffled(owners, seed)).sort("job_id")
        assert made.select("job_id", "coworker_id").rows() == [("1", 1), ("2", 1), ("3", 1), ("4", 2), ("5", 3)]
        assert made.columns == [*printed.columns, "coworker_id", "email_key"]


def test_jobs_of_strangers_and_of_shared_accounts_are_reported_not_charged() -> None:
    printed = jobs(
        """
        job_id username       shared_account refunded printed_at
        1      guest          n              n        11-20T09:00
        2      c1@example.com y              n        11-20T09:00
        3      c1@example.com n              n        11-20T09:00
        4      guest          n              y        11-20T09:00
        5      guest          n              n        11-19T09:00
        """
    )
    site = rules(charge_from=moment("11-20T00:00"))
    made = unattributed(printed, names_of(PAYER), site)
    assert made.select("job_id", "why").rows() == [("1", "never ours"), ("2", "shared account")]
    assert World(PAYER, printed, rules=site).charge()["job_id"].to_list() == ["3"]


def test_unsettled_is_the_cost_of_jobs_that_nothing_has_paid() -> None:
    printed = jobs(
        """
        job_id username       cost refunded printed_at
        1      c1@example.com 50   n        11-20T09:00
        2      c1@example.com 7.25 n        11-20T11:59
        3      c1@example.com 9    y        11-20T09:00
        4      c2@example.com -    n        11-20T09:00
        5      guest          80   n        11-20T09:00
        6      c3@example.com 60   n        11-20T09:00
        7      c3@example.com 5    n        11-20T09:00
        8      c1@example.com 3    n        11-19T09:00
        """
    )
    people = customers("coworker_id pay\n1 y\n2 y\n3 n")
    full = World(people, printed, rules=rules(charge_from=moment("11-20T00:00")))
    owners = names_of(people)

    def owed(book: pl.DataFrame) -> dict[str, Decimal]:
        made = unsettled(printed, owners, book, full.rules)
        assert made.schema["unsettled"] == pl.Decimal(18, 6)
        return dict(made.rows())

    one, two, three = (f"c{n}@example.com" for n in (1, 2, 3))
    assert owed(ledger()) == {one: Decimal("57.25"), two: Decimal(0), three: Decimal(65)}
    lines = full.charge()
    assert owed(ledger(lines)) == {one: Decimal("7.25"), two: Decimal(0), three: Decimal(65)}, "held is not settled"
    assert owed(ledger(lines, sale="void")) == {one: Decimal("7.25")}, "what a person voided is owed no more"
