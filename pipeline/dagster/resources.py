"""The resource of a run: what its steps are given, and the lock that keeps a site to one run.

What belongs here: the switch in the launch form, the lock, the tags that a run started by hand lacks. What does not:
making what is given (`pipeline.site`).
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack

import dagster as dg

from pipeline.dagster import runs
from pipeline.site import Sites
from pipeline.store.locks import hold


def for_runs(sites: Sites) -> dg.ResourceDefinition:
    """The sites as a resource that holds the site of the run alone, from its first to its last step.

    One process runs all steps of a run, so the lock lives as long as the run; runs without a site need none. Each run
    holds a name of its own as well, by which `life.close_lost` knows that it lives.
    """

    def held(context: dg.InitResourceContext) -> Generator[Sites, None, None]:
        run = context.run
        name = runs.held_by(run) if run else None
        if run and context.instance:
            labels = runs.missing_tags(run, name if name in sites.names else None)
            if labels:
                context.instance.add_run_tags(run.run_id, labels)
        with ExitStack() as held_names:
            if run:
                held_names.enter_context(hold(sites.home.locks, runs.lock_of(run.run_id), once=True))
            if name:
                held_names.enter_context(sites.hold(name))
            yield sites

    switch = dg.Field(bool, default_value=False, is_required=False, description=runs.DRY_RUN_MEANS)
    return dg.ResourceDefinition(
        resource_fn=held,
        config_schema={runs.DRY_RUN_FIELD: switch},
        description="Settings, clients, sources and the warehouse of every site.",
    )
