"""Who gets a print user: preferred account, access, reasons, clashes."""

from __future__ import annotations

import unicodedata
from datetime import timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.domain import tables
from pipeline.domain.names import bad_email, email_key, username
from pipeline.domain.people.accounts import by_default, print_accounts
from tests.frames import HOME, NOW, START, TIME, customers, grants, moment, rules, shuffled, uses

MODELS = ("pay_per_print", "credits_only", "credits_and_pay_per_print", "free_unlimited")
A = "a@example.com"


def decide(
    people: pl.DataFrame,
    granted: pl.DataFrame | None = None,
    used: pl.DataFrame | None = None,
    model: str = "credits_and_pay_per_print",
    **choices: Any,
) -> pl.DataFrame:
    granted = grants() if granted is None else granted
    used = uses() if used is None else used
    made = print_accounts(people, granted, used, rules(model, **choices), NOW)
    return tables.checked("print_accounts", made)


def reasons(*args: Any, **choices: Any) -> dict[int, str | None]:
    return dict(decide(*args, **choices).select("coworker_id", "reason").rows())


# --- preferred account: rules.md 3.1 ----------------------------------------------------------------------------------


def preferred(text: str) -> tuple[int, str | None]:
    """The preferred customer of one e-mail and the reason that keeps it out; all accounts may pay."""
    people = customers(text).with_columns(email=pl.lit(A), email_key=pl.lit(A), pay=True)
    made = decide(shuffled(people, seed=len(text)))
    assert made.height == 1, "one e-mail is one print user (U4)"
    return made.select("coworker_id", "reason").row(0)


def test_p1_an_individual_stands_before_a_company_whatever_the_ages() -> None:
    assert preferred("coworker_id kind registered_at\n1 company 01-01T00:00\n2 individual 02-01T00:00") == (2, None)
    assert preferred("coworker_id kind registered_at\n1 company 02-01T00:00\n2 individual 01-01T00:00") == (2, None)


def test_p2_of_several_individuals_the_oldest() -> None:
    assert preferred("coworker_id registered_at\n1 03-01T00:00\n2 01-01T00:00\n3 02-01T00:00") == (2, None)


def test_p3_a_younger_active_individual_stands_before_an_older_suspended_one() -> None:
    assert preferred("coworker_id active\n1 n\n2 y") == (2, None)


def test_p4_a_company_where_there_is_no_individual() -> None:
    assert preferred("coworker_id kind\n1 company") == (1, None)


def test_p5_of_several_companies_the_oldest_active() -> None:
    assert preferred("coworker_id kind active\n1 company n\n2 company y\n3 company y") == (2, None)


def test_p6_a_suspended_individual_is_not_replaced_by_the_company() -> None:
    assert preferred("coworker_id kind active\n1 company y\n2 individual n") == (2, "suspended")


def test_p7_nobody_where_all_are_suspended() -> None:
    assert preferred("coworker_id kind active\n1 company n\n2 individual n\n3 individual n") == (2, "suspended")


def test_p8_nobody_with_a_plus_in_the_address() -> None:
    made = decide(customers("coworker_id email pay\n1 a+b@example.com y"))
    assert made.select("reason", "username").row(0) == ("plus_alias", None)


def test_archived_accounts_neither_are_nor_block_a_preferred_account() -> None:
    assert preferred("coworker_id archived\n1 y\n2 n") == (2, None)
    assert preferred("coworker_id kind archived\n1 individual y\n2 company n") == (2, None)
    assert preferred("coworker_id active archived\n1 n y\n2 n n") == (2, "suspended")
    assert preferred("coworker_id kind archived\n1 company y\n2 individual y") == (2, "archived")


def test_of_two_registered_at_once_the_lowest_id_and_without_a_date_the_youngest() -> None:
    assert preferred("coworker_id registered_at\n2 01-01T00:00\n1 01-01T00:00\n3 01-02T00:00") == (1, None)
    assert preferred("coworker_id registered_at\n1 -\n2 06-01T00:00") == (2, None)


