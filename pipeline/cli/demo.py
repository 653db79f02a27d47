"""The demo: a month in an invented coworking space, every job of it through Dagster, and what came of it.

What belongs here: the order of the month (people print, an administrator edits, printbridge runs). What does not: who
the people are, what they print and what is edited (`pipeline.sandbox.invented`), the tables at the end
(`demo_tables.py`), any rule.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cache
from itertools import pairwise, repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from pipeline.cli.demo_ezeep import print_at
from pipeline.cli.demo_mess import Mess, print_mess
from pipeline.cli.demo_tables import print_tables
from pipeline.clock import system_clock
from pipeline.configuration import load_settings
from pipeline.dagster.dev import serve
from pipeline.dagster.outcomes import Outcome, run_job, storage
from pipeline.definitions import build_defs
from pipeline.domain.jobs import latest
from pipeline.errors import ConfigError, PermanentError
from pipeline.home import prepared_home
from pipeline.sandbox.app import DidNotStartError, start
from pipeline.sandbox.invented.configuration import settings_for
from pipeline.sandbox.invented.edits import administration
from pipeline.sandbox.invented.prints import make_prints, make_refunds
from pipeline.sandbox.invented.world import make_world
from pipeline.site import Sites
from pipeline.store import grants
from pipeline.store.sql import Connection
from pipeline.words import counted

SITES = ("london", "athens", "lisbon")
EZEEP = ("lisbon",)
"""The sites that print with ezeep."""

BEGIN = datetime(2026, 10, 1, 4, tzinfo=UTC)
"""printbridge goes live; the month has a change of the clocks."""

PAUSES = tuple(datetime(2026, month, day, 4, tzinfo=UTC) for month, day in ((10, 8), (10, 16), (10, 24), (11, 1)))
"""When printbridge runs again; at night, so that every job before is old enough to be charged."""

BATCH = 200
MONTHS_TOKEN_SECONDS = 40 * 86_400

Json = dict[str, Any]
Partition = tuple[str, ...]


def run_demo(folder: Path, *, console: Console, customers: int = 300, keep_running: bool = False) -> int:
    """Run the demo in a folder of its own.

    Args:
        folder: gets the configuration, the state below `data` and the sandbox's files; an earlier demo in it is
            replaced.
        console: where progress and tables go.
        customers: how many customer accounts the space has.
        keep_running: leave the sandbox running until Ctrl-C, so that `printbridge dev` can go on with it.

    Returns:
        The exit code: 0 when every run succeeded and nothing is unexplained, else 1.

    Raises:
        ConfigError: the folder holds something else.
        PermanentError: the sandbox did not start.
    """
    _clear(folder)
    world = make_world(customers, SITES, clock=BEGIN.isoformat(), ezeep=EZEEP)
    # A month passes in seconds; the client judges the age of its token by a real clock.
    world["switches"]["token_seconds"] = MONTHS_TOKEN_SECONDS
    with _served(folder, world) as ready:
        sites = Sites(load_settings(), prepared_home())
        with (
            httpx.Client(base_url=ready["control_url"] + "/", timeout=60, trust_env=False) as control,
            ProcessPoolExecutor(len(SITES), get_context("spawn")) as pool,
        ):
            month = Month(world, sites, control, pool, console)
            month.live()
        unexplained = _show(month, folder)
        sites.close()
        if keep_running:
            console.print("The sandbox keeps running for `printbridge dev`; Ctrl-C ends it.")
            with suppress(KeyboardInterrupt):
                while True:  # in short turns: once Polars has run, Ctrl-C no longer ends one long wait
                    time.sleep(0.5)
    return 0 if not month.failures and unexplained == 0 else 1


@cache
def _location() -> tuple[Any, Any]:
    """The code location and Dagster's storage of a process that runs jobs."""
    return build_defs(load_settings(), sites=Sites(load_settings(), prepared_home())), storage()


