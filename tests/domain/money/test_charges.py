"""Charges: which jobs are decided, what pays for them, what a late change reverses."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.domain.money.attribution import attributed, unsettled
from pipeline.domain.money.charges import print_charges
from pipeline.domain.money.history import ACCESS, Past, kept
from pipeline.domain.money.reasons import RULES
from pipeline.domain.money.references import found_in, reference
from pipeline.domain.money.reversals import RETRIED, TAKEN_BACK, live, replacing, taken_back
from pipeline.domain.people.accounts import print_accounts
from tests.frames import (
    LEDGER,
    NOW,
    World,
    customers,
    grants,
    jobs,
    ledger,
    mapping,
    moment,
    names_of,
    rules,
    short,
    table,
    uses,
)

PAYER = customers("coworker_id pay\n1 y")
ONE = jobs("job_id\n1")


def world(text: str = "job_id\n1", **changes: Any) -> World:
    """Customer 1 pays as he prints and has no credits."""
    return World(PAYER, jobs(text)).but(**changes)


def revised(text: str, **changes: Any) -> World:
    """The world of `world()` after its job was charged 50 cents and the sale confirmed; then the row changed."""
    before = world()
    return before.enter(before.charge(), sale="confirmed").but(jobs=jobs(text), **changes)


# --- which jobs are decided -------------------------------------------------------------------------------------------


def test_only_mature_jobs_since_charge_from() -> None:
    printed = jobs("job_id printed_at\n1 11-09T23:59\n2 11-10T00:00\n3 11-20T11:30\n4 11-20T11:31")
    site = rules(charge_from=moment("11-10T00:00"), maturity_minutes=30)
    assert World(PAYER, printed, rules=site).charge()["job_id"].to_list() == ["2", "3"]


# --- the means, in order ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "flags", "credits", "cost", "expected"),
    [
        ("free_unlimited", "", 0, 50, [("waive", 50, "confirmed", "free")]),
        ("credits_and_pay_per_print", "free pay", 90, 50, [("waive", 50, "confirmed", "free")]),
        ("pay_per_print", "pay", 90, 50, [("sale", 50, "priced", "money")]),
        ("pay_per_print", "", 90, 50, [("sale", 50, "held", "overdrawn")]),
        ("credits_only", "pay", 50, 50, [("credit", 50, "priced", "credits")]),
        ("credits_only", "pay", 49, 50, [("sale", 50, "held", "overdrawn")]),
        ("credits_and_pay_per_print", "pay", 50, 50, [("credit", 50, "priced", "credits")]),
        ("credits_and_pay_per_print", "pay", 49, 50, [("sale", 50, "priced", "money")]),
        ("credits_and_pay_per_print", "", 49, 50, [("sale", 50, "held", "overdrawn")]),
        ("credits_and_pay_per_print", "pay", 90, 0, [("waive", 0, "confirmed", "zero_cost")]),
        ("credits_and_pay_per_print", "pay", 90, "-", [("sale", 0, "held", "cost_unknown")]),
        ("credits_and_pay_per_print", "pay", 90, -5, [("sale", 0, "held", "cost_unknown")]),
        ("credits_and_pay_per_print", "pay", 90, "12.5", [("sale", 13, "held", "fractional_cost")]),
        ("credits_and_pay_per_print", "pay", 90_000, 50_001, [("sale", 50_001, "held", "above_max_charge")]),
        ("credits_and_pay_per_print", "pay", 0, 50_000, [("sale", 50_000, "priced", "money")]),
        ("free_unlimited", "", 0, "-", [("waive", 0, "confirmed", "free")]),
    ],
)  # fmt: skip
def test_means(model: str, flags: str, credits: int, cost: Any, expected: list[Any]) -> None:  # noqa: A002 - a table
    people = PAYER.with_columns(free=pl.lit("free" in flags), pay=pl.lit("pay" in flags))
    granted = grants(f"credit_id remaining_uses\n1 {credits}")
    lines = World(people, jobs(f"job_id cost\n1 {cost}"), granted, rules=rules(model)).charge()
    assert lines.select("kind", "amount_cents", "state", "rule").rows() == expected
    assert lines["coworker_id"].item() == 1


@pytest.mark.parametrize(
    ("rounding", "cost", "kind", "cents"),
    [
        ("half_up", "12.5", "sale", 13),
        ("half_up", "12.499999", "sale", 12),
        ("half_up", "0.4", "waive", 0),
        ("up", "12.000001", "sale", 13),
        ("up", "12", "sale", 12),
        ("up", "0.4", "sale", 1),
    ],
)
def test_rounding(rounding: str, cost: str, kind: str, cents: int) -> None:
    lines = world(f"job_id cost\n1 {cost}", rules=rules(rounding=rounding)).charge()
    assert lines.select("kind", "amount_cents").row(0) == (kind, cents)
    assert lines["state"].item() != "held"


@pytest.mark.parametrize(
    ("cost", "site", "people", "says"),
    [
        ("12.50", rules(), PAYER, ["12.5 credits", "hall", "13 cents"]),
        ("600", rules(max_charge=500), PAYER, ["600 cents", "500"]),
        ("50", rules("credits_only"), PAYER, ["50 cents", "45 were left"]),
        ("100", rules(), PAYER.with_columns(archived=True), ["customer 1", "100 cents"]),
        ("-", rules(), PAYER, ["no usable cost"]),
    ],
)
def test_a_held_line_says_why_with_the_numbers_and_what_to_do(
    cost: str, site: Any, people: pl.DataFrame, says: list[str]
) -> None:
    held = World(people, jobs(f"job_id cost\n1 {cost}"), grants("credit_id\n1"), names=names_of(PAYER), rules=site)
    line = held.charge().row(0, named=True)
    assert line["state"] == "held"
    assert [part for part in [*says, "void"] if part not in line["reason"]] == []


def test_credits_of_several_grants_are_one_line_each_in_the_order_of_use() -> None:
    granted = grants("credit_id remaining_uses expires_at\n1 30 -\n2 15 12-31T00:00\n3 10 11-30T00:00")
    lines = World(PAYER, ONE, granted).charge().sort("seq")
    assert lines.select("credit_id", "seq", "amount_cents").rows() == [(3, 0, 10), (2, 1, 15), (1, 2, 25)]
    assert lines["ref"].n_unique() == 3


def test_the_credit_lines_of_every_job_are_numbered_from_its_own_first() -> None:
    granted = grants("credit_id remaining_uses\n1 30\n2 40\n3 40")
    lines = World(PAYER, jobs("job_id cost\n1 50\n2 50"), granted).charge()
    assert lines.select("job_id", "seq", "credit_id", "amount_cents").rows() == [
        ("1", 0, 1, 30), ("1", 1, 2, 20), ("2", 0, 2, 20), ("2", 1, 3, 30),
    ]  # fmt: skip


def test_a_part_is_used_only_where_money_may_follow() -> None:
    use = rules(partial_credits="use")
    granted = grants("credit_id\n1")
    may = World(PAYER, ONE, granted, rules=use)
    assert short(may.charge()) == [("1", "credit", 0, 45, "priced", "credits"), ("1", "sale", 0, 5, "priced", "money")]
    may_not = may.but(customers=customers("coworker_id pay\n1 n"))
    assert short(may_not.charge()) == [("1", "sale", 0, 50, "held", "overdrawn")]


def test_a_grant_pays_what_was_printed_while_it_was_valid_even_if_it_has_expired_since() -> None:
    granted = grants("credit_id remaining_uses expires_at\n1 100 11-20T10:00")
    printed = jobs("job_id printed_at\n1 11-20T09:59\n2 11-20T10:00")
    assert World(PAYER, printed, granted).charge()["kind"].to_list() == ["credit", "sale"]


def test_more_credits_than_a_job_has_references_for_are_held_and_not_used() -> None:
    granted = grants("credit_id remaining_uses\n" + "\n".join(f"{n} 1" for n in range(1, 38)))
    assert World(PAYER, jobs("job_id cost\n1 36"), granted).charge().height == 36
    assert short(World(PAYER, jobs("job_id cost\n1 37"), granted).charge()) == [
        ("1", "sale", 0, 37, "held", "too_many_credits")
    ]


# --- who pays ---------------------------------------------------------------------------------------------------------


def test_the_preferred_account_pays_and_all_accounts_give_credits() -> None:
    people = customers(
        "coworker_id email kind pay\n1 a@x.com company n\n2 a@x.com individual y\n3 a@x.com individual n"
    )
    granted = grants("credit_id coworker_id remaining_uses\n1 1 20\n2 3 20")
    owner = mapping("username coworker_id\na@x.com 1")
    lines = World(people, jobs("job_id username\n1 a@x.com\n2 a@x.com"), granted, names=owner).charge()
    assert set(lines["coworker_id"]) == {2}, "U7: charges go to the preferred account only"
    cheap = World(people, jobs("job_id username cost\n1 a@x.com 40"), granted, names=owner).charge()
    assert cheap["credit_id"].to_list() == [1, 2], "U6: credits of all accounts"


def test_credits_of_another_account_that_is_suspended_do_not_pay() -> None:
    people = customers("coworker_id email active pay\n1 a@x.com y y\n2 a@x.com n y")
    granted = grants("credit_id coworker_id remaining_uses\n1 2 100")
    assert World(people, jobs("job_id username\n1 a@x.com"), granted).charge()["kind"].to_list() == ["sale"]


def test_no_money_in_a_model_without_it_whatever_the_accounts_say() -> None:
    owners, none = names_of(PAYER), uses()
    before = print_accounts(PAYER, grants(), none, rules("pay_per_print"), NOW)
    lines = print_charges(
        ONE, accounts=before, customers=PAYER, names=owners, grants=grants(), uses=none, ledger=ledger(),
        rules=rules("credits_only"), now=NOW,
    )  # fmt: skip
    assert short(lines) == [("1", "sale", 0, 50, "held", "overdrawn")]


def test_a_customer_suspended_since_pays_as_before() -> None:
    suspended = customers("coworker_id active pay\n1 n y")
    assert short(World(suspended, ONE).charge()) == [("1", "sale", 0, 50, "priced", "money")]
    with_credits = World(suspended, ONE, grants("credit_id remaining_uses\n1 50"))
    assert short(with_credits.charge()) == [("1", "credit", 0, 50, "priced", "credits")]


@pytest.mark.parametrize("left", ["archived", "deleted"])
def test_a_customer_who_is_gone_is_held(left: str) -> None:
    people = PAYER.with_columns(archived=True) if left == "archived" else PAYER.clear()
    lines = World(people, ONE, names=names_of(PAYER)).charge()
    assert short(lines) == [("1", "sale", 0, 50, "held", "customer_gone")]
    assert lines.select("coworker_id", "email_key").row(0) == (1, "c1@example.com")


def test_a_customer_with_a_new_e_mail_still_pays_and_its_next_owner_does_not() -> None:
    people = customers("coworker_id email pay\n1 new@example.com y\n2 c1@example.com y")
    lines = World(people, ONE, names=names_of(PAYER)).charge()
    assert lines.select("coworker_id", "email_key", "username").row(0) == (1, "new@example.com", "c1@example.com")


def test_where_the_customer_is_gone_another_account_of_the_e_mail_pays() -> None:
    people = customers("coworker_id email archived pay\n1 c1@example.com y y\n2 c1@example.com n y")
    assert World(people, ONE, names=names_of(PAYER)).charge()["coworker_id"].item() == 2


# --- late changes -----------------------------------------------------------------------------------------------------


def test_a_job_read_again_without_a_change_gives_nothing() -> None:
    assert revised("job_id\n1").charge().is_empty()
    assert revised("job_id revision printer\n1 1 moved").charge().is_empty(), "only cost and flags matter"


@pytest.mark.parametrize("column", ["refunded", "shared_account"])
def test_a_job_that_no_longer_counts_is_reversed_once(column: str) -> None:
    after = revised(f"job_id revision {column}\n1 1 y")
    undo = after.charge()
    assert short(undo) == [("1", "undo_sale", 0, 50, "priced", "no_longer_counts")]
    sale = after.ledger.row(0, named=True)
    for name in ("printed_at", "username", "email_key", "coworker_id", "credit_id"):
        assert undo[name].item() == sale[name], f"the reversal must carry the sale's {name}"
    assert (undo["undoes"].item(), undo["revision"].item()) == (sale["ref"], 1)
    assert after.enter(undo).charge().is_empty()
    assert live(after.enter(undo).ledger).is_empty()


@pytest.mark.parametrize("cost", ["50 y", "30 n"], ids=["reversed", "decided again"])
def test_lines_come_by_the_time_of_print_and_the_job_whatever_the_order_of_the_ledger(cost: str) -> None:
    before = world("job_id printed_at\n1 11-20T09:00\n2 11-20T10:00\n3 11-20T09:00")
    charged = before.enter(before.charge(), sale="confirmed")
    changed = f"job_id printed_at revision cost refunded\n1 11-20T09:00 1 {cost}\n2 11-20T10:00 1 {cost}\n"
    after = charged.but(jobs=jobs(f"{changed}3 11-20T09:00 1 {cost}"), ledger=charged.ledger.reverse())
    lines = after.charge()
    assert lines["job_id"].unique(maintain_order=True).to_list() == ["1", "3", "2"]
    assert lines.equals(lines.sort("printed_at", "job_id", "ref"))


def test_a_partial_refund_is_reversed_and_charged_again() -> None:
    after = revised("job_id revision cost\n1 1 30")
    lines = after.charge()
    assert short(lines) == [("1", "sale", 1, 30, "priced", "money"), ("1", "undo_sale", 0, 50, "priced", "job_changed")]
    again = after.enter(lines, undo_sale="confirmed").but(jobs=jobs("job_id revision cost\n1 2 20"))
    assert short(again.charge()) == [
        ("1", "sale", 2, 20, "priced", "money"),
        ("1", "undo_sale", 1, 30, "priced", "job_changed"),
    ]


@pytest.mark.parametrize(("contained", "open_cents"), [(0, 50), (50, 0)], ids=["not written back", "written back"])
def test_credits_given_back_can_pay_for_the_same_job_again(contained: int, open_cents: int) -> None:
    granted = grants("credit_id total_uses remaining_uses\n1 50 50")
    before = World(PAYER, ONE, granted)
    after = before.enter(before.charge(), credit="confirmed").but(
        jobs=jobs("job_id revision cost\n1 1 30"),
        grants=grants(f"credit_id total_uses remaining_uses\n1 50 {50 - contained}"),
        uses=uses(f"credit_id open_cents\n1 {open_cents}"),
    )
    assert short(after.charge()) == [
        ("1", "credit", 1, 30, "priced", "credits"),
        ("1", "undo_credit", 0, 50, "priced", "job_changed"),
    ]


def test_a_use_that_nexudus_refused_gives_nothing_back() -> None:
    """A held use is not counted as open, so the credit still has what it would have used."""
    before = World(PAYER, ONE, grants("credit_id total_uses remaining_uses\n1 50 50"))
    after = before.enter(before.charge(), credit="held").but(jobs=jobs("job_id revision cost\n1 1 60"))
    assert short(after.charge())[0] == ("1", "sale", 0, 60, "priced", "money")


@pytest.mark.parametrize("name", ["guest", "c2@example.com"])
def test_a_user_renamed_in_papercut_renames_old_jobs_and_they_stay_with_their_customer(name: str) -> None:
    two = customers("coworker_id pay\n1 y\n2 y")
    assert revised(f"job_id revision username\n1 1 {name}", customers=two).charge().is_empty()
    cheaper = revised(f"job_id revision username cost\n1 1 {name} 30", customers=two).charge()
    assert cheaper.sort("kind").select("kind", "coworker_id", "amount_cents").rows() == [
        ("sale", 1, 30),
        ("undo_sale", 1, 50),
    ]


def test_a_job_with_lines_of_two_customers_stays_with_the_later_one() -> None:
    before = World(customers("coworker_id pay\n1 y\n2 y"), ONE)
    first = before.charge()
    later = first.with_columns(
        revision=pl.lit(1, pl.Int64), seq=pl.lit(1, pl.Int64), coworker_id=pl.lit(2, pl.Int64),
        email_key=pl.lit("c2@example.com"), ref=pl.lit(reference("london", "1", "sale", 1)),
    )  # fmt: skip
    both = before.enter(pl.concat([later, first]), sale="confirmed")
    lines = both.but(jobs=jobs("job_id revision cost\n1 2 120")).charge()
    assert lines.filter(kind="sale").select("coworker_id", "email_key", "amount_cents").rows() == [
        (2, "c2@example.com", 120)
    ]
    assert lines.filter(kind="undo_sale").height == 2


def test_a_waived_job_that_is_refunded_is_no_longer_waived() -> None:
    before = World(customers("coworker_id free\n1 y"), ONE)
    after = before.enter(before.charge()).but(jobs=jobs("job_id revision refunded\n1 1 y"))
    assert short(after.charge()) == [("1", "undo_waive", 0, 50, "confirmed", "no_longer_counts")]


def test_a_held_line_is_decided_again_when_its_job_changes() -> None:
    before = world("job_id cost\n1 12.5")
    after = before.enter(before.charge()).but(jobs=jobs("job_id revision cost\n1 1 12"))
    assert short(after.charge()) == [
        ("1", "sale", 1, 12, "priced", "money"),
        ("1", "undo_sale", 0, 13, "priced", "job_changed"),
    ]
    richer = World(customers("coworker_id\n1"), ONE)
    same_cost = richer.enter(richer.charge()).but(
        jobs=jobs("job_id revision printer\n1 1 attic"), grants=grants("credit_id remaining_uses\n1 50")
    )
    assert [line[1:] for line in short(same_cost.charge())] == [
        ("credit", 0, 50, "priced", "credits"),
        ("undo_sale", 0, 50, "priced", "job_changed"),
    ]


def test_a_line_that_nexudus_refused_is_not_sent_under_another_reference() -> None:
    before = world()
    refused = before.enter(before.charge(), sale="held").but(jobs=jobs("job_id revision printer\n1 1 attic"))
    assert refused.charge().is_empty()


def test_what_a_person_voided_stays_free_and_a_change_asks_again() -> None:
    before = world()
    voided = before.enter(before.charge(), sale="void")
    assert voided.charge().is_empty()
    assert voided.but(jobs=jobs("job_id revision printer\n1 1 attic")).charge().is_empty()
    assert voided.but(jobs=jobs("job_id revision refunded\n1 1 y")).charge().is_empty()
    changed = voided.but(jobs=jobs("job_id revision cost\n1 1 80")).charge()
    assert short(changed) == [("1", "sale", 1, 80, "held", "voided_before")]
    assert "50 cents" in changed["reason"].item()


def test_a_job_that_two_credits_paid_is_one_job_for_what_it_costs_and_what_a_person_voided() -> None:
    before = World(PAYER, jobs("job_id cost\n1 60"), grants("credit_id remaining_uses\n1 40\n2 20"))
    used = before.enter(before.charge(), credit="confirmed").but(grants=grants())
    assert used.but(jobs=jobs("job_id revision cost printer\n1 1 60 attic")).charge().is_empty()
    second = pl.when(credit_id=2).then(pl.lit("void")).otherwise("state")
    voided = used.but(ledger=used.ledger.with_columns(state=second))
    assert voided.but(jobs=jobs("job_id revision cost printer\n1 1 60 attic")).charge().is_empty()
    assert short(voided.but(jobs=jobs("job_id revision cost\n1 1 80")).charge()) == [
        ("1", "sale", 0, 80, "held", "voided_before"),
        ("1", "undo_credit", 0, 40, "priced", "job_changed"),
    ]


def test_a_reversal_that_a_person_refused_is_not_tried_again() -> None:
    after = revised("job_id revision refunded\n1 1 y")
    kept = after.enter(after.charge(), undo_sale="void")
    assert live(kept.ledger)["kind"].to_list() == ["sale"]
    assert kept.but(jobs=jobs("job_id revision cost refunded\n1 2 10 n")).charge().is_empty()


def test_a_line_that_was_never_sent_and_is_void_with_its_reversal_is_decided_again() -> None:
    after = revised("job_id revision refunded\n1 1 y")
    gone = after.enter(after.charge(), undo_sale="confirmed")
    gone = gone.but(ledger=gone.ledger.with_columns(state=pl.when(kind="sale").then(pl.lit("void")).otherwise("state")))
    assert gone.charge().is_empty()
    back = gone.but(jobs=jobs("job_id revision\n1 2")).charge()
    assert short(back) == [("1", "sale", 1, 50, "priced", "money")]


def refused(world: World, undoes: str) -> World:
    """A person refuses the reversal of a line, so what was decided in place of it is taken back."""
    reversal = world.ledger.filter(pl.col("undoes") == undoes)["ref"].item()
    placed = replacing(world.ledger, reversal)
    gone = pl.col("ref").is_in([reversal, *placed["ref"]])
    lines = world.ledger.with_columns(state=pl.when(gone).then(pl.lit("void")).otherwise("state"))
    return world.but(ledger=pl.concat([lines, ledger(taken_back(placed, TAKEN_BACK), undo_sale="confirmed")]))


def test_what_a_person_let_through_once_is_asked_about_again_when_as_much_comes_on_top() -> None:
    """60 cents were let through and stay although the job was refunded; then it costs 120, so 60 more."""
    held = World(PAYER, jobs("job_id cost\n1 60"), rules=rules(max_charge=50))
    asked = held.enter(held.charge())
    back = ledger(taken_back(asked.ledger, RETRIED), undo_sale="confirmed")
    again = asked.but(ledger=pl.concat([asked.ledger, back]))
    assert short(again.charge()) == [("1", "sale", 1, 60, "priced", "money")]
    sold = again.enter(again.charge(), sale="confirmed")
    refunded = sold.but(jobs=jobs("job_id revision cost refunded\n1 1 60 y"))
    stays = refunded.enter(refunded.charge().filter(pl.col("seq") == 1), undo_sale="void")
    dearer = stays.but(jobs=jobs("job_id revision cost\n1 2 120"))
    assert short(dearer.charge()) == [("1", "sale", 2, 60, "held", "above_max_charge")]


@pytest.mark.parametrize("last", ["priced", "sending", "unknown", "held", "confirmed", "void"])
def test_what_lacks_beside_a_use_that_stays_is_charged_once_every_other_reversal_is_settled(last: str) -> None:
    """60 cents came from two credits, and the job costs 80: a person keeps the first use, Nexudus takes its time."""
    before = World(PAYER, jobs("job_id cost\n1 60"), grants("credit_id remaining_uses\n1 30\n2 30"))
    used = before.enter(before.charge(), credit="confirmed").but(grants=grants("credit_id remaining_uses\n1 0\n2 0"))
    dearer = used.but(jobs=jobs("job_id revision cost\n1 1 80"))
    dearer = dearer.enter(dearer.charge(), undo_credit=last)
    first, _ = used.ledger["ref"]
    lacks = {"confirmed": [("1", "sale", 1, 50, "priced", "money")], "void": [("1", "sale", 1, 20, "priced", "money")]}
    assert short(refused(dearer, first).charge()) == lacks.get(last, [])


@pytest.mark.parametrize("state", ["confirmed", "invoiced", "unknown"])
def test_what_lacks_beside_a_sale_that_stays_waits_for_no_sale(state: str) -> None:
    before = world("job_id cost\n1 60")
    sold = before.enter(before.charge(), sale=state)
    dearer = sold.but(jobs=jobs("job_id revision cost\n1 1 80"))
    stays = refused(dearer.enter(dearer.charge()), sold.ledger["ref"].item())
    assert short(stays.charge()) == [("1", "sale", 2, 20, "priced", "money")]


def test_the_held_rest_of_a_job_whose_charge_stays_is_decided_again_with_its_next_change() -> None:
    before = world("job_id cost\n1 60")
    sold = before.enter(before.charge(), sale="confirmed").but(customers=customers("coworker_id pay\n1 n"))
    dearer = sold.but(jobs=jobs("job_id revision cost\n1 1 80"))
    kept_ = refused(dearer.enter(dearer.charge()), sold.ledger["ref"].item())
    rest = kept_.charge()
    assert short(rest) == [("1", "sale", 2, 20, "held", "overdrawn")]
    richer = kept_.enter(rest).but(grants=grants("credit_id remaining_uses\n1 20"))
    assert richer.charge().is_empty()
    assert short(richer.but(jobs=jobs("job_id revision cost printer\n1 2 80 attic")).charge()) == [
        ("1", "credit", 0, 20, "priced", "credits"),
        ("1", "undo_sale", 2, 20, "priced", "job_changed"),
    ]


@pytest.mark.parametrize(
    ("before", "decided"),
    [
        (33, [("1", "sale", 34, 30, "priced", "money"), ("1", "undo_sale", 33, 50, "priced", "job_changed")]),
        (34, [("1", "sale", 35, 30, "held", "too_many_changes"), ("1", "undo_sale", 34, 50, "priced", "job_changed")]),
        (35, []),
    ],
)
def test_the_last_line_that_a_job_has_a_reference_for_is_held(before: int, decided: list[Any]) -> None:
    after = revised("job_id revision cost\n1 1 30")
    assert short(after.but(ledger=after.ledger.with_columns(seq=pl.lit(before, pl.Int64))).charge()) == decided


# --- invariants -------------------------------------------------------------------------------------------------------

SITES = st.builds(
    rules,
    st.sampled_from(["pay_per_print", "credits_only", "credits_and_pay_per_print", "free_unlimited"]),
    partial_credits=st.sampled_from(["ignore", "use"]),
    max_charge=st.sampled_from([25, 50_000]),
)
FLAGS = st.sampled_from(["y", "n"])
PEOPLE = st.lists(st.tuples(FLAGS, FLAGS, FLAGS, st.integers(1, 3)), min_size=1, max_size=6)
PRINTED = st.lists(st.tuples(st.integers(1, 4), st.integers(0, 30), st.integers(0, 9)), max_size=24)
GRANTED = st.lists(st.tuples(st.integers(1, 4), st.integers(0, 40), st.integers(10, 19)), max_size=10)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Up to six customers, some of whom share an e-mail, with a few jobs and grants; whole costs."""
    people = "coworker_id active pay free email\n" + "\n".join(
        f"{n} {active} {pay} {free} p{email}@example.com"
        for n, (active, pay, free, email) in enumerate(draw(PEOPLE), start=1)
    )
    printed = "job_id username cost printed_at\n" + "\n".join(
        f"{n} p{user}@example.com {cost} 11-1{day}T09:00" for n, (user, cost, day) in enumerate(draw(PRINTED), start=1)
    )
    granted = "credit_id coworker_id remaining_uses expires_at\n" + "\n".join(
        f"{n} {owner} {cents} 11-{day}T12:00" for n, (owner, cents, day) in enumerate(draw(GRANTED), start=1)
    )
    everyone = customers(people)
    names = names_of(everyone).unique("username", keep="first", maintain_order=True)
    return World(everyone, jobs(printed), grants(granted), names=names, rules=draw(SITES))


