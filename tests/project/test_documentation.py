"""What pages, help texts and the lock say is so."""

from __future__ import annotations

import importlib.util
import json
import re
import tomllib
from importlib import import_module
from pathlib import Path

import typer.main
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pipeline.cli.main import app
from pipeline.settings import (
    EzeepSettings,
    JobsSettings,
    NewCustomerSettings,
    NexudusSettings,
    PaperCutSettings,
    PriceSettings,
    Settings,
    SiteSettings,
)
from tests.project.sources import (
    GRAPH,
    PAGES,
    ROOT,
    SCRIPTS,
    SOURCES,
    text,
)


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
    sections = (
        Settings, NexudusSettings, SiteSettings, PaperCutSettings, EzeepSettings, PriceSettings, JobsSettings,
        NewCustomerSettings,
    )  # fmt: skip
    for section in sections:
        for key, field in section.model_fields.items():
            table = rf"^(?:# )?\[+(?:sites\.\w+\.)?{key}\b" if _is_table(field.annotation) else rf"^(?:# )?{key} = "
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


def test_every_case_names_a_test_that_exists() -> None:
    tests = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text("utf-8"), re.M)
    }
    rows = re.findall(r"^\|.*\| (.*) \|$", text(Path("docs/cases.md")), re.MULTILINE)
    named = [row.strip("`") for row in rows if row not in {"test", "---"}]
    assert len(named) > 60, "docs/cases.md has a row for each case"
    assert not set(named) - tests, "docs/cases.md names tests that are not there"


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


# --- packaging --------------------------------------------------------------------------------------------------------


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
