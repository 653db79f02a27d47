"""Differences: what of a print user is set, renamed or held, and for whom a licence has a seat."""

from __future__ import annotations

from decimal import Decimal

import polars as pl
import pytest

from pipeline.domain import tables
from pipeline.domain.people.balances import FALLEN
from pipeline.domain.people.plan import verdict
from tests.domain.people.frames import accounts, owned, planned, steps, unsettled, users
from tests.frames import rules, table

# --- who is wanted ----------------------------------------------------------------------------------------------------


def test_in_step_means_nothing_to_do() -> None:
    assert steps(planned(accounts("username\na\nb"), users("username\na\nb"), owned("username\na\nb"))) == []


def test_an_empty_world_has_an_empty_plan() -> None:
    plan = planned(accounts(), users(), owned())
    assert plan.height == 0
    assert plan.schema == tables.columns("user_sync_plan")


@pytest.mark.parametrize(
    ("model", "access", "open_cost", "target"),
    [
        ("credits_and_pay_per_print", "credits", "0", "45"),
        ("credits_and_pay_per_print", "pay", "10.5", "34.5"),
        ("credits_only", "credits", "50", "-5"),
        ("pay_per_print", "pay", "12", "-12"),
        ("pay_per_print", "free", "12", None),
        ("free_unlimited", "free", "0", None),
    ],
)
def test_a_new_user_gets_credits_less_open_jobs(model: str, access: str, open_cost: str, target: str | None) -> None:
    plan = planned(
        accounts(f"username access\na {access}"),
        users(),
        owned(),
        open_jobs=unsettled(f"username unsettled\na {open_cost}"),
        site=rules(model),
    )
    row = plan.row(0, named=True)
    assert (row["action"], row["target"], row["balance"]) == ("create", target and Decimal(target), None)
    assert ("balance" in row["changes"]) == (target is not None)


@pytest.mark.parametrize(
    ("column", "value", "changes"),
    [
        ("full_name", "Other", "full_name"),
        ("email", "other@example.com", "email"),
        ("restricted", "n", "restricted"),
    ],
)
def test_what_differs_in_papercut_is_updated(column: str, value: str, changes: str) -> None:
    plan = planned(accounts("username\na"), users(f"username {column}\na {value}"), owned("username\na"))
    assert steps(plan) == [f"update a {changes} 45"]


def test_pin_is_set_only_when_its_digest_differs() -> None:
    plan = planned(accounts("username pin_digest\na new\nb pin"), users("username\na\nb"), owned("username\na\nb"))
    assert plan.select("username", "changes", "pin_digest").rows() == [("a", "pin", "new")]


@pytest.mark.parametrize(
    ("was", "wanted", "expected"),
    [
        ("8", 8, []),
        ("8", 9, ["update a password 45"]),
        ("9", 8, []),
        ("-", 8, []),
        ("-", 9, ["update a password 45"]),
        ("8", None, []),
    ],
)
def test_a_password_is_set_anew_only_where_it_is_too_short_now(
    was: str, wanted: int | None, expected: list[str]
) -> None:
    ours = owned(f"username password_length\na {was}")
    assert steps(planned(accounts("username\na"), users("username\na"), ours, password_length=wanted)) == expected
    other_pin = accounts("username pin_digest\na other")
    assert steps(planned(other_pin, users("username\na"), ours, password_length=wanted)) == ["update a pin 45"]


def test_update_comes_before_adjust_for_one_user() -> None:
    plan = planned(
        accounts("username credits\na 60"), users("username balance restricted\na 45.5 n"), owned("username\na")
    )
    assert steps(plan) == ["update a restricted 60", "adjust a balance 60"]
    assert plan["reason"][1] == "the balance is 45.5, wanted is 60: 60 credits less 0 not yet settled"


@pytest.mark.parametrize(
    ("balance", "rows"), [("45", 0), ("45.000001", 1), ("44.999999", 1)], ids=["equal", "above", "below"]
)
def test_balances_are_compared_to_the_sixth_place(balance: str, rows: int) -> None:
    plan = planned(accounts("username\na"), users(f"username balance\na {balance}"), owned("username\na"))
    assert plan.height == rows


def test_a_free_user_keeps_whatever_balance_it_has() -> None:
    plan = planned(
        accounts("username access\na free"),
        users("username balance restricted\na 7 n"),
        owned("username access\na free"),
    )
    assert steps(plan) == []


