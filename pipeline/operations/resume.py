"""Resume: a person lets go on what a safety gate stopped.

What belongs here: what is stopped or held, what a resumption would allow, and the record of who gave it. What does not:
the gates (`pipeline.steps`, `pipeline.domain.people.plan`), and how a resumption is used up (`pipeline.store.stops`).

A resumption is for what was shown: the rows of the last plan that the phase is about, known by their digest, for one
day. If the next plan is another one, the site stops again and says so. Charges are decided anew by every run and no cap
is lifted for them, so theirs is for no plan: the first run that charges uses it up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import polars as pl

from pipeline.domain.people import plan as plans
from pipeline.errors import UnsafeError
from pipeline.site import Site
from pipeline.store import stops
from pipeline.store.lines import lines_in
from pipeline.store.sql import Connection, read
from pipeline.words import counted, listed

PHASES = (*stops.PHASES, *plans.HELD_PHASES.values())
"""What a person can let go: what is stopped, and rows of a plan that are held each by itself."""

WHAT = {
    "remove": "removal", "rename": "rename or e-mail change", "balances": "balance that fell",
    "writes": "change without effect",
}  # fmt: skip
"""What the rows of a phase are, in the singular."""


def stopped(site: Site, phase: str | None = None) -> dict[str, str]:
    """The phases that are stopped, each with its reason and with what a resumption allows; only one if it is named.

    Raises:
        UnsafeError: a backup was restored, and the site was not recovered since.
    """
    with site.store.connect() as con:
        stops.refuse_if_unrecovered(con, site.key)
        return _shown(con, site, phase)


def resume(site: Site, phases: Iterable[str], operator: str) -> None:
    """Record that a person lets go on; it holds for one plan and one day.

    Args:
        site: the site.
        phases: phases; or what `stopped` gave, so that nothing but what was shown is allowed.
        operator: who it is.

    Raises:
        UnsafeError: what is stopped, or what would be allowed, has changed since it was shown.
    """

    def change(con: Connection) -> None:
        plan = read(con, "user_sync_plan", site.key)
        for phase in phases:
            if isinstance(phases, Mapping) and _shown(con, site, phase) != {phase: phases[phase]}:
                raise UnsafeError(
                    f"What is stopped for {phase} at site {site.name} has changed since it was shown; nothing was"
                    " resumed",
                    f"look at it again: `printbridge resume {site.name} {phase}`",
                )
            part = plans.part(plan, phase) if phase in WHAT else None
            size = f" for {counted(part.size, WHAT[phase])} (plan {part.digest})" if part else ""
            stops.record(
                con, site.key, phase, state="resumed", reason=f"resumed by {operator}{size}", at=site.clock(),
                part=part,
            )  # fmt: skip

    site.store.commit(change)


def _shown(con: Connection, site: Site, phase: str | None) -> dict[str, str]:
    """What is stopped, with what a resumption allows."""
    plan = read(con, "user_sync_plan", site.key)
    found = {name: why for name, why in (stops.stopped(con, site.key) | _held(plan)).items() if phase in (None, name)}
    return {name: f"{why.rstrip('.')}. {_allows(con, site.key, name, plan)}" for name, why in found.items()}


def _held(plan: pl.DataFrame) -> dict[str, str]:
    """The phases of which the last plan holds rows, each by itself."""
    parts = {phase: plans.part(plan, phase) for phase in plans.HELD_PHASES.values()}
    return {phase: f"{counted(part.size, WHAT[phase])} held" for phase, part in parts.items() if part.size}


def _allows(con: Connection, site: str, phase: str, plan: pl.DataFrame) -> str:
    """What a resumption allows, in words, with the digest that it is known by."""
    if phase not in WHAT:
        waiting = lines_in(con, site, "priced")
        return (
            f"To resume lets the next run charge; {counted(waiting.height, 'charge')} ({waiting['amount_cents'].sum()}"
            " cents) and all later jobs wait"
        )
    part = plans.part(plan, phase)
    if not part.size:
        return "The last plan has nothing of the kind any more: to resume allows nothing but ends the stop"
    ids = plans.of_phase(plan, phase)["coworker_id"].drop_nulls().unique().sort()
    named = listed([str(each) for each in ids], "customer")
    return f"To resume allows {counted(part.size, WHAT[phase])} for one day, and no other: {named} (plan {part.digest})"
