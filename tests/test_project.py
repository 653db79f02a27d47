"""The project holds to its own map: import rules, what may not be written anywhere, the graph, the documentation.

What belongs here: rules about the text of the project. What does not: what the program does.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import dagster as dg
import pytest
import typer.main
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pipeline.cli.main import app
from pipeline.definitions import build_defs
from pipeline.home import DAGSTER_YAML
from pipeline.settings import (
    JobsSettings,
    NewCustomerSettings,
    NexudusSettings,
    PaperCutSettings,
    Settings,
    SiteSettings,
    load_settings,
)
from pipeline.store.schema import BOOKS

ROOT = Path(__file__).parent.parent
SOURCES = sorted(path.relative_to(ROOT) for top in ("pipeline", "assets") for path in (ROOT / top).rglob("*.py"))
SCRIPTS = sorted(path.relative_to(ROOT) for top in ("tests", "benchmarks") for path in (ROOT / top).rglob("*.py"))
PAGES = sorted(path.relative_to(ROOT) for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")))
GRAPH = ROOT / "tests" / "fixtures" / "graph.json"


@cache
def text(path: Path) -> str:
    return (ROOT / path).read_text("utf-8")


@cache
def parsed(source: str) -> ast.Module:
    return ast.parse(source)


def tree(path: Path) -> ast.Module:
    return parsed(text(path))


def calls(source: str) -> Iterator[tuple[ast.Attribute, ast.Call]]:
    """The calls of methods in a module."""
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield node.func, node


@cache
def imported(source: str) -> frozenset[str]:
    """What a module imports, dotted; `from a import b` counts as a.b."""
    found: set[str] = set()
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"write imports from the top, not {ast.unparse(node)!r}"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(found)


def within(path: Path, *tops: str) -> bool:
    return any(path.is_relative_to(top) for top in tops)


# --- rooms: who may import whom --------------------------------------------------------------------------------------

GROUND = ("pipeline.errors", "pipeline.clock", "pipeline.words")
SITE = ("pipeline.site", "pipeline.settings", "pipeline.home", "pipeline.store", "pipeline.services", "pipeline.domain",
        *GROUND)  # fmt: skip
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
    **{name: Room(SITE) for name in ("pipeline.site", "pipeline.settings", "pipeline.home")},
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
        ("pipeline.dagster", "pipeline.operations", "pipeline.home", "pipeline.store", *GRAPH_OF_RUNS), frozenset(),
        to_the_end=False,
    ),
    "pipeline.definitions": Room(("assets", "pipeline.dagster", "pipeline.home", *GRAPH_OF_RUNS), frozenset(),
                                 to_the_end=False),
    "pipeline.cli": Room(
        ("pipeline.cli", "pipeline.definitions", "pipeline.dagster", "pipeline.operations", "pipeline.sandbox.app",
         *SITE), frozenset(), to_the_end=False,
    ),
    "pipeline.cli.demo": Room(
        ("pipeline.definitions", "pipeline.dagster", "pipeline.sandbox.app", "pipeline.sandbox.invented", *SITE),
        frozenset(), to_the_end=False,
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
              "pipeline.operations.channels", "pipeline.clock", "pipeline.cli.demo"),
    "polars": ("pipeline.domain", "pipeline.store", "pipeline.reports", "pipeline.effects", "pipeline.steps",
               "pipeline.operations", "pipeline.cli", "assets", "pipeline.services.printing",
               "pipeline.services.job_files", "pipeline.services.nexudus.records", "pipeline.services.papercut",
               "pipeline.services.reading"),
}  # fmt: skip
"""Libraries that only some modules import themselves; the sandbox is free to."""


def modules(paths: Iterable[Path] = SOURCES) -> dict[str, str]:
    """Dotted name of each module, and its text."""
    dotted = {".".join(path.with_suffix("").parts).removesuffix(".__init__"): path for path in paths}
    return {name: text(path) for name, path in dotted.items()}


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


def inside(module: str, *rooms: str) -> bool:
    return any(module == room or module.startswith(f"{room}.") for room in rooms)


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


# --- what may stand only in one place --------------------------------------------------------------------------------

WRITES = {
    "create_user", "set_properties", "adjust_balance", "delete_user", "rename_user",
}  # fmt: skip
"""The methods of PaperCut's client that change something."""

