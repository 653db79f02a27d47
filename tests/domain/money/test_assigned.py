"""Jobs that a person gave to a customer, or waived: that goes before whoever had the user name."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from pipeline.domain.money.attribution import unattributed
from pipeline.domain.money.charges import print_charges
from pipeline.domain.people.accounts import print_accounts
from tests.frames import NOW, World, customers, grants, jobs, rules

GIVEN = {"job_id": pl.String, "coworker_id": pl.Int64, "email_key": pl.String}


def lines(world_: World, assigned: pl.DataFrame) -> list[tuple[str, int, str]]:
    accounts = print_accounts(world_.customers, world_.grants, world_.uses, world_.rules, NOW)
    names = world_.names
    assert names is not None
    made = print_charges(
        world_.jobs, accounts=accounts, customers=world_.customers, names=names, grants=world_.grants,
        uses=world_.uses, ledger=world_.ledger, rules=world_.rules, now=NOW, assigned=assigned,
    )  # fmt: skip
    return made.select("job_id", "coworker_id", "rule").rows()


def test_what_a_person_decided_goes_before_a_name_that_became_ours_later() -> None:
    people = customers("coworker_id pay\n1 y\n2 y")
    owners = pl.DataFrame(
        {"username": ["c1@example.com"], "owned_from": [NOW], "coworker_id": [1], "email_key": ["c1@example.com"]},
        schema_overrides={"owned_from": pl.Datetime("us", "UTC")},
    )
    printed_before = World(
        people, jobs("job_id\n7\n8\n9"), grants=grants("credit_id remaining_uses\n1 0"), names=owners,
        rules=rules("pay_per_print"),
    )  # fmt: skip
    decided = pl.DataFrame([("7", 2, "c2@example.com"), ("8", None, None)], schema=GIVEN, orient="row")
    assert sorted(lines(printed_before, decided)) == [("7", 2, "money"), ("9", 1, "money")]
    assert sorted(lines(printed_before, decided.clear())) == [("7", 1, "money"), ("8", 1, "money"), ("9", 1, "money")]
    nobody = owners.clear()
    left = unattributed(printed_before.jobs, nobody, printed_before.rules, assigned=decided)
    assert left["job_id"].to_list() == ["9"]


def test_a_shared_account_is_nobodys_whatever_is_assigned() -> None:
    people = customers("coworker_id pay\n2 y")
    shared = World(people, jobs("job_id shared_account\n7 y"), rules=rules("pay_per_print"))
    shared = replace(shared, names=pl.DataFrame(schema={"username": pl.String, "owned_from": pl.Datetime("us", "UTC"),
                                                        "coworker_id": pl.Int64, "email_key": pl.String}))  # fmt: skip
    assert lines(shared, pl.DataFrame([("7", 2, "c2@example.com")], schema=GIVEN, orient="row")) == []
