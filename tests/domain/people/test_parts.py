"""Parts of a plan that a person lets go: which rows a phase has, what its digest tells, what is released.

What belongs here: `part`, `of_phase` and `released` of `pipeline/domain/people/plan.py`. What does not: the caps, and
the plan as a whole (`test_plan.py`).
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from pipeline.domain import tables
from pipeline.domain.people.plan import of_phase, part, released
from tests.frames import NOW, table

SCHEMA = tables.columns("user_sync_plan")


def rows(text: str) -> pl.DataFrame:
    return table(SCHEMA, text, site="london", changes="", reason="r", observed_at=NOW, balance=Decimal(30))


HELD = rows(
    "action username changes code target\n"
    "hold a balance fell 45\nhold b balance no_effect 45\nhold c email no_effect -\nhold d - foreign -"
).with_columns(pl.col("changes").fill_null(""))


@pytest.mark.parametrize(
    ("phase", "users"), [("balances", ["a"]), ("writes", ["b", "c"]), ("hold", ["d"]), ("remove", [])]
)
def test_held_rows_belong_to_the_phase_that_lets_them_go(phase: str, users: list[str]) -> None:
    assert of_phase(HELD, phase)["username"].to_list() == users
    assert part(HELD, phase).size == len(users)


@pytest.mark.parametrize(
    ("action", "changes", "phase"),
    [
        ("update", "email", "rename"),
        ("update", "full_name,customer", "rename"),
        ("update", "mark,customer,email", "update"),
        ("update", "full_name", "update"),
        ("rename", "username,email", "rename"),
        ("remove", "deleted", "remove"),
        ("create", "mark,email", "create"),
    ],
)
def test_a_change_of_whose_user_it_is_counts_as_a_rename(action: str, changes: str, phase: str) -> None:
    plan = rows(f"action username changes\n{action} a {changes}")
    assert of_phase(plan, phase).height == 1


def test_what_is_released_is_the_change_that_it_would_have_been() -> None:
    def found(*phases: str) -> list[tuple[str, str]]:
        return released(HELD, phases).select("action", "username").rows()

    assert found("balances") == [("adjust", "a")]
    assert found("writes") == [("adjust", "b"), ("update", "c")]
    assert found("balances", "writes") == [("adjust", "a"), ("adjust", "b"), ("update", "c")]
    assert found() == []
    plan = pl.concat([HELD, rows("action username\nremove e")])
    assert released(plan, ["remove"]).is_empty(), "only held rows are released"


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"reason": pl.lit("other words")}, True),
        ({"observed_at": pl.col("observed_at") + timedelta(minutes=5)}, True),
        ({"username": pl.lit("z")}, False),
        ({"coworker_id": pl.lit(7, pl.Int64)}, False),
        ({"email": pl.lit("z@x")}, False),
        ({"new_username": pl.lit("z")}, False),
        ({"balance": pl.col("balance") + 1}, False),
        ({"balance": pl.col("balance") + 1, "target": pl.col("target") + 1}, True),
    ],
    ids=["words", "time", "user", "customer", "e-mail", "new name", "difference", "the same difference"],
)
def test_a_permission_for_balances_is_for_these_users_and_differences(change: dict[str, Any], same: bool) -> None:
    other = HELD.with_columns(**{name: value.cast(SCHEMA[name]) for name, value in change.items()})
    assert (part(other, "balances") == part(HELD, "balances")) == same


def test_a_permission_for_renames_holds_whatever_the_balance() -> None:
    plan = rows("action username changes target\nrename a username,email,balance 45")
    for other in ({"balance": pl.col("balance") + 1}, {"changes": pl.lit("username,email")}):
        assert part(plan.with_columns(**other), "rename") == part(plan, "rename")
    assert part(plan.with_columns(changes=pl.lit("username")), "rename") != part(plan, "rename")