TO_SERVICES = {"nexudus": {"create", "update", "delete"}, "printing": {"apply", "mark"}}
"""What changes something in Nexudus, and in a print system."""

SQL = re.compile(
    r"\bSELECT\s.+?\bFROM\b|\bINSERT\s+INTO\b|\bDELETE\s+FROM\b|\bUPDATE\s+\w+\s+SET\b|\bMERGE\s+INTO\b"
    r"|\b(?:CREATE|ALTER|DROP|TRUNCATE)\s+(?:TABLE|VIEW|INDEX|SCHEMA|SEQUENCE|MACRO)\b",
    re.IGNORECASE | re.DOTALL,
)


def writes(given: Mapping[str, str]) -> list[str]:
    """Where a service is written to outside of `effects`; PaperCut's own calls stand in its system, behind `apply`."""
    found: list[str] = []
    for module, source in given.items():
        if inside(module, "pipeline.sandbox"):
            continue
        calls_of_papercut = inside(module, "pipeline.services.papercut.client", "pipeline.services.papercut.system")
        for function, call in calls(source):
            its_own = function.attr in WRITES and _receiver(function) != "book"  # a workbook has properties, too
            ours = function.attr in TO_SERVICES.get(_receiver(function), ())
            if (its_own and not calls_of_papercut) or (ours and not inside(module, "pipeline.effects")):
                found.append(f"{module}:{call.lineno} {ast.unparse(function)}")
    return found


