"""The mutation score: of all small changes of rules, ledger and plan, the share that some test notices.

What belongs here: which modules, which tests for which change, trying one, and the score. What does not: what counts as
a change (`changes.py`), and the bugs that were chosen by hand (`mutants.py`).

The changes are made in a copy of the tree. Each test is first run once to learn which lines it passes; a change is
tried with the tests that pass its statement, those that mirror its module first, and the fastest first among those
(`trial.py`). A change that is noticed because a test never ends counts as noticed.
"""

from __future__ import annotations

import ast
import hashlib
import json
import math
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

from tests.campaign.changes import Change, changes
from tests.campaign.equivalents import EQUIVALENT, Equivalent

ROOT = Path(__file__).resolve().parents[2]
PLAN = tuple(f"pipeline/domain/people/{name}.py" for name in ("accounts", "differences", "plan"))
LEDGER = tuple(f"pipeline/store/{name}.py" for name in ("ledger", "lines", "ownership", "stops"))
BUDGET, SLOW = 12.0, 1.5
"""Seconds of a processor: for the tests of one change in a sample; after which a test is slow and comes last."""
TESTS = ("tests/domain", "tests/store")
"""Those of effects and steps would notice more, and take minutes for each change: the score is a lower bound."""


class Trial(NamedTuple):
    """What came of a change: the tests that might notice it, and whether one did."""

    path: str
    change: Change
    tests: int
    noticed: bool

    def __str__(self) -> str:
        """Where, and what."""
        return f"{self.path}:{self.change.line}: {self.change}" + ("" if self.tests else " (no test passes it)")


class Score(NamedTuple):
    """How many changes there were, and how many of them a test noticed."""

    noticed: int
    tried: int

    @property
    def share(self) -> float:
        """The part that was noticed; of nothing, all."""
        return self.noticed / self.tried if self.tried else 1.0

    def __str__(self) -> str:
        """As it stands in the table."""
        return f"{self.noticed:,} of {self.tried:,} ({self.share:.1%})"


def score(found: Iterable[Trial], paths: Iterable[str]) -> Score:
    """The score of some modules."""
    of_paths = [each.noticed for each in found if each.path in set(paths)]
    return Score(sum(of_paths), len(of_paths))


class Passed(NamedTuple):
    """What one test passes: seconds, and the lines of each source."""

    seconds: float
    lines: dict[str, list[int]]


def rules() -> tuple[str, ...]:
    """The modules of the rules."""
    folders = [ROOT / "pipeline/domain" / name for name in ("", "money", "people")]
    found = [str(path.relative_to(ROOT)) for folder in folders for path in sorted(folder.glob("*.py"))]
    return tuple(path for path in found if path not in PLAN and not path.endswith("/tables.py"))


def every(paths: Iterable[str], root: Path = ROOT) -> list[tuple[str, Change]]:
    """Every change of some modules."""
    return [(path, change) for path in paths for change in changes((root / path).read_bytes())]


def known(path: str, change: Change, source: bytes) -> bool:
    """Whether a change is in the table of those that change nothing."""
    line = source.split(b"\n")[change.line - 1].decode().strip()
    return Equivalent(path, line, change.right, change.wrong) in EQUIVALENT


def sampled(found: list[tuple[str, Change]], number: int, seed: int) -> list[tuple[str, Change]]:
    """So many of the changes, the same share of each module; all of them if `number` is 0."""
    if not number:
        return found
    chance, share = random.Random(seed), number / len(found)
    drawn: list[tuple[str, Change]] = []
    for path in sorted({path for path, _ in found}):
        of_path = [each for each in found if each[0] == path]
        drawn += chance.sample(of_path, min(len(of_path), max(1, round(share * len(of_path)))))
    return drawn


