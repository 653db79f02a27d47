"""Changes without effect: what counts as the same once more, and when a person is asked."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import polars as pl
import pytest

from pipeline.domain import tables
from pipeline.domain.people.plan import user_sync_plan
from pipeline.domain.people.writes import PRINTED, TRIES, without_effect
from tests.domain.people.frames import accounts, gone, owned, planned, unsettled, users
from tests.frames import NOW, rules, table

HOUR = timedelta(hours=1)


def asked(accounts_: str, users_: str = "username\na", printed: str = "username") -> dict[str, str | None]:
    """What each row of a plan asks for, by its action."""
    plan = user_sync_plan(
        accounts(accounts_), users(users_), owned=owned("username\na"), unsettled=unsettled(), gone=gone(),
        rules=rules(), now=NOW, printed=table(PRINTED, printed),
    )  # fmt: skip
    return dict(plan.select("action", "ask").iter_rows())


def plan() -> pl.DataFrame:
    """One balance to set from 45 to 60."""
    return planned(accounts("username credits\na 60"), users("username\na"), owned("username\na"))


def tried(*rows: dict[str, Any]) -> pl.DataFrame:
    """Tries of what `plan` asks for, the newest first, an hour apart; each was done."""
    (change,) = plan().iter_rows(named=True)
    tries = [
        {
            "site": "london", "plan_id": "p", "detail": "", "outcome": "done", "happened_at": NOW - place * HOUR,
            **{name: change[name] for name in ("username", "action", "changes", "ask", "target", "balance")}, **row,
        }
        for place, row in enumerate(rows, 1)
    ]  # fmt: skip
    schema = tables.columns("print_user_sync")
    return pl.DataFrame([{name: row.get(name) for name in schema} for row in tries], schema=schema)


def test_the_same_change_of_the_same_user_asks_the_same() -> None:
    sixty = asked("username credits\na 60")
    assert sixty == asked("username credits\na 60")
    assert sixty["adjust"] is not None
    for other in (
        asked("username credits\na 61"),
        asked("username credits\na 60", "username balance\na 44"),
        asked("username credits\na 60", printed="username printed_at\na 11-20T09:00"),
    ):
        assert other["adjust"] != sixty["adjust"]


def test_who_printed_meanwhile_matters_to_a_balance_and_to_nothing_else() -> None:
    renamed = "username full_name\na Ada"
    assert (
        asked(renamed)["update"] == asked(renamed, printed="username printed_at\na 11-20T09:00")["update"] is not None
    )
    assert asked(renamed)["update"] != asked("username full_name\na Eve")["update"]


def test_what_makes_or_removes_a_user_asks_for_no_values() -> None:
    assert asked("username\na\nb")["create"] is None
    assert asked("username reason\na suspended") == {"remove": None}


@pytest.mark.parametrize(
    ("rows", "held"),
    [
        ([{}] * TRIES, True),
        ([{}] * (TRIES - 1), False),
        ([{}] * (TRIES - 1) + [{"outcome": "failed"}], False),
        ([{}] * (TRIES - 1) + [{"ask": "other"}], False),
        ([{"ask": "other"}] * TRIES, False),
        ([{"username": "b"}] * TRIES, False),
        ([{"changes": "restricted"}] * TRIES, False),
    ],
    ids=["three times", "twice", "once refused", "once another", "always another", "another user", "other fields"],
)
def test_a_change_that_was_made_three_times_in_vain_waits_for_a_person(rows: list[dict[str, Any]], held: bool) -> None:
    (row,) = without_effect(plan(), tried(*rows), rules()).iter_rows(named=True)
    assert (row["action"], row["code"]) == (("hold", "no_effect") if held else ("adjust", None))
    assert row["reason"].startswith("PaperCut said yes 3 times" if held else "the balance is 45, wanted is 60")


def test_a_person_is_told_when_it_was_tried_last_what_was_asked_and_what_was_seen() -> None:
    (row,) = without_effect(plan(), tried({}, {}, {}), rules()).iter_rows(named=True)
    assert "last 2026-11-20 11:00 UTC, and changed nothing (balance, asked 60 and seen 45)" in row["reason"]
    assert "`printbridge resume london writes` tries once more" in row["reason"]


def test_fields_without_effect_are_named_and_the_others_go_on() -> None:
    changed = planned(
        accounts("username full_name email\na Ada a@x\nb Bea b"), users("username\na\nb"), owned("username\na\nb")
    )
    of_a = changed.filter(username="a").row(0, named=True)
    vain = tried(*[{name: of_a[name] for name in ("username", "action", "changes", "ask")}] * TRIES)
    after = without_effect(changed, vain, rules())
    assert after.select("username", "action").rows() == [("a", "hold"), ("b", "update")]
    assert after.columns == changed.columns
    assert "(full_name, email)" in after["reason"][0]
