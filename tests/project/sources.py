"""The text of the project, for rules about it: its files, their syntax trees, what they call and import.

What belongs here: reading. What does not: rules.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
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


def modules(paths: Iterable[Path] = SOURCES) -> dict[str, str]:
    """Dotted name of each module, and its text."""
    dotted = {".".join(path.with_suffix("").parts).removesuffix(".__init__"): path for path in paths}
    return {name: text(path) for name, path in dotted.items()}


def inside(module: str, *rooms: str) -> bool:
    return any(module == room or module.startswith(f"{room}.") for room in rooms)
