"""The sandbox as tests start it: a process of its own that is ready at once.

What belongs here: starting and ending it. What does not: what it is asked; `harness.py` has the questions.

It is what `pipeline.sandbox.app.start` gives, much sooner: the process is forked from one that has loaded the sandbox,
and makes its databases in a PostgreSQL that the sandboxes of one test process share.
"""

from __future__ import annotations

import asyncio
import atexit
import io
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.sandbox.app import LOG, STOP_SECONDS, await_ready, main, prepare
from pipeline.sandbox.database import Cluster
from tests.campaign.runs import WARM

MEMORY = Path("/dev/shm")  # noqa: S108 - folders of their own are made in it
"""A folder in memory, where the system offers one."""


@contextmanager
def start(world: dict[str, Any], folder: Path) -> Generator[dict[str, Any]]:
    """Run a sandbox for the length of a `with` block; yields the content of the ready file.

    Args:
        world: the content of a world file.
        folder: where the world, the ready file and the log of the process go.

    Raises:
        DidNotStartError: with the end of its log.
    """
    words = prepare(world, folder)
    if any(site.get("system") != "ezeep" for site in world.get("sites", {}).values()):
        words += ["--database-server", database_server().address]
    process = WARM.Process(target=_serve, args=(words, folder / LOG, dict(os.environ)), daemon=True)
    process.start()
    try:
        yield await_ready(folder, process.is_alive)
    finally:
        process.terminate()
        process.join(STOP_SECONDS)
        process.kill()
        process.join()


@cache
def database_server() -> Cluster:
    """The PostgreSQL that the sandboxes of this process share. It ends with the process, however that ends."""
    place = tempfile.TemporaryDirectory(prefix="printbridge-postgres-", dir=MEMORY if MEMORY.is_dir() else None)
    atexit.register(place.cleanup)
    cluster = Cluster(Path(place.name))
    asyncio.run(cluster.start())
    atexit.register(cluster.close)
    return cluster


def _serve(words: list[str], log: Path, environment: dict[str, str]) -> None:
    """What the forked process does: its streams become those of a process that `start` of the sandbox has begun."""
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    parent = multiprocessing.parent_process()
    assert parent is not None
    for number, file in enumerate((parent.sentinel, output, output)):
        os.dup2(file, number)
    sys.stdin = io.TextIOWrapper(io.FileIO(0, closefd=False))  # ends when the parent is gone
    os.environ.clear()
    os.environ.update(environment)
    main(words)
