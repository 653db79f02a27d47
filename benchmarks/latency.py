"""How long a change takes to the other side, with the real schedule, daemon and run queue, in real time.

What belongs here: making changes at both services at times of chance, and seeing when their writes arrive. What does
not: the speed of one run (`measures.py`).
"""

from __future__ import annotations

import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager

from benchmarks.measures import payers
from benchmarks.table import Goal, Row
from benchmarks.worlds import Site, running
from pipeline.services.nexudus.client import replacement

CUSTOMERS = 300
LAST = 600.0  # seconds after the last change in which its write must have arrived
SETTINGS = "maturity_minutes = 0\n"
"""A job is charged once PaperCut can no longer change it; here at once, so that only printbridge's own time counts."""

GOALS = {
    "name": ("change in Nexudus until PaperCut has it", 10, 25),
    "job": ("print until its sale stands in Nexudus", 12, 30),
}
"""What is timed, by the first word of its key: the goals in the middle and at worst, in seconds."""


def latency(changes: int, *, small: bool) -> list[Row]:
    """Changes with the watch, and with the schedule alone, which is what there is without it."""
    rows: list[Row] = []
    for watch in (10,) if small else (10, 0):
        timed = _timed(changes, watch)
        for kind, (what, middle, worst) in GOALS.items():
            seconds = sorted(timed[kind])
            found = statistics.median(seconds), seconds[-1]
            goals = (
                Goal("<=", middle, "s in the middle", ".1f", found[0]), Goal("<=", worst, "s at worst", ".1f", found[1])
            ) if watch else ()  # fmt: skip
            how = f"a watch every {watch} s" if watch else "no watch, the schedule every 2 minutes"
            rows.append(
                Row(
                    f"{what}, {how}: median and worst of {len(seconds)}",
                    goals,
                    f"real time, `printbridge dev`, one site, {CUSTOMERS} customers; changes at times of chance, one of"
                    f" each kind in turn. {SETTINGS.strip()} (default 30), or the wait for a job to mature would be"
                    " measured",
                    "half the interval of the looks on average, Dagster's rounds (5 s for a sensor, 1 s for the queue),"
                    " then the run itself",
                    "" if goals else f"{found[0]:.1f} s in the middle, {found[1]:.1f} s at worst",
                )
            )
    return rows


def _timed(changes: int, watch: int) -> dict[str, list[float]]:
    """The seconds that each change took, by its kind."""
    with running(CUSTOMERS, ("site0",), extra=SETTINGS, top=f"watch_seconds = {watch}\n") as site:
        site.run("site0")
        printers = payers(site)
        renamed = [user for user in site.state()["sites"]["site0"]["users"] if user["notes"].startswith("printbridge:")]
        site.run("site0")
        with _scheduled(site):
            found = _watched(
                site, _Changes(site, printers, [user["notes"].rpartition(":")[2] for user in renamed]), changes
            )
    return {kind: [seconds for key, seconds in found if key.startswith(kind)] for kind in GOALS}


REQUIRED = {"CountryId": 1220, "SimpleTimeZoneId": 2023}
"""What Nexudus wants of a customer who is saved, and the customers of the world lack."""


class _Changes:
    """Makes changes and knows how to see that they have arrived."""

    def __init__(self, site: Site, printers: list[str], people: list[str]) -> None:
        self.site, self.printers, self.people = site, printers, [int(each) for each in people]
        self.waiting: dict[str, float] = {}
        self.made = 0

    def make(self) -> None:
        """One change, at Nexudus and at PaperCut in turn."""
        self.made += 1
        if self.made % 2:
            record = self.site.sites.nexudus.record("coworkers", self.people[self.made % len(self.people)])
            name = f"Changed {self.made}"
            self.site.sites.nexudus.update("coworkers", replacement(record) | REQUIRED | {"FullName": name})
            key = f"name {name}"
        else:
            printer = self.site.world["sites"]["site0"]["printers"][0]["name"]
            job = {"site": "site0", "username": self.printers[0], "printer": printer, "pages": 1, "color_pages": 0,
                   "cost": 5}  # fmt: skip
            answer = self.site.control.post("print", json=[job]).raise_for_status().json()
            key = f"job {(answer[0] if isinstance(answer, list) else answer)['job_id']}"
        self.waiting[key] = time.monotonic()

    def arrived(self) -> list[tuple[str, float]]:
        """The changes whose writes are there since the last look, each with its seconds."""
        state, now = self.site.state(), time.monotonic()
        there = {f"name {user['full_name']}" for user in state["sites"]["site0"]["users"]}
        for sale in state["nexudus"]["coworkerproducts"]:
            words = (sale.get("Notes") or "").split()
            if "job" in words:
                there.add(f"job {words[words.index('job') + 1]}")
        return [(key, now - self.waiting.pop(key)) for key in list(self.waiting) if key in there]


def _watched(site: Site, changes: _Changes, wanted: int) -> list[tuple[str, float]]:
    rng = random.Random(1)
    times = sorted(rng.uniform(0, 6.0 * wanted) for _ in range(wanted))
    began, found = time.monotonic(), list[tuple[str, float]]()
    while len(found) < wanted:
        now = time.monotonic() - began
        if changes.made < wanted and now >= times[changes.made]:
            changes.make()
            continue
        found += changes.arrived()
        if now > times[-1] + LAST:
            missing = ", ".join(changes.waiting)
            raise TimeoutError(f"{len(changes.waiting)} changes never arrived at {site.names}: {missing}")
        time.sleep(0.5)
    return found


@contextmanager
def _scheduled(site: Site) -> Generator[None, None, None]:
    """The schedules at work, in processes of their own, until the end of the block."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = (site.sites.home.path / "dev.log").open("wb")
    command = [sys.executable, "-m", "pipeline.cli.main", "dev", "--port", str(port)]
    process = subprocess.Popen(command, stdout=log, stderr=log, env=dict(os.environ), start_new_session=True)
    try:
        for _ in range(600):
            with socket.socket() as probe:
                if not probe.connect_ex(("127.0.0.1", port)):
                    break
            time.sleep(0.1)
        yield
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        log.close()
