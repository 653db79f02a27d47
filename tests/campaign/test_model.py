"""The exhaustive model: as meant it never charges twice or loses a job, and each way to spoil it is noticed."""

from __future__ import annotations

from decimal import Decimal

import pytest

from pipeline.domain.money.references import reference
from pipeline.services.nexudus.records import cents
from pipeline.store.ledger import TRANSITIONS
from tests.campaign.model import ANSWERS, VARIANTS, Variant, Walk
from tests.campaign.mutants import MUTANTS, fits


def test_no_order_of_three_faults_and_three_kills_charges_twice_or_loses_a_job() -> None:
    verdict = Walk(Variant()).verdict(3, 3)
    assert verdict.scenarios >= 1_000_000
    assert (verdict.double, verdict.lost) == (0, 0)


def test_an_older_ledger_in_place_of_the_present_one_charges_nothing_twice() -> None:
    verdict = Walk(Variant(restore=True)).verdict(2, 2)
    assert (verdict.double, verdict.lost) == (0, 0)


@pytest.mark.parametrize("name", VARIANTS)
def test_the_model_notices_a_program_that_is_wrong(name: str) -> None:
    verdict = Walk(VARIANTS[name]).verdict(1, 1)
    assert verdict.double + verdict.lost > 0, f"the model no longer tells {name!r} from a program that is right"


def test_a_refused_write_is_held_and_not_lost() -> None:
    assert Walk(Variant()).verdict(1, 0).held > 0
    assert Walk(Variant(answers={**ANSWERS, "refused": "confirmed"})).verdict(1, 0).lost > 0


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("priced", "sending"),
        ("sending", "unknown"),
        ("unknown", "priced"),
        ("unknown", "confirmed"),
        ("sending", "priced"),
    ],
)
def test_a_move_that_the_table_forbids_ends_the_walk(source: str, target: str) -> None:
    table = {
        state: {to: why for to, why in moves.items() if (state, to) != (source, target)}
        for state, moves in TRANSITIONS.items()
    }
    with pytest.raises(AssertionError, match=f"from {source} to {target}"):
        Walk(Variant(), table).verdict(1, 1)


def test_a_reference_is_the_same_for_ever() -> None:
    assert reference("london", "12345", "sale", 0) == "PB-O6DS000000123450W"


def test_money_is_exact_to_the_cent() -> None:
    assert [cents(Decimal(number) / 100) for number in range(3000)] == list(range(3000))


@pytest.mark.parametrize("name", MUTANTS)
def test_every_seeded_bug_still_has_its_place_in_the_source(name: str) -> None:
    assert fits(MUTANTS[name]), f"the source of {name!r} changed: mend its entry in tests/campaign/mutants.py"
