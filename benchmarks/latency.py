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


def latency(changes: int, *, small: bool) -> list[Row]:
    """Changes with the schedule at its default, and at every minute."""
    rows: list[Row] = []
    for every, median, worst in (("*/2 * * * *", 2.5, 4.5), ("* * * * *", 1.5, None)):
        if small and worst:
            continue
        seconds = sorted(_seconds(changes, every))
        middle, longest = statistics.median(seconds) / 60, seconds[-1] / 60
        name = "at its default, every 2 minutes" if worst else "at every minute"
        rows.append(
            Row(
                f"change until the write on the other side, schedule {name}: median and worst of {changes}",
                (
                    Goal("<=", median, "minutes in the middle", ".2f", middle),
                    *([Goal("<=", worst, "minutes at worst", ".2f", longest)] if worst else ()),
                ),
                f"real time, `dagster dev` as `printbridge dev` starts it, one site, {CUSTOMERS} customers; in turn a"
                " customer renamed in Nexudus until PaperCut shows the name, and a job printed in PaperCut until"
                f" Nexudus has its sale; changes at times of chance. {SETTINGS.strip()} (default 30), or the wait for"
                " a job to mature would be measured",
                "half the interval of the schedule on average, then the start of a run and the run itself",
                "" if worst else f"{longest:.2f} minutes at worst",
            )
        )
    return rows


def _seconds(changes: int, every: str) -> list[float]:
    """The seconds that each change took."""
    with running(CUSTOMERS, ("site0",), extra=SETTINGS, top=f'every = "{every}"\n') as site:
        site.run("site0")
        printers = payers(site)
        renamed = [user for user in site.state()["sites"]["site0"]["users"] if user["notes"].startswith("printbridge:")]
        site.run("site0")
        with _scheduled(site):
            return _watched(
                site, _Changes(site, printers, [user["notes"].rpartition(":")[2] for user in renamed]), changes
            )


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

    def arrived(self) -> list[float]:
        """The seconds of the changes whose writes are there since the last look."""
        state, now = self.site.state(), time.monotonic()
        there = {f"name {user['full_name']}" for user in state["sites"]["site0"]["users"]}
        for sale in state["nexudus"]["coworkerproducts"]:
            words = (sale.get("Notes") or "").split()
            if "job" in words:
                there.add(f"job {words[words.index('job') + 1]}")
        return [now - self.waiting.pop(key) for key in list(self.waiting) if key in there]


def _watched(site: Site, changes: _Changes, wanted: int) -> list[float]:
    rng = random.Random(1)
    times = sorted(rng.uniform(0, 6.0 * wanted) for _ in range(wanted))
    began, found = time.monotonic(), list[float]()
    while len(found) < wanted:
        now = time.monotonic() - began
        if changes.made < wanted and now >= times[changes.made]:
            changes.make()
            continue
        found += changes.arrived()
        if now > times[-1] + LAST:
            missing = ", ".join(changes.waiting)
            raise TimeoutError(f"{len(changes.waiting)} changes never arrived at {site.names}: {missing}")
        time.sleep(1.0)
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
