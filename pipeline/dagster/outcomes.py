"""What became of runs: the outcome of one that the command started, and the failed ones that nothing has made good.

What belongs here: Dagster's storage, opened, and read in words that the command and the alerts use; running one job in
this process. What does not: when a run is asked for (`schedules.py`), what is told to whom
(`pipeline.operations.alerts`), what is shown (`pipeline.cli.console`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import dagster as dg

from pipeline.clock import system_clock
from pipeline.dagster.runs import DRY_RUN_TAG, SYNC
from pipeline.errors import KINDS, PermanentError
from pipeline.home import home
from pipeline.operations import alerts
from pipeline.store.locks import hold

FAILURES_DAYS = 8
"""How far back a failed run still counts, if none has made it good."""

SUCCEEDED = [dg.DagsterRunStatus.SUCCESS]
RUNS_AT_ONCE = 2_000
"""So many runs are taken from Dagster's storage in one question."""


@dataclass(frozen=True)
class Outcome:
    """What one run of a job came to, for whoever started it from the command."""

    job: str
    partition: str
    run_id: str
    failures: dict[str, tuple[str, str]]
    """For each failed step the kind of error (a class of `pipeline.errors`, or another) and its text."""
    findings: list[str]
    """What checks that did not pass say."""
    metadata: dict[str, dict[str, Any]]
    """What each asset reported, by asset."""

    @property
    def ok(self) -> bool:
        """Whether every step succeeded."""
        return not self.failures

    @property
    def stopped(self) -> bool:
        """Whether nothing but safety gates ended the run."""
        return bool(self.failures) and all(kind == "UnsafeError" for kind, _ in self.failures.values())


def run_job(
    defs: dg.Definitions,
    job: str,
    partition: Mapping[str, str] | str,
    *,
    tags: Mapping[str, str] | None = None,
    instance: dg.DagsterInstance | None = None,
) -> Outcome:
    """Run a job in this process, recorded in Dagster's storage like every other run.

    Args:
        defs: the code location.
        job: name of the job.
        partition: a site, or a mapping of the dimensions of a partition to its keys.
        tags: tags of the run, for example the dry-run tag.
        instance: Dagster's storage, for a caller of many runs: opening it costs a tenth of a second.
    """
    key = partition if isinstance(partition, str) else dg.MultiPartitionKey(partition)
    result = defs.resolve_job_def(job).execute_in_process(
        partition_key=key,
        instance=instance or storage(),
        raise_on_error=False,
        tags=dict(tags or {}),
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )
    failures: dict[str, tuple[str, str]] = {}
    findings: list[str] = []
    metadata: dict[str, dict[str, Any]] = {}
    for event in result.all_events:
        if event.is_step_failure:
            failures[event.step_key or ""] = _cause(event.step_failure_data.error)
        elif event.is_resource_init_failure:
            # No step was reached: for example, another run held the lock of the site for too long.
            failures["start"] = _cause(event.engine_event_data.error)
        elif event.event_type_value == "ASSET_CHECK_EVALUATION":
            check = event.asset_check_evaluation_data
            if not check.passed:
                findings.append(f"{check.asset_key.to_user_string()}.{check.check_name}: {check.description}")
        elif event.is_step_materialization:
            materialization = event.step_materialization_data.materialization
            values = {name: value.value for name, value in materialization.metadata.items()}
            metadata[materialization.asset_key.to_user_string()] = values
    if not result.success and not failures:
        failures["start"] = ("Exception", "the run ended before its first step; look at it in the run list")
    return Outcome(job, str(key), result.run_id, failures, findings, metadata)


def storage() -> dg.DagsterInstance:
    """Dagster's storage, made one process at a time: two that make it at the same moment break each other's tables.

    Raises:
        PermanentError: one of its files is damaged.
    """
    try:
        with hold(home().locks, "dagster"):
            instance = dg.DagsterInstance.get()
            # Each is another file.
            instance.get_run_records(limit=1)
            instance.event_log_storage.get_maximum_record_id()
            instance.all_instigator_state()
            return instance
    except Exception as error:
        raise damaged(error) or error from error


