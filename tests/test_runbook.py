"""The runbook knows every alert, every stop, every reason to hold a charge and every safety error that the code has."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.domain import tables
from pipeline.domain.money import reasons as texts
from pipeline.domain.money import recovery
from pipeline.operations import alerts
from pipeline.store import stops

ROOT = Path(__file__).parent.parent
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text("utf-8")
SECTIONS = dict(re.findall(r"^### (.+)\n((?:(?!^##).*\n)*)", RUNBOOK, re.MULTILINE))
SOURCES = [path for top in ("pipeline", "assets") for path in (ROOT / top).rglob("*.py") if "sandbox" not in path.parts]


def reasons() -> set[str]:
    """Why a charge can be held: a rule that holds, a recovery, or what Nexudus answered to an effect."""
    effects = {kind for kind in tables.KINDS if "waive" not in kind}
    return {*texts.HELD, recovery.RULE, *effects}


def test_the_headings_are_the_kinds_of_causes() -> None:
    simple = set(alerts.KINDS) - {"stopped", "held"}
    expected = simple | {f"stopped: {phase}" for phase in stops.PHASES} | {f"held: {reason}" for reason in reasons()}
    assert not expected - SECTIONS.keys(), "docs/runbook.md lacks these headings"
    assert not SECTIONS.keys() - expected, "docs/runbook.md has headings for what the code no longer does"


@pytest.mark.parametrize("heading", SECTIONS)
def test_each_says_what_it_means_how_to_check_and_how_to_fix(heading: str) -> None:
    for part in ("**Means:**", "**Check:**", "**Fix:**"):
        assert part in SECTIONS[heading], f"'{heading}' in docs/runbook.md lacks {part}"


def test_the_link_of_a_message_leads_to_its_heading() -> None:
    anchors = [re.sub(r"[^a-z0-9 _-]", "", heading.lower()).replace(" ", "-") for heading in SECTIONS]
    assert [alerts.anchor(heading) for heading in SECTIONS] == anchors


def unsafe_errors() -> Iterator[tuple[str, str]]:
    """Where each UnsafeError is made, and the fixed part of its text."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "UnsafeError":
                texts = [each.value for each in ast.walk(node.args[0]) if isinstance(each, ast.Constant)]
                yield f"{path.relative_to(ROOT)}:{node.lineno}", "".join(str(text) for text in texts)


def test_every_safety_error_is_in_the_table_and_every_row_is_an_error() -> None:
    quoted = re.findall(r"^\| \*\*(.+?)\*\* \|", RUNBOOK, re.MULTILINE)
    errors = dict(unsafe_errors())
    assert len(errors) > 15
    unknown = [place for place, text in errors.items() if not any(quote in text for quote in quoted)]
    assert not unknown, f"docs/runbook.md, section Safety errors, has no row for {unknown}"
    gone = [quote for quote in quoted if not any(quote in text for text in errors.values())]
    assert not gone, f"no safety error says {gone} any more"
