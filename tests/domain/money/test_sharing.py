"""Credits that teams share: who may use whose, when, in which order, and that no cent is used twice.

What belongs here: the rules, over frames. What does not: the credits of one e-mail (`test_credits.py`), and whole runs
on real servers (`tests/steps/test_teams.py`).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import product
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.domain.money.charges import print_charges
from pipeline.domain.money.credits import payment, shared_payment
from pipeline.domain.money.history import ACCESS, NO_PAST, SHARING, Past
from pipeline.domain.money.sharing import EVER, periods, shared, sharing_news
from pipeline.domain.people.accounts import print_accounts
from tests.frames import (
    NOW,
    TIME,
    World,
    customers,
    grants,
    jobs,
    ledger,
    moment,
    names_of,
    rules,
    short,
    shuffled,
    table,
    teams,
    uses,
)

ANN, BEN, PAYER = 1, 2, 9
PEOPLE = customers("coworker_id\n1\n2\n9")
CREDITS = grants("credit_id coworker_id remaining_uses\n1 1 10\n9 9 50")
"""Ann has 10 of her own, the payer 50."""


def accounts(given: World) -> dict[str, tuple[str, int, int]]:
    """Access, credits and, of these, those of the team, by e-mail."""
    made = print_accounts(given.customers, given.grants, given.uses, given.rules, NOW, teams=given.teams)
    return {row[0]: row[1:] for row in made.select("email_key", "access", "credits", "shared_credits").rows()}


def mail(number: int) -> str:
    return f"c{number}@example.com"


def printed(text: str) -> pl.DataFrame:
    """Jobs by `user`, the number of a customer."""
    return jobs(text)


def payers(found: pl.DataFrame) -> list[tuple[str, int | None, int, str]]:
    """(job, whose credit, cents, rule) of each line, in the order of use."""
    return found.sort("job_id", "kind", "seq").select("job_id", "credit_coworker_id", "amount_cents", "rule").rows()


ONLY = rules("credits_only", charge_product_id=None)
JOB = f"job_id username cost\n1 {mail(ANN)} 30"


def story(**changes: Any) -> World:
    return replace(World(PEOPLE, printed(JOB), CREDITS, teams=teams("team_id\n1"), rules=ONLY), **changes)


# --- who shares -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shares", "combines", "payer", "setting"), list(product("yn", "yn", ("9", "-"), ("as_nexudus", "own")))
)
def test_every_combination_of_share_combine_and_payer(shares: str, combines: str, payer: str, setting: str) -> None:
    """Either way shares, but only where somebody pays and the site goes by it; else all is as without a team."""
    told = teams(f"team_id shares combines payer_id\n1 {shares} {combines} {payer}")
    world = story(teams=told, rules=rules("credits_only", charge_product_id=None, team_credits=setting))
    counts = "y" in shares + combines and payer == "9" and setting == "as_nexudus"
    assert accounts(world)[mail(ANN)] == (("credits", 60, 50) if counts else ("credits", 10, 0))
    assert accounts(world)[mail(BEN)] == (("credits", 50, 50) if counts else ("none", 0, 0))
    assert accounts(world)[mail(PAYER)] == ("credits", 50, 0), "the payer's are the payer's own"
    if counts:
        assert payers(world.charge()) == [("1", ANN, 10, "credits"), ("1", PAYER, 20, "team_credits")]
    else:
        assert short(world.charge()) == [("1", "sale", 0, 30, "held", "overdrawn")]
        assert world.charge().equals(story(teams=teams(), rules=world.rules).charge())


@pytest.mark.parametrize("model", ["pay_per_print", "free_unlimited"])
def test_a_model_without_credits_takes_none_of_a_team(model: str) -> None:
    world = story(rules=rules(model), customers=customers("coworker_id pay\n1 y\n2 n\n9 n"))
    assert accounts(world)[mail(ANN)][1:] == (0, 0)
    assert set(world.charge()["kind"]) == {"sale" if model == "pay_per_print" else "waive"}


@pytest.mark.parametrize(
    ("payer", "shared_with"),
    [("y n", {ANN, BEN}), ("n n", set()), ("y y", set()), ("n y", set())],
    ids=["active", "suspended", "archived", "both"],
)
def test_a_payer_who_is_suspended_or_archived_shares_nothing(payer: str, shared_with: set[int]) -> None:
    people = customers(f"coworker_id active archived\n1 y n\n2 y n\n9 {payer}")
    assert set(shared(teams("team_id\n1"), people)["coworker_id"]) == shared_with
    assert accounts(story(customers=people))[mail(BEN)][1] == (50 if shared_with else 0)


def test_a_payer_who_is_not_in_nexudus_shares_nothing() -> None:
    assert shared(teams("team_id payer_id\n1 77"), PEOPLE).is_empty()


def test_a_payer_who_is_not_a_member_shares_all_the_same() -> None:
    assert shared(teams("team_id members\n1 1,2"), PEOPLE).rows() == [(ANN, PAYER), (BEN, PAYER)]


def test_a_payer_who_is_a_member_shares_with_the_others_and_uses_no_credit_of_theirs() -> None:
    told = teams("team_id members\n1 1,9")
    assert shared(told, PEOPLE).rows() == [(ANN, PAYER)]
    job = printed(f"job_id username cost\n1 {mail(PAYER)} 55")
    world = story(teams=told, jobs=job)
    assert accounts(world)[mail(PAYER)] == ("credits", 50, 0)
    assert short(world.charge()) == [("1", "sale", 0, 55, "held", "overdrawn")]


def test_a_team_without_members_and_one_that_names_a_member_twice() -> None:
    assert shared(teams("team_id members\n1 9"), PEOPLE).is_empty()
    assert shared(teams("team_id\n1").with_columns(members=pl.lit("")), PEOPLE).is_empty()
    assert shared(teams("team_id members\n1 1\n2 1"), PEOPLE).rows() == [(ANN, PAYER)]


def test_the_location_of_a_team_decides_nothing() -> None:
    assert accounts(story(teams=teams("team_id business_id\n1 999")))[mail(ANN)] == ("credits", 60, 50)


def test_a_member_of_several_teams_uses_them_as_one_pool_earliest_expiry_first() -> None:
    people = customers("coworker_id\n1\n8\n9")
    held = grants(
        """
        credit_id coworker_id remaining_uses expires_at
        1         1           10             -
        5         9           10             -
        6         8           10             12-01T00:00
        """
    )
    told = teams("team_id payer_id members\n1 9 1\n2 8 1")
    world = story(customers=people, grants=held, teams=told, jobs=printed(f"job_id username cost\n1 {mail(ANN)} 25"))
    assert payers(world.charge()) == [
        ("1", ANN, 10, "credits"), ("1", 8, 10, "team_credits"), ("1", PAYER, 5, "team_credits"),
    ]  # fmt: skip
    assert accounts(world)[mail(ANN)] == ("credits", 30, 20)


def test_an_account_of_the_same_e_mail_that_pays_for_the_team_is_own_and_counts_once() -> None:
    """The member is another account of the payer's e-mail: what the e-mail has is its own already."""
    people = customers(f"coworker_id email\n1 {mail(1)}\n9 {mail(1)}")
    world = story(customers=people, jobs=printed(f"job_id username cost\n1 {mail(1)} 60"))
    assert accounts(world) == {mail(1): ("credits", 60, 0)}
    assert {line[3] for line in payers(world.charge())} == {"credits"}


