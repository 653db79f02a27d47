"""What runs when: partitions, jobs, the schedules, the sensors.

What belongs here: names, selections and times. What does not: which sites a look asks a run for (`looks.py`), what a
run does (`pipeline.steps`) and what became of it (`outcomes.py`). No retry policy anywhere: a run that failed is looked
at, and the next look asks for another.
"""

# No `from __future__ import annotations`: Dagster reads the annotations of ops at run time.
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import dagster as dg

from pipeline.clock import system_clock
from pipeline.dagster import life, runs
from pipeline.dagster.looks import Looks
from pipeline.dagster.outcomes import RUNS_AT_ONCE, SUCCEEDED
from pipeline.dagster.runs import SYNC
from pipeline.errors import PrintbridgeError
from pipeline.operations import alerts
from pipeline.operations.channels import channels
from pipeline.settings import Settings
from pipeline.site import Sites
from pipeline.steps.look import changed_days
from pipeline.store import backup
from pipeline.store.locks import sweep

REREAD_DAYS = 45

MONTH_ENDED = "the month ended"

FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
KEEP_FAILED_DAYS = 365


@dataclass(frozen=True)
class Partitions:
    """The partitions that a configuration gives: its sites, and days and months since it went live."""

    site: dg.StaticPartitionsDefinition
    site_day: dg.MultiPartitionsDefinition
    site_month: dg.MultiPartitionsDefinition
    month: dg.TimeWindowPartitionsDefinition

    @classmethod
    def of(cls, settings: Settings) -> "Partitions":
        """The partitions of a configuration; days are cut in each site's own zone when they are made."""
        site = dg.StaticPartitionsDefinition(list(settings.sites))
        start = min(each.charge_from for each in settings.sites.values()) - timedelta(days=1)
        day = dg.DailyPartitionsDefinition(f"{start:%Y-%m-%d}", end_offset=1)
        month = dg.MonthlyPartitionsDefinition(f"{start:%Y-%m}", fmt="%Y-%m", end_offset=1)
        return cls(
            site,
            dg.MultiPartitionsDefinition({"site": site, "day": day}),
            dg.MultiPartitionsDefinition({"site": site, "month": month}),
            month,
        )

    def placed(self, spec: dg.AssetSpec) -> dg.AssetSpec:
        """An asset's spec with the real partitions in place of the stand-ins of `assets.tables`."""
        stand_in = spec.partitions_def
        if stand_in is None:
            return spec
        if isinstance(stand_in, dg.MultiPartitionsDefinition):
            days = any(dimension.name == "day" for dimension in stand_in.partitions_defs)
            return spec.replace_attributes(partitions_def=self.site_day if days else self.site_month)
        if isinstance(stand_in, dg.TimeWindowPartitionsDefinition):
            return spec.replace_attributes(partitions_def=self.month)
        return spec.replace_attributes(partitions_def=self.site)


def jobs() -> list[Any]:
    """The jobs; each runs all its steps in one process."""

    def job(name: str, description: str, *assets: str, **tags: str) -> Any:
        return dg.define_asset_job(
            name,
            selection=dg.AssetSelection.assets(*assets),
            description=description,
            tags=tags,
            executor_def=dg.in_process_executor,
        )

    return [
        job("sync_site", "Bring one site in step: users, credits, charges.", *SYNC),
        job(
            "reread_jobs", f"The same, with {REREAD_DAYS} days of jobs read again: refunds, late changes.", *SYNC,
            **{"printbridge/reread_days": str(REREAD_DAYS)},
        ),
        job(
            "invite_customers", "The same, and every customer who waits for it is invited to ezeep, which sends each an"
            " e-mail of its own.", *SYNC, **{"printbridge/invite": "all"},
        ),
        job("reconcile", "Hold PaperCut, the ledger and Nexudus against each other, for one day.", "reconciliation"),
        job("monthly_report", "The print charges of one month, for people.", "monthly_print_report"),
        job("monthly_report_all", "The same for all sites together.", "monthly_print_report_all"),
        housekeeping,
    ]  # fmt: skip


@dg.op
def backed_up_warehouse(context: dg.OpExecutionContext, sites: dg.ResourceParam[Sites]) -> None:
    """A backup, read back before it counts; older ones thinned out; the file tidied."""
    made = backup.back_up(sites.store, sites.home.backups, sites.clock())
    backup.tidy(sites.store)
    context.log.info(f"{made.rows} rows of {made.tables} tables in {made.folder}; {made.removed} older backups removed")


@dg.op
def removed_old_runs(context: dg.OpExecutionContext, sites: dg.ResourceParam[Sites]) -> None:
    """Runs that Dagster no longer needs: successful ones after `keep_runs_days`, all others after a year."""
    # Dagster's storage has its own times, so this is the machine's clock and not the sandbox's.
    now = system_clock()
    removed = 0
    for days, statuses in ((sites.settings.keep_runs_days, SUCCEEDED), (KEEP_FAILED_DAYS, FINISHED)):
        old = dg.RunsFilter(created_before=now - timedelta(days=days), statuses=statuses)
        for record in context.instance.get_run_records(old, limit=RUNS_AT_ONCE):
            context.instance.delete_run(record.dagster_run.run_id)
            removed += 1
    sweep(sites.home.locks, runs.LOCKS)
    context.log.info(f"{removed} old runs removed")


