"""Causes: the one list of what needs a person now, with the step that resolves each.

What belongs here: the words of each cause, made from the findings that runs, checks and plans show. What does not: the
findings themselves (`findings.py`), the kinds (`kinds.py`), telling people (`alerts.py`), reading failed runs from
Dagster (`pipeline.dagster.outcomes`).

A cause is a state and not an event: it begins, lasts and ends. Many of a kind at a site are one cause, with a count and
examples. Texts hold numbers and customer ids; user names and e-mails are taken out where a cause is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta

import polars as pl

from pipeline.domain.people.reasons import FAULTS
from pipeline.operations import findings, returns
from pipeline.operations.kinds import HELD_REMEDIES, SHOWN, Cause, Failure, Silence, many
from pipeline.services.papercut.findings import licence
from pipeline.site import Site, Sites
from pipeline.store import memory, sites, stops
from pipeline.store.lines import Line, lines_in, rows_of, sites_of
from pipeline.store.sql import Connection, read
from pipeline.words import counted

OUTSTANDING = ("priced", "sending", "unknown", "held")
"""The states of a line that is not done."""

PHASE_STEPS = {"charges": "nexudus_print_charges", "remove": "print_user_sync", "rename": "print_user_sync"}
"""The step that fails while a phase is stopped."""


def causes(every: Sites, failures: Iterable[Failure], silence: Silence | None = None) -> list[Cause]:
    """Everything that needs a person now.

    Args:
        every: every site.
        failures: failed steps that no later run has made good.
        silence: that nobody looks, if so.
    """
    # A site that is taken for the first time reads the warehouse itself.
    now, known, live = every.clock(), list(failures), list(every)
    with every.store.connect() as con:
        found = of_account(con, every)
    for site in live:
        with site.store.connect() as con:
            stopped = stops.stopped(con, site.key)
            found += of_site(con, site)
            excused = {PHASE_STEPS[phase] for phase in stopped}
            # A closed gate fails its step in every run: the stop is the cause, and told already.
            known = [
                each for each in known
                if not (each.site == site.name and each.error == "UnsafeError" and each.step in excused)
            ]  # fmt: skip
            if not stopped and not any(each.site == site.name for each in known):
                found += _stale(con, site, now)
    return ([unseen(silence)] if silence else []) + found + [_failed(each) for each in known]


def of_account(con: Connection, every: Sites) -> list[Cause]:
    """What the warehouse says of the account, and of sites that left bridge.toml."""
    return [*_records(con), *_removed(con, {site.key for site in every})]


def of_site(con: Connection, site: Site) -> list[Cause]:
    """What the warehouse of a site says, without the runs."""
    return [cause for ask in QUESTIONS for cause in ask(con, site)]


# --- charges ---------------------------------------------------------------------------------------------------------


def _stopped(con: Connection, site: Site) -> Iterator[Cause]:
    waiting = lines_in(con, site.key, "priced")
    for phase, why in stops.stopped(con, site.key).items():
        facts = [f"Why: {why}."]
        if phase == "charges":
            cents = waiting["amount_cents"].sum()
            facts.append(f"{counted(waiting.height, 'charge')} ({cents} cents) and all later jobs wait meanwhile.")
        yield Cause(
            f"{site.name} stopped {phase}", f"stopped: {phase}", f"{site.name}: stopped for {phase}", tuple(facts),
            f"look at the reason, then `printbridge resume {site.name} {phase}`",
        )  # fmt: skip


def held_reason(line: Line) -> str:
    """Why a line is held: the rule that held it, or what it was about to do in Nexudus when it was held later on."""
    return line["rule"] if line["n"] == 0 else line["kind"]


def _held(con: Connection, site: Site) -> Iterator[Cause]:
    groups: dict[str, list[Line]] = {}
    lines = lines_in(con, site.key, "held").filter(~findings.is_deleted())
    for line in rows_of(lines):
        groups.setdefault(held_reason(line), []).append(line)
    for reason, rows in groups.items():
        ids = sorted({row["coworker_id"] for row in rows if row["coworker_id"] is not None})
        more = f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
        facts = (
            f"Customers: {', '.join(map(str, ids[:SHOWN])) or 'none known'}{more}.",
            f"{counted(len(rows), 'charge')}, {sum(row['amount_cents'] for row in rows)} cents,"
            f" the first since {min(row['happened_at'] for row in rows):%Y-%m-%d %H:%M} UTC.",
            f"{rows[0]['ref']}: {rows[0]['reason']}.",
        )
        title = f"{site.name}: {counted(len(rows), 'charge')} held ({reason})"
        yield Cause(f"{site.name} held {reason}", f"held: {reason}", title, facts,
                    f"`printbridge held list --site {site.name}`")  # fmt: skip


def _deleted(con: Connection, site: Site) -> Iterator[Cause]:
    lines = lines_in(con, site.key, "held").filter(findings.is_deleted())
    yield from many(
        site.name, "sale deleted", "confirmed sale",
        [f"{line['ref']}: {line['reason']}." for line in lines.iter_rows(named=True)],
        ending=f" missing in Nexudus ({lines['amount_cents'].sum()} cents)",
        remedy="`printbridge held retry REF --reason TEXT` charges it again, `printbridge held void REF --reason TEXT`"
        " lets the customer off",
    )  # fmt: skip


def _books(con: Connection, site: Site) -> Iterator[Cause]:
    rows = findings.untold(con, site.key)
    yield from many(
        site.name, "books disagree", "unexplained difference",
        [f"{row['day']}: {row['finding']}" for row in rows.iter_rows(named=True)],
        ending=f" ({rows['unexplained_cents'].sum()} cents)",
        remedy="do what the examples say, and materialize `reconciliation` of that day again (Dagster UI); what shall"
        " stay as it is: `printbridge held accept --job JOB --reason TEXT`",
    )  # fmt: skip


def _put_back(con: Connection, site: Site) -> Iterator[Cause]:
    rows = findings.changed_credits(con, site)
    yield from many(
        site.name, "credit changed by hand", "credit", rows["sentence"].to_list(),
        ending=f" changed in Nexudus without a line of ours ({rows['unexplained_cents'].abs().sum()} cents)",
        remedy="look at the history of each in Nexudus and do what the example says; what is set right there is seen by"
        " the next run",
    )  # fmt: skip


def _strange(con: Connection, site: Site) -> Iterator[Cause]:
    ids = findings.sentences(con, site.key, memory.STRANGE)
    yield from many(
        site.name, "sale of no job", "sale", [f"Sale {each} in Nexudus." for each in ids],
        ending=" under a reference of the site, of no job in its log",
        remedy="look at these sales in Nexudus: delete what was made by mistake, or take the reference out of its"
        " purchase order and notes",
    )  # fmt: skip


def _unanswered(con: Connection, site: Site) -> Iterator[Cause]:
    if site.rules.takes_money:
        return
    lines = lines_in(con, site.key, "priced", "sending", "unknown").filter(pl.col("kind").is_in(["sale", "undo_sale"]))
    yield from many(
        site.name, "sale without an answer", "sale",
        [f"{line['ref']} ({line['amount_cents']} cents) is {line['state']}." for line in lines.iter_rows(named=True)],
        ending=f" on the way, but pricing_model is {site.rules.pricing_model}",
        remedy=f"put charge_product_id and a pricing_model with money back for site {site.name} until a run has settled"
        " them; `printbridge explain` shows each",
    )  # fmt: skip


def _removed(con: Connection, live: set[str]) -> Iterator[Cause]:
    """Sites that have lines in the ledger and no section in bridge.toml."""
    known = sites.records(con)
    for key in sites_of(con):
        lines = lines_in(con, key, *OUTSTANDING) if key not in live else None
        if lines is None or lines.is_empty():
            continue
        name = known[key].name if key in known else key
        counts = ", ".join(f"{number} {state}" for state, number in lines.group_by("state").len().sort("state").rows())
        text = f"{counted(lines.height, 'charge')} ({lines['amount_cents'].sum()} cents) outstanding: {counts}."
        yield Cause(
            f"{name} site removed", "site removed", f"{name}: not in bridge.toml, with charges outstanding",
            (text, f"The first one is {lines['ref'][0]}."),
            f"put the section [sites.{name}] back until nothing is open, or, if it has another name now, run"
            f" `printbridge site rename {name} NEW`; held ones can be decided as they are, see `printbridge held list`",
        )  # fmt: skip


# --- jobs and records ------------------------------------------------------------------------------------------------


def _unreadable(con: Connection, site: Site) -> Iterator[Cause]:
    rows = findings.sentences(con, site.key, memory.JOB_PROBLEMS)
    yield from many(
        site.name, "unreadable jobs", "row of the job log", [f"{row}." for row in rows], plural="rows of the job log",
        ending=" that cannot be read",
        remedy="correct or complete these rows; every other row was read, and these are tried again by each run",
    )  # fmt: skip


def _returns(con: Connection, site: Site) -> Iterator[Cause]:
    yield from many(
        site.name, "pages taken back", "row", returns.sentences(con, site),
        ending=" taking pages back of a print that is not sure",
        remedy="`printbridge held return ROW JOB --reason TEXT` names the print, `--nothing` says that it is none",
    )  # fmt: skip


def _records(con: Connection) -> Iterator[Cause]:
    names = {"nexudus_customers": "Customer", "nexudus_credits": "Credit", "nexudus_teams": "Team"}
    rows = [
        f"{what} {row}."
        for table, what in names.items()
        for row in findings.sentences(con, memory.ACCOUNT, memory.problems(table))
    ]
    yield from many(
        "*", "unreadable records", "Nexudus record", rows,
        ending=" that cannot be read: left out",
        remedy="correct these fields in Nexudus; every other record was read, and nobody is removed for it meanwhile",
    )  # fmt: skip


def _unreadable_users(con: Connection, site: Site) -> Iterator[Cause]:
    rows = findings.sentences(con, site.key, memory.problems("print_users"))
    yield from many(
        site.name, "unreadable users", "print user", [f"User {row}." for row in rows],
        ending=" that cannot be read: left as they are",
        remedy=f"correct these fields in {site.rules.title}; every other user was read",
    )  # fmt: skip


def _ownerless(con: Connection, site: Site) -> Iterator[Cause]:
    for found in findings.ownerless_in_short(con, site).filter(why="never ours").iter_rows(named=True):
        examples = [
            f"Job {row['job_id']}, {row['printed_at']:%Y-%m-%d %H:%M} UTC at {row['printer']}:"
            f" {row['cost'] or 0:.2f} credits."
            for row in found["first"]
        ]
        yield from many(
        site.name, "jobs without an owner", "job", examples, number=found["jobs"],
        ending=f" without an owner ({found['cost']:.2f} credits): nobody is charged",
        remedy=f"`printbridge held list --site {site.name}` shows all; then `printbridge held assign JOB --customer"
        " ID`, or `--waive --reason TEXT`",
    )  # fmt: skip


def _free_printers(con: Connection, site: Site) -> Iterator[Cause]:
    place = "bridge.toml" if site.rules.prices else "PaperCut (Printers > printer > Charging)"
    examples = [
        f"{row['printer']}: {counted(row['jobs'], 'job')} since {row['since']:%Y-%m-%d %H:%M} UTC, the last one"
        f" {row['job_id']}."
        for row in findings.free_printers(con, site).iter_rows(named=True)
    ]
    yield from many(
        site.name, "printer without a price", "printer", examples,
        ending=" without a price: the last jobs cost nothing",
        remedy=f"give it a price in {place}; what was printed for nothing stays waived",
    )  # fmt: skip


def _oversized(con: Connection, site: Site) -> Iterator[Cause]:
    examples = [
        f"Credit {row['credit_id']} of customer {row['coworker_id']}: {row['remaining_uses']}."
        for row in findings.oversized(con, site.rules).iter_rows(named=True)
    ]
    yield from many(
        site.name, "credit too large", "credit", examples, ending=" above max_credits: not counted",
        remedy=f"correct it in Nexudus, or raise max_credits ({site.rules.max_credits}) of site {site.name} in"
        " bridge.toml",
    )  # fmt: skip


# --- people ----------------------------------------------------------------------------------------------------------


def _seats(con: Connection, site: Site) -> Iterator[Cause]:
    seats = site.rules.licence_users
    users = read(con, "print_users", site.key).height
    wanted = read(con, "print_accounts", site.key).filter(pl.col("reason").is_null()).height
    finding = licence(seats, users, wanted)
    if not seats or not users or finding.status == "pass":
        return
    title = "no seat is left" if finding.status == "fail" else "licence seats are running out"
    yield Cause(
        f"{site.name} seats {finding.status}", "seats", f"{site.name}: {title}", (f"{finding.seen}.",),
        f"{finding.remedy}; then raise licence_users in bridge.toml, and `printbridge plan --site {site.name}`",
    )  # fmt: skip


def _left_out(con: Connection, site: Site) -> Iterator[Cause]:
    examples = [
        f"Customer {row['coworker_id']}: {FAULTS[row['reason']].why}."
        for row in findings.left_out(con, site.key).iter_rows(named=True)
    ]
    yield from many(
        site.name, "customer left out", "customer", examples, ending=" cannot print: a fault in the record",
        remedy="put the records right in Nexudus (Operations > Members and contacts > customer)",
    )  # fmt: skip


def _held_users(con: Connection, site: Site) -> Iterator[Cause]:
    rows = findings.held_rows(con, site)
    for kind, remedy in HELD_REMEDIES.items():
        found = rows.filter(cause=kind).iter_rows(named=True)
        examples = [f"{_whom(row['coworker_id'])}: {row['reason']}." for row in found]
        ending = f" held ({kind.partition(': ')[2]})"
        yield from many(site.name, kind, "user", examples, ending=ending, remedy=remedy.format(site=site.name))


def _lost_marks(con: Connection, site: Site) -> Iterator[Cause]:
    rows = findings.lost_marks(con, site.key)
    gone = pl.col("leaves").is_not_null()
    able = [
        f"Customer {row['coworker_id']}: {row['leaves']}."
        for row in rows.filter(gone & pl.col("able")).iter_rows(named=True)
    ]
    yield from many(
        site.name, "prints without right", "user", able, urgent=True,
        ending=" can print although the customer may not: our mark is lost",
        remedy=f"disable or delete the user in {site.rules.title} now; `printbridge plan --site {site.name}` names it",
    )  # fmt: skip
    kept = rows.filter(~gone).iter_rows(named=True)
    yield from many(
        site.name, "mark lost", "user",
        [f"{_whom(row['coworker_id'])}: {_mark(row['marked_coworker_id'])}." for row in kept],
        ending=f" without our mark in {site.rules.title}: nothing is done to them",
        remedy=f"`printbridge adopt --site {site.name}` shows whom it takes back; --apply does it",
    )  # fmt: skip


def _mark(other: int | None) -> str:
    return "the mark is gone from the notes" if other is None else f"the notes hold the mark of customer {other}"


def _whom(coworker_id: int | None) -> str:
    return "A user of no known customer" if coworker_id is None else f"Customer {coworker_id}"


def _failing(con: Connection, site: Site) -> Iterator[Cause]:
    examples = [
        f"{row['action']} of {_whom(row['coworker_id']).lower()}: {row['outcome']} {row['tries']} times, last:"
        f" {row['detail']}."
        for row in findings.failing(con, site.key).iter_rows(named=True)
    ]
    yield from many(
        site.name, "change refused", "change", examples, ending=" of users failed in every run",
        remedy="do what the last answer says, in PaperCut or in the customer's record; each run tries again",
    )  # fmt: skip


# --- runs ------------------------------------------------------------------------------------------------------------


def _stale(con: Connection, site: Site, now: datetime) -> list[Cause]:
    """No run has come to its end for too long; a site that never began is not stale."""
    settings = site.sites.settings
    limit = max(timedelta(hours=settings.alerts.stale_hours), 2 * timedelta(minutes=settings.complete_read_minutes))
    ended = memory.written(con, site.key, memory.SEEN)
    last = ended or memory.written(con, site.key, memory.STARTED)
    if last is None or now - last < limit:
        return []
    hours = (now - last) / timedelta(hours=1)
    begun = "" if ended else " (a run began then and never finished)"
    return [
        Cause(f"{site.name} stale", "stale", f"{site.name}: no finished run for {hours:.0f} hours",
              (f"The last one ended {last:%Y-%m-%d %H:%M} UTC{begun}; users and charges stand still since.",),
              f"see that `printbridge dev` runs and its schedules are on; `printbridge run --site {site.name}` does it"
              " once")
    ]  # fmt: skip


def unseen(silence: Silence) -> Cause:
    """Nobody looks at the sites."""
    since = f" since {silence.since:%Y-%m-%d %H:%M} UTC" if silence.since else ""
    return Cause(
        "* nobody looks", "nobody looks", f"no look at any site{since}",
        (f"The reason: {silence.why}.", "No new job, customer or credit is seen; users and charges stand still."),
        "see that `printbridge dev` runs and what it says (`journalctl -u printbridge`), and that look_and_sync is on"
        " (Dagster UI, page Automation); `printbridge run` does the work once", urgent=True,
    )  # fmt: skip


def _failed(failure: Failure) -> Cause:
    where = failure.site or "all sites"
    many = len(failure.partitions)
    partitions = ", ".join(failure.partitions[:SHOWN]) + (f" and {many - SHOWN} more" if many > SHOWN else "")
    facts = (
        f"Step {failure.step} of {', '.join(failure.jobs)}" + (f", partition {partitions}." if partitions else "."),
        f"{failure.error}: {failure.text}",
        f"Last failed {failure.failed_at:%Y-%m-%d %H:%M} UTC, run {failure.run_id}.",
    )
    again = f"`printbridge run --site {failure.site}`" if failure.site else "rerun it in the Dagster UI, page Runs"
    return Cause(
        f"{failure.site or '*'} failed {failure.step} {failure.error}", "run failed",
        f"{where}: {failure.step} failed", facts, f"do what the text says, then {again}; the schedule also tries again",
    )  # fmt: skip


QUESTIONS: tuple[Callable[[Connection, Site], Iterator[Cause]], ...] = (
    _lost_marks, _stopped, _held, _deleted, _books, _put_back, _strange, _unanswered, _seats, _unreadable,
    _returns, _unreadable_users, _ownerless, _free_printers, _oversized, _left_out, _held_users, _failing,
)  # fmt: skip
"""What a site is asked, the most urgent first."""