def test_any_account_of_an_e_mail_brings_what_its_team_shares() -> None:
    people = customers(f"coworker_id email\n1 {mail(1)}\n2 {mail(1)}\n9 {mail(9)}")
    told = teams("team_id members\n1 2")
    assert accounts(story(customers=people, teams=told))[mail(1)] == ("credits", 60, 50)
    suspended = people.with_columns(active=pl.col("coworker_id") != BEN)
    assert accounts(story(customers=suspended, teams=told))[mail(1)] == ("credits", 10, 0)


def test_who_has_used_up_the_team_s_credits_has_no_credit_and_not_no_access() -> None:
    used_up = grants("credit_id coworker_id remaining_uses\n9 9 0")
    world = story(grants=used_up)
    made = print_accounts(world.customers, world.grants, world.uses, world.rules, NOW, teams=world.teams)
    assert made.filter(coworker_id=BEN)["reason"][0] == "no_credit"


# --- which credits pay ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("partial", ["ignore", "use"])
@pytest.mark.parametrize(
    ("cost", "ignored", "used"),
    [
        (10, [(ANN, 10, "credits")], [(ANN, 10, "credits")]),
        (
            30,
            [(ANN, 10, "credits"), (PAYER, 20, "team_credits")],
            [(ANN, 10, "credits"), (PAYER, 20, "team_credits")],
        ),
        (
            70,
            [(None, 70, "money")],
            [(ANN, 10, "credits"), (PAYER, 50, "team_credits"), (None, 10, "money")],
        ),
    ],
)
def test_own_and_team_together_cover_a_job_and_money_pays_what_the_site_lets_it(
    partial: str, cost: int, ignored: list[Any], used: list[Any]
) -> None:
    people = customers("coworker_id pay\n1 y\n2 n\n9 n")
    job = printed(f"job_id username cost\n1 {mail(ANN)} {cost}")
    world = story(customers=people, jobs=job, rules=rules(partial_credits=partial))
    assert [line[1:] for line in payers(world.charge())] == (used if partial == "use" else ignored)


