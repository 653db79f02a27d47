"""The ledger on a real file: which moves are legal, what happens twice, what is still open.

What belongs here: `pipeline/store/ledger.py`. What does not: the questions about lines (`test_lines.py`), what a job
costs (`tests/domain/money`), and what Nexudus does with it (`test_reruns.py`).
"""

from __future__ import annotations

import json
from datetime import timedelta
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline.domain.money.references import reference
from pipeline.domain.money.reversals import RETRIED
from pipeline.errors import MissingError, UnsafeError
from pipeline.store import ledger
from pipeline.store.ledger import TRANSITIONS
from pipeline.store.lines import contained_uses, history, lines_of_site, one_line, open_uses
from pipeline.store.warehouse import Warehouse
from tests.frames import grants
from tests.stores import NOW, charge, charges, enter, move, mover, transaction

STATES = [state for state in TRANSITIONS if state]
SALE = reference("london", "1", "sale", 0)
USE = reference("london", "2", "credit", 0)


@pytest.fixture
def store(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "warehouse.duckdb")


def state_of(store: Warehouse, ref: str) -> str:
    with store.connect() as con:
        return one_line(con, ref)["state"]


WAYS = {
    "priced": [], "held": ["held"], "void": ["void"], "confirmed": ["confirmed"], "sending": ["sending"],
    "unknown": ["sending", "unknown"], "invoiced": ["confirmed", "invoiced"],
}  # fmt: skip
"""How a line comes to each state."""


@pytest.mark.parametrize(("source", "target"), list(product(STATES, STATES)))
def test_a_line_moves_only_where_the_table_lets_it(store: Warehouse, source: str, target: str) -> None:
    with transaction(store) as con:
        ledger.enter(con, charges(charge()), mover())
        one = ledger.moves_of([(SALE, None, "")])
        for step in WAYS[source]:
            ledger.move(con, one, step, mover())
        if target in TRANSITIONS[source]:
            ledger.move(con, one, target, mover())
            assert one_line(con, SALE)["state"] == target
        else:
            with pytest.raises(UnsafeError, match=f"may not become {target}.*which is {source}"):
                ledger.move(con, one, target, mover())
            assert one_line(con, SALE)["state"] == source, "a refused move may leave no trace"


def test_a_line_that_is_not_in_the_ledger_cannot_move(store: Warehouse) -> None:
    with pytest.raises(UnsafeError, match="may not become sending"):
        move(store, SALE, "sending")


def test_one_illegal_move_stops_all_of_them(store: Warehouse) -> None:
    other = charge("3")
    enter(store, charge(), other)
    move(store, SALE, "void")
    with pytest.raises(UnsafeError), transaction(store) as con:
        ledger.move(con, ledger.moves_of([(SALE, None, ""), (other["ref"], None, "")]), "sending", mover())
    assert state_of(store, other["ref"]) == "priced", "either every line moves or none"


def test_entering_twice_is_entering_once(store: Warehouse) -> None:
    assert enter(store, charge(), charge("3", state="held")) == 2
    move(store, SALE, "sending")
    assert enter(store, charge(), charge("3", state="held")) == 0, "known lines must be left alone"
    assert state_of(store, SALE) == "sending", "a line that is on its way may not start again"
    with store.connect() as con:
        assert history(con, SALE)["state"].to_list() == ["priced", "sending"]


@pytest.mark.parametrize("change", [{"amount_cents": 31}, {"coworker_id": 102}, {"coworker_id": None}])
def test_a_line_decided_differently_stops_everything(store: Warehouse, change: dict[str, Any]) -> None:
    enter(store, charge())
    with pytest.raises(UnsafeError, match=f"decided again with another amount or customer, first {SALE}"):
        enter(store, charge(**change), charge("3"))
    with store.connect() as con:
        assert lines_of_site(con, "london").height == 1, "with a clash nothing may be entered"


def test_a_held_line_shows_its_reason_and_who_moved_it(store: Warehouse) -> None:
    enter(store, charge(state="held"))
    with store.connect() as con:
        line = one_line(con, SALE)
        events = history(con, SALE)
    assert (line["state"], line["reason"]) == ("held", "because")
    assert events.select("run_id", "actor", "happened_at").row(0) == ("run", "test", NOW)


def test_a_line_that_is_not_there_is_named(store: Warehouse) -> None:
    with store.connect() as con, pytest.raises(MissingError, match=SALE):
        one_line(con, SALE)


def test_the_remote_id_stays_whatever_happens_later(store: Warehouse) -> None:
    enter(store, charge())
    move(store, SALE, "sending")
    move(store, SALE, "confirmed", remote_id=900)
    move(store, SALE, "invoiced")
    with store.connect() as con:
        assert one_line(con, SALE)["remote_id"] == 900


