"""What replaces a charge waits for the charge to go; what a person keeps is paid."""

from __future__ import annotations

import polars as pl
import pytest

from pipeline.domain.money.reversals import RETRIED, TAKEN_BACK, carried_out, reopened, replacing, taken_back, waiting
from tests.frames import World, customers, jobs, ledger, short, shuffled

PAYER = customers("coworker_id pay\n1 y")


def changed(cost: int, *, revision: int = 1, before: World | None = None, **states: str) -> World:
    """A world whose job cost 60, was sold, and costs something else now."""
    if before is None:
        sold = World(PAYER, jobs("job_id cost\n1 60"))
        before = sold.enter(sold.charge(), sale="confirmed")
    after = before.but(jobs=jobs(f"job_id revision cost\n1 {revision} {cost}"))
    return after.enter(after.charge(), **states)


def rows(frame: pl.DataFrame) -> list[tuple[object, ...]]:
    """Kind and sequence of each reference."""
    short_of = [
        pl.concat_str(pl.col(name).str.slice(6, 1), pl.col(name).str.slice(18, 1)).alias(name) for name in frame.columns
    ]
    return sorted(frame.select(short_of).rows())


def test_a_new_line_waits_for_every_reversal_of_its_job_that_is_neither_done_nor_refused() -> None:
    once = changed(40)
    assert rows(waiting(once.ledger)) == [("S1", "R0")]
    twice = changed(30, revision=2, before=once)
    assert rows(waiting(twice.ledger)) == [("S1", "R0"), ("S2", "R0"), ("S2", "R1")]


@pytest.mark.parametrize("state", ["confirmed", "void"])
def test_a_settled_reversal_is_waited_for_no_longer(state: str) -> None:
    assert waiting(changed(40, undo_sale=state).ledger).is_empty()


@pytest.mark.parametrize(
    ("state", "there"),
    [
        ("priced", ["S0"]), ("sending", ["S0"]), ("unknown", ["S0"]), ("held", ["S0"]),
        ("confirmed", ["R0", "S0", "S1"]), ("void", ["R0", "S0", "S1"]),
    ],
)  # fmt: skip
def test_nexudus_has_a_charge_until_its_reversal_is_done_and_what_replaces_it_only_then(
    state: str, there: list[str]
) -> None:
    ledger_ = changed(40, undo_sale=state).ledger
    found = carried_out(ledger_)
    assert found.columns == ledger_.columns
    assert [short_ for (short_,) in rows(found.select("ref"))] == there


def test_a_line_never_waits_for_its_own_reversal_nor_for_that_of_a_later_change() -> None:
    unsent = World(PAYER, jobs("job_id cost\n1 60"))
    unsent = unsent.enter(unsent.charge()).but(jobs=jobs("job_id revision refunded\n1 1 y"))
    assert waiting(unsent.enter(unsent.charge()).ledger).is_empty()


def test_what_stands_in_the_place_of_a_charge_is_what_was_decided_since_and_is_not_gone_itself() -> None:
    def found(ledger_: pl.DataFrame, reversal: str, **states: str) -> list[tuple[object, ...]]:
        ref = pl.concat_str(pl.col("ref").str.slice(6, 1), pl.col("ref").str.slice(18, 1))
        stands = ledger_.with_columns(state=ref.replace_strict(states, default=pl.col("state")))
        other = ledger_.with_columns(pl.col("ref", "undoes") + "?", job_id=pl.lit("2"))
        of_job = pl.concat([stands, other])
        return rows(replacing(of_job, ledger_.filter(ref == reversal)["ref"][0]).select("ref"))

    twice = changed(30, revision=2, before=changed(40)).ledger
    assert rows(twice.select("ref")) == [("R0",), ("R1",), ("S0",), ("S1",), ("S2",)]
    assert found(twice, "R0") == found(twice, "R1") == [("S2",)], "S1 was reversed itself"
    assert found(twice, "R0", R1="void") == [("S1",), ("S2",)], "its reversal was refused, so it stands"
    assert found(twice, "R1", S2="void") == []


def test_what_a_person_keeps_is_paid_and_only_what_lacks_is_decided() -> None:
    for cost, lacks in ((40, []), (60, []), (90, [("1", "sale", 2, 30, "priced", "money")])):
        world = changed(cost)
        reversal = world.ledger.filter(pl.col("kind") == "undo_sale")["ref"]
        if not reversal.len():
            continue
        back = taken_back(replacing(world.ledger, reversal[0]), TAKEN_BACK)
        kept = world.ledger.with_columns(state=pl.when(pl.col("ref") == reversal[0]).then(pl.lit("void"))
                                         .when(pl.col("ref").is_in(back["undoes"].implode())).then(pl.lit("void"))
                                         .otherwise("state"))  # fmt: skip
        world = world.but(ledger=pl.concat([kept, ledger(back, undo_sale="confirmed")]))
        assert short(world.charge()) == lacks, f"cost {cost}"
        world = world.enter(world.charge())
        assert world.charge().is_empty(), "and decided once"
        printer = world.but(jobs=jobs(f"job_id revision cost printer\n1 5 {cost} attic"))
        assert printer.charge().is_empty(), "what it costs has not changed"
        dearer = world.but(jobs=jobs("job_id revision cost\n1 5 100"))
        before = [("1", "undo_sale", 2, 30, "priced", "job_changed")] if lacks else []
        assert short(dearer.charge()) == [("1", "sale", 3 if lacks else 2, 40, "priced", "money"), *before]


def test_what_is_decided_again_is_the_newest_line_that_was_taken_back() -> None:
    """Two lines of a job were retried, then one stays: amounts, owner and rules are those of the last, in any order."""
    lines = [
        ("A", 1, 0, "sale", None, "twin", 60, 1, "a@x"), ("a", 2, 0, "undo_sale", "A", RETRIED, 60, 1, "a@x"),
        ("B", 2, 1, "sale", None, "overdrawn", 40, 2, "b@x"), ("b", 3, 1, "undo_sale", "B", RETRIED, 40, 2, "b@x"),
        ("C", 2, 0, "credit", None, "credits", 9, 3, "c@x"), ("D", 1, 2, "sale", None, "money", 7, 4, "d@x"),
        ("d", 4, 2, "undo_sale", "D", TAKEN_BACK, 7, 4, "d@x"),
    ]  # fmt: skip
    names = ["ref", "revision", "seq", "kind", "undoes", "rule", "amount_cents", "coworker_id", "email_key"]
    frame = pl.DataFrame(lines, schema=names, orient="row").with_columns(job_id=pl.lit("1"))
    for seed in range(5):
        assert reopened(shuffled(frame, seed)).to_dicts() == [
            {"job_id": "1", "reopened_coworker_id": 2, "reopened_email_key": "b@x", "reopened_at": 2,
             "asked": ["overdrawn"], "asked_amount": 40}
        ]  # fmt: skip