def test_members_who_want_the_same_credit_take_turns_by_the_time_of_print() -> None:
    """Ben printed first, so he has the 50; Ann has her own 10 and what he left."""
    job = printed(
        f"""
        job_id username    cost printed_at
        1      {mail(ANN)} 30   11-20T09:05
        2      {mail(BEN)} 35   11-20T09:00
        3      {mail(PAYER)} 5  11-20T09:10
        """
    )
    found = story(jobs=job).charge()
    assert [line for line in payers(found) if line[0] != "1"] == [
        ("2", PAYER, 35, "team_credits"),
        ("3", PAYER, 5, "credits"),
    ]
    assert short(found.filter(job_id="1")) == [("1", "sale", 0, 30, "held", "overdrawn")]
    assert "25 were left in valid credits" in found.filter(job_id="1")["reason"][0], "10 own and 15 of the team"


def test_a_member_who_may_pay_money_and_one_who_may_not_share_one_credit() -> None:
    """One job may be covered in part, the other not at all: the credit is one and the same."""
    people = customers("coworker_id pay\n1 y\n2 n\n9 n")
    job = printed(f"job_id username cost\n1 {mail(ANN)} 50\n2 {mail(BEN)} 20")
    found = story(customers=people, jobs=job, rules=rules(partial_credits="use")).charge()
    assert short(found) == [
        ("1", "credit", 0, 10, "priced", "credits"), ("1", "credit", 1, 40, "priced", "team_credits"),
        ("2", "sale", 0, 20, "held", "overdrawn"),
    ]  # fmt: skip


def test_jobs_of_one_person_of_which_only_one_may_be_covered_in_part_use_no_credit_twice() -> None:
    """The flag went between two prints, so one job is charged and the other not; the 50 are there once."""
    access = table(
        ACCESS,
        f"""
        email_key    held_from   coworker_id free pay
        {mail(1)}    11-20T08:00 1           n    y
        {mail(1)}    11-20T09:30 1           n    n
        """,
    )
    job = jobs(f"job_id username cost printed_at\n1 {mail(1)} 30 11-20T09:00\n2 {mail(1)} 40 11-20T10:00")
    people, held = customers("coworker_id pay\n1 n"), grants("credit_id remaining_uses\n1 50")
    site = rules(partial_credits="use")
    found = print_charges(
        job, accounts=print_accounts(people, held, uses(), site, NOW), customers=people, names=names_of(people),
        grants=held, uses=uses(), ledger=ledger(), rules=site, now=NOW, past=Past(access),
    )  # fmt: skip
    assert short(found) == [
        ("1", "credit", 0, 30, "priced", "credits"), ("2", "sale", 0, 40, "held", "overdrawn"),
    ]  # fmt: skip


@pytest.mark.parametrize("whose", [ANN, PAYER])
def test_an_expired_credit_that_a_list_still_shows_never_pays(whose: int) -> None:
    held = grants(f"credit_id coworker_id remaining_uses expires_at\n1 {whose} 500 11-20T09:00")
    world = story(grants=held)
    assert accounts(world)[mail(ANN)] == ("none", 0, 0)
    assert short(world.charge()) == [("1", "sale", 0, 30, "held", "overdrawn")], "it ended as the job was printed"
    later = held.with_columns(expires_at=pl.lit(moment("11-20T09:01"), TIME))
    assert payers(story(grants=later).charge())[0][1] == whose, "it held when the job was printed"