def test_events_are_numbered_without_a_gap(store: Warehouse) -> None:
    enter(store, charge())
    for step in WAYS["invoiced"]:
        move(store, SALE, step)
    with store.connect() as con:
        numbers = history(con, SALE)["n"].to_list()
    assert numbers[0] == 0, "what has no event but its first was never touched"
    assert all(later == earlier + 1 for earlier, later in pairwise(numbers)), f"events were lost: {numbers}"


def test_what_an_ended_run_left_on_its_way_is_unknown(store: Warehouse) -> None:
    other = charge("3", site="leeds", ref=reference("leeds", "3", "sale", 0))
    enter(store, charge(), charge("4"), other)
    move(store, SALE, "sending")
    move(store, other["ref"], "sending")
    with transaction(store) as con:
        assert ledger.orphans(con, "london", mover()) == 1
        assert ledger.orphans(con, "london", mover()) == 0, "an orphan is found once"
    assert state_of(store, SALE) == "unknown"
    assert state_of(store, charge("4")["ref"]) == "priced", "what was never sent is not in doubt"
    assert state_of(store, other["ref"]) == "sending", "another site's run may be alive"


def test_a_reversal_of_what_never_left_needs_no_call(store: Warehouse) -> None:
    undo = charge(kind="undo_sale", undoes=SALE)
    enter(store, charge(), undo)
    with transaction(store) as con:
        assert ledger.cancel_unsent(con, "london", mover()) == 1
    assert (state_of(store, SALE), state_of(store, undo["ref"])) == ("void", "confirmed")


def test_a_reversal_of_what_was_sent_is_not_cancelled(store: Warehouse) -> None:
    enter(store, charge())
    move(store, SALE, "sending")
    enter(store, charge(kind="undo_sale", undoes=SALE))
    with transaction(store) as con:
        assert ledger.cancel_unsent(con, "london", mover()) == 0, "it may be in Nexudus: it must be looked up first"


def test_what_is_taken_back_before_it_was_sent_is_void_and_nothing_is_left_to_do(store: Warehouse) -> None:
    """A sale that waits or is held, and a job that was waived: each has its reversal, and none is ever sent."""
    held, waived = charge("3", state="held"), charge("4", "waive", "confirmed")
    enter(store, charge(), held, waived, charge("5"))
    with transaction(store) as con:
        lines = lines_of_site(con, "london").filter(pl.col("job_id") != "5")
        ledger.take_back(con, lines, RETRIED, mover(5, "anna"), "a person lets it be decided again")
    with store.connect() as con:
        found = {line["ref"]: line for line in lines_of_site(con, "london").iter_rows(named=True)}
        told = history(con, SALE).row(-1, named=True)
    back = {job: reference("london", job, f"undo_{kind}", 0) for job, kind in (("1", "sale"), ("3", "sale"))}
    assert {found[ref]["state"] for ref in (SALE, held["ref"])} == {"void"}
    assert {found[ref]["state"] for ref in back.values()} == {"confirmed"}
    reversal = found[back["1"]]
    assert (reversal["undoes"], reversal["rule"], reversal["amount_cents"]) == (SALE, RETRIED, 30)
    assert (told["detail"], told["actor"]) == ("a person lets it be decided again", "anna")
    undone = found[reference("london", "4", "undo_waive", 0)]
    assert (undone["state"], undone["undoes"]) == ("confirmed", waived["ref"])
    assert found[waived["ref"]]["state"] == "confirmed", "it was waived at the time, and stays so in the books"
    assert found[reference("london", "5", "sale", 0)]["state"] == "priced", "others are left alone"


def test_a_line_that_was_surely_not_done_is_cancelled_and_one_that_was_refused_is_not(
    store: Warehouse,
) -> None:
    """What Nexudus refused after it was sent, a person decides; what never came about needs nobody."""
    refused, never = charge("3"), charge("4")
    enter(store, refused, never)
    for line, state in ((refused, "held"), (never, "priced")):
        move(store, line["ref"], "sending")
        move(store, line["ref"], state)
    enter(store, *(charge(line["job_id"], "undo_sale", undoes=line["ref"]) for line in (refused, never)))
    with transaction(store) as con:
        assert ledger.cancel_unsent(con, "london", mover()) == 1
    assert (state_of(store, refused["ref"]), state_of(store, never["ref"])) == ("held", "void")


# Credit use that an extract does not contain yet ---------------------------------------------------------------------