def sql(given: Mapping[str, str]) -> list[str]:
    """Where a statement of SQL stands outside of `store`; the sandbox has a database of its own."""
    return [
        f"{module}:{node.lineno} {node.value.strip()[:40]}"
        for module, source in given.items()
        if not inside(module, "pipeline.store", "pipeline.sandbox")
        for node in ast.walk(parsed(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL.search(node.value)
    ]


def test_only_effects_write_to_the_services() -> None:
    wrong = writes(modules())
    assert not wrong, f"{wrong} write to a service; move that to pipeline/effects"


def test_all_sql_is_in_the_store() -> None:
    wrong = sql(modules())
    assert not wrong, f"{wrong} is SQL; move it to pipeline/store"


@pytest.mark.parametrize(
    ("rule", "module", "planted"),
    [
        (writes, "pipeline.steps.charge", "site.nexudus.delete('coworkerproducts', 1)"),
        (writes, "pipeline.operations.access", "nexudus.update('coworkers', {})"),
        (writes, "pipeline.operations.adopt", "site.printing.mark('c1@example.com', 1)"),
        (writes, "assets.load", "sites['london'].printing.apply(change, secrets)"),
        (writes, "pipeline.effects.users", "client.delete_user('c1@example.com')"),
        (writes, "pipeline.services.papercut.findings", "client.set_properties('c1@example.com', {})"),
        (sql, "pipeline.steps.decide", "con.execute('select ref from charge')"),
        (sql, "pipeline.operations.held", "con.sql(f'SELECT * FROM {table}')"),
        (sql, "pipeline.cli.main", "con.execute('INSERT INTO charge VALUES (1)')"),
        (sql, "assets.checks", "query(con, 'DELETE\\nFROM charge')"),
        (sql, "pipeline.effects.sales", "con.execute('UPDATE charge SET amount_cents = 0')"),
        (sql, "pipeline.services.digests", "con.execute('CREATE TABLE kept (n BIGINT)')"),
        (sql, "pipeline.reports.sheets", "con.execute('ALTER TABLE charge DROP amount_cents')"),
    ],
)
def test_a_planted_write_or_statement_is_noticed(
    rule: Callable[[Mapping[str, str]], list[str]], module: str, planted: str
) -> None:
    given = modules()
    assert len(rule({**given, module: f"{given[module]}\n{planted}\n"})) == len(rule(given)) + 1


def _receiver(function: ast.Attribute) -> str:
    """The last name in front of a method."""
    return ast.unparse(function.value).split(".")[-1]


def test_every_write_of_the_papercut_client_is_in_the_list() -> None:
    """A new write method must be named in WRITES, or the test above does not see it."""
    reads = {"users", "total_users", "user_exists", "properties", "balance", "config_value",
             "printers", "printer_cost", "close", "call", "host"}  # fmt: skip
    client = next(
        node
        for node in tree(Path("pipeline/services/papercut/client.py")).body
        if isinstance(node, ast.ClassDef) and node.name == "PaperCutClient"
    )
    methods = {node.name for node in client.body if isinstance(node, ast.FunctionDef) and node.name[0] != "_"}
    assert methods - reads == WRITES


def test_the_raw_calls_stay_inside_the_clients() -> None:
    for path in SOURCES:
        if not within(path, "pipeline/services", "pipeline/sandbox", "pipeline/cli/demo.py", "pipeline/clock.py"):
            raw = [call.lineno for function, call in calls(text(path)) if function.attr in {"call", "request"}]
            assert not raw, f"{path}:{raw}: use a method of the client instead of its choke point"


def test_money_and_ownership_are_only_ever_appended() -> None:
    tables = "|".join(BOOKS.keys() - {"memory"})  # what a newer value followed is forgotten: it is neither
    statement = re.compile(
        rf"\b(?:UPDATE|DELETE\s+FROM|REPLACE\s+INTO|MERGE\s+INTO|TRUNCATE(?:\s+TABLE)?|DROP\s+TABLE|ALTER\s+TABLE)"
        rf"\s+(?:{tables})\b",
        re.IGNORECASE,
    )
    for path in SOURCES:
        if not within(path, "pipeline/sandbox"):
            # A numbered step of a migration may give a book another column, and change no row of it.
            rest = re.sub(r"ALTER TABLE \w+ ADD COLUMN", "", text(path)) if path.name == "schema.py" else text(path)
            assert not statement.search(rest), f"{path} changes rows of an append-only table"
    for path in SOURCES:
        for function, call in calls(text(path)):
            if function.attr == "replace":
                named = {str(each.value) for each in call.args if isinstance(each, ast.Constant)}
                assert not named & set(tables.split("|")), f"{path}:{call.lineno} replaces an append-only table"


def test_the_time_comes_from_one_place() -> None:
    homes = {Path("pipeline/clock.py"), Path("pipeline/sandbox/core.py")}
    asking = {
        ("datetime", "now"), ("datetime", "utcnow"), ("datetime", "today"), ("date", "today"), ("time", "time"),
        ("time", "time_ns"), ("time", "localtime"), ("time", "gmtime"),
    }  # fmt: skip
    for path in SOURCES:
        if path not in homes:
            made = [(call.lineno, (_receiver(function), function.attr)) for function, call in calls(text(path))]
            lines = [line for line, called in made if called in asking]
            assert not lines, f"{path}:{lines} asks the system for the time; take it from pipeline/clock.py"


@pytest.mark.parametrize(
    "words",
    [
        "verify=False", "CERT_NONE", "check_hostname = False", "ServerProxy", "performUserAndGroupSyncAdvanced",
        "adjustUserAccountBalanceByGroup", "setUserAccountBalanceByGroup", "addAdminAccessUser",
        "reapplyInitialUserSettings", "resetUserCounts", "RetryPolicy", "import_module", "__import__",
    ],
)  # fmt: skip
def test_what_is_forbidden_is_not_there(words: str) -> None:
    """Unchecked certificates, calls that act on many users at once, retries of runs that write, imports by name."""
    found = [str(path) for path in SOURCES if not within(path, "pipeline/sandbox") and words in text(path)]
    assert not found, f"{found}: {words} is forbidden"


@pytest.mark.parametrize(
    ("mark", "most"), [("# noqa", 23), ("# type: ignore", 0), ("# pyright: ignore", 1), ("pragma: no cover", 0)]
)
def test_exceptions_from_the_checks_do_not_grow(mark: str, most: int) -> None:
    found = {str(path): text(path).count(mark) for path in SOURCES}
    total = sum(found.values())
    assert total <= most, f"{total} times {mark!r}, {most} are allowed: { ({k: v for k, v in found.items() if v}) }"


# --- the graph -------------------------------------------------------------------------------------------------------


@pytest.fixture
def definitions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dg.Definitions:
    """The definitions of the example configuration, with something in place of the secrets."""
    for line in text(Path(".env.example")).splitlines():
        if re.match(r"[A-Z_]+=", line):
            monkeypatch.setenv(line.split("=")[0], "nothing")
    monkeypatch.setenv("PRINTBRIDGE_HOME", str(tmp_path))
    monkeypatch.setenv("PRINTBRIDGE_CONFIG", str(ROOT / "bridge.example.toml"))
    return build_defs(load_settings())


def graph(definitions: dg.Definitions) -> dict[str, dict[str, object]]:
    return {
        spec.key.to_user_string(): {
            "deps": sorted(dep.asset_key.to_user_string() for dep in spec.deps),
            "group": spec.group_name,
            "kinds": sorted(spec.kinds),
            "owners": sorted(spec.owners),
            "partitions": _dimensions(spec.partitions_def),
        }
        for spec in definitions.resolve_all_asset_specs()
    }


def test_the_graph_is_the_one_that_was_reviewed(definitions: dg.Definitions) -> None:
    now, reviewed = graph(definitions), json.loads(GRAPH.read_text("utf-8"))
    changed = {name: now.get(name) for name in {*now, *reviewed} if now.get(name) != reviewed.get(name)}
    assert not changed, (
        f"if that is meant, put it into {GRAPH}, and draw README.md anew: {json.dumps(changed, indent=1)}"
    )


def _dimensions(partitions: dg.PartitionsDefinition[str] | None) -> list[str]:
    match partitions:
        case None:
            return []
        case dg.MultiPartitionsDefinition():
            return sorted(partitions.partition_dimension_names)
        case dg.MonthlyPartitionsDefinition():
            return ["month"]
        case _:
            return ["site"]


def test_every_asset_tells_what_it_is(definitions: dg.Definitions) -> None:
    for spec in definitions.resolve_all_asset_specs():
        name = spec.key.to_user_string()
        assert (spec.description or "").endswith((".", "`")), f"{name} needs a docstring; it is its page in the UI"
        if spec.group_name != "report":
            assert "dagster/column_schema" in spec.metadata, f"{name} needs its columns: `metadata=described(...)`"


def test_dagster_finds_and_loads_the_code_location(definitions: dg.Definitions, tmp_path: Path) -> None:
    """As `dagster dev` does, in a process of its own, from workspace.yaml."""
    (tmp_path / "dagster.yaml").write_text(DAGSTER_YAML, "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "dagster", "definitions", "validate", "-w", "workspace.yaml"],
        cwd=ROOT, env={**os.environ, "DAGSTER_HOME": str(tmp_path)}, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_dagster_settings_and_workspace() -> None:
    assert text(Path("data/dagster.yaml")) == DAGSTER_YAML, "data/dagster.yaml and settings.DAGSTER_YAML must be equal"
    project = tomllib.loads(text(Path("pyproject.toml")))["tool"]
    (entry,) = yaml.safe_load(text(Path("workspace.yaml")))["load_from"]
    assert entry["python_module"]["module_name"] == project["dg"]["project"]["code_location_target_module"]
    assert "dagster" not in project, "[tool.dagster] would silently win over workspace.yaml"


# --- packaging -------------------------------------------------------------------------------------------------------


def test_the_lock_is_exact_and_complete() -> None:
    lock = text(Path("requirements.lock"))
    assert "://" not in lock, "requirements.lock must not name an address"
    entries = re.split(r"\n(?=[a-z])", lock[lock.index("\n\n") :].strip())
    locked: dict[str, str] = {}
    for entry in entries:
        requirement = Requirement(entry.split("\\")[0])
        assert "--hash=sha256:" in entry, f"{requirement.name} has no hash; run `make lock`"
        (exact,) = requirement.specifier
        assert exact.operator == "==", f"{requirement.name} is not exact; run `make lock`"
        locked[canonicalize_name(requirement.name)] = exact.version
    project = tomllib.loads(text(Path("pyproject.toml")))
    wanted = [Requirement(each) for each in project["project"]["dependencies"] + project["dependency-groups"]["dev"]]
    stale = [str(each) for each in wanted if locked.get(canonicalize_name(each.name), "0") not in each.specifier]
    assert not stale, f"requirements.lock does not satisfy {stale}; run `make lock`"


def test_pandas_is_not_installed() -> None:
    assert importlib.util.find_spec("pandas") is None, (
        "pandas costs every process a second: see docs/adr/0001-libraries.md"
    )


# --- documentation ---------------------------------------------------------------------------------------------------


def commands() -> set[str]:
    """Every command, as it is typed: `run`, `held list`."""
    found: set[str] = set()
    for name, command in typer.main.get_command(app).commands.items():
        below = getattr(command, "commands", {})
        found |= {f"{name} {each}" for each in below} or {name}
    return found


def test_every_command_is_in_the_readme_and_has_a_help_text() -> None:
    readme = text(Path("README.md"))
    missing = [name for name in sorted(commands()) if f"`{name}" not in readme and f"`printbridge {name}" not in readme]
    assert not missing, f"README.md does not name these commands: {missing}"


def test_every_command_that_a_text_names_exists() -> None:
    words = {name for command in commands() for name in (command, command.split()[0])}
    for path in (*SOURCES, *PAGES, Path("Makefile"), Path("bridge.example.toml"), Path(".env.example")):
        for named in re.findall(r"`printbridge ([a-z]+(?: [a-z]+)?)", text(path)):
            assert named in words or named.split()[0] in words, (
                f"{path} names `printbridge {named}`, which is no command"
            )


def test_the_example_configuration_is_whole() -> None:
    """Every key and every secret has its line in the examples, in use or behind a `# `."""
    example, secrets = text(Path("bridge.example.toml")), text(Path(".env.example"))
    sections = (Settings, NexudusSettings, SiteSettings, PaperCutSettings, JobsSettings, NewCustomerSettings)
    for section in sections:
        for key, field in section.model_fields.items():
            table = rf"^\[(?:sites\.london\.)?{key}\b" if _is_table(field.annotation) else rf"^(?:# )?{key} = "
            assert re.search(table, example, re.MULTILINE), f"bridge.example.toml lacks {key}"
    for variable in re.findall(r'_env = "(\w+)"', example):
        assert f"{variable}=" in secrets, f".env.example lacks {variable}"


def _is_table(annotation: object) -> bool:
    return "Settings" in str(annotation)


def test_every_make_target_that_a_text_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", text(Path("Makefile")), re.MULTILINE))
    for path in (*PAGES, Path("pyproject.toml"), Path(".ci/run")):
        named = set(re.findall(r"(?:^|`)make ([a-z-]+)", text(path), re.MULTILINE))
        assert named <= targets, f"{path} names make targets that do not exist: {named - targets}"


def test_every_function_that_a_page_names_exists() -> None:
    named = {
        name: path for path in PAGES for name in re.findall(r"`((?:pipeline|assets)(?:\.\w+)+)(?:\(\))?`", text(path))
    }
    steps = set(re.findall(r"`((?:pipeline|assets)(?:\.\w+)+)`", text(Path("docs/lifecycle.md"))))
    assert len(steps) > 20, "docs/lifecycle.md names the function at each step"
    for name, path in named.items():
        assert _resolves(name), f"{path} names {name}, which does not exist"


def _resolves(dotted: str) -> bool:
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        if importlib.util.find_spec(parts[0]) and _is_module(parts[:length]):
            found: object = import_module(".".join(parts[:length]))
            return all((found := getattr(found, part, None)) is not None for part in parts[length:])
    return False


def _is_module(parts: list[str]) -> bool:
    path = ROOT.joinpath(*parts)
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def test_every_file_that_a_page_names_exists() -> None:
    made = {"bridge.toml", ".env", "warehouse.duckdb"}
    for path in PAGES:
        links = re.findall(r"\]\(([^)#:]+)\)", text(path))
        missing = [link for link in links if not (ROOT / path.parent / link).exists()]
        assert not missing, f"{path} links to what is not there: {missing}"
        named = re.findall(r"`([\w./-]+\.(?:py|md|toml|lock|yaml|json))`", text(path))
        known = {source.name for source in (*SOURCES, *SCRIPTS, *PAGES)}
        gone = [name for name in named if name not in made and not (ROOT / name).exists() and name not in known]
        assert not gone, f"{path} names files that are not there: {gone}"


def test_the_diagram_of_the_readme_is_the_graph() -> None:
    drawn = set(re.findall(r"^ +(\w+) --> (\w+)$", text(Path("README.md")), re.MULTILINE))
    reviewed = json.loads(GRAPH.read_text("utf-8"))
    edges = {(dep, asset) for asset, spec in reviewed.items() for dep in spec["deps"]}
    assert drawn == edges, f"missing in README.md: {edges - drawn}; too many: {drawn - edges}"