def test_a_team_credit_that_is_too_large_holds_what_it_would_pay_and_counts_for_nobody() -> None:
    world = story(grants=grants("credit_id coworker_id remaining_uses\n1 1 10\n9 9 100001"))
    assert accounts(world)[mail(ANN)] == ("credits", 10, 0)
    assert short(world.charge()) == [("1", "sale", 0, 30, "held", "credit_too_large")]
    small = world.but(jobs=printed(f"job_id username cost\n1 {mail(ANN)} 10"))
    assert payers(small.charge()) == [("1", ANN, 10, "credits")], "the own credits pay alone, so nothing waits"


def test_only_the_credits_of_the_site_are_shared() -> None:
    other = grants("credit_id coworker_id remaining_uses extra_service_id\n9 9 50 8")
    assert accounts(story(grants=other))[mail(ANN)] == ("none", 0, 0)


def test_a_job_that_needs_too_many_team_credits_uses_none() -> None:
    many = "\n".join(f"{100 + number} 9 1" for number in range(40))
    world = story(
        grants=grants(f"credit_id coworker_id remaining_uses\n{many}"),
        jobs=printed(f"job_id username cost\n1 {mail(ANN)} 37"),
    )
    assert short(world.charge()) == [("1", "sale", 0, 37, "held", "too_many_credits")]


def test_a_reversal_gives_the_credit_back_to_whose_it_is_and_the_job_stays_with_who_printed_it() -> None:
    world = story()
    entered = world.enter(world.charge(), credit="confirmed").but(
        uses=uses("credit_id open_cents\n1 10\n9 20"),
        jobs=printed(f"job_id username cost revision\n1 {mail(ANN)} 15 1"),
    )
    found = entered.charge().sort("kind", "seq")
    assert found.select("kind", "coworker_id", "credit_coworker_id", "amount_cents").rows() == [
        ("credit", ANN, ANN, 10), ("credit", ANN, PAYER, 5),
        ("undo_credit", ANN, ANN, 10), ("undo_credit", ANN, PAYER, 20),
    ]  # fmt: skip
    assert set(found["email_key"]) == {mail(ANN)}


# --- what held then ---------------------------------------------------------------------------------------------------

THEN, SINCE = moment("11-20T08:00"), moment("11-20T11:00")


def charged(sharing: pl.DataFrame, people: pl.DataFrame = PEOPLE, told: pl.DataFrame | None = None) -> list[Any]:
    """What pays for a job of 09:00 when this is known of who shared with whom."""
    world = story(customers=people, teams=teams("team_id\n1") if told is None else told)
    made = print_accounts(people, world.grants, world.uses, world.rules, NOW, teams=world.teams)
    lines = print_charges(
        world.jobs, accounts=made, customers=people, names=names_of(people), grants=world.grants, uses=world.uses,
        ledger=world.ledger, rules=world.rules, now=NOW, past=NO_PAST._replace(sharing=sharing),
    )  # fmt: skip
    return payers(lines)


def events(text: str) -> pl.DataFrame:
    return table(SHARING, f"coworker_id held_from payers\n{text}").with_columns(pl.col("payers").fill_null(""))


SHARED = [("1", ANN, 10, "credits"), ("1", PAYER, 20, "team_credits")]
ALONE = [("1", None, 30, "overdrawn")]


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ("1 11-20T08:00 9", SHARED),
        ("1 11-20T09:00 9", SHARED),
        ("1 11-20T09:01 9", ALONE),
        ("1 11-20T08:00 9\n1 11-20T09:30 -", SHARED),
        ("1 11-20T08:00 9\n1 11-20T09:00 -", ALONE),
        ("1 11-20T07:00 9\n1 11-20T08:00 -\n1 11-20T09:30 9", ALONE),
        ("1 11-20T08:00 9\n1 11-20T09:30 -\n1 11-20T10:00 9", SHARED),
        ("2 11-20T08:00 9", ALONE),
        ("1 11-20T08:00 8,9\n1 11-20T09:30 8", SHARED),
    ],
)
def test_a_job_is_paid_by_the_team_of_when_it_was_printed(known: str, expected: list[Any]) -> None:
    assert charged(shuffled(events(known))) == expected
    assert charged(events(known), told=teams()) == expected, "whatever the team is by now"


