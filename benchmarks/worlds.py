"""A sandbox of a known size with printbridge on it, and the clock that times both sides.

What belongs here: making and serving worlds, running jobs, timing. What does not: what is measured (`measures.py`).
"""

from __future__ import annotations

import os
import resource
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from pipeline.configuration import load_settings
from pipeline.dagster import outcomes
from pipeline.definitions import build_defs
from pipeline.home import prepared_home
from pipeline.sandbox.app import start
from pipeline.sandbox.invented.configuration import settings_for
from pipeline.sandbox.invented.world import make_world
from pipeline.site import Sites

CLOCK = "2026-10-05T08:00:00+00:00"


class Site:
    """A sandbox with a world, and printbridge on it."""

    def __init__(self, world: dict[str, Any], ready: dict[str, Any]) -> None:
        self.world = world
        self.ready = ready
        self.settings = load_settings()
        self.sites = Sites(self.settings, prepared_home())
        self.defs = build_defs(self.settings, sites=self.sites)
        self.instance = outcomes.storage()
        self.control = httpx.Client(base_url=ready["control_url"] + "/", timeout=120, trust_env=False)

    @property
    def nexudus(self) -> tuple[str, str, str]:
        """Address, e-mail and password of the service."""
        return self.ready["nexudus_url"], self.ready["nexudus_email"], self.ready["nexudus_password"]

    @property
    def names(self) -> list[str]:
        """The sites."""
        return list(self.world["sites"])

    def run(self, site: str) -> outcomes.Outcome:
        """A sync run, which must succeed."""
        outcome = outcomes.run_job(self.defs, "sync_site", site, instance=self.instance)
        assert outcome.ok, outcome.failures
        return outcome

    def steps(self, outcome: outcomes.Outcome) -> dict[str, float]:
        """The wall seconds of each step of a run, as Dagster recorded them."""
        found = self.instance.get_run_step_stats(outcome.run_id)
        return {each.step_key: (each.end_time or 0.0) - (each.start_time or 0.0) for each in found}

    def state(self) -> dict[str, Any]:
        """The servers' own truth."""
        return self.control.get("state").json()

    def calls(self) -> dict[str, Any]:
        """The calls since the last look."""
        counted = self.state()["calls"]
        self.control.delete("calls")
        return counted

    def later(self, seconds: int) -> None:
        """Put the clock of the servers, which is printbridge's too, forward."""
        self.control.post("clock", json={"advance_seconds": seconds}).raise_for_status()

    def stored(self) -> tuple[int, int]:
        """Bytes of the warehouse, and of Dagster's storage."""
        kept = Path(self.instance.root_directory)
        files = [path for path in kept.rglob("*") if path.is_file()]
        return self.sites.home.warehouse.stat().st_size, sum(path.stat().st_size for path in files)


@contextmanager
def running(
    customers: int,
    sites: tuple[str, ...],
    *,
    extra: str = "",
    top: str = "",
    database: bool = True,
    **switches: Any,
) -> Generator[Site, None, None]:
    """A world of a size, served, with printbridge configured for it.

    Args:
        customers: Nexudus accounts.
        sites: their names.
        extra: lines for every site's section of bridge.toml.
        top: lines before the sections.
        database: whether printbridge may ask PaperCut's database; else it reads the print log.
        switches: of the sandbox, for example latency_ms.
    """
    world = make_world(customers, sites, clock=CLOCK)
    world["switches"] |= {"token_seconds": 10_000_000, **switches}
    before = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="printbridge-bench-") as path:
        folder = Path(path)
        for site in sites if not database else ():
            (folder / site).mkdir()
            world["sites"][site]["config"]["print_log_folder"] = str(folder / site)
        with start(world, folder / "sandbox") as ready:
            text, environment = settings_for(world, ready)
            for site in sites:
                text = text.replace(f"[sites.{site}]\n", f"[sites.{site}]\n{extra}")
                if not database:
                    place = f'source = "database"\nuri_env = "PAPERCUT_DB_{site.upper()}"'
                    text = text.replace(place, f'source = "print_log"\npath = "{folder / site}"')
            (folder / "bridge.toml").write_text(top + text, "utf-8")
            os.environ.update(environment)
            os.environ["PRINTBRIDGE_CONFIG"] = str(folder / "bridge.toml")
            os.environ["PRINTBRIDGE_HOME"] = str(folder / "data")
            site = Site(world, ready)
            try:
                yield site
            finally:
                site.sites.close()
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


def peak_mb() -> float:
    """The peak of this process's memory so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