def cents(lines: pl.DataFrame) -> dict[str, int]:
    """Signed cents per job."""
    sign = pl.when(pl.col("kind").str.starts_with("undo_")).then(-1).otherwise(1)
    return dict(lines.group_by("job_id").agg((pl.col("amount_cents") * sign).sum()).rows())


@settings(max_examples=80, deadline=None)
@given(worlds(), st.integers(0, 99))
def test_every_cent_is_accounted_for(some: World, seed: int) -> None:
    lines = some.charge()
    ours = attributed(some.jobs, names_of(some.customers))
    assert cents(lines) == dict(ours.select("job_id", pl.col("cost").cast(pl.Int64)).rows())
    assert some.charge(seed=seed).equals(lines), "the order of rows must not matter"
    assert some.enter(lines).charge().is_empty(), "deciding twice must give nothing"
    assert set(lines["rule"]) <= set(RULES)
    assert all(found_in(ref) == ref for ref in lines["ref"])

    spent = (
        lines.filter(kind="credit")
        .group_by("credit_id")
        .agg(pl.col("amount_cents").sum())
        .join(some.grants, on="credit_id")
    )
    assert spent.filter(pl.col("amount_cents") > pl.col("remaining_uses")).is_empty(), "a credit went below 0"

    payers = some.customers.filter(pl.col("pay")).select("coworker_id")
    money = lines.filter(kind="sale", state="priced")
    assert money.join(payers, on="coworker_id", how="anti").is_empty(), "money only from who pays as he prints"
    assert money.is_empty() or some.rules.takes_money
    assert lines.filter(kind="credit").is_empty() or some.rules.takes_credits