def test_a_payer_who_was_suspended_after_the_print_pays_and_one_who_was_archived_does_not() -> None:
    known = events("1 11-20T08:00 9\n1 11-20T10:00 -")
    assert charged(known, customers("coworker_id active\n1 y\n9 n")) == SHARED
    assert charged(known, customers("coworker_id archived\n1 n\n9 y")) == ALONE


def test_a_first_look_holds_since_ever_and_later_news_since_the_record_tells_or_the_look() -> None:
    told, none = teams("team_id updated_on\n1 11-20T10:00"), events("")
    old = PEOPLE.with_columns(updated_on=pl.lit(THEN, TIME))
    assert sharing_news(told, old, none, None, NOW).rows() == [(ANN, EVER, "9"), (BEN, EVER, "9")]
    assert EVER.timestamp() == 0, "no job was printed before"
    assert sharing_news(told, old, none, THEN, NOW)["held_from"].to_list() == [moment("11-20T10:00")] * 2
    assert sharing_news(told, old, none, SINCE, NOW)["held_from"].to_list() == [NOW] * 2, "changed before the last look"
    known = sharing_news(told, old, none, None, NOW)
    assert sharing_news(told, old, known, SINCE, NOW).is_empty(), "nothing is news twice"


def test_news_is_told_from_what_was_known_last_whatever_the_order_of_the_rows() -> None:
    told, old = teams("team_id members\n1 1"), PEOPLE.with_columns(updated_on=pl.lit(THEN, TIME))
    before, after = events("1 11-20T08:00 8"), events("1 11-20T09:00 9")
    for rows in ([before, after], [after, before]):
        assert sharing_news(told, old, pl.concat(rows), SINCE, NOW).is_empty()
    back = [before.with_columns(held_from=pl.lit(NOW, TIME)), after]
    assert sharing_news(told, old, pl.concat(back), SINCE, NOW)["payers"].to_list() == ["9"]


def test_the_news_that_nothing_is_shared_any_more_has_the_time_of_the_record_behind_it() -> None:
    known, at = events("1 11-20T08:00 9\n2 11-20T08:00 9"), moment("11-20T11:30")
    old = PEOPLE.with_columns(updated_on=pl.lit(THEN, TIME))
    left = teams("team_id members updated_on\n1 2 11-20T11:30")
    assert sharing_news(left, old, known, SINCE, NOW).rows() == [(ANN, at, "")]
    gone = sharing_news(teams(), old, known, SINCE, NOW)
    assert gone.rows() == [(ANN, NOW, ""), (BEN, NOW, "")], "a team that was deleted has no time"
    suspended = old.with_columns(
        active=pl.col("coworker_id") != PAYER,
        updated_on=pl.when(coworker_id=PAYER).then(pl.lit(at, TIME)).otherwise("updated_on"),
    )
    same = teams("team_id updated_on\n1 11-20T08:00")
    assert sharing_news(same, suspended, known, SINCE, NOW).rows() == [(ANN, at, ""), (BEN, at, "")]


# --- properties -------------------------------------------------------------------------------------------------------