def run_one(job: str, partition: Partition) -> Outcome:
    """Run a job through Dagster in this process.

    Args:
        job: name of the job.
        partition: the site, and the day or month for a job that has one.
    """
    defs, instance = _location()
    dimension = "month" if job == "monthly_report" else "day"
    key = partition[0] if len(partition) == 1 else {"site": partition[0], dimension: partition[1]}
    return run_job(defs, job, key, instance=instance)


def live(folder: Path, *, console: Console, port: int) -> int:
    """The UI and the schedules on a sandbox that has just opened its doors, until Ctrl-C.

    Jobs are charged after a minute, so that a person can watch one go through.

    Args:
        folder: as for `run_demo`.
        console: where the hints go.
        port: the port of the UI.

    Returns:
        The exit code of the UI.
    """
    _clear(folder)
    world = make_world(300, SITES, clock=system_clock().isoformat(), ezeep=EZEEP)
    with _served(folder, world) as ready:
        config = folder / "bridge.toml"
        text = re.sub(r"(?m)^charge_from = .*$", r"\g<0>\nmaturity_minutes = 1", config.read_text("utf-8"))
        config.write_text(text, "utf-8")
        load_settings(config)
        control, site = ready["control_url"], next(iter(world["sites"]))
        printer = world["sites"][site]["printers"][0]["name"]
        console.print(
            f"There is no bridge.toml, so this is a sandbox of {len(world['nexudus']['coworkers'])} customers."
        )
        console.print(
            f"The UI comes up at http://127.0.0.1:{port}; the first tick transfers the users. To print a job:"
        )
        job = f'{{"site": "{site}", "username": NAME, "printer": "{printer}", "pages": 2, "cost": 10}}'
        console.print(f"  curl -X POST {control}/print -d '{job}'", markup=False, soft_wrap=True)
        console.print(f"Names of users, and all that the servers hold: {control}/state", soft_wrap=True)
        return serve(prepared_home(), port)


