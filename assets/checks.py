"""Checks: whether what was stored holds, and what a person should look at, with the rows at fault and the remedy.

What belongs here: one check per table contract, made from its Pandera model, and the questions operators ask every day.
What does not: gates in front of writes; those are inside the steps that write, because a check can be skipped. The
checks of one stage share a step, since a step costs more than a check.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, cast

import dagster as dg
import polars as pl
from pandera.errors import SchemaErrors

from pipeline.domain import tables
from pipeline.operations import findings
from pipeline.operations.causes import of_account, of_site
from pipeline.site import Site, Sites
from pipeline.store import changes, memory
from pipeline.store.lines import lines_in
from pipeline.store.sql import Connection, read
from pipeline.words import counted

SHOWN = 20
"""Rows named in a check; the table has the rest."""


class Answer(NamedTuple):
    """The answer of a check: whether all is well, in words what is not, and the rows at fault, for the plot."""

    passed: bool
    text: str
    severity: dg.AssetCheckSeverity
    rows: int = 0


Question = Callable[[Site, Connection], Answer]

WARN, ERROR = dg.AssetCheckSeverity.WARN, dg.AssetCheckSeverity.ERROR

UNPARTITIONED = frozenset({"nexudus_customers", "nexudus_credits", "nexudus_teams"})


def contract(table: str) -> Question:
    """The check that a table's stored rows hold its Pandera model. The text names columns and checks, never values."""

    def ask(site: Site, con: Connection) -> Answer:
        frame = read(con, table, None if table in UNPARTITIONED else site.key)
        try:
            tables.checked(table, frame)
        except SchemaErrors as error:
            failures = cast("pl.DataFrame", error.failure_cases)
            cases = failures.group_by("column", "check").agg(rows=pl.len(), first=pl.col("index").min())
            found = [
                f"{case['column']}: {case['check']}, {case['rows']} rows, first row {case['first']}"
                for case in cases.iter_rows(named=True)
            ]
            text = f"{table} breaks its contract: {'; '.join(sorted(found))}. What to do: report it."
            return Answer(passed=False, text=text, severity=ERROR, rows=failures.height)
        return Answer(passed=True, text=f"{frame.height} rows hold the contract", severity=ERROR)

    return ask


def lines_are_readable(site: Site, con: Connection) -> Answer:
    """Whether every line of the job log could be read."""
    problems = findings.sentences(con, site.key, memory.JOB_PROBLEMS)
    remedy = " What to do: correct or complete these lines; every other line was read, and these are tried again."
    return _found(problems, "unreadable job row", remedy=remedy, severity=ERROR)


def records_are_readable(table: str) -> Question:
    """The check that no record of a Nexudus list was left out because it cannot be read."""

    def ask(_: Site, con: Connection) -> Answer:
        """Whether every record could be read; one that could not is left out, and is no evidence for anything."""
        rows = findings.sentences(con, memory.ACCOUNT, memory.problems(table))
        remedy = " What to do: correct these fields in Nexudus; every other record was read."
        return _found(rows, "unreadable record", remedy=remedy, severity=ERROR)

    return ask


def pins_are_usable(site: Site, con: Connection) -> Answer:
    """Whether anybody is left out for want of a PIN of their own (`rules.md` C17)."""
    accounts = read(con, "print_accounts", site.key).sort("coworker_id")
    found = accounts.filter(pl.col("reason").is_in(["no_pin", "pin_clash"]))
    alike = accounts.join(found.filter(reason="pin_clash"), on="pin_digest", how="semi")
    groups = alike.group_by("pin_digest", maintain_order=True).agg(ids=pl.col("coworker_id").cast(pl.String))
    rows = [f"customer {coworker_id}: no PIN" for coworker_id in found.filter(reason="no_pin")["coworker_id"]]
    rows += [f"customers {', '.join(ids)}: one PIN for all" for ids in groups["ids"]]
    remedy = " What to do: give each a PIN of their own in Nexudus (Members and contacts > customer > Access)."
    return _found(rows, "customer without an own PIN", "customers without an own PIN", remedy)


def grants_are_plausible(site: Site, con: Connection) -> Answer:
    """Whether a single grant is larger than the site believes."""
    rules = site.rules
    large = findings.oversized(con, rules)
    rows = [f"credit {row['credit_id']}: {row['remaining_uses']}" for row in large.iter_rows(named=True)]
    remedy = f" What to do: correct them in Nexudus, or raise max_credits ({rules.max_credits})."
    return _found(rows, "credit above max_credits, not counted", "credits above max_credits, not counted", remedy)


def jobs_have_an_owner(site: Site, con: Connection) -> Answer:
    """Whether chargeable jobs were printed by users that were never ours, or on shared accounts."""
    found = findings.ownerless_in_short(con, site)
    sums = [f"{row['jobs']} of {row['cost']:.2f} credits: {row['why']}" for row in found.iter_rows(named=True)]
    first = sorted((row["printed_at"], row["job_id"], row["printer"]) for each in found["first"] for row in each)
    rows = [f"job {job_id} at {printer}" for _, job_id, printer in first]
    remedy = (
        f" {'; '.join(sums)}. Nobody is charged for them. What to do: if a customer printed them, `printbridge"
        " held assign JOB --customer ID`, or charge them by hand in Nexudus and add `--waive --reason TEXT`."
    )
    return _found(rows, "job without an owner", "jobs without an owner", remedy, number=int(found["jobs"].sum()))


