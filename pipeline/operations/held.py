"""Charges that a person decides: held lines become sent, waived or done.

What belongs here: the decision of an operator, with name and reason, and its proof where it names a sale in Nexudus.
What does not: why a line was held (`pipeline.domain.money`, `pipeline.effects`), and the states themselves
(`pipeline.store.ledger`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import polars as pl

from pipeline.domain.money import reversals
from pipeline.domain.money.reasons import HELD, RULES
from pipeline.domain.money.reversals import RETRIED, TAKEN_BACK, replacing
from pipeline.errors import ConfigError, MissingError, UnsafeError
from pipeline.operations import findings
from pipeline.services.nexudus import records
from pipeline.site import Site, Sites
from pipeline.store import acceptances, assignments, grants, jobs, ledger, memory
from pipeline.store import sites as book
from pipeline.store.ledger import Mover
from pipeline.store.lines import RETRY, Line, lines_in, lines_of_site, one_line, rows_of, sites_of
from pipeline.store.sql import Connection, read

LOCK_SECONDS = 60.0

Row = dict[str, Any]


def waiting(sites: Sites, chosen: Sequence[Site] | None = None) -> list[Line]:
    """The held lines of some sites; without a choice of all that have any, also of one that left bridge.toml."""
    with sites.store.connect() as con:
        known = {key: each.name for key, each in book.records(con).items()}
        keys = sites_of(con) if chosen is None else [site.key for site in chosen]
        return [{**line, "site": known.get(key, key)} for key in keys for line in rows_of(lines_in(con, key, "held"))]


def ownerless(chosen: Sequence[Site]) -> list[Row]:
    """The chargeable jobs of some sites that nobody is charged for and that no person has decided."""
    shown = ("job_id", "printed_at", "username", "printer", "pages", "cost", "why")
    found: list[Row] = []
    for site in chosen:
        with site.store.connect() as con:
            rows = findings.ownerless(con, site).filter(why="never ours").select(shown).to_dicts()
        found += [{"site": site.name, **row} for row in rows]
    return found


def assign(
    sites: Sites, wanted: Sequence[str], customer: int | None, *, reason: str, operator: str, only: str | None = None
) -> list[Row]:
    """Give jobs that nobody is charged for to a customer, or waive them; all of them or none. The next run decides.

    Args:
        sites: every site.
        wanted: ids of jobs, as `held list` shows them.
        customer: the Nexudus id of who printed them; None waives them.
        reason: why, in the words of the operator.
        operator: who decides.
        only: the site, where several have a job of that id.

    Returns:
        The jobs, as `ownerless` gives them.

    Raises:
        ConfigError: several sites have such a job, or the customer is not in Nexudus or is archived.
        MissingError: no log has such a job.
        UnsafeError: the job is somebody's, is not chargeable, or has lines in the ledger.
        TransientError: a run held the site for too long.
    """
    chosen = [sites[only]] if only else list(sites)
    if customer is not None:
        with sites.store.connect() as con:
            _check_customer(con, customer)
    places = {job_id: _place(chosen, job_id) for job_id in dict.fromkeys(wanted)}
    done: list[Row] = []
    with ExitStack() as locks:
        for key in sorted({site.key for site in places.values()}):
            locks.enter_context(sites.hold(key, wait_seconds=LOCK_SECONDS))
        for job_id, site in places.items():
            with site.store.connect() as con:
                done.append({"site": site.name, **_assignable(con, site, job_id)})

        def change(con: Connection) -> None:
            at = sites.clock()
            for job_id, site in places.items():
                assignments.record(con, site.key, job_id, customer, operator=operator, reason=reason, at=at)
                # The next look finds a job that has become mature, so a run decides it.
                memory.note(con, site.key, memory.WAKE, at.isoformat(), at)

        sites.store.commit(change)
    return done


def accept(sites: Sites, credits_: Sequence[int], *, reason: str, operator: str) -> list[Row]:
    """Take what Nexudus says is left of some credits as right, all of them or none.

    Args:
        sites: every site; credits are those of the account.
        credits_: the Nexudus ids of credits that were changed without a line of ours.
        reason: why, in the words of the operator.
        operator: who decides.

    Returns:
        The credits as they were: credit_id, coworker_id, remaining_uses, unexplained_cents.

    Raises:
        MissingError: a credit is none of those that do not agree.
    """
    wanted = list(dict.fromkeys(credits_))

    def change(con: Connection) -> list[Row]:
        found = grants.differing(con).filter(pl.col("credit_id").is_in(wanted))
        unknown = sorted(set(wanted) - set(found["credit_id"]))
        if unknown:
            raise MissingError(
                f"Credit {unknown[0]} is none of those that were changed without a line of ours; nothing was accepted",
                "`printbridge alerts check` shows them",
            )
        grants.accept(con, found, at=sites.clock(), operator=operator, reason=reason)
        return found.select("credit_id", "coworker_id", "remaining_uses", "unexplained_cents").to_dicts()

    return sites.store.commit(change)


def accept_jobs(
    sites: Sites, wanted: Sequence[str], *, reason: str, operator: str, only: str | None = None
) -> list[Row]:
    """Take the differences that the reconciliation found for some jobs as they are, all of them or none.

    The same number of cents is a finding of that day no more; another number is one again.

    Args:
        sites: every site.
        wanted: ids of jobs of which PaperCut, the ledger and Nexudus differ.
        reason: why, in the words of the operator.
        operator: who decides.
        only: the site, where several have a difference for a job of that id.

    Returns:
        The rows as they were: Reconciliation.

    Raises:
        ConfigError: several sites have a difference for such a job.
        MissingError: no site has one.
        TransientError: a run held the site for too long.
    """
    chosen = [sites[only]] if only else list(sites)
    with ExitStack() as locks:
        for key in sorted(site.key for site in chosen):
            locks.enter_context(sites.hold(key, wait_seconds=LOCK_SECONDS))

        def change(con: Connection) -> list[Row]:
            found = pl.concat([findings.differing_jobs(con, site.key) for site in chosen])
            for job_id in wanted:
                places = sorted(found.filter(job_id=job_id)["site"].unique())
                if not places:
                    raise MissingError(
                        f"Job {job_id} is none of those of which the books differ; nothing was accepted",
                        "`printbridge alerts check` shows them, under `books disagree`",
                    )
                if len(places) > 1:
                    raise ConfigError(
                        f"The sites {', '.join(places)} each have a difference for a job {job_id}",
                        "add --site with the one that is meant",
                    )
            rows = found.filter(pl.col("job_id").is_in(list(wanted)))
            acceptances.accept(con, rows, at=sites.clock(), operator=operator, reason=reason)
            return rows.to_dicts()

        return sites.store.commit(change)


def _check_customer(con: Connection, customer: int) -> None:
    found = read(con, "nexudus_customers").filter(coworker_id=customer)
    if found.is_empty() or found["archived"][0]:
        what = "is archived" if found.height else "was not in Nexudus at the last run"
        raise ConfigError(
            f"Customer {customer} {what}; nothing was changed",
            "name a customer of the Nexudus account by id; for a new one, run `printbridge run` first",
        )


def _place(chosen: Sequence[Site], job_id: str) -> Site:
    """The one site whose log has a job."""
    having: list[Site] = []
    for site in chosen:
        with site.store.connect() as con:
            if jobs.revisions(con, site.key, job_id).height:
                having.append(site)
    if not having:
        names = ", ".join(site.name for site in chosen)
        raise MissingError(f"No job {job_id} is in the log of {names}", "copy the job from `printbridge held list`")
    if len(having) > 1:
        names = ", ".join(site.name for site in having)
        raise ConfigError(f"The sites {names} each have a job {job_id}", "add --site with the one that is meant")
    return having[0]


def _assignable(con: Connection, site: Site, job_id: str) -> Row:
    """A job that a person may assign.

    Raises:
        UnsafeError: it has lines, or is not among the chargeable jobs of nobody.
    """
    wanted = pl.DataFrame({"job_id": [job_id]})
    if lines_of_site(con, site.key, wanted).height:
        raise UnsafeError(
            f"Job {job_id} of site {site.name} has lines in the ledger, so it is somebody's; nothing was assigned",
            f"`printbridge explain {job_id}` shows them",
        )
    found = findings.ownerless(con, site, decided=True).filter(job_id=job_id, why="never ours")
    if found.is_empty():
        raise UnsafeError(
            f"Job {job_id} of site {site.name} is no chargeable job without an owner: it was refunded, refused or"
            " printed before charge_from, went to a shared account, or its user is a customer's; nothing was assigned",
            f"`printbridge explain {job_id}` says which",
        )
    return found.select("job_id", "printed_at", "username", "printer", "pages", "cost", "why").row(0, named=True)


def decide(
    sites: Sites,
    refs: list[str],
    state: str,
    *,
    reason: str,
    operator: str,
    sale: int | None = None,
    as_money: bool = False,
) -> list[Line]:
    """Move held lines, all of them or none, each under the lock of its site.

    A sale that is to be sent (`priced`) is decided anew by the next run where a rule held it, or credits would pay by
    then: by the rules of the moment at which it was printed, without the one that held it. Others go as they are.

    Args:
        sites: every site.
        refs: references of held lines.
        state: priced (to be sent), void (waived) or confirmed (done).
        reason: why, in the words of the operator.
        operator: who decides.
        sale: for one line that is confirmed, the Nexudus id of its sale.
        as_money: send sales as they are, whatever could pay by now.

    Returns:
        The lines as they were.

    Raises:
        MissingError: there is no such line, or no such sale.
        UnsafeError: a line is not held, has nobody to be charged, or does not agree with the sale.
        TransientError: a run held the site for too long.
    """
    refs = list(dict.fromkeys(refs))
    with sites.store.connect() as con:
        names = sorted({one_line(con, ref)["site"] for ref in refs})
    with ExitStack() as locks:
        for name in names:
            locks.enter_context(sites.hold(name, wait_seconds=LOCK_SECONDS))
        with sites.store.connect() as con:
            lines = [one_line(con, ref) for ref in refs]
        for line in lines:
            _check(sites, line, state, sale)
        retried = state == "priced" and not as_money
        anew = [line["ref"] for line in lines if retried and held_by_rule(line)]
        kept = [line for line in lines if line["ref"] not in anew]
        moves = ledger.moves_of([(line["ref"], sale, _detail(line, state, reason)) for line in kept])
        mover = Mover(RETRY if retried else "command", operator, sites.clock())

        def change(con: Connection) -> None:
            for line in lines:
                _check_job(con, line, state, refs)
            ledger.move(con, moves, state, mover)
            for line in kept:
                _let_go(con, line, state, mover)
            _reopen(con, anew, reason, mover)

        sites.store.commit(change)
    return lines


def _check(sites: Sites, line: Line, state: str, sale: int | None) -> None:
    """Refuse what would leave the ledger and Nexudus in disagreement."""
    if line["state"] != "held":
        raise UnsafeError(
            f"Line {line['ref']} is {line['state']}, not held; nothing was changed",
            f"`printbridge explain {line['ref']}` shows its history",
        )
    if state == "priced" and (line["coworker_id"] is None or not line["amount_cents"]):
        raise UnsafeError(
            f"Line {line['ref']} has no customer or no amount, so it cannot be sent; nothing was changed",
            "charge it by hand in Nexudus and confirm it, or void it",
        )
    if sale is not None:
        _check_sale(sites, line, sale)


def _check_job(con: Connection, line: Line, state: str, together: list[str]) -> None:
    """Refuse what would bill one job twice: a charge, and the one that was to replace it."""
    others = lines_of_site(con, line["site"], pl.DataFrame({"job_id": [line["job_id"]]}))
    waits = reversals.waiting(others).filter(~pl.col("waits_for").is_in(together), ref=line["ref"])
    if state == "confirmed" and waits.height:
        raise UnsafeError(
            f"Line {line['ref']} replaces a charge that {waits['waits_for'][0]} is still to take back; nothing was"
            " changed",
            f"decide {waits['waits_for'][0]} first; `printbridge explain {line['job_id']}` shows both",
        )
    if state != "void" or line["undoes"] is None:
        return
    made = replacing(others, line["ref"]).filter(~pl.col("state").is_in(["priced", "held"]), pl.col("kind") != "waive")
    if made.height:
        raise UnsafeError(
            f"Job {line['job_id']} was charged anew by {made['ref'][0]} ({made['amount_cents'][0]} cents), so what"
            f" {line['ref']} takes back cannot stand beside it; nothing was changed",
            f"credit that charge in Nexudus, then `printbridge held confirm {line['ref']}`",
        )


def _let_go(con: Connection, line: Line, state: str, mover: Mover) -> None:
    """What else of a job a decision settles: only one of a charge and its replacement can come to be.

    A refused reversal leaves its charge standing, so what was to replace it is taken back; what the job costs beyond
    the charge is decided by the next run. Who waives a charge that has already been replaced waives the job.
    """
    others = lines_of_site(con, line["site"], pl.DataFrame({"job_id": [line["job_id"]]}))
    if line["undoes"] is not None:
        memory.note(con, line["site"], memory.WAKE, mover.at.isoformat(), mover.at)
        if state == "void":
            ledger.take_back(con, replacing(others, line["ref"]), TAKEN_BACK, mover, RULES[TAKEN_BACK])
    elif state == "void":
        pending = others.filter(undoes=line["ref"]).filter(~pl.col("state").is_in(["confirmed", "void"]))
        for ref in pending["ref"]:
            waived = replacing(others, ref).select("ref", detail=pl.lit(f"waived together with {line['ref']}"))
            ledger.move(con, waived, "void", mover)


def held_by_rule(line: Line) -> bool:
    """Whether a sale was held by a rule of ours, before anything was sent."""
    return line["kind"] == "sale" and line["n"] == 0 and line["rule"] in HELD


def _reopen(con: Connection, refs: list[str], reason: str, mover: Mover) -> None:
    """Take lines back that were never sent, so that the next run decides their jobs again."""
    for ref in refs:
        line = one_line(con, ref)
        own = lines_of_site(con, line["site"], pl.DataFrame({"job_id": [line["job_id"]]})).filter(ref=ref)
        ledger.take_back(con, own, RETRIED, mover, f"{RULES[RETRIED]}: {reason}")
        memory.note(con, line["site"], memory.WAKE, mover.at.isoformat(), mover.at)


def _detail(line: Line, state: str, reason: str) -> str:
    """The reason; for a confirmed credit in the form that says since when the extract contains the use."""
    if state != "confirmed" or line["kind"] not in {"credit", "undo_credit"}:
        return reason
    return json.dumps({"mode": "nexudus", "updated_on": line["printed_at"].isoformat(), "reason": reason})


def _check_sale(sites: Sites, line: Line, sale: int) -> None:
    if line["kind"] != "sale":
        raise ConfigError(f"Line {line['ref']} is of kind {line['kind']}, which has no sale", "leave out --sale")
    found = records.read_sales([sites.nexudus.record("coworkerproducts", sale)]).whole().row(0, named=True)
    if (found["coworker_id"], found["quantity"]) != (line["coworker_id"], line["amount_cents"]):
        raise UnsafeError(
            f"Sale {sale} is {found['quantity']} cents for customer {found['coworker_id']}, but line {line['ref']} is"
            f" {line['amount_cents']} cents for customer {line['coworker_id']}; nothing was changed",
            "name the right sale, or confirm without --sale if this difference is wanted",
        )
