"""Former times: by which rules and which access a job is decided that was printed then."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import polars as pl
import pytest

from pipeline.domain.money.history import ACCESS, KEPT, NO_PAST, Past, access_news, charged_since, eras, kept
from pipeline.domain.people.accounts import print_accounts
from tests.frames import NOW, START, customers, grants, moment, rules, table, uses

FIRST, SECOND = moment("03-01T00:00"), moment("06-01T00:00")
MOMENT = timedelta(microseconds=1)


def access(text: str = "email_key") -> pl.DataFrame:
    return table(ACCESS, text, coworker_id=1, held_from=FIRST, free=False, pay=True)


def past(*known: tuple[datetime, dict[str, object]]) -> Past:
    return Past(access(), known)


def test_without_a_past_the_rules_of_now_hold_for_ever() -> None:
    assert eras(NO_PAST, rules()) == [(None, None, rules())]


def test_rules_are_remembered_and_come_back_whole() -> None:
    site = rules(rounding="up", max_charge=77, credit_ids=(3, 4))
    told = kept(site)
    assert set(told) == set(KEPT) - {"prices"}, "a site without prices has none to remember"
    assert (told["charge_from"], told["credit_ids"]) == (START.isoformat(), [3, 4])
    assert eras(past((FIRST, told)), site)[-1].rules == site


def test_each_time_has_the_rules_that_held_then_and_the_last_those_of_now() -> None:
    old, now = rules(max_charge=10), rules(max_charge=20, maturity_minutes=5)
    found = eras(past((FIRST, kept(old)), (SECOND, kept(now))), now)
    assert [(era.since, era.until) for era in found] == [(None, FIRST), (FIRST, SECOND), (SECOND, None)]
    assert [era.rules.max_charge for era in found] == [10, 10, 20]
    assert {era.rules.maturity_minutes for era in found} == {5}, "what is not remembered is that of now"
    assert found[-1].rules == now


def test_a_former_time_has_its_rules_as_they_were() -> None:
    old, new = rules(credit_ids=(7, 8), max_charge=70, charge_from=moment("02-01T00:00")), rules()
    told = [json.loads(json.dumps(kept(each))) for each in (old, new)]
    found = eras(past((FIRST, told[0]), (SECOND, told[1])), new)
    assert [era.rules for era in found[1:]] == [old, new]


def test_before_anything_was_remembered_charge_from_is_that_of_now() -> None:
    first = rules(max_charge=10, charge_from=moment("02-01T00:00"))
    before, then = eras(past((FIRST, kept(first))), rules(charge_from=moment("01-15T00:00")))[:2]
    assert (before.rules.charge_from, before.rules.max_charge) == (moment("01-15T00:00"), 10)
    assert then.rules.charge_from == moment("02-01T00:00")


def test_rules_that_no_run_has_remembered_yet_hold_for_no_job_in_the_log() -> None:
    old, now = rules(max_charge=10), rules(max_charge=20)
    found = eras(past((FIRST, kept(old))), now)
    assert [(era.since, era.until, era.rules.max_charge) for era in found] == [
        (None, FIRST, 10), (FIRST, None, 10), (FIRST, FIRST, 20),
    ]  # fmt: skip


def test_what_an_older_program_did_not_remember_is_that_of_now_and_what_it_alone_knew_is_ignored() -> None:
    now = rules(max_charge=20, credit_ids=(9,))
    old = eras(past((FIRST, {"max_credits": 5, "long_gone": True}), (SECOND, kept(now))), now)[1].rules
    assert (old.max_charge, old.credit_ids, old.charge_from) == (20, (9,), START)
    assert old.max_credits == now.max_credits, "which number in Nexudus is believed is a question of now"


@pytest.mark.parametrize(
    ("printed", "charged"),
    [
        (moment("02-14T23:59"), False), (moment("02-15T00:00"), True), (FIRST - MOMENT, True), (FIRST, False),
        (moment("03-31T00:00"), False), (moment("04-01T00:00"), True), (SECOND - MOMENT, True), (SECOND, True),
        (NOW, True),
    ],
)  # fmt: skip
def test_a_job_is_charged_from_the_moment_that_held_when_it_was_printed(printed: datetime, charged: bool) -> None:
    first, now = rules(charge_from=moment("04-01T00:00")), rules(charge_from=moment("02-15T00:00"))
    known = past((FIRST, kept(first)), (SECOND, kept(now)))
    frame = pl.DataFrame({"printed_at": [printed]})
    assert frame.select(charged_since(known, now)).item() is charged
    assert frame.select(charged_since(NO_PAST, now)).item() is (printed >= now.charge_from)


PEOPLE = customers(
    """
    coworker_id free pay updated_on
    1           n    y   11-20T11:00
    2           y    n   11-20T11:30
    3           n    y   11-20T12:01
    """
)
LOOKED = moment("11-20T11:00")


def news(known: pl.DataFrame, last_look: datetime | None = LOOKED) -> list[tuple[object, ...]]:
    accounts = print_accounts(PEOPLE, grants(), uses(), rules(), NOW)
    found = access_news(accounts, PEOPLE, known, last_look, NOW)
    assert found.schema == ACCESS
    return [(*row[2:], row[1]) for row in found.rows()]


def test_at_the_first_look_everybodys_access_holds_from_then_on() -> None:
    assert news(access(), None) == [(1, False, True, NOW), (2, True, False, NOW), (3, False, True, NOW)]


def test_a_change_holds_from_when_the_record_changed_if_that_was_since_the_last_look() -> None:
    assert news(access()) == [
        (1, False, True, NOW), (2, True, False, moment("11-20T11:30")), (3, False, True, NOW),
    ], "changed at the last look was seen then, and a time to come is another clock's"  # fmt: skip


def test_only_what_differs_from_the_last_that_is_known_is_news() -> None:
    known = access(
        """
        email_key      coworker_id held_from   free pay
        c1@example.com 1           03-01T00:00 n    y
        c2@example.com 2           06-01T00:00 n    y
        c2@example.com 2           03-01T00:00 y    n
        c3@example.com 4           03-01T00:00 n    y
        """
    )
    assert news(known) == [(2, True, False, moment("11-20T11:30")), (3, False, True, NOW)]
    assert news(known.reverse()) == news(known), "the order of rows says nothing"
    assert news(pl.concat([known, access("email_key coworker_id held_from\nc3@example.com 3 11-20T09:00")])) == [
        (2, True, False, moment("11-20T11:30"))
    ]
