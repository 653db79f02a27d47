"""The measures on a served sandbox: each prepares a world, times printbridge and its peer in turn, and gives rows.

What belongs here: what is timed, how often, and against what. What does not: the peers, or how the table looks.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import dagster as dg

from benchmarks import peers
from benchmarks.table import Goal, Row
from benchmarks.worlds import Site, running, timed
from pipeline.effects.effect import CONNECTIONS

SYNC = "sync_site"
SYNC_STEPS = 11
RUNS = 1_000  # over which the growth of the warehouse is looked at
DLT_FOLDER = Path(__file__).parent.parent / ".venv" / "dlt"
SCRIPT_USERS = 200  # that the slow script makes: enough for a rate


def quiet(customers: int, sites: int, rounds: int, budget: float) -> list[Row]:
    """Ticks and runs that find nothing to do; `budget` is how many seconds growth may be looked at."""
    names = tuple(f"site{number}" for number in range(sites))
    with running(customers, names) as site:
        for _ in range(2):
            for name in names:
                site.run(name)
        rows = [*_ticks(site, customers, rounds), *_runs(site, names[0], customers, rounds), _growth(site, budget)]
    with running(customers, names[:1], database=False) as site:
        return [*rows, _without_database(site, rounds)]


def _ticks(site: Site, customers: int, rounds: int) -> list[Row]:
    look = next(
        each
        for each in site.defs.schedules or []
        if isinstance(each, dg.ScheduleDefinition) and each.name == "look_and_sync"
    )
    context = dg.build_schedule_context(instance=site.instance)
    look(context)
    sites = len(site.names)
    users = sum(len(_users(site, name)) for name in site.names)
    site.calls()
    stored = site.stored()[1]
    cpu = statistics.median(timed(lambda: look(context))[1] for _ in range(rounds)) / sites
    grown = site.stored()[1] - stored
    counted = site.calls()
    nexudus = sum(counted["nexudus"].values()) / rounds
    queries = sum(sum(each.values()) for each in counted["sites"].values()) / rounds / sites
    answer = look(context)
    asked = 0 if isinstance(answer, dg.SkipReason) else len(cast("list[dg.RunRequest]", answer))
    return [
        Row(
            f"no-change tick, {sites} sites, {customers:,} customers, {users:,} users",
            (
                Goal("=", 0, "runs asked for", value=asked),
                Goal("<=", 4, "Nexudus requests in all", value=nexudus),
                Goal("<=", 1, "queries per site", ".1f", queries),
                Goal("<", 0.05, "CPU s per site", ".3f", cpu),
                Goal("=", 0, "bytes more in Dagster's storage", value=grown),
            ),
            "the evaluation of the schedule in a warm process; the daemon's own record of a tick is not in it",
            "the look reads what it remembers from the warehouse and asks the servers; that is all it does",
        )
    ]


def _users(site: Site, name: str) -> list[dict[str, Any]]:
    return [user for user in site.state()["sites"][name]["users"] if user["notes"].startswith("printbridge:")]


def _runs(site: Site, name: str, customers: int, rounds: int) -> list[Row]:
    calls, slowest = _complete_read(site, name, customers)
    idle = peers.idle(site.defs, SYNC)
    compared: dict[str, Callable[[], object]] = {
        "ours": lambda: site.run(name),
        "idle": lambda: peers.run(idle, SYNC, site.instance, name),
        "empty": lambda: peers.empty_run(site.instance, SYNC_STEPS),
    }
    cpu: dict[str, list[float]] = {each: [] for each in compared}
    for _ in range(rounds + 1):
        for each, run in compared.items():
            cpu[each].append(timed(run)[1])
    ours, idling, empty = (statistics.median(seconds[1:]) for seconds in cpu.values())  # the first of each also loads
    return [
        calls,
        Row(
            "no-change run: CPU seconds / an empty Dagster run with as many steps",
            (Goal("<=", 1.3, form=".2f", value=ours / empty),),
            f"{ours:.2f} s against {empty:.2f} s, both in this process, in turn",
            "Dagster alone is above the goal: the same job with the same assets and checks, none of which does"
            f" anything, takes {idling:.2f} s ({idling / empty:.2f} empty runs), because each planned and each made"
            " materialization and check is an event, each event opens its SQLite file anew, and the versions of inputs"
            f" are looked up. printbridge itself takes the other {ours - idling:.2f} s: it reads both sides, decides"
            " every account, job and user again rather than trust what it remembers, and asks every check."
            f" Wall time of the slowest steps of a run with a complete read: {slowest}",
        ),
    ]


def _complete_read(site: Site, name: str, customers: int) -> tuple[Row, str]:
    """The calls of a no-change run that reads everything, as the servers count them; and its slowest steps."""
    site.run(name)
    site.later(4000)  # a complete read is due again, and once made it serves every site
    site.calls()
    steps = site.steps(site.run(name))
    counted = site.calls()
    papercut = counted["sites"][name]
    queries, calls = papercut.get("database", 0), sum(n for call, n in papercut.items() if call != "database")
    writes = _writes(counted["nexudus"])
    read = {each for settings in site.settings.sites.values() for each in settings.credit_ids}
    held = [each["ExtraServiceId"] for each in site.state()["nexudus"]["coworkerextraservices"]]
    granted = Counter(each for each in held if each in read)
    pages = sum(max(1, -(-listed // 1000)) for listed in (customers, *(granted[each] for each in read)))
    reads = sum(n for call, n in counted["nexudus"].items() if call.startswith("GET"))
    slowest = ", ".join(f"{step} {took:.2f} s" for step, took in sorted(steps.items(), key=lambda s: -s[1])[:4])
    return (
        Row(
            "no-change run with a complete read: calls",
            (
                Goal("<=", pages, f"reads of Nexudus, the pages of {1 + len(read)} lists", value=reads),
                Goal("<=", 5, "queries of PaperCut", value=queries),
                Goal("=", 0, "XML-RPC calls", value=calls),
                Goal("=", 0, "writes", value=writes),
            ),
            "counted by the servers; a list without rows takes one page to be known",
            "customers are one list, and the credits of each printing credit are one, as Nexudus filters by one only",
            shown(counted["nexudus"]),
        ),
        slowest,
    )


def _without_database(site: Site, rounds: int) -> Row:
    name = site.names[0]
    site.run(name)
    printer = site.world["sites"][name]["printers"][0]["name"]
    one = {"site": name, "printer": printer, "pages": 1, "color_pages": 0, "cost": 5}
    jobs = [one | {"username": user["username"]} for user in _users(site, name)]
    site.control.post("print", json=jobs).raise_for_status()
    for _ in range(2):  # what was printed is seen and charged; those who printed are looked at once more
        site.later(4000)
        site.run(name)
    users, worst, writes = len(site.state()["sites"][name]["users"]), Counter[str](), 0
    for _ in range(rounds):
        site.later(4000)
        site.calls()
        site.run(name)
        counted = site.calls()
        worst |= Counter(counted["sites"][name])
        writes += _writes(counted["nexudus"])
    names, asked = worst.pop("api.listUserAccounts"), worst.pop("api.getUserProperties", 0)
    totals, writes = worst.pop("api.getTotalUsers"), writes + sum(worst.values())
    return Row(
        "no-change run without a database: calls",
        (
            Goal("<=", -(-users // 12), f"of {users:,} users asked for", value=asked),
            Goal("=", 0, "writes", value=writes),
        ),
        f"counted by the servers; the most of {rounds} runs, with a print by every user of ours some hours before",
        "the users who were written to or printed since they were observed, beside the twelfth observed longest ago",
        f"{names} pages of names, {totals} totals",
    )


def _writes(nexudus: dict[str, int]) -> int:
    return sum(n for call, n in nexudus.items() if not call.startswith("GET") and "token" not in call)


def _growth(site: Site, budget: float) -> Row:
    name, runs, started = site.names[0], 0, time.monotonic()
    site.run(name)
    before = site.stored()
    while runs < RUNS and time.monotonic() - started < budget:
        site.run(name)
        runs += 1
    warehouse, dagster = (after - first for after, first in zip(site.stored(), before, strict=True))
    return Row(
        f"database growth after {RUNS:,} no-change runs",
        (Goal("<=", 0, "bytes", value=warehouse * RUNS // runs),),
        f"the warehouse after {runs:,} runs{'' if runs == RUNS else f', drawn out to {RUNS:,}'}; Dagster's own records"
        f" of the runs, {dagster // runs:,} bytes each, are removed by housekeeping after keep_runs_days",
        f"{warehouse:,} bytes in {runs} runs: free blocks of the file that DuckDB has not used again yet",
    )


def _same_calls(counted: dict[str, int], token: str, prefix: str, number: int) -> list[list[peers.Call]]:
    """The calls that make so many users, of each kind the share that a run made."""
    made = counted["api.addNewInternalUser"]
    reads, adjusts = counted.get("api.getUserProperties", 0), counted.get("api.adjustUserAccountBalance", 0)
    return [
        peers.calls_of(token, f"{prefix}{n}", reads=n < number * reads // made, adjusts=n < number * adjusts // made)
        for n in range(number)
    ]


def transfer(users: int, rounds: int) -> list[Row]:
    """The first transfer of users at 10 ms server latency."""
    ours: list[float] = []
    bare: list[float] = []
    script: list[float] = []
    made, few, profile = 0, 0, ""
    for turn in range(rounds):
        with running(int(users / 0.57), ("site0",), latency_ms=10) as site:
            seconds = site.steps(site.run("site0"))["print_user_sync"]
            counted = site.calls()["sites"]["site0"]
            made = counted["api.addNewInternalUser"]
            connections = site.settings.site("site0").server.connections
            papercut = site.ready["sites"]["site0"]
            of = partial(_same_calls, counted, papercut["token"])
            few = min(made, SCRIPT_USERS)
            url = papercut["papercut_url"]
            ours.append(made / seconds)
            bare.append(made / timed(partial(peers.bare_users, url, of(f"bench{turn}_", made), connections))[0])
            script.append(few / timed(partial(peers.script_users, url, of(f"slow{turn}_", few)))[0])
            profile = f"{sum(counted.values()) / made:.2f} calls per user over {connections} connections"
    mine = statistics.median(ours)
    of_bare = statistics.median(each / other for each, other in zip(ours, bare, strict=True))
    of_script = statistics.median(each / other for each, other in zip(ours, script, strict=True))
    timing = f"the step print_user_sync by Dagster's clock, from the plan to the last stored answer; {profile}"
    return [
        Row(
            f"first transfer of {made:,} users at 10 ms: users per second / a bare keep-alive client",
            (Goal(">=", 0.9, form=".2f", value=of_bare),),
            f"{mine:.0f} against {statistics.median(bare):.0f} per second; {timing}; the client makes the same calls",
            "the PINs, fetched before the first call; outcomes and the next names are stored every 200 users, beside"
            " the calls of the 200 before",
        ),
        Row(
            f"first transfer of {made:,} users / a sequential xmlrpc.client script",
            (Goal(">=", 5, form=".1f", value=of_script),),
            f"{mine:.0f} against {statistics.median(script):.0f} per second; the script makes {few} users with the"
            " same calls",
            f"{profile}: the sandbox, which shares these cores, answers no more calls per second"
            f" ({statistics.median(bare) / statistics.median(script):.1f} times the script for the bare client)",
        ),
    ]


def extraction(customers: int, rounds: int) -> list[Row]:
    """Customers read at 50 ms latency into DuckDB, against dlt."""
    figure = "customers extracted per second at 50 ms / dlt's REST source into DuckDB"
    with running(customers, ("site0",), latency_ms=50) as site:
        site.run("site0")
        python = peers.dlt_python(DLT_FOLDER)
        mine: list[float] = []
        other: list[float] = []
        for _ in range(rounds):
            site.later(4000)  # a complete read is due
            mine.append(site.steps(site.run("site0"))["nexudus_lists"])
            if python:
                seconds, rows = peers.dlt_customers(python, site.nexudus, 2)
                assert rows == customers, f"dlt read {rows} of {customers}"
                other.append(seconds[-1])  # the first load also imports
        listed = timed(lambda: site.sites.nexudus.records("coworkers"))[0]
    rate, goal = customers / statistics.median(mine), Goal(">=", 4, form=".1f")
    if not other:
        return [Row(figure, (goal,), "dlt is not installed and could not be", remark=f"{rate:,.0f} per second")]
    ratio = statistics.median(other) / statistics.median(mine)
    return [
        Row(
            figure,
            (goal._replace(value=ratio),),
            f"{rate:,.0f} against {customers / statistics.median(other):,.0f} per second, {customers:,} customers: the"
            f" step nexudus_lists of a complete read by Dagster's clock, against a pipeline run of"
            f" {peers.DLT[0]} (its second, when everything is imported), both with pages of 1,000 and {peers.DLT[1]}",
            f"{listed:.2f} of {statistics.median(mine):.2f} s are the list itself; the rest is digests, contract and"
            " storing",
        )
    ]


def charging(jobs: int, rounds: int) -> list[Row]:
    """Sales posted, against parallel POSTs without a ledger."""
    ratios: list[float] = []
    rates: list[float] = []
    sales = 0
    for _ in range(rounds):
        with running(300, ("site0",), latency_ms=10) as site:
            site.run("site0")
            payer = payers(site)[0]
            printer = site.world["sites"]["site0"]["printers"][0]["name"]
            one = {"site": "site0", "username": payer, "printer": printer, "pages": 1, "color_pages": 0, "cost": 5}
            site.control.post("print", json=[one] * jobs).raise_for_status()
            site.later(7200)
            site.calls()
            seconds = site.steps(site.run("site0"))["nexudus_print_charges"]
            sales = site.calls()["nexudus"].get("POST coworkerproducts", 0)
            settings = site.settings.site("site0")
            body = {
                "CoworkerId": site.state()["nexudus"]["coworkers"][0]["Id"], "BusinessId": settings.business_id,
                "ProductId": settings.charge_product_id, "Quantity": 5,
            }  # fmt: skip
            bare = timed(partial(peers.bare_sales, *site.nexudus, [body] * sales, CONNECTIONS))[0]
            rates.append(sales / seconds)
            ratios.append(bare / seconds)
    ratio = statistics.median(ratios)
    return [
        Row(
            f"{sales:,} charges posted: rate / bare parallel POSTs without a ledger",
            (Goal(">=", 0.8, form=".2f", value=ratio),),
            f"{statistics.median(rates):.0f} per second: the step nexudus_print_charges by Dagster's clock, from the"
            f" look-up before the first POST to the last stored answer; both over {CONNECTIONS} connections",
            "the look-up before the first POST; every 100 sales their answers and the intents of later ones are stored,"
            " beside the POSTs of the 100 before",
        )
    ]


def payers(site: Site) -> list[str]:
    """The users of ours at the first site who are charged money from the first job on."""
    state, name = site.state(), site.names[0]
    paying = {
        f"printbridge:{name}:{each['Id']}"
        for each in state["nexudus"]["coworkers"]
        if each["PaperCutPayAsYouPrint"] and not each["PaperCutFreePrinting"]
    }
    users = state["sites"][name]["users"]
    return [user["username"] for user in users if user["notes"] in paying and user["balance"] <= 0]


def shown(counted: dict[str, int]) -> str:
    """Calls and how often, in words."""
    return ", ".join(f"{call} {number}" for call, number in sorted(counted.items()))
