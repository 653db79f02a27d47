"""Ownership on a real file: what is ours now, since when, and whose a name was then.

What belongs here: `pipeline/store/ownership.py`. What does not: the proofs in PaperCut (`test_plan.py`).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline.store import ownership
from pipeline.store.sql import insert
from pipeline.store.warehouse import Warehouse
from tests.domain.people.frames import users
from tests.stores import transaction

NOW = datetime(2026, 11, 2, 9, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "warehouse.duckdb")


def event(username: str, state: str, reason: str = "", **fields: Any) -> dict[str, Any]:
    return {"username": username, "state": state, "reason": reason or state, **fields}


def record(store: Warehouse, hours: float, *events: dict[str, Any], site: str = "london") -> None:
    with transaction(store) as con:
        ownership.record(con, site, list(events), NOW + timedelta(hours=hours))


def owned(store: Warehouse, site: str = "london") -> dict[str, dict[str, Any]]:
    with store.connect() as con:
        return {row["username"]: row for row in ownership.owned(con, site).iter_rows(named=True)}


def test_an_event_keeps_what_it_does_not_say(store: Warehouse) -> None:
    record(store, 0, event("anna", "creating", coworker_id=101, email_key="a@x", access="pay"))
    record(store, 1, event("anna", "owned", pin_digest="p1"))
    record(store, 2, event("anna", "owned", access="free"))
    row = owned(store)["anna"]
    assert (row["coworker_id"], row["email_key"], row["access"], row["pin_digest"]) == (101, "a@x", "free", "p1")
    assert row["owned_from"] == NOW, "ownership begins with the intent to create"


def test_an_event_can_take_a_value_away(store: Warehouse) -> None:
    record(store, 0, event("anna", "owned", coworker_id=101, without_credit_since=NOW))
    record(store, 1, event("anna", "owned", without_credit_since=None))
    assert owned(store)["anna"]["without_credit_since"] is None


def test_two_events_of_one_user_in_one_transaction_keep_their_order(store: Warehouse) -> None:
    record(store, 0, event("anna", "creating", coworker_id=101), event("anna", "owned", pin_digest="p1"))
    assert owned(store)["anna"]["state"] == "owned"
    with store.connect() as con:
        assert con.execute("SELECT n FROM ownership_event ORDER BY n").fetchall() == [(0,), (1,)]


def test_what_was_released_is_not_ours_and_a_new_ownership_begins_anew(store: Warehouse) -> None:
    record(store, 0, event("anna", "owned", coworker_id=101, email_key="a@x"))
    record(store, 1, event("anna", "released", "removed"))
    assert owned(store) == {}
    record(store, 2, event("anna", "creating", coworker_id=102, email_key="b@x"))
    row = owned(store)["anna"]
    assert (row["owned_from"], row["coworker_id"]) == (NOW + timedelta(hours=2), 102)


def test_whoever_has_a_name_next_inherits_nothing(store: Warehouse) -> None:
    record(store, 0, event("anna", "owned", coworker_id=101, pin_digest="p1", without_credit_since=NOW))
    record(store, 1, event("anna", "released", "removed"))
    record(store, 2, event("anna", "creating", coworker_id=102))
    row = owned(store)["anna"]
    assert (row["pin_digest"], row["without_credit_since"]) == (None, None)


def test_a_renamed_user_brings_its_digests_whoever_had_the_name_before(store: Warehouse) -> None:
    record(store, 0, event("bob", "owned", coworker_id=103, pin_digest="p3"), event("bob", "released", "removed"))
    record(store, 1, event("anna", "owned", coworker_id=101, pin_digest="p1", card_digest="c1"))
    renamed = event("bob", "owned", coworker_id=101, renamed_from="anna")
    record(store, 2, event("anna", "released", "renamed"), renamed)
    row = owned(store)["bob"]
    assert (row["coworker_id"], row["pin_digest"], row["card_digest"]) == (101, "p1", "c1")


def test_a_name_remembers_everyone_it_stood_for(store: Warehouse) -> None:
    record(store, 0, event("anna", "owned", coworker_id=101, email_key="a@x"))
    record(store, 1, event("anna", "released", "removed"))
    record(store, 2, event("anna", "owned", coworker_id=102, email_key="b@x"))
    with store.connect() as con:
        names = ownership.names(con, "london").rows()
    assert names == [("anna", NOW, 101, "a@x"), ("anna", NOW + timedelta(hours=2), 102, "b@x")], (
        "a job of a removed user must still find its customer"
    )


def test_a_name_stands_for_another_only_where_customer_or_e_mail_changed_at_this_site(store: Warehouse) -> None:
    record(store, 0, event("anna", "creating", coworker_id=101, email_key="a@x"))
    record(store, 1, event("anna", "owned", pin_digest="p1"))
    record(store, 2, event("anna", "owned", email_key="b@x"))
    record(store, 3, event("anna", "released", "removed", coworker_id=109))
    record(store, 0, event("ben", "creating"))
    record(store, 0, event("anna", "owned", coworker_id=201, email_key="c@x"), site="leeds")
    with store.connect() as con:
        names = ownership.names(con, "london").rows()
    assert names == [("anna", NOW, 101, "a@x"), ("anna", NOW + timedelta(hours=2), 101, "b@x")]


def test_a_removal_counts_from_its_intent_on_until_the_print_system_said_no(store: Warehouse) -> None:
    for name, reasons in (
        ("lost", [ownership.REMOVING]),
        ("done", [ownership.REMOVING, ownership.REMOVED]),
        ("refused", [ownership.REMOVING, ownership.NOT_REMOVED]),
        ("again", [ownership.REMOVING, ownership.NOT_REMOVED, ownership.REMOVING]),
    ):
        for hour, reason in enumerate(reasons):
            record(store, hour, event(name, "owned", reason, coworker_id=1))
    with store.connect() as con:
        assert ownership.removed_since(con, "london", NOW + timedelta(hours=3)) == 3
        assert ownership.removed_since(con, "london", NOW + timedelta(hours=24)) == 2, "exactly a day is over"


def test_only_removals_of_the_last_24_hours_count(store: Warehouse) -> None:
    for hours, name, state, reason in (
        (0, "old", "released", "removed"), (2, "anna", "released", "removed"), (3, "ben", "owned", "removed"),
        (3, "carl", "released", "renamed"), (4, "dora", "released", "absent in PaperCut"),
    ):  # fmt: skip
        record(store, hours, event(name, state, reason, coworker_id=1))
    with store.connect() as con:
        assert ownership.removed_since(con, "london", NOW + timedelta(hours=25)) == 2, (
            "deleted and disabled users count, renamed and vanished ones do not"
        )
        assert ownership.removed_since(con, "leeds", NOW + timedelta(hours=25)) == 0


def test_sites_do_not_mix(store: Warehouse) -> None:
    record(store, 0, event("anna", "owned", coworker_id=101))
    record(store, 0, event("anna", "owned", coworker_id=201), site="leeds")
    record(store, 1, event("anna", "released"), site="leeds")
    assert (owned(store).keys(), owned(store, "leeds").keys()) == ({"anna"}, set())


def test_absent_is_who_was_ours_before_a_complete_list_and_is_not_on_it(store: Warehouse) -> None:
    record(store, 0, event("anna", "owned"), event("ben", "owned"), event("cleo", "owned"), event("dan", "creating"))
    record(store, 1, event("cleo", "released"))
    record(store, 2, event("eve", "owned"))
    record(store, 0, event("finn", "owned"), site="leeds")
    with transaction(store) as con:
        of_leeds = users("username\nanna").with_columns(site=pl.lit("leeds"))
        insert(con, "print_users", pl.concat([users("username\nben"), of_leeds]))
        assert ownership.absent(con, "london", NOW + timedelta(hours=1)) == ["anna"], "the list of leeds is another"
        assert ownership.absent(con, "london", NOW + timedelta(hours=3)) == ["anna", "eve"]
        assert ownership.absent(con, "london", NOW) == [], "who became ours since may not be on it yet"


def test_nothing_to_record_touches_nothing(store: Warehouse) -> None:
    record(store, 0)
    assert owned(store) == {}