def test_e_mails_that_differ_in_case_or_form_are_one_person() -> None:
    people = customers(
        "coworker_id email pay\n1 STRASSE@Example.com y\n2 straße@example.COM n\n3 ＳＴＲＡẞＥ@example.com n"
    )
    made = decide(people)
    assert made.select("coworker_id", "email", "username").rows() == [(1, "STRASSE@Example.com", "strasse@example.com")]


# --- access: design 3 -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "flags", "expected"),
    [
        ("pay_per_print", "free", ("free", False, None, 0)),
        ("pay_per_print", "pay", ("pay", False, None, 0)),
        ("pay_per_print", "credits", ("none", True, "no_access", 0)),
        ("pay_per_print", "free pay credits", ("free", False, None, 0)),
        ("credits_only", "free", ("free", False, None, 0)),
        ("credits_only", "pay", ("none", True, "no_access", 0)),
        ("credits_only", "credits", ("credits", True, None, 45)),
        ("credits_only", "pay credits", ("credits", True, None, 45)),
        ("credits_only", "free credits", ("free", False, None, 45)),
        ("credits_only", "used", ("none", True, "no_credit", 0)),
        ("credits_and_pay_per_print", "free pay", ("free", False, None, 0)),
        ("credits_and_pay_per_print", "pay", ("pay", False, None, 0)),
        ("credits_and_pay_per_print", "pay credits", ("pay", False, None, 45)),
        ("credits_and_pay_per_print", "credits", ("credits", True, None, 45)),
        ("credits_and_pay_per_print", "used", ("none", True, "no_credit", 0)),
        ("credits_and_pay_per_print", "", ("none", True, "no_access", 0)),
        ("free_unlimited", "free", ("free", False, None, 0)),
        ("free_unlimited", "pay credits", ("none", True, "no_access", 0)),
    ],
)
def test_access(model: str, flags: str, expected: tuple[str, bool, str | None, int]) -> None:
    people = customers("coworker_id\n1").with_columns(free=pl.lit("free" in flags), pay=pl.lit("pay" in flags))
    granted = grants(
        "credit_id total_uses remaining_uses\n"
        + ("1 45 45" if "credits" in flags else "1 45 0" if "used" in flags else "")
    )
    made = decide(people, granted, model=model)
    assert made.select("access", "restricted", "reason", "credits").row(0) == expected


@pytest.mark.parametrize(
    ("model", "setting", "member", "access"),
    [
        ("free_unlimited", "members_free_from", True, "free"),
        ("free_unlimited", "members_free_from", False, "none"),
        ("free_unlimited", "contacts_free_from", False, "free"),
        ("free_unlimited", "members_pay_from", True, "none"),
        ("pay_per_print", "members_pay_from", True, "pay"),
        ("pay_per_print", "contacts_pay_from", True, "none"),
        ("credits_and_pay_per_print", "contacts_pay_from", False, "pay"),
        ("credits_and_pay_per_print", "contacts_free_from", False, "none"),
        ("credits_only", "members_pay_from", True, "none"),
    ],
)
def test_defaults_act_on_new_customers_in_their_own_models(model: str, setting: str, member: bool, access: str) -> None:
    people = customers("coworker_id registered_at\n1 06-01T00:00\n2 06-01T00:01\n3 -").with_columns(
        member=pl.lit(member)
    )
    made = decide(people, model=model, **{setting: moment("06-01T00:00")})
    assert made.sort("coworker_id")["access"].to_list() == ["none", access, "none"], "strictly after the date only"


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("flag", ["pay", "free"])
def test_a_flag_is_a_default_only_in_a_model_that_has_it(model: str, flag: str) -> None:
    new = customers("coworker_id registered_at\n1 06-02T00:00")
    since: dict[str, Any] = {f"members_{each}_from": moment("06-01T00:00") for each in ("pay", "free")}
    there = new.select(there=by_default(flag, rules(model, **since)))["there"].to_list()
    models = {"free": {"free_unlimited"}, "pay": {"pay_per_print", "credits_and_pay_per_print"}}
    assert there == [model in models[flag]]