@dataclass
class Month:
    """One month: the people of a world, the sites that serve them, and what went wrong."""

    world: Json
    served: Sites
    control: httpx.Client
    pool: ProcessPoolExecutor
    console: Console
    failures: list[Outcome] = field(default_factory=list[Outcome])
    findings: dict[tuple[str, str], list[str]] = field(default_factory=dict[tuple[str, str], list[str]])
    runs: int = 0
    accepted: int = 0

    def __post_init__(self) -> None:
        self.sites: list[str] = list(self.world["sites"])
        self.jobs = make_prints(self.world, BEGIN, PAUSES[-1])
        self.refunds = make_refunds(self.jobs, PAUSES[-1])
        self._numbers: dict[int, tuple[str, int]] = {}
        self._renamed: dict[str, str] = {}

    def live(self) -> None:
        """Live through the month: transfer the users, print and charge, then reconcile and report."""
        with _progress(self.console, len(self.sites) * (len(PAUSES) + 1)) as told:
            self._sync(told, {site: f"{site}: users transferred" for site in self.sites})
            edits = administration(self.world, len(PAUSES))
            edited_ids = {edit["id"] for turn in edits for edit in turn if edit["entity"] == "coworkers"}
            first = self.sites[0]
            printer = self.world["sites"][first]["printers"][0]["name"]
            self.mess = Mess(self.served[first], self._ask, printer, edited_ids)
            periods = zip(pairwise((BEGIN, *PAUSES)), edits, strict=True)
            for turn, ((since, until), edited) in enumerate(periods):
                self._advance(until)
                printed = self._print(since, until)
                self._refund(since, until)
                for edit in edited:
                    self._edit(edit)
                self.mess.happen(turn)
                self._sync(told, {site: f"{site}: {printed[site]} jobs until {until:%d %B}" for site in self.sites})
        days = sorted((day, site) for site in self.sites for day in self._days(site))
        with _progress(self.console, len(days) + len(self.sites), quiet=True) as told:
            last = {(max(day for day, each in days if each == site), site) for _, site in days}
            for some in ([each for each in days if each not in last], sorted(last)):
                self._run(told, "reconcile", {(site, str(day)): f"{site}: {day} reconciled" for day, site in some})
                self._accept()
            month = f"{BEGIN:%Y-%m}"
            self._run(told, "monthly_report", {(site, month): f"{site}: report of {month}" for site in self.sites})

    def _accept(self) -> None:
        """Staff took credits from some customers, and meant it: who knows that takes what is left as right."""
        at = self.served.clock()

        def change(con: Connection) -> int:
            found = grants.differing(con)
            grants.accept(con, found, at=at, operator="demo", reason="taken by staff")
            return found.height

        self.accepted += self.served.store.commit(change)

    def _sync(self, told: Callable[[str, Outcome], None], texts: Mapping[str, str]) -> None:
        """Bring every site in step; at those on ezeep a person invites whoever waits for it, as with *Update eZeep*."""
        for job, sites in (("sync_site", set(self.sites) - set(EZEEP)), ("invite_customers", set(EZEEP))):
            self._run(told, job, {(site,): text for site, text in texts.items() if site in sites})

    def _run(self, told: Callable[[str, Outcome], None], job: str, runs: Mapping[Partition, str]) -> None:
        """Run a job for some partitions, the sites at the same time; remember what failed and what checks found.

        Args:
            told: tells the progress.
            job: name of the job.
            runs: what to tell, by site, or by site and day or month.
        """
        for (partition, text), outcome in zip(runs.items(), self.pool.map(run_one, repeat(job), runs), strict=True):
            self.runs += 1
            self.findings[job, partition[0]] = outcome.findings
            if not outcome.ok:
                self.failures.append(outcome)
            told(text, outcome)

    def _advance(self, until: datetime) -> None:
        now = datetime.fromisoformat(self._ask("GET", "clock")["now"])
        self._ask("POST", "clock", {"advance_seconds": max(0.0, (until - now).total_seconds())})

    def _print(self, since: datetime, until: datetime) -> dict[str, int]:
        """Send the jobs of a period to PaperCut and ezeep; how many they took, by site (the others have no user)."""
        due = [
            (position, job | {"username": self._renamed.get(job["username"], job["username"])})
            for position, job in enumerate(self.jobs)
            if since <= datetime.fromisoformat(job["at"]) < until
        ]
        taken: dict[str, int] = dict.fromkeys(self.sites, 0)
        for site in EZEEP:
            taken[site] = print_at(self._ask, site, [job for _, job in due if job["site"] == site])
        due = [(position, job) for position, job in due if job["site"] not in EZEEP]
        for first in range(0, len(due), BATCH):
            batch = due[first : first + BATCH]
            answers = self._ask("POST", "print", [job for _, job in batch])
            for (position, job), answer in zip(batch, answers, strict=True):
                if answer.get("allowed"):
                    self._numbers[position] = (str(job["site"]), answer["job_id"])
                taken[str(job["site"])] += "job_id" in answer
        return taken

    def _refund(self, since: datetime, until: datetime) -> None:
        for refund in self.refunds:
            number = self._numbers.get(refund["print"])
            if number and since <= datetime.fromisoformat(refund["at"]) < until:
                part = {"amount": refund["amount"]} if "amount" in refund else {}
                self._ask("POST", "refund", {"site": number[0], "job_id": number[1], **part})

    def _edit(self, edit: Json) -> None:
        renamed = edit.get("renamed")
        if renamed:
            self._renamed |= renamed
        self._ask("POST", "nexudus", {name: value for name, value in edit.items() if name != "renamed"})

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        return self.control.request(method, path, json=body).raise_for_status().json()

    def _days(self, site: str) -> list[date]:
        """The local days on which the site has jobs."""
        zone = self.served[site].rules.timezone
        jobs = latest(self.served.store.read("print_jobs", site))
        return sorted(jobs["printed_at"].dt.convert_time_zone(zone).dt.date().unique())


