"""What the assets are given: plain objects, made when first used, and the lock that keeps a site to one run.

What belongs here: turning settings and secrets into clients, sources and the warehouse. What does not: using them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import dagster as dg
from filelock import FileLock, Timeout

from pipeline import runs
from pipeline.clients import Wait
from pipeline.clients.nexudus import NexudusClient
from pipeline.clients.papercut import PaperCutClient
from pipeline.clock import Clock, configured_clock
from pipeline.digests import Digester
from pipeline.errors import TransientError
from pipeline.joblogs import JobSource
from pipeline.joblogs.source import open_source
from pipeline.ledger import Mover
from pipeline.settings import Home, Settings, secret
from pipeline.warehouse import Warehouse

LOCK_SECONDS = 600.0

CONNECTIONS = 4
"""Calls to Nexudus at a time; for PaperCut servers it is a setting."""

T = TypeVar("T")
R = TypeVar("R")


class Bridge:
    """Everything that a run needs, made at the first use and kept while the process lives.

    Args:
        settings: the configuration.
        home: where state lives.
        clock: the time; by default the configured one.
        wait: how the clients wait between tries.
    """

    def __init__(self, settings: Settings, home: Home, clock: Clock | None = None, wait: Wait = time.sleep) -> None:
        self.settings = settings
        self.home = home
        self.clock = clock or configured_clock()
        self._wait = wait
        self.warehouse = Warehouse(home.warehouse, folders=(home.exports, home.backups))
        self.looked: Any = None
        """What one look keeps for the next in this process (`looking.lists`)."""
        self._nexudus: NexudusClient | None = None
        self._papercut: dict[str, PaperCutClient] = {}
        self._sources: dict[str, JobSource] = {}
        self._making = threading.RLock()

    @property
    def nexudus(self) -> NexudusClient:
        """The Nexudus client of the account."""
        with self._making:
            if self._nexudus is None:
                nexudus = self.settings.nexudus
                email, password = secret(nexudus.email_env), secret(nexudus.password_env)
                self._nexudus = NexudusClient(nexudus.base_url, email, password, wait=self._wait)
            return self._nexudus

    @cached_property
    def digest(self) -> Digester:
        """Makes the digests of PINs and cards."""
        return Digester(secret(self.settings.nexudus.password_env))

    def papercut(self, site: str) -> PaperCutClient:
        """The PaperCut client of a site."""
        with self._making:
            if site not in self._papercut:
                papercut = self.settings.site(site).papercut
                self._papercut[site] = PaperCutClient(
                    papercut.url, secret(papercut.token_env), ca_file=papercut.ca_file,
                    connections=papercut.connections, wait=self._wait,
                )  # fmt: skip
            return self._papercut[site]

    def jobs(self, site: str) -> JobSource:
        """The source of a site's print jobs."""
        with self._making:
            if site not in self._sources:
                self._sources[site] = open_source(self.settings.site(site))
            return self._sources[site]

    def mover(self, run_id: str, actor: str) -> Mover:
        """Who moves ledger lines, now."""
        return Mover(run_id=run_id, actor=actor, at=self.clock())

    def close(self) -> None:
        """Give back every connection."""
        for client in self._papercut.values():
            client.close()
        for source in self._sources.values():
            source.close()
        if self._nexudus:
            self._nexudus.close()
        self._papercut.clear()
        self._sources.clear()
        self._nexudus = None
        self.warehouse.close()


def in_parallel(call: Callable[[T], R], items: Iterable[T], connections: int = CONNECTIONS) -> list[R]:
    """The result of a call for each item, in their order, over several connections."""
    with ThreadPoolExecutor(connections) as pool:
        return list(pool.map(call, items))


@contextmanager
def site_lock(folder: Path, site: str, *, wait_seconds: float = LOCK_SECONDS) -> Generator[None, None, None]:
    """Hold a site for one run; a second run of the site waits, in whatever process it is.

    Raises:
        TransientError: the other run took longer than `wait_seconds`.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = FileLock(folder / f"{site}.lock")
    try:
        lock.acquire(timeout=wait_seconds)
    except Timeout:
        raise TransientError(
            f"Another run has held site {site} for more than {wait_seconds:.0f} s",
            "look at the run list for a run that hangs, and cancel it; the next run tries again",
        ) from None
    try:
        yield
    finally:
        lock.release()


def for_runs(bridge: Bridge) -> dg.ResourceDefinition:
    """The bridge as a resource that holds the lock of the run's site from its first to its last step.

    One process runs all steps of a run, so the lock lives as long as the run; runs without a site need none.
    """

    def held(context: dg.InitResourceContext) -> Generator[Bridge, None, None]:
        run = context.run
        site = runs.held_by(run) if run else None
        if run and context.instance:
            labels = runs.missing_tags(run, site if site in bridge.settings.sites else None)
            if labels:
                context.instance.add_run_tags(run.run_id, labels)
        with site_lock(bridge.home.locks, site) if site else nullcontext():
            yield bridge

    switch = dg.Field(bool, default_value=False, is_required=False, description=runs.DRY_RUN_MEANS)
    return dg.ResourceDefinition(
        resource_fn=held,
        config_schema={runs.DRY_RUN_FIELD: switch},
        description="Settings, clients, sources and the warehouse.",
    )