@pytest.mark.parametrize(("flag", "access"), [("pay", ["none", "pay"]), ("free", ["pay", "pay"])])
def test_a_person_can_end_a_default_for_one_customer(flag: str, access: list[str]) -> None:
    people = customers("coworker_id registered_at\n1 06-02T00:00\n2 06-02T00:00")
    site = rules("pay_per_print", members_pay_from=moment("06-01T00:00"))
    ended = pl.DataFrame({"coworker_id": [1], "flag": [flag]})
    made = print_accounts(people, grants(), uses(), site, NOW, ended=ended)
    assert made.sort("coworker_id")["access"].to_list() == access


def test_credits_pool_over_active_accounts_and_lose_what_our_ledger_used() -> None:
    people = customers(
        """
        coworker_id active archived
        1           y      n
        2           y      n
        3           n      n
        4           y      y
        5           y      n
        """
    ).with_columns(email=pl.when(pl.col("coworker_id") < 5).then(pl.lit(A)).otherwise("email"))
    people = people.with_columns(email_key=email_key("email"))
    granted = grants("credit_id coworker_id remaining_uses\n1 1 10\n2 2 20\n3 3 40\n4 4 80\n5 5 160\n6 1 5")
    made = decide(people, granted, uses("credit_id open_cents\n2 3\n6 9"))
    assert dict(made.select("email_key", "credits").rows()) == {A: 27, "c5@example.com": 160}


def test_the_home_location_of_the_preferred_account_decides() -> None:
    people = customers("coworker_id business_id pay\n1 101 y\n2 202 y\n3 - y")
    assert reasons(people, customers="home") == {1: None, 2: "other_location", 3: "other_location"}
    assert reasons(people, customers="all") == {1: None, 2: None, 3: None}
    twice = customers(f"coworker_id email business_id pay\n1 {A} 202 y\n2 {A} {HOME} y")
    assert reasons(twice) == {1: "other_location"}, "the other account of that e-mail does not count"


# --- left out: with a reason ------------------------------------------------------------------------------------------


def test_every_reason() -> None:
    people = customers(
        """
        coworker_id email                   active archived pay pin_digest business_id
        1           c1@example.com          y      n        y   p1         101
        2           c2@example.com          n      n        y   p2         101
        3           c3@example.com          y      y        y   p3         101
        4           -                       y      n        y   p4         101
        5           a+b@example.com         y      n        y   p5         101
        6           a/b@example.com         y      n        y   p6         101
        7           c7@example.com          y      n        y   -          101
        8           c8@example.com          y      n        y   p1         101
        9           x_y@example.com         y      n        y   p9         101
        10          x@y_example.com         y      n        y   p10        101
        11          c11@example.com         y      n        y   p11        202
        12          c12@example.com         y      n        n   p12        101
        13          c13@example.com         y      n        n   p13        101
        14          -                       n      n        y   p14        101
        15          -                       y      y        y   p15        101
        """
    )
    expired = grants("credit_id coworker_id expires_at\n1 13 11-01T00:00")
    made = decide(people, expired, username="user_domain")
    assert dict(made.select("coworker_id", "reason").rows()) == {
        1: None, 2: "suspended", 3: "archived", 4: "no_email", 5: "plus_alias", 6: "bad_email", 7: "no_pin",
        8: "pin_clash", 9: None, 10: "name_clash", 11: "other_location", 12: "no_access", 13: "no_credit",
        14: "suspended",
    }  # fmt: skip
    assert made.filter(pl.col("coworker_id") == 4)["email_key"].item() == "#4"
    named = set(made.filter(pl.col("username").is_not_null())["coworker_id"])
    assert named == {1, 2, 3, 7, 8, 9, 10, 11, 12, 13}, "whoever has a usable e-mail has a name, left out or not"
    of_ezeep = {"no_flag", "printing_off"}
    assert {reason for reason in made["reason"] if reason} == set(tables.REASONS) - of_ezeep


