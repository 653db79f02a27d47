"""Signs of life: runs whose process is gone, how long nobody has looked, and all that stands from both.

What belongs here: Dagster's storage, read for signs of life, and closing what has none. What does not: keeping the
processes up (`dev.py`), the words of a cause (`pipeline.operations.causes`), what became of a run that ended
(`outcomes.py`).

Dagster watches the runs of a code server that lives. A run whose code server was killed with it, as by a power loss,
stays STARTED in its storage for ever, and its site has a run in progress for ever.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
from dagster._core.scheduler.instigation import TickStatus
from dagster._utils.schedules import cron_string_iterator  # the times at which Dagster itself evaluates a schedule

from pipeline.clock import Clock, system_clock
from pipeline.dagster import runs
from pipeline.dagster.outcomes import failures, storage
from pipeline.errors import PermanentError
from pipeline.home import Home
from pipeline.operations.causes import causes
from pipeline.operations.kinds import Cause, Silence
from pipeline.settings import Settings
from pipeline.site import Sites
from pipeline.store.locks import is_held

LOOK = "look_and_sync"
"""The schedule that looks."""

SERVICE = "_service"
"""The name that `printbridge dev` holds while it is up; no site can have it."""

SIGN_OF_LIFE = timedelta(seconds=20)
"""A run that has begun holds its name within this time of its last word, and ends within it once it lets go."""

START = timedelta(minutes=2)
"""The process of a run that was asked for is up within this time."""

LOST = "the process of this run is gone: it was killed, or the machine restarted"

_WAITING = {
    dg.DagsterRunStatus.NOT_STARTED: START, dg.DagsterRunStatus.STARTING: START,
    dg.DagsterRunStatus.STARTED: SIGN_OF_LIFE, dg.DagsterRunStatus.CANCELING: SIGN_OF_LIFE,
}  # fmt: skip
"""The states of a run that should have a process, and for how long it may be silent without one. A queued run needs
none: the queue goes on with it."""


def close_lost(instance: dg.DagsterInstance, locks: Path, clock: Clock = system_clock) -> list[str]:
    """Report every run whose process is gone as failed, so that its site is free for the next one.

    Args:
        instance: Dagster's storage.
        locks: where the lock files of this installation lie.
        clock: the time. Dagster's storage has its own times, so it is the machine's and not the sandbox's.

    Returns:
        The ids of the runs that were closed.
    """
    closed: list[str] = []
    for record in instance.get_run_records(dg.RunsFilter(statuses=list(_WAITING))):
        run = record.dagster_run
        # Time may have been set back since its last word, so the distance counts.
        silent = abs(clock() - _last_word(instance, record))
        if _lives(run, locks) or silent < _WAITING[run.status]:
            continue
        now = instance.get_run_by_id(run.run_id)
        if now is None or now.status != run.status:
            continue  # it spoke while it was looked at
        if run.status == dg.DagsterRunStatus.CANCELING:
            instance.report_run_canceled(run, LOST)
        else:
            instance.report_run_failed(run, LOST)
        instance.add_run_tags(run.run_id, {runs.LOST_TAG: "true"})
        (locks / f"{runs.lock_of(run.run_id)}.lock").unlink(missing_ok=True)
        closed.append(run.run_id)
    return closed


def _lives(run: dg.DagsterRun, locks: Path) -> bool:
    """Whether a process holds the name of the run; or its site, for a run that an older program began."""
    own, site = runs.lock_of(run.run_id), runs.held_by(run)
    began = (locks / f"{own}.lock").exists()
    return is_held(locks, own) or bool(site and not began and is_held(locks, site))


def _last_word(instance: dg.DagsterInstance, record: dg.RunRecord) -> datetime:
    words = instance.get_records_for_run(record.dagster_run.run_id, limit=1, ascending=False).records
    return datetime.fromtimestamp(words[0].timestamp, UTC) if words else record.create_timestamp.astimezone(UTC)


def was_lost(instance: dg.DagsterInstance, site: str) -> str | None:
    """The newest run of a site if it was closed because its process was gone, else None."""
    newest = instance.get_run_records(dg.RunsFilter(tags={"dagster/partition": site}), limit=1)
    return next((each.dagster_run.run_id for each in newest if runs.LOST_TAG in each.dagster_run.tags), None)


# --- looks -----------------------------------------------------------------------------------------------------------


def silence(
    instance: dg.DagsterInstance, settings: Settings, home: Home, clock: Clock = system_clock
) -> Silence | None:
    """Since when nobody has looked at the sites, if two looks and some patience have gone by; else None.

    A service that has just started has its own time. Where no service is up, a run by command is as good as a look, for
    an installation that works by timer (docs/service.md); then `stale` tells when these runs end.

    Args:
        instance: Dagster's storage.
        settings: the configuration.
        home: the state folder.
        clock: as in `close_lost`.
    """
    now, last, why = clock(), None, "the schedule has no ticks"
    state = next((each for each in instance.all_instigator_state() if each.instigator_name == LOOK), None)
    if state:
        which = state.instigator_origin_id, state.selector_id
        good = instance.get_ticks(*which, limit=1, statuses=[TickStatus.SUCCESS, TickStatus.SKIPPED])
        last = datetime.fromtimestamp(good[0].end_timestamp or good[0].timestamp, UTC) if good else None
        newest = instance.get_ticks(*which, limit=1)
        why = _why(str(state.status.value), [each.error.cls_name for each in newest if each.error])
    if is_held(home.locks, SERVICE):
        begun = datetime.fromtimestamp(home.workspace.stat().st_mtime, UTC) if home.workspace.exists() else now
        last = max(last or begun, begun)
    elif last is None or _ran_since(instance, last):
        return None
    else:
        why = "`printbridge dev` does not run"
    overdue = _second_look(settings.every, last) + timedelta(minutes=settings.alerts.no_look_minutes)
    return Silence(last, why) if now >= overdue else None


def _why(status: str, errors: list[str | None]) -> str:
    if status == "STOPPED":
        return f"the schedule {LOOK} is switched off"
    return f"its last tick failed with {errors[0]}" if errors else "the schedule has no ticks"


def _ran_since(instance: dg.DagsterInstance, moment: datetime) -> bool:
    done = dg.RunsFilter(job_name="sync_site", statuses=[dg.DagsterRunStatus.SUCCESS], created_after=moment)
    by_hand = instance.get_run_records(done, limit=20)
    return any(each.dagster_run.tags.get(runs.REASON_TAG, "").startswith(runs.BY_HAND) for each in by_hand)


def _second_look(every: str, last: datetime) -> datetime:
    looks: Iterator[datetime] = cron_string_iterator(last.timestamp() + 1, every, "UTC")
    next(looks)
    return next(looks)


# --- what stands -----------------------------------------------------------------------------------------------------


def standing(instance: dg.DagsterInstance, sites: Sites) -> list[Cause]:
    """Everything that needs a person now, after runs without a process were closed.

    Args:
        instance: Dagster's storage.
        sites: every site.
    """
    close_lost(instance, sites.home.locks)
    return causes(sites, failures(instance), silence(instance, sites.settings, sites.home))


def standing_here(sites: Sites) -> list[Cause]:
    """`standing` of this installation; that Dagster's storage cannot be read is a cause by itself."""
    try:
        with storage() as instance:
            return standing(instance, sites)
    except PermanentError as error:
        return causes(sites, [], Silence(None, error.tried))