class Trials:
    """A copy of the tree in which changes are tried, one after the other."""

    def __init__(self, copy: Path, server: subprocess.Popen[str], tests: list[str], budget: float) -> None:
        self.copy, self.server, self.budget, self.done = copy, server, budget, 0
        self.passed: dict[str, Passed] = {}
        for file in tests:
            self.passed |= self._recorded(file)

    def tried(self, path: str, change: Change) -> Trial:
        """Make the change, run the tests that may notice it, and take it back."""
        place = self.copy / path
        right = place.read_bytes()
        tests = self.tests_for(path, change)
        near = [name for name in tests if _mirrors(name, path) and not self._slow(name)]
        far = tests[len(near) :]
        self._write(place, change.made_in(right))
        try:
            noticed = any(self._fails(some) for some in (near, far) if some)
        finally:
            self._write(place, right)
        return Trial(path, change, len(tests), noticed)

    def tests_for(self, path: str, change: Change) -> list[str]:
        """The tests that pass a change: those that mirror its module, then all others; the slow ones last.

        A change of what is done when the module is loaded concerns whoever uses the module's names.
        """
        lines = set(range(change.lines[0], change.lines[1] + 1))
        if change.at_import:
            wanted = {path, *_importers(self.copy, path)}
            found = [
                name for name, test in self.passed.items()
                if _mirrors(name, path) or not wanted.isdisjoint(test.lines)
            ]  # fmt: skip
        else:
            found = [name for name, test in self.passed.items() if not lines.isdisjoint(test.lines.get(path, ()))]
        found.sort(key=lambda name: (self._slow(name), not _mirrors(name, path), self.passed[name].seconds))
        spent = accumulate(self.passed[name].seconds for name in found)
        return [name for name, seconds in zip(found, spent, strict=True) if seconds <= self.budget]

    def _slow(self, test: str) -> bool:
        return self.passed[test].seconds > SLOW

    def _fails(self, tests: list[str]) -> bool:
        seconds = 60 + 10 * sum(self.passed[name].seconds for name in tests)
        return self._ask(tests=tests, seconds=seconds) != 0

    def _write(self, place: Path, source: bytes) -> None:
        """Write a source with a time of its own, so that no compiled form of another is taken for it."""
        self.done += 1
        place.write_bytes(source)
        os.utime(place, (self.done, self.done))

    def _recorded(self, file: str) -> dict[str, Passed]:
        """What each test of a file passes; kept for as long as neither it nor the product changes."""
        sources = [self.copy / file, *sorted((self.copy / "tests").glob("*.py"))]
        sources += sorted((self.copy / "pipeline").rglob("*.py"))
        digest = hashlib.blake2b(b"".join(path.read_bytes() for path in sources), digest_size=12).hexdigest()
        kept = Path(tempfile.gettempdir()) / "printbridge-mutation" / f"{digest}.json"
        if not kept.exists():
            kept.parent.mkdir(exist_ok=True)
            if code := self._ask(tests=[file], seconds=1800, record=str(kept)):
                raise RuntimeError(f"{file} fails without any change: pytest ends with {code}")
        return {name: Passed(*test) for name, test in json.loads(kept.read_text("utf-8")).items()}

    def _ask(self, **order: Any) -> int:
        assert self.server.stdin
        assert self.server.stdout
        print(json.dumps(order), file=self.server.stdin, flush=True)
        return int(self.server.stdout.readline())


def _mirrors(test: str, path: str) -> bool:
    return test.split("::", maxsplit=1)[0].endswith(f"/test_{Path(path).name}")


def _importers(root: Path, path: str) -> list[str]:
    """The modules that take something from a module."""
    name = path.removesuffix(".py").replace("/", ".")
    found: list[str] = []
    for other in (root / "pipeline").rglob("*.py"):
        taken = [node for node in ast.walk(ast.parse(other.read_bytes())) if isinstance(node, ast.ImportFrom)]
        if any(name in {node.module, *(f"{node.module}.{each.name}" for each in node.names)} for node in taken):
            found.append(str(other.relative_to(root)))
    return found


@contextmanager
def trials(
    folder: Path, tests: Iterable[str] = TESTS, root: Path = ROOT, budget: float = math.inf
) -> Generator[Trials]:
    """A copy of a tree in an empty folder, and the process that tries changes there with the tests of some folders.

    `budget` is how many seconds the tests of one change may take in all: those that are too slow for it are left out.
    """
    for name in ("pipeline", "assets", "tests"):
        if (root / name).is_dir():
            shutil.copytree(root / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "bridge.example.toml", ".env.example"):
        if (root / name).exists():
            shutil.copy(root / name, folder / name)
    server = subprocess.Popen(
        [sys.executable, "-P", Path(__file__).with_name("trial.py")], cwd=folder, text=True,
        env={**os.environ, "PYTHONPATH": str(folder), "POLARS_MAX_THREADS": "1"},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    files = sorted(str(path.relative_to(folder)) for each in tests for path in (folder / each).rglob("test_*.py"))
    try:
        yield Trials(folder, server, files, budget)
    finally:
        server.communicate()
