"""What printbridge is measured against: the bare calls, and the script that the vendor's examples suggest.

What belongs here: the least code that moves the same bytes. What does not: safety; none of these could be run on a real
site.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import xmlrpc.client
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import polars as pl

Call = tuple[str, tuple[Any, ...]]

DLT = ("dlt[duckdb]==1.31.0", "duckdb==1.5.5")
"""Exact, and never among printbridge's own libraries; DuckDB in printbridge's version."""


def in_parallel(call: Callable[[Any], Any], items: Iterable[Any], connections: int) -> None:
    """Make a call for each item over as many connections as printbridge uses."""
    with ThreadPoolExecutor(connections) as pool:
        list(pool.map(call, items))


def bare_users(url: str, users: list[list[Call]], connections: int) -> None:
    """A keep-alive client that makes the same calls per user as printbridge, and looks at no answer."""
    with httpx.Client(trust_env=False, limits=httpx.Limits(max_connections=connections)) as client:

        def make(calls: list[Call]) -> None:
            for method, arguments in calls:
                client.post(url, content=xmlrpc.client.dumps(arguments, method).encode())

        in_parallel(make, users, connections)


def script_users(url: str, users: list[list[Call]]) -> None:
    """One user after the other through the standard library, as in the vendor's examples."""
    with xmlrpc.client.ServerProxy(url) as server:
        for calls in users:
            for method, arguments in calls:
                getattr(server, method)(*arguments)


def calls_of(token: str, name: str, *, reads: bool, adjusts: bool) -> list[Call]:
    """What printbridge calls to make a user: only some have a balance to be read, and to be changed."""
    calls: list[Call] = [
        ("api.addNewInternalUser", (token, name, "00012345", "Bench", f"{name}@example.com", "", "")),
        ("api.setUserProperties", (token, name, [["restricted", "TRUE"], ["notes", "bench"]])),
    ]
    if reads:
        calls.append(("api.getUserProperties", (token, name, ["balance"])))
    if adjusts:
        calls.append(("api.adjustUserAccountBalance", (token, name, 100.0, "bench")))
    return calls


def dlt_python(folder: Path) -> Path | None:
    """A Python that has dlt, in an environment of its own beside the project's; None where it cannot be installed."""
    python = folder / "bin" / "python"
    if not python.exists():
        commands = (
            [sys.executable, "-m", "venv", str(folder)],
            [str(python), "-m", "pip", "install", "--quiet", "--only-binary", ":all:", *DLT],
        )
        for command in commands:
            if subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
                shutil.rmtree(folder, ignore_errors=True)
                return None
    return python


