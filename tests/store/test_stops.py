"""Stops on a real file: what holds, what a person lets go of, for how long and for which plan.

What belongs here: `pipeline/store/stops.py`. What does not: what closes a gate (`tests/domain/people/test_plan.py`),
and the command (`tests/cli`).
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.domain.people.plan import Part
from pipeline.errors import UnsafeError
from pipeline.store import stops
from pipeline.store.stops import Gate
from pipeline.store.warehouse import Warehouse
from tests.stores import NOW, transaction

PLAN, OTHER = Part("digest", 3), Part("another", 4)
DAY = timedelta(days=1)
MOMENT = timedelta(microseconds=1)
CLOSED, OPEN = "3 removals in this run", ""


@pytest.fixture
def store(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "warehouse.duckdb")


def note(
    store: Warehouse, state: str, reason: str = "because", phase: str = "remove", *, part: Part | None = None
) -> None:
    with transaction(store) as con:
        stops.record(con, "london", phase, state=state, reason=reason, at=NOW, part=part)


def passed(store: Warehouse, part: Part = PLAN, why: str = CLOSED, *, after: timedelta = DAY) -> str:
    """What a run some time after NOW is told that is about to remove."""
    with transaction(store) as con:
        return stops.passed(con, "london", "remove", Gate(part, why), by="plan 7", at=NOW + after)


def spent(store: Warehouse, after: timedelta) -> None:
    with transaction(store) as con:
        stops.spend(con, "london", "charges", by="run 7", at=NOW + after)


def state(store: Warehouse, phase: str = "remove", site: str = "london") -> tuple[str, str]:
    with store.connect() as con:
        return stops.states(con, site)[phase]


def events(store: Warehouse) -> list[tuple[object, ...]]:
    with store.connect() as con:
        return con.execute("SELECT phase, n, state, plan, size FROM stop_event ORDER BY ALL").fetchall()


def test_a_stop_holds_until_it_is_resumed(store: Warehouse) -> None:
    note(store, "stopped", "a difference of 5 cents", "charges")
    with store.connect() as con:
        with pytest.raises(UnsafeError, match=r"a difference of 5 cents.*printbridge resume london"):
            stops.refuse_if_stopped(con, "london", "charges")
        stops.refuse_if_stopped(con, "leeds", "charges")
        stops.refuse_if_stopped(con, "london", "remove")
        assert stops.stopped(con, "london") == {"charges": "a difference of 5 cents"}
        assert stops.stopped(con, "leeds") == {}
    note(store, "resumed", "by a person", "charges")
    with store.connect() as con:
        stops.refuse_if_stopped(con, "london", "charges")
        assert stops.states(con, "london") == {"charges": ("resumed", "by a person")}
        assert stops.stopped(con, "london") == {}


def test_events_of_a_phase_are_numbered_on_their_own(store: Warehouse) -> None:
    note(store, "stopped", phase="remove")
    note(store, "stopped", phase="charges")
    note(store, "resumed", phase="remove", part=PLAN)
    assert events(store) == [
        ("charges", 0, "stopped", None, None), ("remove", 0, "stopped", None, None), ("remove", 1, "resumed", *PLAN),
    ]  # fmt: skip


def test_what_needs_nobody_goes_on_and_leaves_no_record(store: Warehouse) -> None:
    assert passed(store, why=OPEN) == ""
    assert events(store) == []


def test_what_needs_a_person_stops_and_says_why(store: Warehouse) -> None:
    assert passed(store) == CLOSED
    assert state(store) == ("stopped", CLOSED)


def test_a_stop_that_stands_lets_nothing_by_and_is_not_written_again(store: Warehouse) -> None:
    note(store, "stopped", "6 removals")
    for why in (CLOSED, OPEN):
        assert passed(store, why=why) == "Site london is stopped for remove: 6 removals"
    assert len(events(store)) == 1


def test_a_resumption_lets_its_plan_by_once(store: Warehouse) -> None:
    note(store, "resumed", part=PLAN)
    assert passed(store) == ""
    assert state(store) == ("open", "used by plan 7")
    assert passed(store) == CLOSED, "the same plan once more needs the person once more"


def test_a_resumption_that_the_next_run_does_not_need_is_gone(store: Warehouse) -> None:
    note(store, "resumed", part=PLAN)
    assert passed(store, OTHER, OPEN, after=3 * DAY) == ""
    assert state(store) == ("open", "not needed any more: plan 7 has nothing that was stopped")
    assert passed(store) == CLOSED, "it would let through what nobody has looked at"


@pytest.mark.parametrize("part", [OTHER, Part("digest", 4), Part("another", 3)])
def test_a_resumption_for_another_plan_is_a_stop_again(store: Warehouse, part: Part) -> None:
    note(store, "resumed", part=PLAN)
    why = passed(store, part, after=timedelta())
    assert why == (
        f"{CLOSED}. The plan has changed since the site was resumed: 3 rows were allowed then, and these are"
        f" {part.size} others"
    )
    assert state(store) == ("stopped", why)


def test_a_resumption_from_before_plans_were_kept_allows_none(store: Warehouse) -> None:
    note(store, "resumed")
    assert "no plan was allowed then, and these are 3 others" in passed(store, after=timedelta())
    assert state(store)[0] == "stopped"


def test_a_resumption_holds_for_a_day_and_no_longer(store: Warehouse) -> None:
    note(store, "resumed", part=PLAN)
    why = passed(store, after=DAY + MOMENT)
    assert why == f"{CLOSED}. The site was resumed 2026-11-02 09:00 UTC, which holds for one day and was not used"
    assert state(store) == ("stopped", why)


def test_charges_use_a_resumption_up_and_a_late_one_is_a_stop_again(store: Warehouse) -> None:
    note(store, "resumed", phase="charges")
    spent(store, DAY)
    assert state(store, "charges") == ("open", "used by run 7")
    note(store, "resumed", phase="charges")
    spent(store, DAY + MOMENT)
    assert state(store, "charges")[0] == "stopped"
    assert "which holds for one day and was not used" in state(store, "charges")[1]


@pytest.mark.parametrize("before", ["stopped", "open", None])
def test_charges_use_up_nothing_that_was_not_given(store: Warehouse, before: str | None) -> None:
    if before:
        note(store, before, phase="charges")
    were = events(store)
    spent(store, 3 * DAY)
    assert events(store) == were


def let_go(store: Warehouse, part: Part = PLAN, *, after: timedelta = DAY) -> bool:
    with transaction(store) as con:
        return stops.let_go(con, "london", "balances", part, by="plan 7", at=NOW + after)


@pytest.mark.parametrize(
    ("part", "after", "goes", "why"),
    [
        (PLAN, DAY, True, "used by plan 7"),
        (OTHER, DAY, False, "The plan has changed since the site was resumed"),
        (PLAN, DAY + MOMENT, False, "The site was resumed 2026-11-02 09:00 UTC, which holds for one day"),
        (Part("digest", 0), DAY, False, "nothing of it is held any more"),
    ],
    ids=["those", "others", "late", "none"],
)
def test_a_person_lets_those_held_rows_go_that_were_looked_at(
    store: Warehouse, part: Part, after: timedelta, goes: bool, why: str
) -> None:
    note(store, "resumed", phase="balances", part=PLAN)
    assert let_go(store, part, after=after) is goes
    became, reason = state(store, "balances")
    assert (became, reason.startswith(why)) == ("open", True), reason
    assert not let_go(store), "a permission is used once, whatever came of it"


@pytest.mark.parametrize("before", ["stopped", "open", None])
def test_held_rows_stay_where_nobody_let_them_go(store: Warehouse, before: str | None) -> None:
    if before:
        note(store, before, phase="balances", part=PLAN)
    were = events(store)
    assert not let_go(store)
    assert events(store) == were


def test_a_restored_backup_stops_the_charges_of_every_site_until_it_is_recovered(store: Warehouse) -> None:
    with transaction(store) as con:
        assert not stops.unrecovered(con, "london")
        stops.note_restored(con, ["london", "leeds"], "backup-7", NOW)
        assert set(stops.stopped(con, "london")) == set(stops.stopped(con, "leeds")) == {"charges"}
    assert state(store, "charges", "leeds") == (
        "stopped",
        "the backup backup-7 was restored, and lacks what was charged since; first run"
        " `printbridge recover --site leeds`",
    )
    with transaction(store) as con:
        assert stops.unrecovered(con, "london")
        with pytest.raises(UnsafeError, match=r"Site london cannot go on yet.*printbridge recover --site london"):
            stops.refuse_if_unrecovered(con, "london")
        stops.note_recovered(con, "london", NOW + MOMENT)
        assert not stops.unrecovered(con, "london")
        stops.refuse_if_unrecovered(con, "london")
        assert stops.unrecovered(con, "leeds"), "each site is recovered on its own"
    assert state(store, "charges") == ("open", "recovered, and nothing is left in doubt")
    assert state(store, "charges", "leeds")[0] == "stopped"
    with transaction(store) as con:
        stops.note_restored(con, ["london"], "backup-8", NOW + DAY)
        assert stops.unrecovered(con, "london"), "what was recovered before is not in this backup either"


def test_a_stop_for_another_reason_outlives_a_backup_and_its_recovery(store: Warehouse) -> None:
    note(store, "stopped", "a difference of 5 cents", "charges")
    note(store, "stopped", "6 removals")
    with transaction(store) as con:
        stops.note_restored(con, ["london"], "backup-7", NOW)
        stops.note_recovered(con, "london", NOW + MOMENT)
        assert stops.stopped(con, "london") == {"charges": "a difference of 5 cents", "remove": "6 removals"}
