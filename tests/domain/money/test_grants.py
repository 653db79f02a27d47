"""Whether what is left of a credit follows from what was left before and our uses: named cases and whole histories."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.domain import tables
from pipeline.domain.money.grants import OBSERVED, findings, judged, regranted
from tests.frames import rules, table

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
HEADER = "credit_id total_uses remaining_uses used_cents unexplained_cents valid_from expires_at\n"


def observed(row: str = "") -> pl.DataFrame:
    """Credit 1 of customer 9, by default 100 of which 60 are left, after 40 of ours."""
    return table(
        OBSERVED, HEADER + row if row else "credit_id",
        credit_id=1, coworker_id=9, total_uses=100, remaining_uses=60, used_cents=40, unexplained_cents=0,
    )  # fmt: skip


def off(seen: str, before: str = "1 100 60 40 0 - -") -> int:
    """What of a credit cannot be explained, as it is seen after it was as `before`."""
    return judged(observed(seen).drop("unexplained_cents"), observed(before), NOW)["unexplained_cents"].item()


@pytest.mark.parametrize(
    ("seen", "cents"),
    [
        ("1 100 60 40 0 - -", 0),
        ("1 100 35 65 0 - -", 0),  # used by us
        ("1 100 75 25 0 - -", 0),  # given back by us
        ("1 100 100 40 0 - -", 40),  # put back: the total has not changed
        ("1 100 80 40 0 - -", 20),
        ("1 100 75 65 0 - -", 40),  # put back and used by us meanwhile
        ("1 100 10 40 0 - -", -50),  # taken away
        ("1 150 110 40 0 - -", 0),  # topped up
        ("1 150 90 60 0 - -", 0),  # topped up and used by us
        ("1 150 130 40 0 - -", 20),  # more than the top-up
        ("1 80 40 40 0 - -", 0),  # the grant was made smaller
        ("1 150 150 40 0 - -", 0),  # a new total, and full
        ("1 80 80 40 0 - -", 40),  # a smaller total is no reason for more
        ("1 100 100 40 0 - 12-31T00:00", 0),  # renewed: other dates, and full
        ("1 100 90 50 0 11-19T00:00 12-31T00:00", 0),  # renewed and used since
        ("1 100 99 40 0 - 12-31T00:00", 39),  # renewed, but not as full as what was used leaves it
        ("1 100 60 40 0 - 12-31T00:00", 0),  # only the dates
        ("1 100 80 40 0 - 12-31T00:00", 20),  # other dates, and neither full nor as before
        ("1 100 0 40 0 - 11-01T00:00", 0),  # expired: nobody can use it
    ],
)
def test_what_may_change_and_what_may_not(seen: str, cents: int) -> None:
    assert off(seen) == cents


def test_a_credit_is_taken_as_it_is_first_seen() -> None:
    seen = judged(observed("1 100 30 0 0 - -").drop("unexplained_cents"), observed(), NOW)
    assert seen.select("unexplained_cents", "right").row(0) == (0, 30)


def test_a_difference_stands_until_it_is_put_right() -> None:
    assert off("1 100 100 40 0 - -", "1 100 100 40 40 - -") == 40
    assert off("1 100 70 70 0 - -", "1 100 100 40 40 - -") == 40, "our uses go on meanwhile"
    assert off("1 100 60 40 0 - -", "1 100 100 40 40 - -") == 0
    assert off("1 100 30 70 0 - -", "1 100 100 40 40 - -") == 0


def test_what_cannot_wait_is_new_granted_anew_or_does_not_agree() -> None:
    before = pl.concat([observed("1 100 60 40 0 - -"), observed("2 100 60 40 0 - -"), observed("3 100 60 40 5 - -")])
    seen = pl.concat(
        [observed("1 100 9 40 0 - -"), observed("2 101 61 40 0 - -"), observed("3 100 60 40 0 - -"),
         observed("4 100 60 40 0 - -")]
    )  # fmt: skip
    assert regranted(seen, before)["credit_id"].to_list() == [2, 3, 4]


def test_a_finding_has_the_numbers_and_both_ways_out() -> None:
    wrong = observed("1 100 100 40 40 - -")
    (row,) = tables.checked("reconciliation", findings(wrong, rules(), date(2026, 11, 20))).to_dicts()
    assert (row["job_id"], row["unexplained_cents"]) == ("credit 1", 40)
    assert {cents for name, cents in row.items() if name.endswith("_cents") and name != "unexplained_cents"} == {0}
    assert row["finding"] == (
        "Credit 1 of customer 9: 100 are left in Nexudus, by its total and our uses it should be 60; 40 more: they were"
        " put back there without a line of ours. A slip: set what is left to 60. On purpose: `printbridge held accept"
        " 1`."
    )
    taken = findings(observed("1 100 20 40 -40 - -"), rules(), date(2026, 11, 20)).row(0, named=True)
    assert (taken["unexplained_cents"], "it should be 60; 40 less: they were taken there" in taken["finding"]) == (
        40,
        True,
    )


# --- whole histories --------------------------------------------------------------------------------------------------


@dataclass
class Credit:
    """A credit as Nexudus has it, and beside it what our ledger has of it and what people did in silence."""

    total: int
    left: int
    used: int = 0
    silent: int = 0
    expires: datetime = NOW + timedelta(days=30)

    def use(self, cents: int) -> None:
        cents = min(cents, self.left)
        self.left -= cents
        self.used += cents

    def give_back(self, cents: int) -> None:
        cents = min(cents, self.used)
        self.left += cents
        self.used -= cents

    def top_up(self, cents: int) -> None:
        self.left += cents
        self.total += cents

    def renew(self, days: int) -> None:
        """Full again for another time; what somebody put back or took before is gone with it."""
        self.left, self.silent = self.total, 0
        self.expires += timedelta(days=days)

    def by_hand(self, cents: int) -> None:
        cents = max(cents, -self.left)
        self.left += cents
        self.silent += cents

    def look(self, before: pl.DataFrame) -> pl.DataFrame:
        """The next observation, as a run or a reconciliation makes it."""
        seen = pl.DataFrame(
            [(1, 9, self.total, self.left, self.used, None, self.expires)],
            schema={name: dtype for name, dtype in OBSERVED.items() if name != "unexplained_cents"}, orient="row",
        )  # fmt: skip
        return judged(seen, before, NOW).select(OBSERVED.names())


STEPS = st.one_of(
    st.tuples(st.sampled_from(["use", "give_back", "top_up"]), st.integers(1, 200)),
    st.tuples(st.just("by_hand"), st.integers(-200, 200).filter(bool)),
    st.tuples(st.just("renew"), st.integers(1, 40)),
    st.tuples(st.just("look"), st.just(0)),
)


@given(st.integers(1, 1_000), st.lists(STEPS, max_size=25))
@settings(max_examples=500)
def test_in_any_history_exactly_what_was_done_in_silence_is_found(total: int, steps: list[tuple[str, int]]) -> None:
    """Whatever else happens, and however often anybody looks; a new grant is looked at by the run that reads it."""
    credit = Credit(total, total)
    seen = credit.look(observed().clear())
    for what, number in steps:
        if what != "look":
            getattr(credit, what)(number)
        if what in {"look", "top_up", "renew"}:
            seen = credit.look(seen)
            assert seen["unexplained_cents"].item() == credit.silent, f"after {what}"
    assert credit.look(seen)["unexplained_cents"].item() == credit.silent
    credit.by_hand(-credit.silent)
    assert credit.look(seen)["unexplained_cents"].item() == credit.silent, "and what is put right is right again"


@given(st.integers(1, 1_000), st.lists(STEPS.filter(lambda step: step[0] != "by_hand"), max_size=25))
@settings(max_examples=500)
def test_without_any_hand_nothing_is_ever_found(total: int, steps: list[tuple[str, int]]) -> None:
    credit = Credit(total, total)
    seen = credit.look(observed().clear())
    for what, number in steps:
        if what != "look":
            getattr(credit, what)(number)
        if what in {"look", "top_up", "renew"}:
            seen = credit.look(seen)
            assert seen["unexplained_cents"].item() == 0
