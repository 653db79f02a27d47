"""Runs: what one says of itself by its tags, and whether it may write.

What belongs here: the names of the tags, what stands in them, the switch in the launch form, and the run as its steps
know it. What does not: asking for a run (`schedules.py`), what it does (`pipeline.steps`) and what became of it
(`outcomes.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, cast

import dagster as dg

from pipeline.site import Sites
from pipeline.steps.run import Run as StepRun
from pipeline.steps.sync import STEPS

SITE_TAG = "printbridge/site"
REASON_TAG = "printbridge/reason"
DRY_RUN_TAG = "printbridge/dry_run"
REREAD_TAG = "printbridge/reread_days"
INVITE_TAG = "printbridge/invite"
LOCKS = "run-"
"""How the names begin that runs hold for themselves; no site can have such a name."""
LOST_TAG = "printbridge/lost"
"""On a run that was closed because its process was gone."""

BY_HAND = "by hand"
LONGEST = 250
"""Characters of a tag; what is longer does not fit into a line of the run list."""

DRY_RUN_FIELD = "dry_run"
DRY_RUN_MEANS = (
    "true: nothing is written to Nexudus or PaperCut. The run reads both, makes the plan and the charges and shows them"
    " on the pages of user_sync_plan and print_charges. false: the run does what it plans."
)

SYNC = tuple(STEPS)
"""The assets of one run of a site, in their order."""


class Run(Protocol):
    """What is needed of a run; Dagster's has it."""

    @property
    def tags(self) -> Mapping[str, str]:
        """Its tags when it began."""
        ...

    @property
    def run_config(self) -> Mapping[str, Any]:
        """What the launch form said."""
        ...


def tags(reason: str, site: str | None = None, *, dry_run: bool = False) -> dict[str, str]:
    """The tags of a run: why it was started, which site it is about if it is one, and whether it writes nothing."""
    found = {REASON_TAG: reason[:LONGEST]}
    if site:
        found[SITE_TAG] = site
    if dry_run:
        found[DRY_RUN_TAG] = "true"
    return found


def lock_of(run_id: str) -> str:
    """The name that the process of a run holds from its first to its last step: who asks for it knows if it lives."""
    return f"{LOCKS}{run_id}"


def held_by(run: Run) -> str | None:
    """The partition of a run that only one run may hold at a time: its site, or else whatever it is about."""
    return run.tags.get("dagster/partition/site") or run.tags.get("dagster/partition")


def is_dry(run: Run) -> bool:
    """Whether a run was asked to write nothing, by its tag or in the launch form."""
    form: Any = run.run_config
    for level in ("resources", "sites", "config", DRY_RUN_FIELD):
        form = cast("Mapping[str, Any]", form or {}).get(level)  # any level may be left out, or empty
    return run.tags.get(DRY_RUN_TAG) == "true" or form is True


def missing_tags(run: Run, site: str | None) -> dict[str, str]:
    """The tags that a run lacks because a person started it in the UI; none for a run that printbridge started."""
    return {name: value for name, value in tags(BY_HAND, site, dry_run=is_dry(run)).items() if name not in run.tags}


def run_of(context: dg.AssetExecutionContext, sites: Sites) -> StepRun:
    """The run of an asset as its steps know it."""
    run = context.run
    dry = sites.settings.mode == "dry_run" or is_dry(run)
    return StepRun(
        run.run_id, dry=dry, reread_days=int(run.tags.get(REREAD_TAG, 0)), invites=run.tags.get(INVITE_TAG) == "all",
        say=context.log.warning,
    )  # fmt: skip