def test_a_clash_counts_only_among_coming_users_and_the_oldest_keeps_the_pin() -> None:
    people = customers(
        """
        coworker_id registered_at pay pin_digest
        1           01-01T00:00   n   same
        2           03-01T00:00   y   same
        3           02-01T00:00   y   same
        4           -             y   same
        5           04-01T00:00   n   same
        """
    )
    assert reasons(people) == {1: "no_access", 2: "pin_clash", 3: None, 4: "pin_clash", 5: "no_access"}


@pytest.mark.parametrize(
    ("card_number", "digest"), [("none", None), ("access_card", "card1"), ("key_fob", "fob1"), ("pin", "pin1")]
)
def test_the_card_is_the_one_the_site_asks_for(card_number: str, digest: str | None) -> None:
    assert decide(customers("coworker_id\n1"), card_number=card_number)["card_digest"].item() == digest


def test_the_order_of_rows_does_not_matter() -> None:
    people = customers("coworker_id pay\n" + "\n".join(f"{n} {'yn'[n % 2]}" for n in range(1, 40))).with_columns(
        email=pl.format("e{}@example.com", pl.col("coworker_id") % 7),
        pin_digest=pl.format("p{}", pl.col("coworker_id") % 5),
        registered_at=pl.lit(START, TIME),
    )
    people = people.with_columns(email_key=email_key("email"))
    granted = grants("credit_id coworker_id\n" + "\n".join(f"{n} {n * 2}" for n in range(1, 20)))
    first = decide(people, granted)
    assert first["email_key"].is_sorted()
    for seed in range(5):
        assert decide(shuffled(people, seed), shuffled(granted, seed)).equals(first)


def test_no_customers_at_all() -> None:
    assert decide(tables.empty("nexudus_customers")).is_empty()


# --- names ------------------------------------------------------------------------------------------------------------


LETTERS = st.characters(codec="utf-8", max_codepoint=0x024F, exclude_categories=["Cc"], exclude_characters="ǰ")


@settings(max_examples=300, deadline=None)
@given(st.lists(st.text(LETTERS | st.sampled_from("Σς\u03c3ẞЯя\uff21\uff20"), max_size=8)))
def test_the_e_mail_key_is_nfkc_and_case_folded(texts: list[str]) -> None:
    made = pl.DataFrame({"email": texts}, schema={"email": pl.String}).select(email_key("email"))["email"].to_list()
    assert made == [unicodedata.normalize("NFKC", text).casefold().strip() or None for text in texts]


@pytest.mark.parametrize(
    ("email", "bad"),
    [
        ("ann@example.com", False),
        (" Ann@Example.com ", False),
        ("jürgen@exämple.de", False),
        ("o'neil&co@example.com", False),
        ("ann", True),
        ("ann@", True),
        ("@example.com", True),
        ("ann@example@com", True),
        ("ann lee@example.com", True),
        ("ann\u00a0lee@example.com", True),
        ("ann\u200b@example.com", True),
        ("ann\x00@example.com", True),
        ("a/b@example.com", True),
        ("a\\b@example.com", True),
        ("a" * 38 + "@example.com", False),
        ("a" * 39 + "@example.com", True),
    ],
)
def test_an_address_that_cannot_be_a_user_name(email: str, bad: bool) -> None:
    assert pl.DataFrame({"email": [email]}).select(bad_email())["email"].item() is bad


def test_the_user_name_is_the_e_mail_or_has_no_at_sign() -> None:
    emails = pl.DataFrame({"email": [" Ann.Lee@Example.com "]})
    assert emails.select(username("email")).item() == "ann.lee@example.com"
    assert emails.select(username("user_domain")).item() == "ann.lee_example.com"


def test_a_date_beyond_now_is_no_obstacle() -> None:
    people = customers("coworker_id pay\n1 y").with_columns(registered_at=pl.col("registered_at") + timedelta(days=900))
    assert reasons(people) == {1: None}
