"""Looks: which sites the schedule and the watch ask a run for.

What belongs here: the memory that both share, and what keeps a site from being asked for. What does not: what a look
finds (`pipeline.steps.look`), when one is made (`schedules.py`) and what a run does (`pipeline.steps`).
"""

from __future__ import annotations

import threading
import time

import dagster as dg

from pipeline.dagster import runs
from pipeline.dagster.life import was_lost
from pipeline.site import Sites
from pipeline.steps.look import Look, Looker

RETRY_MINUTES = 10
"""How often a run is asked for again where the last one did not finish, or a look fails."""

ASKED_SECONDS = 30.0
"""So long Dagster may take from our answer until the run is among those in progress."""

RUNS_AN_HOUR, RUNS_AT_ONCE = 30.0, 100
"""How many runs of a site the watch asks for, in the long and in the short run; more are left to the schedule. A run
leaves half a MB with Dagster, so an account in which something changes all day must not have one every few seconds."""

IN_PROGRESS = [
    dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]  # fmt: skip


class Looks:
    """The looks of one code server, at all of its sites.

    Args:
        sites: every site.
    """

    def __init__(self, sites: Sites) -> None:
        self._sites = sites
        self._looker = Looker(sites)
        self._alone = threading.Lock()
        self._asked: dict[str, tuple[bool, float]] = {}
        """For each site whether the watch asked for its last run, and when."""
        self._watched: dict[str, tuple[float, float]] = {}
        """For each site how many runs the watch has asked for, less those of `RUNS_AN_HOUR` since, and when it did."""

    def asked(self, instance: dg.DagsterInstance, *, quick: bool = False) -> dg.SkipReason | list[dg.RunRequest]:
        """Look at every site, and ask for a run of each that needs one.

        Args:
            instance: Dagster's storage.
            quick: as in `Looker.look`, for the watch. It leaves to the schedule: failures, which are tried again at
                times; jobs, where they are charged minutes later anyway; and what is more than it may have.
        """
        now = self._sites.clock()
        requests: list[dg.RunRequest] = []
        quiet: list[str] = []
        for site, found in self._looker.look(now, quick=quick).items():
            why_not = self._why_not(instance, site, found, quick=quick)
            if why_not or not found.reason:
                quiet.append(f"{site}: {why_not}")
                continue
            stamp = f"{now:%Y%m%dT%H%M%S}"
            if found.failed:  # at once after a run that was killed, which says nothing against the next one
                stamp = f"again-{int(now.timestamp()) // (60 * RETRY_MINUTES)}-{was_lost(instance, site) or ''}"
            requests.append(dg.RunRequest(f"{site}-{stamp}", partition_key=site, tags=runs.tags(found.reason, site)))
        return requests or dg.SkipReason("; ".join(quiet))

    def _why_not(self, instance: dg.DagsterInstance, site: str, found: Look, *, quick: bool) -> str | None:
        """Why a site is not asked for; None if it is, which is noted."""
        if found.reason is None:
            return found.quiet
        waits = found.about_jobs and self._sites[site].settings.maturity_minutes > 0
        if quick and (found.failed or waits):
            return f"left to the schedule: {found.reason}"
        with self._alone:
            by_watch, at = self._asked.get(site, (quick, 0.0))
            if by_watch != quick and time.monotonic() - at < ASKED_SECONDS:
                return "a run was asked for"
            if _busy(instance, site):
                return "a run is in progress"
            now = time.monotonic()
            if quick:
                before, at = self._watched.get(site, (0.0, now))
                lately = max(0.0, before - (now - at) * RUNS_AN_HOUR / 3600)
                if lately > RUNS_AT_ONCE - 1:
                    return f"left to the schedule after very many runs: {found.reason}"
                self._watched[site] = lately + 1, now
            self._asked[site] = quick, now
        return None


def _busy(instance: dg.DagsterInstance, site: str) -> bool:
    filters = dg.RunsFilter(tags={"dagster/partition": site}, statuses=IN_PROGRESS)
    return bool(instance.get_run_records(filters, limit=1))