DAYS = st.integers(0, 5).map(lambda day: NOW - timedelta(days=day + 1))
NUMBERS = st.integers(1, 5)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[World, Past]:
    """Five customers, some of one e-mail; teams that share or not; a history of sharing; jobs; credits."""
    mails = draw(st.lists(st.sampled_from([1, 2, 3]), min_size=5, max_size=5))
    flags = draw(
        st.lists(st.tuples(*[st.booleans()] * 2, st.sampled_from([True, True, True, False])), min_size=5, max_size=5)
    )
    people = customers("coworker_id\n" + "\n".join(str(number) for number in range(1, 6)))
    keys = [mail(number if number > 3 else mails[number - 1]) for number in range(1, 6)]
    people = people.with_columns(
        email=pl.Series(keys), email_key=pl.Series(keys), pay=pl.Series([each[0] for each in flags]),
        archived=pl.Series([not each[2] for each in flags]), active=pl.Series([each[0] or each[1] for each in flags]),
    )  # fmt: skip
    rows = draw(st.lists(st.tuples(NUMBERS, st.integers(0, 20), st.none() | DAYS, st.none() | DAYS), max_size=6))
    schema = {"coworker_id": pl.Int64, "remaining_uses": pl.Int64, "valid_from": TIME, "expires_at": TIME}
    held = pl.DataFrame(rows, schema=schema, orient="row").with_row_index("credit_id", 1)
    base = grants("credit_id\n1").drop("credit_id", *schema)
    held = held.with_columns(pl.col("credit_id").cast(pl.Int64)).join(base, how="cross")
    held = held.with_columns(total_uses="remaining_uses").select(grants().columns)
    wanted = draw(st.lists(st.tuples(st.sampled_from(sorted(set(keys))), DAYS, st.integers(0, 25)), max_size=14))
    told = [f"{place} {name} {cost} {at:%m-%dT%H:%M}" for place, (name, at, cost) in enumerate(wanted)]
    job = jobs("job_id username cost printed_at\n" + "\n".join(told))
    groups = draw(st.lists(st.tuples(NUMBERS, st.sets(NUMBERS, max_size=4), st.booleans(), st.booleans()), max_size=3))
    lines = [f"{place} {payer} {','.join(map(str, sorted(members))) or 9} {'ny'[a]} {'ny'[b]}"
             for place, (payer, members, a, b) in enumerate(groups)]  # fmt: skip
    blue = teams("team_id payer_id members shares combines\n" + "\n".join(lines))
    site = rules(partial_credits=draw(st.sampled_from(["ignore", "use"])))
    past = draw(st.lists(st.tuples(NUMBERS, DAYS, st.sets(NUMBERS, max_size=2)), max_size=5, unique_by=lambda e: e[:2]))
    history = [(who, at, ",".join(str(payer) for payer in sorted(whom - {who}))) for who, at, whom in past]
    sharing = pl.DataFrame(history, schema=SHARING, orient="row")
    if draw(st.booleans()):
        sharing = sharing_news(blue, people, SHARING.to_frame(), None, NOW)
    return World(people, job, held, rules=site, teams=blue, names=names_of(people).unique("username")), Past(
        ACCESS.to_frame(), (), sharing
    )


def decided(world: World, past: Past, seed: int) -> pl.DataFrame:
    made = print_accounts(world.customers, world.grants, world.uses, world.rules, NOW, teams=world.teams)
    frames = {"accounts": made, "customers": world.customers, "names": world.names, "grants": world.grants,
              "uses": world.uses, "ledger": world.ledger}  # fmt: skip
    mixed: dict[str, Any] = {name: shuffled(frame, seed) for name, frame in frames.items() if frame is not None}
    past = past._replace(sharing=shuffled(past.sharing, seed))
    return print_charges(shuffled(world.jobs, seed), **mixed, rules=world.rules, now=NOW, past=past)


@settings(max_examples=600, deadline=None)
@given(drawn=worlds(), seed=st.integers(0, 9))
def test_no_cent_is_used_twice_or_lost_and_the_own_credits_go_first(drawn: tuple[World, Past], seed: int) -> None:
    world, past = drawn
    lines = decided(world, past, seed)
    costs = dict(world.jobs.select("job_id", pl.col("cost").cast(pl.Int64)).rows())
    paid = dict(lines.group_by("job_id").agg(pl.col("amount_cents").sum()).rows())
    assert paid == {job: costs[job] for job in paid}, "what was printed is credits, money, waived and held together"
    left = dict(world.grants.select("credit_id", "remaining_uses").rows())
    owner = dict(world.grants.select("credit_id", "coworker_id").rows())
    people = {row["coworker_id"]: row for row in world.customers.iter_rows(named=True)}
    spans = {row["credit_id"]: row for row in world.grants.iter_rows(named=True)}
    used: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in lines.filter(kind="credit").iter_rows(named=True):
        assert line["credit_coworker_id"] == owner[line["credit_id"]]
        used[line["job_id"]].append(line)
    for job in world.jobs.sort("printed_at", "job_id").iter_rows(named=True):
        for line in used[job["job_id"]]:
            whose = people[line["credit_coworker_id"]]
            own = whose["email_key"] == job["username"]
            assert line["rule"] == ("credits" if own else "team_credits"), "whose credit it is"
            assert not whose["archived"]
            if not own:
                assert shared_then(past, people, job, line["credit_coworker_id"]), "somebody else's credit"
                rest = [number for number, each in spans.items() if lasts(each, job["printed_at"]) and left[number]
                        and own_credit(people[owner[number]], job["username"])]  # fmt: skip
                assert not rest, "the own credits go first"
            left[line["credit_id"]] -= line["amount_cents"]
    assert min(left.values(), default=0) >= 0, "a credit was used twice"
    assert decided(world, past, seed + 1).equals(lines), "the order of rows decides nothing"