@pytest.mark.parametrize(
    ("in_papercut", "last_written", "wanted", "changes"),
    [
        ("-", "-", "new", "card"),
        ("-", "new", "new", "card"),
        ("old", "old", "new", "card"),
        ("old", "old", "-", "card"),
        ("new", "-", "new", ""),
        ("theirs", "-", "new", ""),
        ("theirs", "old", "new", ""),
        ("-", "-", "-", ""),
    ],
)
def test_a_card_that_someone_else_set_is_never_overwritten(
    in_papercut: str, last_written: str, wanted: str, changes: str
) -> None:
    plan = planned(
        accounts(f"username card_digest\na {wanted}"),
        users(f"username card_digest\na {in_papercut}"),
        owned(f"username card_digest\na {last_written}"),
        site=rules(card_number="access_card"),
    )
    assert "".join(plan["changes"]) == changes


def test_a_site_without_cards_leaves_cards_alone() -> None:
    plan = planned(accounts("username"), users("username"), owned("username")).height
    with_card = planned(
        accounts("username\na"), users("username card_digest\na old"), owned("username card_digest\na old")
    )
    assert (plan, with_card.height) == (0, 0)


def test_a_new_preferred_customer_takes_over_the_user() -> None:
    plan = planned(
        accounts("username coworker_id full_name\na 9 New"), users("username full_name\na New"), owned("username\na")
    )
    assert plan.select("action", "coworker_id", "changes").rows() == [("update", 9, "customer")]


def test_a_rewritten_mark_that_was_not_recorded_is_still_ours() -> None:
    plan = planned(
        accounts("username coworker_id full_name\na 9 New"),
        users("username full_name marked_coworker_id\na New 9"),
        owned("username\na"),
    )
    assert plan.select("action", "changes").rows() == [("update", "customer")]


def test_a_create_with_unknown_outcome_is_completed() -> None:
    plan = planned(
        accounts("username\na"),
        users("username marked email balance\na n - 0").with_columns(email=pl.lit("")),
        owned("username state pin_digest\na creating -"),
    )
    assert steps(plan) == ["update a pin 45", "update a mark,email 45", "adjust a balance 45"]
    assert verdict(plan, 1, 0).blocked == {}


def test_an_owned_user_that_is_missing_in_papercut_is_created_again() -> None:
    plan = planned(accounts("username\na"), users(), owned("username\na"))
    assert plan["action"].to_list() == ["create"]
    assert "missing in PaperCut" in plan["reason"][0]


@pytest.mark.parametrize(("removal", "expected"), [("disable", ["update a disabled 45"]), ("delete", ["hold a 45"])])
def test_only_a_site_that_disables_enables_again(removal: str, expected: list[str]) -> None:
    plan = planned(
        accounts("username\na"), users("username disabled\na y"), owned("username\na"), site=rules(removal=removal)
    )
    assert steps(plan) == expected


@pytest.mark.parametrize(
    ("pooled", "balance", "action"), [(145, "45", "adjust"), (146, "45", "hold"), (45, "900", "adjust")]
)
def test_a_rise_above_max_credits_is_held(pooled: int, balance: str, action: str) -> None:
    plan = planned(
        accounts(f"username credits\na {pooled}"),
        users(f"username balance\na {balance}"),
        owned("username\na"),
        site=rules(max_credits=100),
    )
    assert plan["action"].to_list() == [action], "a fall is never too large"


def test_a_new_user_with_too_many_credits_is_held() -> None:
    plan = planned(accounts("username credits\na 101\nb 100"), users(), owned(), site=rules(max_credits=100))
    assert plan.select("action", "username").rows() == [("create", "b"), ("hold", "a")]
    assert "from 0 to 101, by more than max_credits (100)" in plan["reason"][1]


# --- a balance that fell ----------------------------------------------------------------------------------------------


def fell(*, told: bool = True) -> pl.DataFrame:
    """The balance of user a is 15 lower than it should be, since this morning."""
    return table(FALLEN, f"username fallen fell_at told\na 15 11-20T09:00 {'y' if told else 'n'}")


@pytest.mark.parametrize(
    ("told", "code", "words"),
    [
        (True, "fell", "15 lower than the jobs of the log and our own changes explain, since 2026-11-20 09:00 UTC: it"
         " is not raised to 45. See in PaperCut"),
        (False, "unlogged", "15 lower than the jobs of the log and our own changes explain: a job may not be in the log"
         " yet, so it is not raised to 45"),
    ],
)  # fmt: skip
def test_a_balance_that_fell_is_not_raised(told: bool, code: str, words: str) -> None:
    plan = planned(
        accounts("username\na"), users("username balance\na 30"), owned("username\na"), fallen=fell(told=told)
    )
    assert steps(plan) == ["hold a balance 45"]
    assert plan["code"].to_list() == [code]
    assert plan["reason"][0].startswith(f"the balance is 30, {words}")
    assert ("`printbridge resume london balances` raises it" in plan["reason"][0]) == told