@dg.job(executor_def=dg.in_process_executor, description="Back up the warehouse, prove the backup, remove old runs.")
def housekeeping() -> None:
    """What keeps the installation small and safe; every day."""
    backed_up_warehouse()
    removed_old_runs()


def schedules(sites: Sites, looks: Looks) -> list[dg.ScheduleDefinition]:
    """The schedule that looks, and the nightly and monthly ones."""
    settings = sites.settings
    zone = next(iter(settings.sites.values())).timezone

    @dg.schedule(cron_schedule=settings.every, job_name="sync_site", default_status=dg.DefaultScheduleStatus.RUNNING)
    def look_and_sync(context: dg.ScheduleEvaluationContext) -> dg.SkipReason | list[dg.RunRequest]:
        """Ask each site whether anything changed, and for a run where it did."""
        life.close_lost(context.instance, sites.home.locks)
        return looks.asked(context.instance)

    @dg.schedule(
        cron_schedule="30 2 * * *", job_name="reread_jobs", execution_timezone=zone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )  # fmt: skip
    def nightly_reread(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest]:
        """Every site, every night: rows that changed after they were read."""
        night = context.scheduled_execution_time
        reason = f"every night: {REREAD_DAYS} days of jobs are read again"
        return [
            dg.RunRequest(f"reread-{site}-{night:%Y%m%d}", partition_key=site, tags=runs.tags(reason, site))
            for site in settings.sites
        ]

    @dg.schedule(
        cron_schedule="30 3 * * *", job_name="reconcile", execution_timezone=zone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )  # fmt: skip
    def nightly_reconcile(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest]:
        """Every day whose jobs or charges changed since the night before."""
        night = context.scheduled_execution_time
        return [
            dg.RunRequest(
                run_key=f"reconcile-{site}-{day}-{night:%Y%m%d}",
                partition_key=dg.MultiPartitionKey({"site": site, "day": str(day)}),
                tags=runs.tags("jobs or charges of this day changed", site),
            )
            for site in settings.sites
            for day in changed_days(sites[site])
        ]

    @dg.schedule(
        cron_schedule="0 6 1 * *", job_name="monthly_report", execution_timezone=zone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )  # fmt: skip
    def first_of_month(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest]:
        """The report of the month that ended."""
        month = f"{context.scheduled_execution_time - timedelta(days=2):%Y-%m}"
        return [
            dg.RunRequest(
                run_key=f"report-{site}-{month}",
                partition_key=dg.MultiPartitionKey({"site": site, "month": month}),
                tags=runs.tags(MONTH_ENDED, site),
            )
            for site in settings.sites
        ]

    @dg.schedule(
        cron_schedule="30 6 1 * *", job_name="monthly_report_all", execution_timezone=zone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )  # fmt: skip
    def first_of_month_all(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        """The report of all sites together, where there are several."""
        month = f"{context.scheduled_execution_time - timedelta(days=2):%Y-%m}"
        if len(settings.sites) == 1:
            return dg.SkipReason("there is one site, and it has its report")
        return dg.RunRequest(f"report-all-sites-{month}", partition_key=month, tags=runs.tags(MONTH_ENDED))

    @dg.schedule(
        cron_schedule="30 4 * * *", job_name="housekeeping", execution_timezone=zone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )  # fmt: skip
    def nightly_housekeeping() -> dg.RunRequest:
        """The backup, and what is too old to keep."""
        return dg.RunRequest(tags=runs.tags("every night"))

    return [look_and_sync, nightly_reread, nightly_reconcile, first_of_month, first_of_month_all, nightly_housekeeping]


def sensors(sites: Sites, looks: Looks) -> list[dg.SensorDefinition]:
    """The watch, and the one that tells people what needs them; on where bridge.toml names somebody to be told.

    That one looks for what stands, and not at single events: one message for a cause and not one for each run, and none
    is lost while the daemon is down.
    """
    on = bool(channels(sites.settings.alerts))

    @dg.sensor(
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING if on else dg.DefaultSensorStatus.STOPPED,
    )
    def tell_people(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        """What needs a person (`pipeline.operations.causes`), by e-mail and webhook."""
        try:
            said = alerts.tell(sites, life.standing(context.instance, sites))
        except PrintbridgeError as error:
            said = [f"not looked at: {error}"]
        return dg.SkipReason("; ".join(said) or "nothing new")

    @dg.sensor(
        job_name="sync_site", minimum_interval_seconds=sites.settings.watch_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )  # fmt: skip
    def watch(context: dg.SensorEvaluationContext) -> dg.SkipReason | list[dg.RunRequest]:
        """A quick look every few seconds, beside the schedule, which looks whatever becomes of this."""
        return looks.asked(context.instance, quick=True)

    return [tell_people, watch] if sites.settings.watch_seconds else [tell_people]