@settings(max_examples=60, deadline=None)
@given(worlds(), st.lists(st.integers(0, 30), min_size=24, max_size=24), st.sampled_from(["priced", "confirmed"]))
def test_a_charge_and_its_reversal_are_nothing(some: World, costs: list[int], state: str) -> None:
    charged = some.enter(some.charge(), sale=state, credit=state)
    refunded = some.jobs.with_columns(refunded=pl.lit(value=True), revision=pl.lit(1, pl.Int64))
    undone = charged.but(jobs=refunded)
    undone = undone.enter(undone.charge())
    assert set(cents(undone.ledger).values()) <= {0}
    assert undone.charge().is_empty()

    used = charged.ledger.filter(kind="credit").select("credit_id", open_cents="amount_cents")
    new_costs = pl.Series("cost", costs[: some.jobs.height], pl.Decimal(18, 6))
    changed = charged.but(jobs=some.jobs.with_columns(new_costs, revision=pl.lit(1, pl.Int64)), uses=used)
    lines = changed.charge()
    after = changed.enter(lines)
    known = cents(charged.ledger)
    assert cents(after.ledger) == {
        job: int(cost) for job, cost in changed.jobs.select("job_id", "cost").rows() if job in known
    }
    assert after.ledger["ref"].is_unique().all()
    assert after.charge().is_empty()
    assert changed.charge(seed=len(costs)).equals(lines)
    spent = live(after.ledger).filter(kind="credit").group_by("credit_id").agg(pl.col("amount_cents").sum())
    assert spent.join(some.grants, on="credit_id").filter(pl.col("amount_cents") > pl.col("remaining_uses")).is_empty()


