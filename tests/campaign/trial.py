"""One trial of a changed tree: a process with the libraries in memory, from which one is forked for each run of tests.

What belongs here: running tests quickly, and which lines each of them passes. What does not: what is changed, and which
tests are to run (`mutation.py`). It is started as a file, in the folder of the tree, and knows nothing of printbridge.

The process calls none of the libraries: Polars stops for ever in a process that is forked after it was used. A property
test draws at most `EXAMPLES` worlds here and does not shrink what it found.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

EXAMPLES = 10
LIBRARIES = (
    "coverage", "duckdb", "httpx", "hypothesis", "pandera.polars", "polars", "pyarrow", "pydantic", "pytest",
    "sqlalchemy",
)  # fmt: skip


def serve() -> None:
    """Read orders, one on a line, and answer each with how pytest ended: tests, seconds and a file for a record."""
    for name in LIBRARIES:
        import_module(name)
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if not child:
            os.setsid()
            quiet = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(quiet, stream)
            os._exit(_run(order["tests"], order.get("record")))
        sys.stdout.write(f"{_awaited(child, order['seconds'])}\n")
        sys.stdout.flush()


def _awaited(child: int, seconds: float) -> int:
    """How a process ended; it is stopped when its time is over."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -signal.SIGKILL


def _run(tests: list[str], record: str | None) -> int:
    import coverage
    import pytest

    watch = coverage.Coverage(data_file=None, config_file=False, source=["pipeline"]) if record else None
    notes = _Notes(watch)
    if watch:
        watch.start()
    options = ["-x", "-p", "no:xdist", "-p", "no:pytest_cov", "-W", "ignore:Module already imported"]
    code = int(pytest.main([*options, *tests], plugins=[notes]))
    if watch and record and not code:
        watch.stop()
        Path(record).write_text(json.dumps(notes.passed(watch)), "utf-8")
    return code


def _worked() -> float:
    """Seconds of a processor that this process and those it awaited took, whatever else the machine does."""
    return sum(os.times()[:4])


class _Notes:
    """A plugin of pytest: fewer examples, and how long each test took and what it passed."""

    def __init__(self, watch: Any) -> None:
        self.watch, self.seconds = watch, dict[str, float]()

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        from hypothesis import Phase, settings

        for item in items:
            test = getattr(item, "obj", None)
            if chosen := getattr(test, "_hypothesis_internal_use_settings", None):
                fewer = settings(
                    chosen, max_examples=min(chosen.max_examples, EXAMPLES), phases=(Phase.explicit, Phase.generate)
                )
                getattr(test, "__func__", test)._hypothesis_internal_use_settings = fewer

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.seconds[nodeid] = _worked()
        if self.watch:
            self.watch.switch_context(nodeid)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self.seconds[nodeid] = _worked() - self.seconds[nodeid]

    def passed(self, watch: Any) -> dict[str, tuple[float, dict[str, list[int]]]]:
        data, found = watch.get_data(), {name: (seconds, {}) for name, seconds in self.seconds.items()}
        for file in data.measured_files():
            path = str(Path(file).relative_to(Path.cwd()))
            for line, names in data.contexts_by_lineno(file).items():
                for name in names:
                    if name:
                        found[name][1].setdefault(path, []).append(line)
        return found


if __name__ == "__main__":
    serve()