def dlt_customers(python: Path, nexudus: tuple[str, str, str], rounds: int) -> tuple[list[float], int]:
    """The seconds that dlt's REST source takes for every customer, each time into a new DuckDB file, and the rows."""
    script = Path(__file__).with_name("dlt_peer.py")
    with tempfile.TemporaryDirectory(prefix="printbridge-dlt-") as folder:
        # dlt reads this when it is imported.
        settings = {"DLT_DATA_DIR": folder, "RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "ERROR"}
        done = subprocess.run(
            [str(python), str(script), *nexudus, folder, str(rounds)],
            env={**os.environ, **settings}, check=True, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    return found["seconds"], found["rows"]


def bare_sales(url: str, email: str, password: str, bodies: list[dict[str, Any]], connections: int) -> None:
    """Parallel POSTs without a ledger."""
    with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        form = {"grant_type": "password", "username": email, "password": password}
        headers = {"Authorization": f"Bearer {client.post('/api/token', data=form).json()['access_token']}"}
        path = "/api/billing/coworkerproducts"
        in_parallel(lambda body: client.post(path, json=body, headers=headers), bodies, connections)


def empty_run(instance: dg.DagsterInstance, steps: int) -> None:
    """A Dagster run of as many steps as a sync, each of which does nothing."""

    def nothing(number: int) -> dg.AssetsDefinition:
        @dg.asset(name=f"step_{number}", deps=[f"step_{number - 1}"] if number else [])
        def empty() -> None:
            """Nothing."""

        return empty

    assets = [nothing(number) for number in range(steps)]
    run(dg.Definitions(assets=assets, jobs=[_job("empty", dg.AssetSelection.all())]), "empty", instance)


def idle(defs: dg.Definitions, job: str) -> dg.Definitions:
    """A job's own assets and checks in their own steps, none of which does anything: what Dagster alone takes."""
    repository = defs.get_repository_def()
    keys = repository.get_job(job).asset_layer.executable_asset_keys
    steps = {node.op.name: node for node in repository.assets_defs_by_key.values() if set(keys).intersection(node.keys)}
    asked = {key: node for key, node in repository.asset_checks_defs_by_key.items() if key.asset_key in keys}
    checks = {node.op.name: node for node in asked.values()}

    def materialized(name: str, node: dg.AssetsDefinition) -> dg.AssetsDefinition:
        specs = [dg.AssetSpec(spec.key, deps=spec.deps, partitions_def=spec.partitions_def) for spec in node.specs]

        @dg.multi_asset(name=name, specs=specs)
        def nothing() -> Iterator[dg.MaterializeResult[Any]]:
            yield from (dg.MaterializeResult(asset_key=spec.key) for spec in specs)

        return nothing

    def passed(name: str, node: dg.AssetsDefinition) -> dg.AssetChecksDefinition:
        specs = [dg.AssetCheckSpec(key.name, asset=key.asset_key) for key in node.check_keys if key.asset_key in keys]

        @dg.multi_asset_check(name=name, specs=specs)
        def nothing() -> Iterator[dg.AssetCheckResult]:
            for spec in specs:
                yield dg.AssetCheckResult(passed=True, asset_key=spec.asset_key, check_name=spec.name)

        return nothing

    return dg.Definitions(
        assets=[materialized(name, node) for name, node in steps.items()],
        asset_checks=[passed(name, node) for name, node in checks.items()],
        jobs=[_job(job, dg.AssetSelection.assets(*keys))],
    )


def run(defs: dg.Definitions, job: str, instance: dg.DagsterInstance, partition: str | None = None) -> None:
    """A run of a job in this process, recorded as printbridge's are."""
    result = defs.resolve_job_def(job).execute_in_process(
        instance=instance,
        partition_key=partition,
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )
    assert result.success


def _job(name: str, selection: dg.AssetSelection) -> Any:
    return dg.define_asset_job(name, selection, executor_def=dg.in_process_executor)


def bare_pricing(
    jobs: Path, names: pl.DataFrame, customers: pl.DataFrame, accounts: pl.DataFrame, grants: pl.DataFrame
) -> pl.DataFrame:
    """The same scan, joins, running total and group-by without any rule: totals per person, and no line per job."""
    people = customers.lazy().select("coworker_id", "email_key")
    held = grants.lazy().join(people, on="coworker_id").group_by("email_key").agg(pl.col("remaining_uses").sum())
    return (
        pl.scan_parquet(jobs)
        .filter(pl.col("allowed") & ~pl.col("refunded") & pl.col("printed") & ~pl.col("shared_account"))
        .join(names.lazy().select("username", "coworker_id"), on="username")
        .join(people, on="coworker_id")
        .join(accounts.lazy().select("email_key", "pay", "free"), on="email_key")
        .join(held, on="email_key", how="left")
        .sort("printed_at", "job_id")
        .with_columns(reach=pl.col("cost").cast(pl.Int64).cum_sum().over("email_key"))
        .with_columns(used=pl.min_horizontal("reach", "remaining_uses"))
        .group_by("email_key")
        .agg(pl.len(), pl.col("cost").sum(), pl.col("used").max(), pl.col("pay").first())
        .collect()
    )
