"""Who may import whom, to the end of every import; and that every module says what belongs in it."""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.project.sources import (
    SCRIPTS,
    SOURCES,
    imported,
    inside,
    modules,
    text,
    tree,
)

GROUND = ("pipeline.errors", "pipeline.clock", "pipeline.words")
SITE = (
    "pipeline.site", "pipeline.settings", "pipeline.configuration", "pipeline.home", "pipeline.store",
    "pipeline.services", "pipeline.domain", *GROUND,
)  # fmt: skip
"""Site and below."""
GRAPH_OF_RUNS = ("pipeline.steps", "pipeline.site", "pipeline.settings", "pipeline.domain", "pipeline.reports", *GROUND)
"""What the graph may name: never a service, an effect or the store."""


class Room(NamedTuple):
    """What the modules of one room may import of ours, and which libraries they may not have.

    `to_the_end`: what their imports import counts as well. `only` are the libraries besides the standard one.
    """

    ours: tuple[str, ...]
    never: frozenset[str] = frozenset({"dagster"})
    only: frozenset[str] | None = None
    to_the_end: bool = True


FRAMES = frozenset({"polars", "pandera"})
IMPURE = frozenset({"os", "time", "random", "subprocess", "socket"})

ROOMS = {
    "pipeline.domain": Room(("pipeline.domain",), IMPURE, FRAMES),
    "pipeline.reports": Room(("pipeline.reports", "pipeline.domain"), frozenset({"dagster", "duckdb"})),
    "pipeline.store": Room(
        ("pipeline.store", "pipeline.domain", "pipeline.errors"), only=FRAMES | {"duckdb", "filelock"}
    ),
    "pipeline.services": Room(
        ("pipeline.services", "pipeline.domain", *GROUND), frozenset({"dagster", "duckdb"})
    ),
    **{name: Room(GROUND, frozenset({"dagster", "duckdb", "polars"})) for name in GROUND},
    **{name: Room(SITE) for name in ("pipeline.site", "pipeline.settings", "pipeline.configuration", "pipeline.home")},
    "pipeline.effects": Room(("pipeline.effects", *SITE)),
    "pipeline.steps": Room(("pipeline.steps", "pipeline.effects", "pipeline.reports", *SITE)),
    "pipeline.operations": Room(
        ("pipeline.operations", "pipeline.steps", "pipeline.effects", "pipeline.reports", *SITE)
    ),
    "pipeline.sandbox": Room(("pipeline.sandbox",), frozenset({"dagster", "duckdb"})),
    "assets": Room(("assets", "pipeline.dagster.runs", *GRAPH_OF_RUNS), frozenset(), to_the_end=False),
    "assets.checks": Room(
        ("assets", "pipeline.operations", "pipeline.store", *GRAPH_OF_RUNS), frozenset(), to_the_end=False
    ),
    "pipeline.dagster": Room(
        ("pipeline.dagster", "pipeline.operations", "pipeline.configuration", "pipeline.home", "pipeline.store",
         *GRAPH_OF_RUNS), frozenset(), to_the_end=False,
    ),
    "pipeline.definitions": Room(
        ("assets", "pipeline.dagster", "pipeline.configuration", "pipeline.home", *GRAPH_OF_RUNS), frozenset(),
        to_the_end=False,
    ),
    "pipeline.cli": Room(
        ("pipeline.cli", "pipeline.definitions", "pipeline.dagster", "pipeline.operations", "pipeline.sandbox.app",
         *SITE), frozenset(), to_the_end=False,
    ),
    "pipeline.cli.demo": Room(
        ("pipeline.cli.demo_ezeep", "pipeline.cli.demo_mess", "pipeline.cli.demo_tables", "pipeline.definitions",
         "pipeline.dagster", "pipeline.sandbox.app", "pipeline.sandbox.invented", *SITE), frozenset(), to_the_end=False,
    ),
}  # fmt: skip
"""Every module stands in the room with the longest name that its own begins with."""

HOMES = {
    "dagster": ("assets", "pipeline.dagster", "pipeline.definitions"),
    "duckdb": ("pipeline.store",),
    "filelock": ("pipeline.store.locks",),
    "sqlalchemy": ("pipeline.services.papercut",),
    "xmlrpc": ("pipeline.services.papercut.client", "pipeline.services.papercut.wire"),
    "httpx": ("pipeline.services.http", "pipeline.services.nexudus.session", "pipeline.services.papercut.client",
              "pipeline.services.ezeep.client",
              "pipeline.operations.channels", "pipeline.clock", "pipeline.cli.demo"),
    "polars": ("pipeline.domain", "pipeline.store", "pipeline.reports", "pipeline.effects", "pipeline.steps",
               "pipeline.operations", "pipeline.cli", "assets", "pipeline.services.printing",
               "pipeline.services.job_files", "pipeline.services.nexudus.records", "pipeline.services.papercut",
               "pipeline.services.ezeep", "pipeline.services.reading"),
}  # fmt: skip
"""Libraries that only some modules import themselves; the sandbox is free to."""


def import_graph(given: Mapping[str, str]) -> dict[str, set[str]]:
    """What each module imports, wherever it does: ours by module with the packages around it, a library by its top."""
    found: dict[str, set[str]] = {}
    for module, source in given.items():
        found[module] = set()
        for name in imported(source):
            parts = name.split(".")
            ours = {each for n in range(len(parts)) if (each := ".".join(parts[: n + 1])) in given}
            found[module] |= ours or {parts[0]}
    return found


