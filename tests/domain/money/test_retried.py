"""Properties of what a person decides again, and of credits that are too large to be counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.domain.money.reversals import RETRIED, taken_back
from tests.frames import World, customers, grants, jobs, ledger, rules, short

PEOPLE = range(1, 6)
LIMIT = 1_000


@dataclass(frozen=True)
class Case:
    """Jobs of a few people, with credits of which some are above the limit."""

    pay: list[bool]
    costs: list[tuple[int, int]]
    credits: list[tuple[int, int]]
    partial: str

    def world(self, *, larger: bool = True) -> World:
        people = [f"{who} {'y' if pays else 'n'}" for who, pays in zip(PEOPLE, self.pay, strict=True)]
        rows = [f"{number} c{who}@example.com {cost}" for number, (who, cost) in enumerate(self.costs, 1)]
        granted = [
            f"{number} {who} {cents} {cents}" for number, (who, cents) in enumerate(self.credits, 1)
            if larger or cents <= LIMIT
        ]  # fmt: skip
        return World(
            customers("\n".join(["coworker_id pay", *people])),
            jobs("\n".join(["job_id username cost", *rows])),
            grants("\n".join(["credit_id coworker_id total_uses remaining_uses", *granted])),
            rules=rules(max_credits=LIMIT, max_charge=300, partial_credits=self.partial),
        )


WHO = st.sampled_from(PEOPLE)
CASES = st.builds(
    Case,
    pay=st.lists(st.booleans(), min_size=len(PEOPLE), max_size=len(PEOPLE)),
    costs=st.lists(st.tuples(WHO, st.integers(1, 400)), min_size=40, max_size=60),
    credits=st.lists(st.tuples(WHO, st.integers(1, 300) | st.integers(LIMIT + 1, 5 * LIMIT)), max_size=8),
    partial=st.sampled_from(["ignore", "use"]),
)


@given(CASES)
@settings(max_examples=120)
def test_a_credit_above_the_limit_never_pays_and_never_makes_a_job_money(case: Case) -> None:
    """Counted, it would pay for some jobs: these wait. Every other job is decided as if the credit were not there."""
    world = case.world()
    lines = world.charge()
    large = {number for number, (_, cents) in enumerate(case.credits, 1) if cents > LIMIT}
    counted = world.but(rules=rules(max_credits=9 * LIMIT, max_charge=300, partial_credits=case.partial)).charge()
    would = set(counted.filter(pl.col("credit_id").is_in(large))["job_id"])
    held = lines.filter(rule="credit_too_large")
    assert set(held["job_id"]) == would
    assert set(held["state"]) <= {"held"}
    assert not set(lines.drop_nulls("credit_id")["credit_id"]) & large
    others = world.but(jobs=world.jobs.filter(~pl.col("job_id").is_in(would)), grants=case.world(larger=False).grants)
    assert lines.filter(~pl.col("job_id").is_in(would)).rows() == others.charge().rows()


@given(CASES, st.integers(0, 5_000))
@settings(max_examples=120)
def test_what_a_person_lets_be_decided_again_is_paid_in_full_with_credits_where_they_suffice(
    case: Case, given_since: int
) -> None:
    before = case.world()
    entered = before.enter(before.charge())
    held = entered.ledger.filter(pl.col("rule").is_in(["overdrawn", "above_max_charge"]), state="held")
    back = taken_back(held.select(pl.exclude("remote_id")), RETRIED)
    cancelled = pl.when(pl.col("ref").is_in(held["ref"].implode())).then(pl.lit("void")).otherwise("state")
    asked = entered.but(
        ledger=pl.concat([entered.ledger.with_columns(state=cancelled), ledger(back, undo_sale="confirmed")])
    )
    fresh = [f"{900 + who} {who} {given_since}" for who in PEOPLE]
    more = grants("\n".join(["credit_id coworker_id remaining_uses", *fresh]))
    asked = asked.but(grants=more, rules=rules(max_charge=300, partial_credits=case.partial))
    lines = asked.charge()
    assert set(lines["job_id"]) == set(held["job_id"]), "exactly these are decided, and all of them"
    again = lines.filter(state="held")
    assert set(again["rule"]) <= {"overdrawn"}, "what held them was overruled; a second question may follow the first"
    due = dict(held.select("job_id", "amount_cents").iter_rows())
    assert dict(lines.group_by("job_id").agg(pl.col("amount_cents").sum()).iter_rows()) == due
    assert not set(lines["ref"]) & set(entered.ledger["ref"]), "under references of their own"
    for who, of in lines.group_by("coworker_id"):
        owed = held.filter(pl.col("coworker_id").is_in(who))["amount_cents"].sum()
        if owed <= given_since:
            assert set(of["kind"]) == {"credit"}, f"customer {who[0]} owes {owed} and has {given_since} in credits"
    assert asked.enter(lines).charge().is_empty(), "and once"


def retried(revision: int, cost: int) -> list[tuple[Any, ...]]:
    """What is decided of a job of 50 cents that a person let go above the limit of 40, once it is as given."""
    held = World(customers("coworker_id pay\n1 y"), jobs("job_id cost\n1 50"), rules=rules(max_charge=40))
    lines = held.charge()
    back = taken_back(lines, RETRIED)
    seen = held.enter(lines, sale="void").enter(back, undo_sale="confirmed")
    after = seen.but(jobs=jobs(f"job_id revision cost\n1 {revision} {cost}"))
    decided = after.charge()
    assert after.enter(decided).charge().is_empty(), "it is decided once"
    return short(decided)


def test_a_person_lets_a_job_go_for_what_it_cost_then_and_not_for_another_cost() -> None:
    assert retried(0, 50) == [("1", "sale", 1, 50, "priced", "money")]
    assert retried(1, 50) == [("1", "sale", 1, 50, "priced", "money")]
    assert retried(1, 60) == [("1", "sale", 1, 60, "held", "above_max_charge")]
    assert retried(1, 40) == [("1", "sale", 1, 40, "priced", "money")]
