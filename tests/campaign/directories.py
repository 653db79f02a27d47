"""Random directories: accounts, print users and ownership that agree and disagree in every way.

What belongs here: what may never happen when a plan is made of them and applied. What does not: making them, and the
pure application of a plan; both are in `tests/domain/people/test_plan.py`. Caps are held as the step holds them, phase
by phase.
"""

from __future__ import annotations

import random

import polars as pl

from pipeline.domain.people.plan import permitted, verdict
from tests.domain.people.test_plan import proofs, random_world


def violations(seed: int, worlds: int) -> list[str]:
    """What went wrong in so many worlds, each with its replay; an empty list if nothing did."""
    return [found for number in range(worlds) if (found := _violation(seed * 100_000 + number))]


def _violation(seed: int) -> str | None:
    chance = random.Random(seed)
    world = random_world(chance, size=chance.choice([6, 12, 40]))
    if chance.random() < 0.1:
        world.accounts = world.accounts.clear()  # the directory came back empty
    elif chance.random() < 0.1:
        world.accounts = world.accounts.head(world.accounts.height // 2)  # a page is missing
    replay = f"; replay: tests.campaign.directories._violation({seed})"
    ours = len(world.owned)
    strangers = {name: dict(user) for name, user in world.users.items() if not proofs(world, name)}
    plan = world.plan()
    allowed = permitted(plan, verdict(plan, ours, 0))
    removals = allowed.filter(action="remove").height
    if removals > max(5, ours * 10 // 100):
        return f"{removals} of {ours} users were removed in one run{replay}"
    if not world.accounts.height and not world.gone and removals:
        return f"an empty directory removed {removals} users{replay}"
    world.apply(allowed)
    if {name: world.users.get(name) for name in strangers} != strangers:
        return f"a user that is not provably ours was written to{replay}"
    again = world.plan()
    again = permitted(again, verdict(again, len(world.owned), removals))
    limited = allowed.height < plan.filter(pl.col("action") != "hold").height or world.site.licence_users
    if again.height and not limited:
        return f"the second run still wrote {again.height} times{replay}"
    return None