@pytest.mark.parametrize(
    ("balance", "limit", "expected"),
    [
        ("60", 100, ("adjust", "balance", None)),
        ("44.99", 100, ("hold", "balance", "fell")),
        ("30", 14, ("hold", "", "above_max_credits")),
    ],
    ids=["lowered all the same", "held for the least rise", "the limit goes before it"],
)
def test_only_a_rise_waits_for_what_fell(balance: str, limit: int, expected: tuple[str, str, str | None]) -> None:
    plan = planned(
        accounts("username\na"), users(f"username balance\na {balance}"), owned("username\na"), fallen=fell(),
        site=rules(max_credits=limit),
    )  # fmt: skip
    assert plan.select("action", "changes", "code").rows() == [expected]


@pytest.mark.parametrize(
    ("balance", "fallen", "changes", "target"),
    [
        ("30", fell(), "username,email", None),
        ("60", fell(), "username,email,balance", 45),
        ("30", None, "username,email,balance", 45),
        ("-55", None, "username,email,balance", 45),
        ("-56", None, "username,email", None),
    ],
    ids=["it fell", "it is too high", "it rises", "just within the limit", "it would jump"],
)
def test_a_rename_raises_no_balance_that_fell_or_would_jump(
    balance: str, fallen: pl.DataFrame | None, changes: str, target: int | None
) -> None:
    plan = planned(
        accounts("username coworker_id full_name\nnew 1 Customer"),
        users(f"username balance full_name\na {balance} Customer"),
        owned("username\na"), fallen=fallen, site=rules(max_credits=100),
    )  # fmt: skip
    assert plan.select("action", "changes", "target").rows() == [("rename", changes, target)]


# --- a changed e-mail -------------------------------------------------------------------------------------------------


def test_a_changed_email_renames_and_keeps_the_balance() -> None:
    plan = planned(
        accounts("username coworker_id full_name\nnew 1 Customer"),
        users("username balance full_name\na 30 Customer"),
        owned("username\na"),
        open_jobs=unsettled("username unsettled\na 15"),
    )
    row = plan.row(0, named=True)
    assert plan.height == 1, "no create, no remove"
    assert (row["action"], row["username"], row["new_username"]) == ("rename", "a", "new")
    assert (row["changes"], row["target"]) == ("username,email", Decimal(30)), "open jobs carry the old name"


def test_a_rename_outranks_the_removal_of_the_old_email() -> None:
    plan = planned(
        accounts("username coworker_id reason\nnew 1 -\na 5 suspended"), users("username\na"), owned("username\na")
    )
    assert plan["action"].to_list() == ["rename"]


def test_no_rename_while_the_old_email_is_still_wanted() -> None:
    plan = planned(
        accounts("username coworker_id full_name\nnew 1 Customer\na 5 Customer"),
        users("username full_name\na Customer"),
        owned("username\na"),
    )
    assert steps(plan) == ["create new mark,full_name,email,restricted,pin,balance 45", "update a customer 45"]


def test_no_rename_onto_a_name_that_exists() -> None:
    plan = planned(accounts("username coworker_id\nnew 1"), users("username marked\na y\nnew n"), owned("username\na"))
    assert plan["action"].to_list() == ["hold", "hold"]
    assert "remove this user by hand" in plan["reason"][0]


def test_a_leaver_with_a_changed_email_is_recognised_by_customer() -> None:
    plan = planned(accounts("username coworker_id reason\nnew 1 suspended"), users("username\na"), owned("username\na"))
    assert steps(plan) == ["remove a deleted"]


# --- licence ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seats", "removal", "created"),
    [
        (0, "delete", "cde"),
        (2, "delete", "e"),
        (3, "delete", "de"),
        (4, "delete", "cde"),
        (3, "disable", "e"),
        (1, "delete", ""),
    ],
)
def test_the_licence_is_never_exceeded_and_the_oldest_come_first(seats: int, removal: str, created: str) -> None:
    plan = planned(
        accounts(
            "username reason registered_at\na suspended 01-01T00:00\nb - 01-01T00:00\nc - 03-01T00:00\n"
            "d - 02-01T00:00\ne - 01-15T00:00"
        ),
        users("username\na\nb"),
        owned("username\na\nb"),
        site=rules(licence_users=seats, removal=removal),
    )
    assert "".join(plan.filter(action="create")["username"]) == created
    held = plan.filter(action="hold")
    assert held.height == 3 - len(created)
    assert all(f"licence_users is {seats}, PaperCut has 2 users" in reason for reason in held["reason"])
