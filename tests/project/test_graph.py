"""The graph is the one that was reviewed, and Dagster loads it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import dagster as dg
import pytest
import yaml

from pipeline.configuration import load_settings
from pipeline.definitions import build_defs
from pipeline.home import DAGSTER_YAML
from tests.project.sources import (
    GRAPH,
    ROOT,
    text,
)


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