def lasts(credit: dict[str, Any], at: datetime) -> bool:
    since, until = credit["valid_from"], credit["expires_at"]
    return (since is None or since <= at) and (until is None or at < until)


def own_credit(owner: dict[str, Any], name: str) -> bool:
    """Whether the credits of a customer are in the pool of an e-mail by themselves."""
    return owner["email_key"] == name and not owner["archived"] and owner["active"]


def shared_then(past: Past, people: dict[int, dict[str, Any]], job: dict[str, Any], payer: int) -> bool:
    """Whether the payer shared with an account of the e-mail when the job was printed, by the plain history."""
    for account in people.values():
        if account["email_key"] != job["username"] or account["archived"]:
            continue
        known = [row for row in past.sharing.iter_rows(named=True)
                 if row["coworker_id"] == account["coworker_id"] and row["held_from"] <= job["printed_at"]]  # fmt: skip
        if known and str(payer) in max(known, key=lambda row: row["held_from"])["payers"].split(","):
            return True
    return False


@settings(max_examples=300, deadline=None)
@given(drawn=worlds(), seed=st.integers(0, 9))
def test_a_site_that_goes_by_own_credits_is_as_one_without_teams(drawn: tuple[World, Past], seed: int) -> None:
    world, past = drawn
    own = world.but(rules=replace(world.rules, team_credits="own"))
    without = world.but(teams=teams())
    assert decided(own, past, seed).equals(decided(without, NO_PAST, seed))
    assert accounts(own) == accounts(without)


QUEUES = st.lists(st.tuples(st.sampled_from("ab"), DAYS, st.integers(1, 12)), max_size=12)
STOCKS = st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 20), st.none() | DAYS, st.none() | DAYS), max_size=6)


@settings(max_examples=300, deadline=None)
@given(queue=QUEUES, stock=STOCKS, policy=st.sampled_from(["ignore", "use"]))
def test_where_nothing_is_shared_both_ways_of_paying_agree(queue: list[Any], stock: list[Any], policy: Any) -> None:
    job = pl.DataFrame(queue, schema={"email_key": pl.String, "printed_at": TIME, "cost_cents": pl.Int64}, orient="row")
    job = job.with_row_index("job_id").with_columns(in_part=pl.lit(policy == "use"))
    schema = {"email_key": pl.String, "remaining_cents": pl.Int64, "valid_from": TIME, "expires_at": TIME}
    never = pl.lit(None, TIME)
    pool = pl.DataFrame(stock, schema=schema, orient="row").with_row_index("credit_id", 1)
    pool = pool.with_columns(pl.col("credit_id").cast(pl.Int64), team=False, shared_from=never, shared_until=never)
    apart, together = payment(job, pool, policy), shared_payment(job, pool)
    by = ["job_id", "credit_id"]
    assert apart.lines.sort(by).equals(together.lines.sort(by))
    assert apart.left.sort("job_id").equals(together.left.sort("job_id"))


def test_periods_end_where_the_next_one_begins() -> None:
    known = events("1 11-20T08:00 8,9\n1 11-20T11:00 9\n2 11-20T08:00 -")
    assert periods(known).sort("payer_id", "shared_from").rows() == [
        (ANN, 8, THEN, SINCE), (ANN, PAYER, THEN, SINCE), (ANN, PAYER, SINCE, None),
    ]  # fmt: skip