# --- the folder -------------------------------------------------------------------------------------------------------


def _clear(folder: Path) -> None:
    """Make room for the demo; only an earlier demo is removed."""
    if folder.exists() and any(folder.iterdir()) and not (folder / "sandbox" / "world.json").exists():
        raise ConfigError(f"The folder {folder} holds something other than a demo", "name an empty or new folder")
    for name in ("data", "sandbox"):
        shutil.rmtree(folder / name, ignore_errors=True)


@contextmanager
def _served(folder: Path, world: Json) -> Generator[Json, None, None]:
    """A sandbox with a world, and this process configured for it; yields what the sandbox says of itself."""
    try:
        with start(world, folder / "sandbox") as ready, _configured(folder, world, ready):
            yield ready
    except DidNotStartError as error:
        raise PermanentError(str(error), "make room on the disk and in memory, then start it again") from error


@contextmanager
def _configured(folder: Path, world: Json, ready: Json) -> Generator[None, None, None]:
    """Write bridge.toml and .env, and let this process use them for the length of the block."""
    text, environment = settings_for(world, ready)
    environment |= {"PRINTBRIDGE_HOME": str((folder / "data").absolute())}
    (folder / "bridge.toml").write_text(text, "utf-8")
    secrets = folder / ".env"
    secrets.touch(mode=0o600)
    secrets.write_text("".join(f"{name}='{value}'\n" for name, value in environment.items()), "utf-8")
    before = dict(os.environ)
    os.environ.update(environment, PRINTBRIDGE_CONFIG=str(folder / "bridge.toml"))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


# --- what is shown ----------------------------------------------------------------------------------------------------


@contextmanager
def _progress(console: Console, steps: int, *, quiet: bool = False) -> Generator[Any, None, None]:
    """Yields a function that tells a step and its outcome: a bar in a terminal, plain lines elsewhere.

    Args:
        console: where to.
        steps: how many steps there will be.
        quiet: without a terminal, tell failures and the last step only.
    """
    done = 0
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=steps)

        def tell(text: str, outcome: Outcome) -> None:
            nonlocal done
            done += 1
            bar.update(task, advance=1, description=text)
            if not outcome.ok:
                causes = "; ".join(f"{step}: {kind}: {cause}" for step, (kind, cause) in outcome.failures.items())
                bar.console.print(f"{text}: FAILED: {causes}", markup=False, highlight=False)
            elif not console.is_terminal and (not quiet or done == steps):
                console.print(f"[{done}/{steps}] {text}", markup=False, highlight=False)

        yield tell


def _show(month: Month, folder: Path) -> int:
    """Print what came of the month; returns the unexplained difference of all sites in cents."""
    console = month.console
    unexplained = print_tables(console, [month.served[site] for site in month.sites])
    print_mess(console, month.mess)
    if month.accepted:
        changed = counted(month.accepted, "credit")
        console.print(f"{changed} that staff changed in Nexudus by hand: found, and taken as right.", highlight=False)
    for finding in sorted({finding for found in month.findings.values() for finding in found}):
        console.print(f"Check {finding.partition(';')[0]}", markup=False, highlight=False)
    console.print(f"{month.runs} runs through Dagster, {len(month.failures)} failed.", highlight=False)
    for page in sorted(month.served.home.exports.rglob("*.html")):
        console.print(f"Report: {page} (CSV and XLSX beside it)", markup=False, highlight=False, soft_wrap=True)
    command = f"PRINTBRIDGE_CONFIG={folder / 'bridge.toml'} printbridge dev"
    console.print(
        f"UI:     make dev (a new sandbox); of this month: printbridge demo --keep-running and, beside it, {command}",
        markup=False, highlight=False, soft_wrap=True,
    )  # fmt: skip
    return unexplained
