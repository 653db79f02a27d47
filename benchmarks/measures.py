"""The measures: each prepares a world, times the bridge and its peer in turn, and gives one row of the table.

What belongs here: what is timed, how often, and against what. What does not: the peers, or how the table looks.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg
import httpx

from benchmarks import peers
from pipeline import automation
from pipeline.definitions import build_defs
from pipeline.resources import Bridge
from pipeline.sandbox.app import start
from pipeline.sandbox.world import make_world, settings_for
from pipeline.settings import load_settings, prepared_home

CLOCK = "2026-10-05T08:00:00+00:00"
SYNC_STEPS = 12


class Row(NamedTuple):
    """One line of the table."""

    measure: str
    figure: str
    goal: str
    detail: str


class Site:
    """A sandbox with a world, and the bridge on it."""

    def __init__(self, world: dict[str, Any], ready: dict[str, Any]) -> None:
        self.world = world
        self.ready = ready
        self.settings = load_settings()
        self.bridge = Bridge(self.settings, prepared_home())
        self.defs = build_defs(self.settings, bridge=self.bridge)
        self.instance = automation.storage()
        self.control = httpx.Client(base_url=ready["control_url"] + "/", timeout=120, trust_env=False)

    def run(self, site: str) -> automation.Outcome:
        """A sync run, which must succeed."""
        outcome = automation.run_job(self.defs, "sync_site", site, instance=self.instance)
        assert outcome.ok, outcome.failures
        return outcome

    def calls(self) -> dict[str, Any]:
        """The calls since the last look."""
        counted = self.control.get("state").json()["calls"]
        self.control.delete("calls")
        return counted


@contextmanager
def running(customers: int, sites: tuple[str, ...], **switches: Any) -> Generator[Site, None, None]:
    """A world of a size, served, with a bridge configured for it."""
    world = make_world(customers, sites, clock=CLOCK)
    world["switches"] |= {"token_seconds": 10_000_000, **switches}
    before = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="printbridge-bench-") as path:
        folder = Path(path)
        with start(world, folder / "sandbox") as ready:
            text, environment = settings_for(world, ready)
            (folder / "bridge.toml").write_text(text, "utf-8")
            os.environ.update(environment)
            os.environ["PRINTBRIDGE_CONFIG"] = str(folder / "bridge.toml")
            os.environ["PRINTBRIDGE_HOME"] = str(folder / "data")
            site = Site(world, ready)
            try:
                yield site
            finally:
                site.bridge.close()
                site.control.close()
                os.environ.clear()
                os.environ.update(before)


def timed(call: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds of a call in this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall, time.process_time() - cpu


def paired(ours: Callable[[], object], peer: Callable[[], object], rounds: int) -> tuple[list[float], list[float]]:
    """Wall seconds of both, in turn, so that a machine that drifts slows both."""
    mine: list[float] = []
    other: list[float] = []
    for _ in range(rounds):
        mine.append(timed(ours)[0])
        other.append(timed(peer)[0])
    return mine, other


def quiet(customers: int, sites: int, rounds: int) -> list[Row]:
    """Ticks and runs that find nothing to do."""
    names = tuple(f"site{number}" for number in range(sites))
    rows: list[Row] = []
    with running(customers, names) as site:
        for name in names:
            site.run(name)
        for name in names:
            site.run(name)
        site.calls()
        look = next(each for each in site.defs.schedules or [] if getattr(each, "name", "") == "look_and_sync")
        context = dg.build_schedule_context(instance=site.instance)
        look(context)
        site.calls()
        cpu = statistics.median(timed(lambda: look(context))[1] for _ in range(rounds))
        counted = site.calls()
        nexudus = sum(counted["nexudus"].values()) / rounds
        queries = sum(sum(each.values()) for each in counted["sites"].values()) / rounds / sites
        asked = isinstance(look(context), dg.SkipReason)
        rows.append(
            Row(
                f"no-change tick, {sites} sites, {customers} customers",
                f"{nexudus:.0f} Nexudus requests, {queries:.1f} queries and {cpu / sites:.3f} CPU s per site",
                "<= 4 requests, <= 1 query, < 0.05 CPU s, no run",
                "no run asked for" if asked else "a run was asked for",
            )
        )
        site.calls()
        size = site.bridge.home.warehouse.stat().st_size
        mine = [timed(lambda: site.run(names[0]))[1] for _ in range(rounds)]
        counted = site.calls()
        writes = [call for call in counted["sites"][names[0]] if call != "database"]
        empty = [timed(lambda: peers.empty_run(site.instance, SYNC_STEPS))[1] for _ in range(rounds)]
        ratio = statistics.median(mine) / statistics.median(empty)
        rows.append(
            Row(
                "no-change run: CPU / an empty Dagster run of as many steps",
                f"{ratio:.2f}",
                "<= 1.3",
                f"{statistics.median(mine):.2f} s against {statistics.median(empty):.2f} s",
            )
        )
        rows.append(
            Row(
                "no-change run: calls",
                f"Nexudus {sum(counted['nexudus'].values()) / rounds:.0f}, PaperCut database"
                f" {counted['sites'][names[0]].get('database', 0) / rounds:.0f}, XML-RPC {len(writes)}",
                "<= 5 queries, 0 XML-RPC",
                "per run",
            )
        )
        grown = site.bridge.home.warehouse.stat().st_size - size
        rows.append(Row(f"warehouse growth in {rounds} no-change runs", f"{grown} bytes", "none", ""))
    return rows


def transfer(users: int, rounds: int) -> list[Row]:
    """The first transfer of users at 10 ms server latency."""
    ours: list[float] = []
    bare: list[float] = []
    script: list[float] = []
    for turn in range(rounds):
        with running(users * 2, ("site0",), latency_ms=10) as site:
            seconds = timed(lambda: site.run("site0"))[0]
            made = site.calls()["sites"]["site0"].get("api.addNewInternalUser", 1)
            ours.append(made / seconds)
            papercut = site.ready["sites"]["site0"]
            names = [f"bench{turn}_{number}" for number in range(made)]
            few = [f"slow{turn}_{number}" for number in range(max(made // 8, 5))]
            arguments = papercut["papercut_url"], papercut["token"]
            bare.append(made / timed(partial(peers.bare_users, *arguments, names))[0])
            script.append(len(few) / timed(partial(peers.script_users, *arguments, few))[0])
    best = statistics.median(ours)
    return [
        Row(
            "first transfer, users per second / bare keep-alive client",
            f"{best / statistics.median(bare):.2f}",
            ">= 0.9",
            f"{best:.0f} against {statistics.median(bare):.0f} per second; the whole run, reading included",
        ),
        Row(
            "first transfer / sequential xmlrpc.client script",
            f"{best / statistics.median(script):.1f}",
            ">= 5",
            f"{best:.0f} against {statistics.median(script):.0f} per second",
        ),
    ]


def extraction(customers: int, rounds: int) -> list[Row]:
    """Customers read at 50 ms latency, against a script with the default page size."""
    with running(customers, ("site0",), latency_ms=50) as site:
        nexudus = site.ready["nexudus_url"], site.ready["nexudus_email"], site.ready["nexudus_password"]
        site.bridge.nexudus.count("coworkers")
        mine, other = paired(
            lambda: site.bridge.nexudus.records("coworkers"), lambda: peers.script_customers(*nexudus), rounds
        )
    rate = customers / statistics.median(mine)
    return [
        Row(
            "customers read per second / a script with pages of 25",
            f"{statistics.median(other) / statistics.median(mine):.1f}",
            ">= 4 against dlt's REST source, which is not measured here",
            f"{rate:.0f} per second, {customers} customers",
        )
    ]


def charging(jobs: int, rounds: int) -> list[Row]:
    """Sales posted, against parallel POSTs without a ledger."""
    ratios: list[float] = []
    rates: list[float] = []
    for _ in range(rounds):
        with running(300, ("site0",), latency_ms=10) as site:
            site.run("site0")
            payer = _payer(site)
            printer = site.world["sites"]["site0"]["printers"][0]["name"]
            prints = [
                {"site": "site0", "username": payer, "printer": printer, "pages": 1, "color_pages": 0, "cost": 5}
                for _ in range(jobs)
            ]
            site.control.post("print", json=prints).raise_for_status()
            site.control.post("clock", json={"advance_seconds": 7200}).raise_for_status()
            site.calls()
            seconds = timed(lambda: site.run("site0"))[0]
            sales = site.calls()["nexudus"].get("POST coworkerproducts", 0)
            settings = site.settings.site("site0")
            body = {
                "CoworkerId": site.control.get("state").json()["nexudus"]["coworkers"][0]["Id"],
                "BusinessId": settings.business_id, "ProductId": settings.charge_product_id, "Quantity": 5,
            }  # fmt: skip
            nexudus = site.ready["nexudus_url"], site.ready["nexudus_email"], site.ready["nexudus_password"]
            bare = timed(partial(peers.bare_sales, *nexudus, [body] * max(sales, 1)))[0]
            rates.append(sales / seconds)
            ratios.append((sales / seconds) / (max(sales, 1) / bare))
    return [
        Row(
            "charges posted: rate / bare parallel POSTs without a ledger",
            f"{statistics.median(ratios):.2f}",
            ">= 0.8",
            f"{statistics.median(rates):.0f} per second, {jobs} jobs; the whole run, reading and users included",
        )
    ]


def _payer(site: Site) -> str:
    """A user of ours who is charged money from the first job on."""
    state = site.control.get("state").json()
    payers = {
        f"printbridge:site0:{each['Id']}"
        for each in state["nexudus"]["coworkers"]
        if each["PaperCutPayAsYouPrint"] and not each["PaperCutFreePrinting"]
    }
    users = state["sites"]["site0"]["users"]
    return next(user["username"] for user in users if user["notes"] in payers and user["balance"] <= 0)


def pricing(jobs: int, rounds: int) -> list[Row]:
    """Jobs priced and allocated in a process of their own, for its peak of memory, against bare Polars."""
    command = [sys.executable, "-m", "benchmarks.pricing", str(jobs), str(rounds)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return [
        Row(
            f"{jobs:,} jobs priced and allocated / the same scan, join and group-by in bare Polars",
            f"{statistics.median(found['ours']) / statistics.median(found['bare']):.1f}",
            "<= 3",
            f"{statistics.median(found['ours']):.2f} s against {statistics.median(found['bare']):.2f} s,"
            f" peak {found['peak_mb']:.0f} MB (goal 1,536)",
        )
    ]


def peak_mb() -> float:
    """The peak of this process's memory so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