def answer(updated: float, mode: str = "nexudus") -> str:
    return json.dumps({"mode": mode, "updated_on": (NOW + timedelta(minutes=updated)).isoformat()})


def extract(updated: float, read: float) -> pl.DataFrame:
    """The credit of 45 as a list showed it, changed and read at minutes after NOW."""
    moment = pl.Datetime("us", "UTC")
    return grants("credit_id\n401").with_columns(
        updated_on=pl.lit(NOW + timedelta(minutes=updated), moment),
        read_at=pl.lit(NOW + timedelta(minutes=read), moment),
    )


def open_cents(store: Warehouse, updated: float = 0, read: float = 0) -> int:
    with store.connect() as con:
        found = open_uses(con, extract(updated, read))
    assert found["open_cents"].null_count() == 0, "a credit without an open use is left out"
    return found["open_cents"].sum()


def contained(store: Warehouse, updated: float = 0, read: float = 0) -> tuple[int, bool]:
    """What of its use the extract of credit 401 contains, and whether that is sure."""
    with store.connect() as con:
        (row,) = contained_uses(con, extract(updated, read)).rows()
    assert row[0] == 401
    return row[1:]


def used(store: Warehouse, state: str, detail: str = "") -> None:
    enter(store, charge("2", "credit"))
    for step in ["sending", "confirmed"] if state == "confirmed" else WAYS[state]:
        move(store, USE, step, detail, at=10)


@pytest.mark.parametrize(
    ("state", "open_", "sure"),
    [
        ("priced", 30, True),
        ("sending", 30, False),
        ("unknown", 30, False),
        ("held", 0, False),
        ("void", 0, True),
    ],
)
def test_use_is_open_until_nexudus_has_it_and_never_when_held_or_void(
    store: Warehouse, state: str, open_: int, sure: bool
) -> None:
    used(store, state)
    assert open_cents(store, updated=20, read=20) == open_
    assert contained(store, updated=20, read=20) == (0, sure)


@pytest.mark.parametrize(
    ("updated", "read", "open_", "why"),
    [
        (0, 0, 30, "the extract is older than the use"),
        (0, 20, 30, "the list was read later, but still shows the row from before: it lags"),
        (9, 5, 30, "the row was changed at that moment, but our read began before the use was confirmed"),
        (9, 20, 0, "the row was changed by the use and read after it"),
        (15, 20, 0, "the row was changed again after the use"),
    ],
)
def test_a_confirmed_use_is_contained_once_the_row_and_the_read_are_newer(
    store: Warehouse, updated: float, read: float, open_: int, why: str
) -> None:
    used(store, "confirmed", answer(9))
    assert open_cents(store, updated, read) == open_, why
    written_while_read = updated >= 9 and read < 10
    assert contained(store, updated, read) == (30 - open_, not written_while_read), why


def test_a_use_that_a_person_confirmed_in_words_is_contained_in_every_list_since(store: Warehouse) -> None:
    used(store, "confirmed", "seen in Nexudus")
    enter(store, charge("3", "credit", credit_id=402), charge("4"))
    assert (open_cents(store, read=20), contained(store, read=20)) == (30, (30, True)), "402 is open, another credit"
    assert (open_cents(store, read=9), contained(store, read=9)) == (60, (0, True))


def test_one_use_under_way_makes_all_that_a_list_contains_unsure(store: Warehouse) -> None:
    used(store, "confirmed", answer(9))
    other = charge("3", "credit", amount_cents=5)
    enter(store, other)
    assert contained(store, updated=9, read=20) == (30, True)
    move(store, other["ref"], "sending", at=11)
    assert contained(store, updated=9, read=20) == (30, False)


def test_a_use_that_nexudus_ignored_stays_open_for_good(store: Warehouse) -> None:
    used(store, "confirmed", answer(0, mode="ledger"))
    assert open_cents(store, updated=1000, read=1000) == 30
    assert contained(store, updated=1000, read=1000) == (0, True)


def test_a_use_given_back_opens_nothing_until_it_is_confirmed(store: Warehouse) -> None:
    used(store, "confirmed", answer(9))
    back = charge("2", "undo_credit", undoes=USE)
    enter(store, back)
    assert open_cents(store, updated=9, read=20) == 0, "before Nexudus has it, nothing is given back"
    move(store, back["ref"], "sending", at=30)
    move(store, back["ref"], "confirmed", answer(29), at=30)
    assert open_cents(store, updated=9, read=20) == -30, "the extract does not show yet what was given back"
    assert open_cents(store, updated=29, read=40) == 0
    assert contained(store, updated=9, read=20) == (30, True), "the use alone is in it"
    assert contained(store, updated=29, read=40) == (0, True), "both are in it"
