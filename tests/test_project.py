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
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

import dagster as dg
import pytest
import typer.main
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pipeline.cli import app
from pipeline.definitions import build_defs
from pipeline.settings import (
    DAGSTER_YAML,
    JobsSettings,
    NewCustomerSettings,
    NexudusSettings,
    PaperCutSettings,
    Settings,
    SiteSettings,
    load_settings,
)

ROOT = Path(__file__).parent.parent
SOURCES = sorted(path.relative_to(ROOT) for top in ("pipeline", "assets") for path in (ROOT / top).rglob("*.py"))
SCRIPTS = sorted(path.relative_to(ROOT) for top in ("tests", "benchmarks") for path in (ROOT / top).rglob("*.py"))
PAGES = sorted(path.relative_to(ROOT) for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")))
GRAPH = ROOT / "tests" / "fixtures" / "graph.json"


@cache
def text(path: Path) -> str:
    return (ROOT / path).read_text("utf-8")


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(text(path))


def calls(path: Path) -> Iterator[tuple[ast.Attribute, ast.Call]]:
    """The calls of methods in a module."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield node.func, node


def imports(path: Path) -> set[str]:
    """What a module imports, dotted; `from a import b` counts as a.b."""
    found: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno}: write the import from the top: `from pipeline... import ...`"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def within(path: Path, *tops: str) -> bool:
    return any(path.is_relative_to(top) for top in tops)


def importers(*names: str) -> set[str]:
    """The modules of the project that import one of some packages."""
    return {
        str(path)
        for path in SOURCES
        if any(each == name or each.startswith(f"{name}.") for each in imports(path) for name in names)
    }


# --- imports ---------------------------------------------------------------------------------------------------------


def test_the_domain_imports_only_the_standard_library_polars_and_pandera() -> None:
    allowed = (sys.stdlib_module_names - {"os", "time", "random", "subprocess", "socket"}) | {"polars", "pandera"}
    for path in SOURCES:
        if within(path, "pipeline/domain"):
            wrong = {name for name in imports(path) if not name.startswith("pipeline.domain.")}
            wrong = {name for name in wrong if name.split(".")[0] not in allowed and name != "pipeline.domain"}
            assert not wrong - {f"pipeline.domain.{path.stem}"}, f"{path} imports {wrong}: domain/ holds pure rules"


@pytest.mark.parametrize(
    ("package", "allowed"),
    [
        ("dagster", {"pipeline/resources.py", "pipeline/automation.py", "pipeline/definitions.py",
                     "pipeline/outcomes.py"}),
        ("assets", {"pipeline/definitions.py"}),
        ("duckdb", {"pipeline/warehouse.py", "pipeline/backup.py"}),
        ("sqlalchemy", {"pipeline/joblogs/database.py", "pipeline/joblogs/server.py"}),
        ("xmlrpc", {"pipeline/clients/papercut.py", "pipeline/clients/papercut_wire.py"}),
        ("httpx", {f"pipeline/{name}.py" for name in
                   ("clients/__init__", "clients/nexudus_session", "clients/papercut", "channels", "clock", "demo")}),
        ("pipeline.sandbox", {"pipeline/cli.py", "pipeline/demo.py"}),
    ],
)  # fmt: skip
def test_a_package_is_known_only_where_it_belongs(package: str, allowed: set[str]) -> None:
    found = {path for path in importers(package) if not path.startswith(("pipeline/sandbox/", "assets/"))}
    assert found <= allowed, f"{found - allowed} must not import {package}; only {sorted(allowed)} may"


def test_clients_and_job_logs_know_neither_dagster_nor_tables() -> None:
    for path in SOURCES:
        if within(path, "pipeline/clients", "pipeline/joblogs"):
            tops = {name.split(".")[0] for name in imports(path)}
            forbidden = {"dagster", "duckdb", "assets"} | ({"polars"} if within(path, "pipeline/clients") else set())
            assert not tops & forbidden, f"{path} imports {tops & forbidden}"


def test_the_sandbox_shares_no_code_with_what_it_tests() -> None:
    for path in SOURCES:
        if within(path, "pipeline/sandbox"):
            ours = {name for name in imports(path) if name.startswith(("pipeline.", "assets."))}
            wrong = {name for name in ours if not name.startswith(("pipeline.sandbox", "pipeline.errors."))}
            assert not wrong, f"{path} imports {wrong}: a fault in shared code would not be seen"


def test_every_library_that_is_imported_is_declared() -> None:
    project = tomllib.loads(text(Path("pyproject.toml")))
    declared = {canonicalize_name(Requirement(each).name) for each in project["project"]["dependencies"]}
    distributions = {"dotenv": "python-dotenv", "vl_convert": "vl-convert-python"}
    tops = {name.split(".")[0] for path in SOURCES for name in imports(path)}
    foreign = tops - sys.stdlib_module_names - {"pipeline", "assets"}
    missing = {name for name in foreign if canonicalize_name(distributions.get(name, name)) not in declared}
    assert not missing, f"name {missing} under dependencies in pyproject.toml"


def test_every_module_opens_with_its_charter() -> None:
    without = [str(path) for path in (*SOURCES, *SCRIPTS) if text(path) and not ast.get_docstring(tree(path))]
    assert not without, f"these modules need a docstring: what belongs here, what does not: {without}"


# --- what may stand only in one place --------------------------------------------------------------------------------

WRITES = {
    "create_user", "set_properties", "adjust_balance", "delete_user", "rename_user", "disable_printing",
}  # fmt: skip


def test_only_load_writes_to_the_services() -> None:
    for path in SOURCES:
        if within(path, "assets/load", "pipeline/clients", "pipeline/sandbox", "pipeline/reports"):
            continue
        for function, call in calls(path):
            to_nexudus = function.attr in {"create", "update", "delete"} and _receiver(function) == "nexudus"
            writes = function.attr in WRITES or to_nexudus
            assert not writes, f"{path}:{call.lineno} writes to a service; move it below assets/load/"


def _receiver(function: ast.Attribute) -> str:
    """The last name in front of a method."""
    return ast.unparse(function.value).split(".")[-1]


def test_every_write_of_the_papercut_client_is_in_the_list() -> None:
    """A new write method must be named in WRITES, or the test above does not see it."""
    reads = {"users", "total_users", "user_exists", "properties", "balance", "look_up_by_card", "config_value",
             "printers", "printer_cost", "task_status", "close", "call", "host"}  # fmt: skip
    client = next(
        node
        for node in tree(Path("pipeline/clients/papercut.py")).body
        if isinstance(node, ast.ClassDef) and node.name == "PaperCutClient"
    )
    methods = {node.name for node in client.body if isinstance(node, ast.FunctionDef) and node.name[0] != "_"}
    assert methods - reads == WRITES


def test_the_raw_calls_stay_inside_the_clients() -> None:
    for path in SOURCES:
        if not within(path, "pipeline/clients", "pipeline/sandbox", "pipeline/demo.py", "pipeline/clock.py"):
            raw = [call.lineno for function, call in calls(path) if function.attr in {"call", "request"}]
            assert not raw, f"{path}:{raw}: use a method of the client instead of its choke point"


def test_money_and_ownership_are_only_ever_appended() -> None:
    tables = "charge|charge_event|ownership_event|safety_event"
    statement = re.compile(
        rf"\b(?:UPDATE|DELETE\s+FROM|REPLACE\s+INTO|MERGE\s+INTO|TRUNCATE(?:\s+TABLE)?|DROP\s+TABLE|ALTER\s+TABLE)"
        rf"\s+(?:{tables})\b",
        re.IGNORECASE,
    )
    for path in SOURCES:
        if not within(path, "pipeline/sandbox"):
            assert not statement.search(text(path)), f"{path} changes rows of an append-only table"
    for path in SOURCES:
        for function, call in calls(path):
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
            lines = [call.lineno for function, call in calls(path) if (_receiver(function), function.attr) in asking]
            assert not lines, f"{path}:{lines} asks the system for the time; take it from pipeline/clock.py"


@pytest.mark.parametrize(
    "words",
    [
        "verify=False", "CERT_NONE", "check_hostname = False", "ServerProxy", "performUserAndGroupSyncAdvanced",
        "adjustUserAccountBalanceByGroup", "setUserAccountBalanceByGroup", "addAdminAccessUser",
        "reapplyInitialUserSettings", "resetUserCounts", "RetryPolicy",
    ],
)  # fmt: skip
def test_what_is_forbidden_is_not_there(words: str) -> None:
    """Unchecked certificates, PaperCut calls that act on many users at once, retries of runs that write."""
    found = [str(path) for path in SOURCES if not within(path, "pipeline/sandbox") and words in text(path)]
    assert not found, f"{found}: {words} is forbidden"


@pytest.mark.parametrize(
    ("mark", "most"), [("# noqa", 30), ("# type: ignore", 0), ("# pyright: ignore", 1), ("pragma: no cover", 0)]
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