def room_of(module: str) -> str | None:
    return max((room for room in ROOMS if inside(module, room)), key=len, default=None)


def trespasses(given: Mapping[str, str]) -> list[str]:
    """Every import, followed to its end, that the rooms do not allow, with its way."""
    links, found = import_graph(given), list[str]()
    for module in sorted(given):
        name = room_of(module)
        if name is None:
            found += [] if module == "pipeline" and not links[module] else [f"{module} stands in no room"]
            continue
        room, ways, waiting = ROOMS[name], {module: module}, [module]
        while waiting:
            here = waiting.pop()
            for there in sorted(links[here] - ways.keys()):
                ways[there] = f"{ways[here]} -> {there}"
                found += [] if _allowed(there, room, given) else [ways[there]]
                waiting += [there] if room.to_the_end and there in given else []
        homeless = [each for each in links[module] & HOMES.keys() if not inside(module, *HOMES[each])]
        found += [f"{module} -> {each}" for each in homeless if name != "pipeline.sandbox"]
    return found


def _allowed(there: str, room: Room, given: Mapping[str, str]) -> bool:
    if there in room.never:
        return False
    if there in given:  # a package around an allowed module is imported with it
        return inside(there, *room.ours) or any(inside(each, there) for each in room.ours)
    return room.only is None or there in room.only or there in sys.stdlib_module_names


def test_imports_keep_to_their_rooms() -> None:
    wrong = trespasses(modules())
    assert not wrong, "\n".join(["the rooms are in docs/architecture.md; these imports leave theirs:", *wrong])


INSIDE_A_FUNCTION = "def late():\n    import "


@pytest.mark.parametrize(
    ("module", "planted"),
    [
        ("pipeline.domain.rules", "import httpx"),
        ("pipeline.domain.names", "from pipeline.words import counted"),
        ("pipeline.domain.money.credits", "import random"),
        ("pipeline.reports.cells", "import pipeline.site"),
        ("pipeline.store.ledger", "from pipeline.clock import Clock"),
        ("pipeline.store.days", "from pipeline.services import printing"),
        ("pipeline.services.printing", "import duckdb"),
        ("pipeline.services.digests", "from pipeline.store import memory"),
        ("pipeline.services.nexudus.client", "import polars"),
        ("pipeline.effects.flags", "from pipeline.operations.access import Change"),
        ("pipeline.effects.sales", "from pipeline.steps.charge import charge"),
        ("pipeline.site", "from pipeline.effects.users import mark_user"),
        ("pipeline.steps.charge", "import dagster as dg"),
        ("pipeline.steps.read", INSIDE_A_FUNCTION + "dagster"),
        ("pipeline.steps.look", "from pipeline.operations import held"),
        ("pipeline.operations.held", "from pipeline.dagster import runs"),
        ("pipeline.operations.recover", "import duckdb"),
        ("pipeline.clock", "import dagster"),  # every room above would have it through this module
        ("pipeline", "import dagster"),  # ... and through the package around them
        ("assets.load", "from pipeline.effects.sales import settle_sales"),
        ("assets.extract", "from pipeline.store.sql import read"),
        ("assets.checks", "from pipeline.services.http import Wait"),
        ("pipeline.dagster.schedules", "from pipeline.effects import credits"),
        ("pipeline.definitions", "from pipeline.cli.main import app"),
        ("pipeline.sandbox.core", "from pipeline.errors import PermanentError"),
        ("pipeline.site", "from pipeline.sandbox.app import start"),
        ("pipeline.cli.main", "from pipeline.sandbox.invented.world import make_world"),
        ("pipeline.cli.demo", "from pipeline.sandbox.papercut.users import Users"),
        ("pipeline.cli.console", "import sqlalchemy"),
        ("pipeline.nowhere", "import json"),
    ],
)
def test_a_planted_import_is_noticed(module: str, planted: str) -> None:
    given = modules()
    wrong = set(trespasses({**given, module: f"{given.get(module, '')}\n{planted}\n"})) - set(trespasses(given))
    assert any(each.startswith(module) for each in wrong), f"{module} may {planted}, and nobody notices"


def test_dagster_is_noticed_through_another_module() -> None:
    given = modules()
    wrong = trespasses({**given, "pipeline.words": f"{given['pipeline.words']}\n{INSIDE_A_FUNCTION}dagster\n"})
    assert "pipeline.operations.causes -> pipeline.words -> dagster" in wrong
    assert {each.split()[0] for each in wrong if each.endswith("dagster")} >= {
        "pipeline.services.papercut.system", "pipeline.site", "pipeline.effects.sales", "pipeline.steps.charge"
    }  # fmt: skip


def test_every_library_that_is_imported_is_declared() -> None:
    project = tomllib.loads(text(Path("pyproject.toml")))
    declared = {canonicalize_name(Requirement(each).name) for each in project["project"]["dependencies"]}
    distributions = {"dotenv": "python-dotenv", "vl_convert": "vl-convert-python"}
    tops = {name.split(".")[0] for path in SOURCES for name in imported(text(path))}
    foreign = tops - sys.stdlib_module_names - {"pipeline", "assets"}
    missing = {name for name in foreign if canonicalize_name(distributions.get(name, name)) not in declared}
    assert not missing, f"name {missing} under dependencies in pyproject.toml"


def test_every_module_opens_with_its_charter() -> None:
    without = [str(path) for path in (*SOURCES, *SCRIPTS) if text(path) and not ast.get_docstring(tree(path))]
    assert not without, f"these modules need a docstring: what belongs here, what does not: {without}"