def nothing_is_held(site: Site, con: Connection) -> Answer:
    """Whether charges wait for a person."""
    held = lines_in(con, site.key, "held")
    rows = [f"{row['ref']} ({row['amount_cents']} cents): {row['reason']}" for row in held.iter_rows(named=True)]
    return _found(rows, "held charge")


def changes_succeeded(site: Site, con: Connection) -> Answer:
    """Whether the last plan was carried out whole."""
    last = changes.failed_of_last_plan(con, site.key)
    rows = [
        f"{r['action']} of customer {r['coworker_id']}: {r['outcome']}: {r['detail']}"
        for r in last.iter_rows(named=True)
    ]
    return _found(rows, "change that did not succeed", "changes that did not succeed")


def nothing_is_unexplained(site: Site, con: Connection) -> Answer:
    """Whether PaperCut, the ledger and Nexudus agree to the cent, for every day reconciled so far."""
    found = findings.unexplained(con, site.key)
    rows = [f"{row['day']} job {row['job_id']}: {row['finding']}" for row in found.iter_rows(named=True)]
    total = found["unexplained_cents"].sum()
    one, many = f"unexplained difference ({total} cents)", f"unexplained differences ({total} cents in all)"
    return _found(rows, one, many, severity=ERROR)


def nothing_needs_a_person(site: Site, con: Connection) -> Answer:
    """Whether anything of site or account needs a person: the list that alerts and `printbridge alerts check` read."""
    found = [*of_account(con, site.sites), *of_site(con, site)]
    rows = [f"{cause.title}; next: {cause.remedy}" for cause in found]
    severity = ERROR if any(cause.urgent for cause in found) else WARN
    return _found(rows, "cause", severity=severity)


STAGES: dict[str, dict[tuple[str, str], Question]] = {
    "extract_checks": {
        ("nexudus_customers", "contract"): contract("nexudus_customers"),
        ("nexudus_credits", "contract"): contract("nexudus_credits"),
        ("nexudus_teams", "contract"): contract("nexudus_teams"),
        ("nexudus_customers", "records_are_readable"): records_are_readable("nexudus_customers"),
        ("nexudus_credits", "records_are_readable"): records_are_readable("nexudus_credits"),
        ("nexudus_teams", "records_are_readable"): records_are_readable("nexudus_teams"),
        ("print_users", "contract"): contract("print_users"),
        ("print_jobs", "contract"): contract("print_jobs"),
        ("print_jobs", "lines_are_readable"): lines_are_readable,
    },
    "charge_checks": {
        ("print_accounts", "contract"): contract("print_accounts"),
        ("print_accounts", "pins_are_usable"): pins_are_usable,
        ("print_accounts", "grants_are_plausible"): grants_are_plausible,
        ("print_charges", "contract"): contract("print_charges"),
        ("print_charges", "jobs_have_an_owner"): jobs_have_an_owner,
        ("nexudus_print_charges", "nothing_is_held"): nothing_is_held,
    },
    "user_checks": {
        ("user_sync_plan", "contract"): contract("user_sync_plan"),
        ("print_user_sync", "contract"): contract("print_user_sync"),
        ("print_user_sync", "changes_succeeded"): changes_succeeded,
        ("print_user_sync", "nothing_needs_a_person"): nothing_needs_a_person,
    },
    "reconciliation_checks": {
        ("reconciliation", "contract"): contract("reconciliation"),
        ("reconciliation", "nothing_is_unexplained"): nothing_is_unexplained,
    },
}
"""The checks of each stage: asset and name to question."""


def _stage(name: str, questions: dict[tuple[str, str], Question]) -> dg.AssetChecksDefinition:
    specs = [
        dg.AssetCheckSpec(check, asset=asset, description=(ask.__doc__ or f"The rows hold the contract of {asset}."))
        for (asset, check), ask in questions.items()
    ]

    @dg.multi_asset_check(name=name, specs=specs, can_subset=True)
    def checks(context: dg.AssetCheckExecutionContext, sites: dg.ResourceParam[Sites]) -> Iterator[dg.AssetCheckResult]:
        tags = context.run.tags
        site = sites[tags.get("dagster/partition/site") or tags.get("dagster/partition") or sites.names[0]]
        keys = sorted(context.selected_asset_check_keys, key=str)
        with site.store.connect() as con:
            answers = [questions[key.asset_key.to_user_string(), key.name](site, con) for key in keys]
        for key, found in zip(keys, answers, strict=True):
            yield dg.AssetCheckResult(
                passed=found.passed, asset_key=key.asset_key, check_name=key.name, severity=found.severity,
                description=f"{site.name}: {found.text}", metadata={"site": site.name, "rows_at_fault": found.rows},
            )  # fmt: skip

    return checks


def _found(
    rows: list[str],
    one: str,
    many: str = "",
    remedy: str = "",
    *,
    severity: dg.AssetCheckSeverity = WARN,
    number: int | None = None,
) -> Answer:
    """The rows at fault by number, the first of them by name, and what to do; all is well without any."""
    number = number or len(rows)
    if not rows:
        return Answer(passed=True, text=f"no {many or one + 's'}", severity=severity)
    more = f"; and {number - SHOWN} more" if number > SHOWN else ""
    text = f"{counted(number, one, many)}: {'; '.join(rows[:SHOWN])}{more}.{remedy}"
    return Answer(passed=False, text=text, severity=severity, rows=number)


CHECKS: list[Any] = [_stage(name, questions) for name, questions in STAGES.items()]
