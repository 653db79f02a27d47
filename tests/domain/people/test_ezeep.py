"""Who gets a user of a site on ezeep, and what of a plan waits for a person (`rules.md` Z3 to Z7)."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from pipeline.domain.people.accounts import print_accounts
from pipeline.domain.rules import SiteRules
from tests.domain.people.frames import accounts, owned, planned, steps, users
from tests.frames import NOW, customers, grants, rules, uses

HOLDS = frozenset({"restricted"})
FLAGGED = "coworker_id ezeep_blue ezeep_blue_free ezeep ezeep_free free pay"


def site(model: str = "credits_and_pay_per_print", **choices: Any) -> SiteRules:
    return rules(model, **{"flags": "ezeep_blue", "holds": HOLDS, "title": "ezeep", **choices})


def decided(row: str, model: str = "credits_and_pay_per_print", credit: int = 0, **choices: Any) -> dict[str, Any]:
    """The one account of a customer with these flags, and with a credit where there is one."""
    granted = grants(f"credit_id remaining_uses\n1 {credit}") if credit else grants()
    return print_accounts(customers(f"{FLAGGED}\n{row}"), granted, uses(), site(model, **choices), NOW).to_dicts()[0]


@pytest.mark.parametrize(
    ("row", "access", "reason"),
    [
        ("1 y n - - n n", "pay", None),
        ("1 y y - - n n", "free", None),
        ("1 n n - - y y", "none", "printing_off"),
        ("1 n y - - y y", "none", "printing_off"),
        ("1 n - - - y y", "none", "printing_off"),
        ("1 - n y y y y", "none", "no_flag"),
        ("1 y - y y y y", "none", "no_flag"),
    ],
)
def test_the_flags_of_ezeep_decide_and_those_of_papercut_say_nothing(row: str, access: str, reason: str | None) -> None:
    account = decided(row)
    assert (account["access"], account["reason"]) == (access, reason)
    assert not account["restricted"], "without balances nobody stops at 0"


def test_a_site_may_go_by_the_older_pair_of_flags() -> None:
    assert decided("1 n n y n n n", flags="ezeep")["access"] == "pay"
    assert decided("1 n n y y n n", flags="ezeep")["access"] == "free"
    assert decided("1 y y n n n n", flags="ezeep")["reason"] == "printing_off"


@pytest.mark.parametrize(
    ("row", "credit", "access", "reason"),
    [
        ("1 y n - - n n", 5, "credits", None),
        ("1 y n - - n n", 0, "none", "no_access"),
        ("1 n n - - n n", 5, "none", "printing_off"),
        ("1 - n - - n n", 5, "none", "no_flag"),
    ],
)
def test_credits_let_in_only_whom_the_flag_lets_print(row: str, credit: int, access: str, reason: str | None) -> None:
    account = decided(row, "credits_only", credit)
    assert (account["access"], account["reason"]) == (access, reason)
    assert not account["restricted"]


def test_nobody_needs_a_pin_for_ezeep() -> None:
    people = customers(f"{FLAGGED} pin_digest\n1 y n - - n n -\n2 y n - - n n same\n3 y n - - n n same")
    made = print_accounts(people, grants(), uses(), site(), NOW)
    assert made["reason"].to_list() == [None, None, None]


def test_who_is_invited_by_hand_waits_until_a_person_asks_and_others_do_not() -> None:
    wanted = accounts("username coworker_id\na 1\nb 2")
    by_hand = site(invite="by_hand")
    asked = pl.DataFrame({"coworker_id": [2]})
    plan = planned(wanted, users(), owned(), site=by_hand, invited=asked)
    assert steps(plan.filter(action="create")) == ["create b mark,full_name,email,restricted"]
    (held,) = plan.filter(action="hold").to_dicts()
    assert (held["username"], held["code"]) == ("a", "by_hand")
    assert "not in ezeep: a person invites them, `printbridge access sync --site london`" in held["reason"]
    assert planned(wanted, users(), owned(), site=site())["action"].to_list() == ["create", "create"]


def test_a_group_is_a_mark_that_names_nobody() -> None:
    """In the group of the site, on our record: ours. In it, and on no record: nobody's. Out of it: lost, and told."""
    seen = users("username marked marked_coworker_id balance restricted\na y - 0 n")
    wanted = accounts("username restricted\na n")
    assert planned(wanted, seen, owned("username\na"), site=site()).is_empty()
    (held,) = planned(wanted, seen, owned(), site=site()).to_dicts()
    assert (held["code"], "has our mark but no ownership record" in held["reason"]) == ("foreign", True)
    outside = users("username marked marked_coworker_id balance\na n - 0")
    (held,) = planned(wanted, outside, owned("username\na"), site=site()).to_dicts()
    assert (held["code"], held["action"]) == ("lost", "hold")


def test_without_credit_a_user_leaves_the_group_and_comes_back_with_it() -> None:
    here = users("username marked marked_coworker_id balance restricted\na y - 0 n")
    lapsed = accounts("username reason access\na no_credit none")
    ours = owned("username access\na credits")
    assert steps(planned(lapsed, here, ours, site=site("credits_only"))) == ["update a restricted"]
    outside = users("username marked marked_coworker_id balance restricted\na y - 0 y")
    assert planned(lapsed, outside, ours, site=site("credits_only")).is_empty()
    back = accounts("username access restricted\na credits n")
    assert steps(planned(back, outside, ours, site=site("credits_only"))) == ["update a restricted"]
