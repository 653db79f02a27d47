"""What the bridge is measured against: the bare calls, and the script that the vendor's examples suggest.

What belongs here: the least code that moves the same bytes. What does not: safety; none of these could be run on a real
site.
"""

from __future__ import annotations

import xmlrpc.client
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dagster as dg
import httpx
import polars as pl

CONNECTIONS = 4


def in_parallel(call: Callable[[Any], Any], items: Iterable[Any]) -> None:
    """Make a call for each item over as many connections as the bridge uses."""
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        list(pool.map(call, items))


def bare_users(url: str, token: str, names: list[str]) -> None:
    """A keep-alive client that makes the same calls per user as the bridge, and looks at no answer."""
    with httpx.Client(trust_env=False, limits=httpx.Limits(max_connections=CONNECTIONS)) as client:

        def make(name: str) -> None:
            for method, arguments in _calls(token, name):
                client.post(url, content=xmlrpc.client.dumps(arguments, method).encode())

        in_parallel(make, names)


def script_users(url: str, token: str, names: list[str]) -> None:
    """One user after the other through the standard library, as in the vendor's examples."""
    with xmlrpc.client.ServerProxy(url) as server:
        for name in names:
            for method, arguments in _calls(token, name):
                getattr(server, method)(*arguments)


def _calls(token: str, name: str) -> list[tuple[str, tuple[Any, ...]]]:
    notes = [["restricted", "TRUE"], ["notes", "bench"]]
    return [
        ("api.addNewInternalUser", (token, name, "00012345", "Bench", f"{name}@example.com", "", "")),
        ("api.setUserProperties", (token, name, notes)),
        ("api.getUserProperties", (token, name, ["balance"])),
        ("api.adjustUserAccountBalance", (token, name, 100.0, "bench")),
    ]


def script_customers(url: str, email: str, password: str) -> int:
    """Every customer, page after page at the default size of 25, as a first script does."""
    with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        form = {"grant_type": "password", "username": email, "password": password}
        token = client.post("/api/token", data=form).json()["access_token"]
        found, page = 0, 1
        while True:
            answer = client.get(
                "/api/spaces/coworkers", params={"page": page}, headers={"Authorization": f"Bearer {token}"}
            ).json()
            found += len(answer["Records"])
            if not answer["HasNextPage"]:
                return found
            page += 1


def bare_sales(url: str, email: str, password: str, bodies: list[dict[str, Any]]) -> None:
    """Parallel POSTs without a ledger."""
    with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        form = {"grant_type": "password", "username": email, "password": password}
        headers = {"Authorization": f"Bearer {client.post('/api/token', data=form).json()['access_token']}"}
        in_parallel(lambda body: client.post("/api/billing/coworkerproducts", json=body, headers=headers), bodies)


def empty_run(instance: dg.DagsterInstance, steps: int) -> None:
    """A Dagster run of as many steps as a sync, each of which does nothing."""

    def nothing(number: int) -> dg.AssetsDefinition:
        @dg.asset(name=f"step_{number}", deps=[f"step_{number - 1}"] if number else [])
        def empty() -> None:
            """Nothing."""

        return empty

    assets = [nothing(number) for number in range(steps)]
    job = dg.define_asset_job("empty", dg.AssetSelection.all(), executor_def=dg.in_process_executor)
    defs = dg.Definitions(assets=assets, jobs=[job])
    result = defs.resolve_job_def("empty").execute_in_process(
        instance=instance, run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    )
    assert result.success


def bare_pricing(jobs: pl.DataFrame, accounts: pl.DataFrame) -> pl.DataFrame:
    """The same scan, join and group-by without any rule."""
    return (
        jobs.filter(pl.col("allowed") & ~pl.col("refunded") & pl.col("printed"))
        .join(accounts, left_on="username", right_on="username", how="left")
        .sort("email_key", "printed_at", "job_id")
        .with_columns(running=pl.col("cost").cast(pl.Int64).cum_sum().over("email_key"))
        .group_by("email_key")
        .agg(pl.len(), pl.col("cost").sum(), pl.col("running").max())
    )
