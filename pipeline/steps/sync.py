"""Sync: one run of one site as a whole, each step by the name of what it makes.

What belongs here: the steps in their order. What does not: the steps themselves.
"""

from __future__ import annotations

from collections.abc import Callable

from pipeline.site import Site
from pipeline.steps.charge import charge
from pipeline.steps.decide import decide_accounts, decide_charges, plan_users
from pipeline.steps.read import read_jobs, read_lists, read_users
from pipeline.steps.run import Made, Run
from pipeline.steps.sync_users import sync_users


def _list(name: str) -> Callable[[Site, Run], Made]:
    return lambda site, _: read_lists(site.sites, [name])[name]


STEPS: dict[str, Callable[[Site, Run], Made]] = {
    "nexudus_customers": _list("nexudus_customers"),
    "nexudus_credits": _list("nexudus_credits"),
    "nexudus_teams": _list("nexudus_teams"),
    "print_users": read_users,
    "print_jobs": read_jobs,
    "print_accounts": decide_accounts,
    "print_charges": lambda site, _: decide_charges(site),
    "nexudus_print_charges": charge,
    "user_sync_plan": plan_users,
    "print_user_sync": sync_users,
}
"""What a run of a site makes, in this order, and the step that makes it."""


def sync(site: Site, run: Run) -> dict[str, Made]:
    """Every step of a run in its order; the caller holds the site.

    Returns:
        What each step made.

    Raises:
        PrintbridgeError: of the first step that failed; what was done before stands.
    """
    return {name: step(site, run) for name, step in STEPS.items()}