def damaged(error: BaseException) -> PermanentError | None:
    """What a failure of Dagster's own database means for a person; None for every other error."""
    cause = getattr(error, "orig", error)  # what SQLAlchemy makes of an error has that of SQLite in it
    if not isinstance(cause, sqlite3.Error):
        return None
    return PermanentError(
        f"Dagster's records of runs in {home().path} cannot be read or written: {cause}",
        "check that the disk has room and is writable; if a file is damaged, stop `printbridge dev`, move the folders"
        " history and schedules out of the state folder, and start it again: they hold records of former runs only,"
        " what was charged is in the warehouse",
    )


def failures(instance: dg.DagsterInstance) -> list[alerts.Failure]:
    """The failed steps of the last days that no later run has made good; the same error of a site and step is one."""
    # Dagster's storage has its own times, so this is the machine's clock and not the sandbox's.
    since = system_clock() - timedelta(days=FAILURES_DAYS)
    failed = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], created_after=since)
    found: dict[tuple[str, str, str], alerts.Failure] = {}
    seen: set[tuple[str, str]] = set()
    for record in instance.get_run_records(failed, limit=RUNS_AT_ONCE):
        run = record.dagster_run
        partition = run.tags.get("dagster/partition", "")
        if (run.job_name, partition) in seen or run.tags.get(DRY_RUN_TAG) == "true":
            continue
        seen.add((run.job_name, partition))
        step, error, text = _failed_step(instance, run.run_id)
        site = run.tags.get("dagster/partition/site") or partition
        if _made_good(instance, record, step, site, partition):
            continue
        same = found.get((site, step, error))
        found[site, step, error] = alerts.Failure(
            site, tuple(dict.fromkeys([*(same.jobs if same else ()), run.job_name])),
            tuple(dict.fromkeys([*(same.partitions if same else ()), *filter(None, [partition])])), step, error,
            same.text if same else text, same.run_id if same else run.run_id,
            same.failed_at if same else record.create_timestamp,
        )  # fmt: skip
    return list(found.values())


def _failed_step(instance: dg.DagsterInstance, run_id: str) -> tuple[str, str, str]:
    """The step that failed first, the class of its error and its text."""
    kinds = {
        dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RESOURCE_INIT_FAILURE, dg.DagsterEventType.RUN_FAILURE,
    }  # fmt: skip
    for entry in instance.all_logs(run_id, of_type=kinds):
        event = entry.dagster_event
        if event and event.is_step_failure and event.step_failure_data.error:
            return (event.step_key or "", *_cause(event.step_failure_data.error))
        if event and event.is_resource_init_failure and event.engine_event_data.error:
            return ("start", *_cause(event.engine_event_data.error))
    return "start", "Exception", "the run ended without a word: its process was killed, or the machine restarted"


def _made_good(instance: dg.DagsterInstance, failed: dg.RunRecord, step: str, site: str, partition: str) -> bool:
    """Whether a later run of the same job and partition, or a sync of the site, has done what this one did not."""
    synced = [("sync_site", site), ("reread_jobs", site)] if step in (*SYNC, "start") and site else []
    for job, key in [(failed.dagster_run.job_name, partition), *synced]:
        tags = {"dagster/partition": key} if key else {}
        done = dg.RunsFilter(job_name=job, tags=tags, statuses=SUCCEEDED, created_after=failed.create_timestamp)
        later = instance.get_run_records(done, limit=20)
        if any(each.dagster_run.tags.get(DRY_RUN_TAG) != "true" for each in later):
            return True
    return False


def _cause(error: Any) -> tuple[str, str]:
    """Our own error of a failed step, whatever it was made from; else the innermost one: its class and its text."""
    while error.cause and error.cls_name not in KINDS:
        error = error.cause
    return error.cls_name or "Exception", error.message.split(": ", 1)[-1].strip()