@settings(max_examples=60, deadline=None)
@given(worlds(), st.integers(1, 3))
def test_the_lines_are_the_same_however_few_jobs_are_decided_at_a_time(some: World, rows: int) -> None:
    refunded = some.jobs.with_columns(refunded=pl.col("job_id").hash() % 2 == 0, revision=pl.lit(1, pl.Int64))
    after = some.enter(some.charge(), sale="confirmed", credit="confirmed").but(jobs=refunded)
    whole = [some.charge(), after.charge()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.domain.money.charges._ROWS", rows)
        for expected, each in zip(whole, [some, after], strict=True):
            assert each.charge().equals(expected), f"with {rows} jobs at a time"


def test_references_stay_the_same_whatever_the_cost_and_the_time() -> None:
    first = world().charge()["ref"].item()
    assert world("job_id cost\n1 70").charge(NOW + timedelta(days=9))["ref"].item() == first


def test_nothing_to_decide() -> None:
    nothing = world().but(jobs=ONE.clear())
    assert nothing.charge().is_empty()
    assert unsettled(ONE.clear(), names_of(PAYER), LEDGER.to_frame(), rules()).is_empty()
    assert live(table(LEDGER, "ref")).is_empty()


def test_a_credit_that_paid_under_former_rules_is_not_there_for_the_rules_after_them() -> None:
    """Each time is decided on its own; what one of them uses, the next has no more."""
    old, now = rules(max_charge=500), rules(max_charge=600)
    known = ((moment("11-01T00:00"), kept(old)), (moment("11-19T00:00"), kept(now)))
    people, granted = customers("coworker_id\n1"), grants("credit_id remaining_uses\n1 45")
    printed = jobs("job_id printed_at cost\n1 11-18T09:00 30\n2 11-19T09:00 10\n3 11-19T10:00 10")
    made = print_charges(
        printed, accounts=print_accounts(people, granted, uses(), now, NOW), customers=people, names=names_of(people),
        grants=granted, uses=uses(), ledger=ledger(), rules=now, now=NOW,
        past=Past(pl.DataFrame(schema=ACCESS), known),
    )  # fmt: skip
    assert short(made) == [
        ("1", "credit", 0, 30, "priced", "credits"), ("2", "credit", 0, 10, "priced", "credits"),
        ("3", "sale", 0, 10, "held", "overdrawn"),
    ]  # fmt: skip
