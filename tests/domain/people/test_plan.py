"""The user sync plan: every rule as a small table, the caps as a story, and random worlds against a simulator."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from pipeline.domain import tables
from pipeline.domain.people.plan import (
    ORDER,
    OWNED,
    Verdict,
    markdown,
    missing,
    permitted,
    plan_id,
    stages,
    user_sync_plan,
    verdict,
    without_credit,
)
from pipeline.domain.rules import SiteRules
from tests.frames import NOW, START, moment, rules, shuffled, table

UNSETTLED = pl.Schema({"username": pl.String, "unsettled": pl.Decimal(18, 6)})
GONE = pl.Schema({"coworker_id": pl.Int64})


def accounts(text: str = "username") -> pl.DataFrame:
    """PrintAccounts with 45 credits; customer 1 is `a`, 2 is `b`, ... and the e-mail is the user name."""
    return table(
        tables.columns("print_accounts"),
        text,
        site="london", coworker_id=lambda row: ord(row["username"][0]) - 96,
        email_key=lambda row: row["username"], email=lambda row: row["username"],
        full_name=lambda row: f"Customer {row['coworker_id']}",
        access="credits", free=False, pay=False, restricted=lambda row: row["access"] == "credits", credits=45,
        pin_digest="pin", registered_at=START,
    ).pipe(_named)  # fmt: skip


def users(text: str = "username") -> pl.DataFrame:
    """PrintUsers, ours, in step with `accounts`."""
    return table(
        tables.columns("print_users"),
        text,
        site="london", full_name=lambda row: f"Customer {ord(row['username'][0]) - 96}",
        email=lambda row: row["username"], balance=Decimal(45), restricted=True, disabled=False, internal=True,
        marked=True, marked_coworker_id=lambda row: ord(row["username"][0]) - 96 if row["marked"] else None,
        observed_at=NOW,
    )  # fmt: skip


def owned(text: str = "username") -> pl.DataFrame:
    return table(
        OWNED,
        text,
        coworker_id=lambda row: ord(row["username"][0]) - 96, email_key=lambda row: row["username"], access="credits",
        state="owned", owned_from=START, pin_digest="pin",
    )  # fmt: skip


def unsettled(text: str = "username unsettled") -> pl.DataFrame:
    return table(UNSETTLED, text)


def gone(*ids: int) -> pl.DataFrame:
    return pl.DataFrame({"coworker_id": list(ids)}, schema=GONE)


def planned(
    accounts_: pl.DataFrame,
    users_: pl.DataFrame,
    owned_: pl.DataFrame,
    *,
    open_jobs: pl.DataFrame | None = None,
    gone_: pl.DataFrame | None = None,
    site: SiteRules | None = None,
) -> pl.DataFrame:
    plan = user_sync_plan(
        accounts_,
        users_,
        owned=owned_,
        unsettled=unsettled() if open_jobs is None else open_jobs,
        gone=gone() if gone_ is None else gone_,
        rules=site or rules(),
        now=NOW,
    )
    return tables.checked("user_sync_plan", plan)


def steps(plan: pl.DataFrame) -> list[str]:
    """Each row as `action username changes target`."""
    return [
        " ".join(filter(None, (action, name, changes, None if target is None else f"{target.normalize():f}")))
        for action, name, changes, target in plan.select("action", "username", "changes", "target").rows()
    ]


def _named(frame: pl.DataFrame) -> pl.DataFrame:
    """Names of people who are left out are no user names."""
    return frame.with_columns(username=pl.when(pl.col("reason").is_null()).then("username"))


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


# --- whose user it is -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("user", "owner", "why"),
    [
        ("username internal marked\na n n", "username", "not an internal user"),
        ("username marked\na n", "username", "do not hold our mark"),
        ("username marked_coworker_id\na 77", "username", "mark of customer 77 but no ownership record"),
        ("username internal\na n", "username\na", "not an internal user"),
        ("username marked\na n", "username\na", "do not hold our mark"),
        ("username marked_coworker_id\na 77", "username\na", "mark of another customer, 77"),
        ("username marked_coworker_id\na 77", "username state\na creating", "mark of another customer, 77"),
    ],
)
def test_a_user_that_is_not_provably_ours_is_only_held(user: str, owner: str, why: str) -> None:
    wanted = planned(accounts("username credits\na 99"), users(user), owned(owner))
    assert wanted["action"].to_list() == ["hold"]
    assert why in wanted["reason"][0]
    adoptable = (
        "do not hold our mark" in why or "no ownership record" in why or "\na" not in owner or "creating" in owner
    )
    assert ("printbridge adopt" in wanted["reason"][0]) == adoptable, "only a remedy that works is named"
    leaving = planned(accounts("username reason\na suspended"), users(user), owned(owner))
    assert set(leaving["action"]) <= {"hold"}, "no removal without the three proofs"


def test_strangers_never_appear() -> None:
    plan = planned(accounts("username reason\nb suspended"), users("username marked\na n\nb n"), owned())
    assert plan.height == 0


# --- who leaves -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "last_access", "expected"),
    [
        ("suspended", "credits", "remove"),
        ("archived", "pay", "remove"),
        ("other_location", "free", "remove"),
        ("no_access", "pay", "remove"),
        ("no_access", "free", "remove"),
        ("no_access", "credits", "adjust"),
        ("no_access", "-", "adjust"),
        ("no_credit", "credits", "adjust"),
        ("no_credit", "pay", "adjust"),
        ("no_pin", "credits", "hold"),
        ("plus_alias", "credits", "hold"),
        ("bad_email", "credits", "hold"),
        ("no_email", "credits", "hold"),
        ("pin_clash", "credits", "hold"),
        ("name_clash", "credits", "hold"),
    ],
)
def test_each_reason_has_its_consequence(reason: str, last_access: str, expected: str) -> None:
    plan = planned(
        accounts(f"username reason access\na {reason} none"),
        users("username\na"),
        owned(f"username access\na {last_access}"),
    )
    assert plan["action"].to_list() == [expected]
    assert plan["coworker_id"].to_list() == [1]


def test_every_reason_is_covered() -> None:
    named = {"no_access", "no_credit"} | {"suspended", "archived", "other_location"}
    named |= {"no_pin", "plus_alias", "bad_email", "no_email", "pin_clash", "name_clash"}
    assert named == set(tables.REASONS), "a new reason needs a consequence in ownership.py and a row above"


def test_without_credit_the_user_stays_restricted_with_what_is_open() -> None:
    plan = planned(
        accounts("username reason access\na no_credit none"),
        users("username restricted balance\na n 45"),
        owned("username\na"),
        open_jobs=unsettled("username unsettled\na 10"),
    )
    assert steps(plan) == ["update a restricted -10", "adjust a balance -10"]
    assert plan["restricted"][0] is True


@pytest.mark.parametrize(
    ("since", "days", "action"),
    [
        ("10-21T12:00", 30, "adjust"),
        ("10-21T11:59", 30, "remove"),
        ("11-20T11:59", 0, "remove"),
        ("-", 0, "adjust"),
    ],
)
def test_long_without_credit_is_removed(since: str, days: int, action: str) -> None:
    plan = planned(
        accounts("username reason\na no_credit"),
        users("username\na"),
        owned(f"username without_credit_since\na {since}"),
        site=rules(keep_without_credit_days=days),
    )
    assert plan["action"].to_list() == [action]


def test_without_credit_names_only_rows_that_change() -> None:
    changed = without_credit(
        accounts("username reason\na no_credit\nb no_credit\nc -\nd -\ne no_pin\nf suspended"),
        owned(
            "username without_credit_since\na -\nb 11-01T00:00\nc 11-01T00:00\nd -\ne 11-01T00:00\nf 11-01T00:00\n"
            "g 11-01T00:00"
        ),
        NOW,
    )
    assert changed.rows() == [("a", NOW), ("c", None)]


def test_a_customer_in_no_account_is_reported_and_left_alone_until_proven_gone() -> None:
    world = (accounts("username\na"), users("username\na\nb\nc"), owned("username\na\nb\nc"))
    assert steps(planned(*world)) == []
    assert missing(world[0], world[2])["coworker_id"].to_list() == [2, 3]
    assert missing(world[0], world[2], pl.DataFrame({"coworker_id": [3]}))["coworker_id"].to_list() == [2]
    plan = planned(*world, gone_=gone(2))
    assert steps(plan) == ["remove b deleted"]
    assert plan["reason"][0] == "customer 2 does not exist in Nexudus any more"


def test_an_extract_without_anyone_removes_nobody() -> None:
    assert steps(planned(accounts(), users("username\na\nb"), owned("username\na\nb"))) == []


def test_a_disabled_leaver_is_left_alone_by_a_site_that_disables() -> None:
    text = accounts("username reason\na suspended\nb no_credit\nc suspended")
    seen = users("username disabled\na y\nb y\nc n")
    plan = planned(text, seen, owned("username\na\nb\nc"), site=rules(removal="disable"))
    assert steps(plan) == ["remove c disabled"]
    deleted = planned(text, seen, owned("username\na\nb\nc"))
    assert deleted.filter(action="remove")["username"].to_list() == ["a", "c"]


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


# --- caps: a story ----------------------------------------------------------------------------------------------------


def leaving(count: int) -> pl.DataFrame:
    return _rows("remove", count)


def renaming(count: int) -> pl.DataFrame:
    return _rows("rename", count)


def _rows(action: str, count: int, changes: str = "") -> pl.DataFrame:
    return table(
        tables.columns("user_sync_plan"),
        "username\n" + "\n".join(f"u{number:04}" for number in range(count)),
        site="london", action=action, changes=changes, reason="r", observed_at=NOW,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("plan", "ours", "removed", "blocked"),
    [
        pytest.param(leaving(0), 0, 0, [], id="nobody is ours, nobody leaves"),
        pytest.param(leaving(5), 5, 0, [], id="a small site may lose its five users"),
        pytest.param(leaving(5), 40, 0, [], id="5 of 40 are normal leavers"),
        pytest.param(leaving(6), 40, 0, ["remove"], id="6 of 40 are not"),
        pytest.param(leaving(6), 59, 0, ["remove"], id="10 % of 59 is 5"),
        pytest.param(leaving(6), 60, 0, [], id="10 % of 60 is 6"),
        pytest.param(leaving(100), 1000, 0, [], id="a month end"),
        pytest.param(leaving(101), 1000, 0, ["remove"], id="more than a month end"),
        pytest.param(leaving(5), 40, 5, [], id="the second five of the day"),
        pytest.param(leaving(1), 40, 10, ["remove"], id="a slow drip"),
        pytest.param(leaving(0), 40, 11, [], id="over the daily cap, but nobody leaves now"),
        pytest.param(leaving(100), 1000, 100, [], id="20 % in a day"),
        pytest.param(leaving(100), 1000, 101, ["remove"], id="more than 20 % in a day"),
        pytest.param(renaming(5), 6, 0, [], id="five renames"),
        pytest.param(renaming(6), 19, 0, ["rename"], id="30 % of 19 is 5"),
        pytest.param(renaming(6), 20, 0, [], id="30 % of 20 is 6"),
        pytest.param(_rows("update", 6, "full_name,email"), 10, 0, ["rename"], id="e-mail changes count as renames"),
        pytest.param(_rows("update", 6, "customer"), 10, 0, ["rename"], id="so do new customers"),
        pytest.param(_rows("update", 6, "mark,email"), 10, 0, [], id="first marks do not"),
        pytest.param(_rows("update", 900, "full_name,restricted"), 10, 0, [], id="other updates never count"),
        pytest.param(_rows("create", 900), 0, 0, [], id="the first import creates everybody"),
        pytest.param(_rows("adjust", 900), 900, 0, [], id="a renewal touches everybody"),
    ],
)  # fmt: skip
def test_the_caps(plan: pl.DataFrame, ours: int, removed: int, blocked: list[str]) -> None:
    outcome = verdict(plan, ours, removed)
    assert list(outcome.blocked) == blocked
    assert permitted(plan, outcome).height == (0 if blocked else plan.height)


def test_a_blocked_phase_says_the_numbers_and_the_next_step() -> None:
    sentence = verdict(leaving(6), 40, 0).blocked["remove"]
    for part in ("6 removals in this run", "15.0 %", "40 print users", "at most 5", "`printbridge resume london`"):
        assert part in sentence, f"{part!r} is missing in: {sentence}"


def test_a_blocked_phase_leaves_the_others_alone() -> None:
    plan = pl.concat([leaving(6), _rows("create", 2), _rows("hold", 1)])
    outcome = verdict(plan, 40, 0)
    assert outcome.counts == {"remove": 6, "rename": 0, "create": 2, "update": 0, "adjust": 0, "hold": 1}
    assert permitted(plan, outcome)["action"].to_list() == ["create", "create"]


# --- the plan as a value ----------------------------------------------------------------------------------------------


def a_plan() -> pl.DataFrame:
    return planned(
        accounts("username reason credits card_digest\na suspended 0 -\nb - 60 card\nc - 45 -\nd no_pin 0 -"),
        users("username\na\nb\nd"),
        owned("username\na\nb\nd"),
        site=rules(card_number="key_fob"),
    )


def test_the_id_ignores_row_order_and_observation_time_and_nothing_else() -> None:
    plan = a_plan()
    assert plan_id(shuffled(plan)) == plan_id(plan)
    assert plan_id(plan.with_columns(pl.col("observed_at") + timedelta(minutes=2))) == plan_id(plan)
    for name in set(plan.columns) - {"observed_at"}:
        value = pl.lit("x") if plan.schema[name] == pl.String else pl.lit(1).cast(plan.schema[name])
        assert plan_id(plan.with_columns(value.alias(name))) != plan_id(plan), f"{name} is not in the digest"


def test_the_order_is_fixed() -> None:
    plan = a_plan()
    assert steps(plan) == [
        "remove a deleted", "update b card 60", "create c mark,full_name,email,restricted,pin,balance 45",
        "adjust b balance 60", "hold d",
    ]  # fmt: skip
    assert set(plan["action"]) <= set(ORDER)
    assert [stage["action"][0] for stage in stages(shuffled(plan))] == ["remove", "update", "create", "adjust", "hold"]


def test_row_order_of_the_inputs_does_not_matter() -> None:
    world = random_world(random.Random(7), size=40)
    assert world.plan().equals(world.plan(seed=1))


def test_the_plan_as_markdown_is_short_and_holds_no_secrets() -> None:
    plan = a_plan()
    text = markdown(plan, verdict(plan, 3, 0))
    assert "pin" not in text.replace(",pin", "").lower().replace("no pin", ""), "a PIN digest"
    assert "Customer" not in text, "names of people stay out"
    assert "| remove | 1 |" in text
    assert text.index("| action | rows |") < text.index("5 rows:") < text.index("| adjust | b |")


def test_markdown_groups_reasons_and_stops_at_fifty_rows() -> None:
    plan = _rows("adjust", 120).with_columns(reason=pl.format("the balance is {}", pl.int_range(pl.len())))
    text = markdown(plan, Verdict({"remove": "Stop."}, {"adjust": 120}))
    assert "| adjust | 120 |  | the balance is n |" in text
    assert "The first 50 of 120 rows:" in text
    assert text.count("| adjust | u") == 50
    assert text.startswith("**Blocked (remove)**: Stop.")


def test_markdown_cells_cannot_break_the_table() -> None:
    text = markdown(_rows("hold", 1).with_columns(username=pl.lit("a|b\nc")), Verdict({}, {}))
    assert r"| hold | a\|b c |" in text


def test_markdown_of_nothing() -> None:
    assert markdown(planned(accounts(), users(), owned()), Verdict({}, {})) == "Nothing to change.\n"


# --- random worlds ----------------------------------------------------------------------------------------------------


@dataclass
class World:
    """PaperCut and our ownership rows as plain dicts: a simulator of applying a plan, and nothing else."""

    site: SiteRules
    accounts: pl.DataFrame
    users: dict[str, dict[str, Any]]
    owned: dict[str, dict[str, Any]]
    unsettled: dict[str, Decimal]
    gone: list[int] = field(default_factory=list)

    def frames(self) -> dict[str, pl.DataFrame]:
        open_jobs = [{"username": name, "unsettled": cost} for name, cost in self.unsettled.items()]
        return {
            "accounts": self.accounts,
            "users": pl.DataFrame(list(self.users.values()), schema=tables.columns("print_users")),
            "owned": pl.DataFrame(list(self.owned.values()), schema=OWNED),
            "unsettled": pl.DataFrame(open_jobs, schema=UNSETTLED),
            "gone": gone(*self.gone),
        }

    def plan(self, *, seed: int | None = None) -> pl.DataFrame:
        """The plan; with a seed, all rows come in another order."""
        frames = self.frames()
        if seed is not None:
            frames = {name: shuffled(frame, seed + place) for place, (name, frame) in enumerate(frames.items())}
        return user_sync_plan(**frames, rules=self.site, now=NOW)

    def apply(self, plan: pl.DataFrame) -> None:
        for row in plan.filter(pl.col("action") != "hold").rows(named=True):
            changes = row["changes"].split(",")
            match row["action"]:
                case "create":
                    self.create(row, changes)
                case "rename":
                    self.rename(row, changes)
                case "update":
                    self._set(row, row["username"], changes)
                case "adjust":
                    self.users[row["username"]]["balance"] = row["target"]
                case _:
                    self.remove(row["username"])

    def create(self, row: dict[str, Any], changes: list[str]) -> None:
        assert row["username"] not in self.users, "created twice"
        self.users[row["username"]] = {
            "site": "london", "username": row["username"], "full_name": "", "email": "", "balance": Decimal(0),
            "restricted": False, "disabled": False, "internal": True, "marked": True, "card_digest": None,
            "marked_coworker_id": row["coworker_id"], "observed_at": NOW,
        }  # fmt: skip
        self.owned[row["username"]] = dict.fromkeys(OWNED, None) | {
            "username": row["username"], "state": "owned", "owned_from": NOW,
        }  # fmt: skip
        self._set(row, row["username"], changes)

    def rename(self, row: dict[str, Any], changes: list[str]) -> None:
        new = row["new_username"]
        assert new not in self.users, "renamed onto an existing user"
        for table_ in (self.users, self.owned):
            table_[new] = table_.pop(row["username"]) | {"username": new}
        # Open jobs are known by customer, so they follow the user.
        self.unsettled[new] = self.unsettled.get(new, Decimal(0)) + self.unsettled.pop(row["username"], Decimal(0))
        self._set(row, new, changes)

    def remove(self, name: str) -> None:
        if self.site.removal == "disable":
            self.users[name]["disabled"] = True
        else:
            del self.users[name], self.owned[name]

    def _set(self, row: dict[str, Any], name: str, changes: list[str]) -> None:
        user, owner = self.users[name], self.owned[name]
        user.update({key: row[key] for key in ("full_name", "email", "restricted") if key in changes})
        user.update(marked=True, marked_coworker_id=row["coworker_id"])
        owner.update(coworker_id=row["coworker_id"], email_key=row["email_key"], access=row["access"], state="owned")
        if "pin" in changes:
            owner["pin_digest"] = row["pin_digest"]
        if "card" in changes:
            user["card_digest"] = owner["card_digest"] = row["card_digest"]
        if "disabled" in changes:
            user["disabled"] = False
        if "balance" in changes:
            user["balance"] = row["target"]


def random_world(chance: random.Random, size: int = 12) -> World:
    """Accounts, users and ownership that agree and disagree in every way, over few names so that they meet."""
    names = [f"u{number}" for number in range(size)]
    site = rules(
        chance.choice(["credits_and_pay_per_print", "credits_only", "pay_per_print", "free_unlimited"]),
        removal=chance.choice(["delete", "disable"]),
        card_number=chance.choice(["none", "key_fob"]),
        licence_users=chance.choice([0, 0, size // 2, size]),
        max_credits=chance.choice([100, 100_000]),
    )

    def some(*values: Any) -> Any:
        return chance.choice(values)

    customers = chance.sample(range(1, size + 1), size)
    taken = chance.sample(names, chance.randint(0, size))
    rows = []
    for name, customer in zip(taken, customers, strict=False):
        reason = some(None, None, None, *tables.REASONS)
        rows.append(
            {
                "site": "london", "email_key": name, "email": name, "coworker_id": customer,
                "full_name": some("N", "M"), "username": None if reason else name,
                "access": "none" if reason else some("free", "pay", "credits"), "free": False, "pay": False,
                "restricted": some(True, False), "credits": some(0, 45, 99, 150), "pin_digest": some("p", "q"),
                "card_digest": some(None, "k", "l"), "registered_at": some(None, START, NOW), "reason": reason,
            }
        )  # fmt: skip
    users_: dict[str, dict[str, Any]] = {}
    owned_: dict[str, dict[str, Any]] = {}
    owners = chance.sample(range(1, size + 1), size)
    for name, customer in zip(names, owners, strict=True):
        if chance.random() < 0.6:
            owned_[name] = {
                "username": name, "coworker_id": customer, "email_key": name,
                "access": some("free", "pay", "credits", None), "state": some("owned", "owned", "creating"),
                "owned_from": some(START, NOW), "pin_digest": some("p", "q", None), "card_digest": some(None, "k", "l"),
                "without_credit_since": some(None, moment("11-19T00:00"), moment("08-01T00:00")),
            }  # fmt: skip
        if chance.random() < 0.7:
            marked = chance.random() < 0.8
            users_[name] = {
                "site": "london", "username": name, "full_name": some("N", "M"), "email": some(name, "other"),
                "balance": some(Decimal(0), Decimal(45), Decimal("44.5")), "restricted": some(True, False),
                "disabled": chance.random() < 0.2, "internal": chance.random() < 0.9, "marked": marked,
                "marked_coworker_id": some(customer, customer, customer, 1) if marked else None,
                "card_digest": some(None, "k", "m"), "observed_at": NOW,
            }  # fmt: skip
    open_jobs = {name: some(Decimal(0), Decimal(5), Decimal("7.25")) for name in names if chance.random() < 0.3}
    frame = pl.DataFrame(rows, schema=tables.columns("print_accounts"))
    return World(site, frame, users_, owned_, open_jobs, [n for n in range(1, size + 1) if chance.random() < 0.1])


def proofs(world: World, name: str) -> bool:
    user, owner = world.users[name], world.owned.get(name)
    if owner is None or not user["internal"]:
        return False
    creating = owner["state"] == "creating" and not user["marked"]
    return creating or user["marked"]


@pytest.mark.parametrize("seed", range(10))
def test_applying_a_plan_leaves_nothing_to_do_and_strangers_alone(seed: int) -> None:
    for number in range(100):
        world = random_world(random.Random(seed * 1000 + number))
        replay = f"replay: random_world(random.Random({seed * 1000 + number}))"
        plan = world.plan()
        if number % 20 == 0:
            tables.checked("user_sync_plan", plan)
        strangers = {name: dict(user) for name, user in world.users.items() if not proofs(world, name)}
        touched = set(plan.filter(~pl.col("action").is_in(["hold", "create"]))["username"])
        assert not touched & set(strangers), f"a user that is not ours would be changed; {replay}"
        pairs = plan.filter(pl.col("action") != "hold").select("action", "username", "changes")
        assert not pairs.is_duplicated().any(), f"one change twice for a user; {replay}"
        capped = world.site.licence_users and world.site.removal == "delete" and plan.filter(action="remove").height > 5
        before = len(world.users)
        world.apply(plan)
        assert {name: world.users[name] for name in strangers} == strangers, replay
        seats = world.site.licence_users
        assert not seats or len(world.users) <= max(seats, before), f"more users than licence seats; {replay}"
        if not capped:
            again = world.plan()
            left = again.filter(pl.col("action") != "hold")
            assert left.height == 0, f"the second plan still wants {steps(left)}; {replay}"


@pytest.mark.parametrize("seed", range(3))
def test_removals_need_positive_evidence(seed: int) -> None:
    for number in range(60):
        world = random_world(random.Random(90_000 + seed * 1000 + number))
        world.gone.clear()
        by_key = {row["email_key"]: row for row in world.accounts.rows(named=True)}
        by_customer = {row["coworker_id"]: row for row in world.accounts.rows(named=True)}
        for name in world.plan().filter(action="remove")["username"]:
            owner = world.owned[name]
            account = by_key.get(owner["email_key"]) or by_customer[owner["coworker_id"]]
            assert account["reason"] in {"suspended", "archived", "other_location", "no_access", "no_credit"}
            assert by_customer.get(owner["coworker_id"], account)["reason"] is not None, "wanted under another name"
