"""Holdings: a plan never asks a print system for what it does not hold."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import chain, combinations

import polars as pl
import pytest

from pipeline.domain.rules import EVERYTHING
from tests.domain.people.frames import accounts, owned, planned, steps, users
from tests.domain.people.test_accounts import reasons
from tests.domain.people.test_plan import random_world
from tests.frames import customers, rules

OTHERS = ["mark", "customer", "full_name", "email", "username", "access"]
FIELDS = {"balance": ["balance"], "restricted": ["restricted"], "pin": ["pin", "password"], "card": ["card"],
          "disabled": ["disabled"], "cost": []}  # fmt: skip
SUBSETS = [frozenset(each) for each in chain.from_iterable(combinations(sorted(EVERYTHING), n) for n in range(7))]


def asked(plan: pl.DataFrame) -> set[str]:
    rows = plan.filter(~pl.col("action").is_in(["hold", "remove"]))
    return set(rows["changes"].str.split(",").explode().drop_nulls()) - {""}


@pytest.mark.parametrize("number", range(len(SUBSETS)))
def test_no_row_of_a_plan_asks_for_what_the_system_does_not_hold(number: int) -> None:
    holds = SUBSETS[number]
    allowed = {*OTHERS, *chain.from_iterable(FIELDS[each] for each in holds)}
    for seed in range(number * 20, number * 20 + 20):
        world = random_world(random.Random(seed))
        world.site = replace(world.site, holds=holds)
        plan = world.plan()
        assert asked(plan) <= allowed, f"replay: random_world(random.Random({seed})) with {sorted(holds)}"
        assert "balance" in holds or plan["target"].is_null().all(), "a balance is wanted where there is none"


def test_everything_held_is_asked_for_in_some_plan() -> None:
    plans = [random_world(random.Random(seed)).plan() for seed in range(80)]
    assert asked(pl.concat(plans)) == {*OTHERS, *chain.from_iterable(FIELDS.values())} - {"password"}


def test_a_system_of_names_and_mails_gets_names_and_mails() -> None:
    site = rules(holds=frozenset())
    assert steps(planned(accounts("username\na"), users(), owned(), site=site)) == ["create a mark,full_name,email"]
    apart = users("username restricted balance disabled full_name\na n 3 y Other")
    assert steps(planned(accounts("username\na"), apart, owned("username\na"), site=site)) == ["update a full_name"]


def test_where_there_are_no_pins_nobody_is_left_out_for_one() -> None:
    people = customers("coworker_id pay pin_digest\n1 y -\n2 y same\n3 y same")
    assert reasons(people) == {1: "no_pin", 2: None, 3: "pin_clash"}
    assert reasons(people, holds=EVERYTHING - {"pin"}) == {1: None, 2: None, 3: None}
