"""Why: a person's way into PaperCut or out of it, and a job's way from the log row to the invoice line.

What belongs here: putting together what the warehouse knows, and what Nexudus says of a sale right now, in sentences.
What does not: deciding anything, or changing anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from pipeline.domain.money.reasons import RULES, TITLES
from pipeline.domain.money.references import PATTERN
from pipeline.domain.names import email_key
from pipeline.domain.people.accounts import by_default
from pipeline.domain.people.reasons import REASONS
from pipeline.domain.rules import SiteRules
from pipeline.errors import MissingError, PrintbridgeError
from pipeline.operations import findings
from pipeline.site import Site
from pipeline.store import assignments, changes, defaults, jobs, ownership, returns
from pipeline.store.lines import history, jobs_of, lines_of_site
from pipeline.store.sql import Connection, read

ACCESS = {
    "free": "prints for free",
    "pay": "pays as they print",
    "credits": "prints with printing credits",
    "none": "has no way in",
}
Row = dict[str, Any]


@dataclass(frozen=True)
class Story:
    """What is known of one person, or one job, at one site."""

    title: str
    sentences: list[str]


def stories(sites: Sequence[Site], subject: str) -> list[Story]:
    """What is known of a subject at some sites, as of the last run of each.

    Args:
        sites: the sites to look at.
        subject: an e-mail, a Nexudus customer id, a PaperCut job id or a reference.

    Raises:
        MissingError: nothing at these sites is known by that name.
    """
    subject = subject.strip()
    told: list[Story] = []
    for site in sites:
        with site.store.connect() as con:
            people = _people(con, site, subject)
            printed = [_job(con, site.key, job_id) for job_id in _job_ids(con, site.key, subject)]
        told += people
        told += [Story(title, [*sentences, *_live(site, lines)]) for title, sentences, lines in printed]
    if not told:
        raise MissingError(
            f"Nothing is known of {subject!r} at {', '.join(site.name for site in sites)}",
            "give an e-mail, a Nexudus customer id, a PaperCut job id or a reference; for something new, run"
            " `printbridge run` first",
        )
    return told


# --- people ----------------------------------------------------------------------------------------------------------


def _people(con: Connection, site: Site, subject: str) -> list[Story]:
    customers = read(con, "nexudus_customers")
    if "@" in subject:
        key = pl.DataFrame({"email": [subject]}).select(email_key("email")).item()
        same = customers.filter(email_key=key)
    elif subject.isdecimal():
        found = customers.filter(coworker_id=int(subject))
        keys = found["email_key"].drop_nulls()
        same = customers.filter(pl.col("email_key").is_in(keys.to_list())) if keys.len() else found
        key = keys[0] if keys.len() else f"#{subject}"
    else:
        return []
    accounts = read(con, "print_accounts", site.key).filter(email_key=key)
    names = ownership.owned(con, site.key).filter(email_key=key)
    ids = {subject, *map(str, same["coworker_id"])}
    odd = [
        f"The record of customer {sentence}. What was read of it before stands; correct the field in Nexudus."
        for number, sentence in findings.odd_customers(con).items()
        if number in ids
    ]
    if not (same.height or accounts.height or names.height or odd):
        return []
    rows = same.sort("registered_at", "coworker_id").iter_rows(named=True)
    sentences = odd + [_customer(row, site.rules) for row in rows]
    if not accounts.height:
        sentences.append("No customer with this e-mail was in Nexudus at the last run of this site.")
    for account in accounts.iter_rows(named=True):
        sentences += _account(account, site.rules)
        sentences += _defaults(con, site.rules, customers.filter(coworker_id=account["coworker_id"]))
    sentences += _teams(read(con, "nexudus_teams"), customers, same, site.rules)
    large = findings.oversized(con, site.rules).join(same, on="coworker_id", how="semi")
    sentences += [
        f"Credit {row['credit_id']} of customer {row['coworker_id']} ({row['remaining_uses']} left) is above"
        f" max_credits ({site.rules.max_credits}), so it does not count: correct it in Nexudus, or raise max_credits."
        for row in large.iter_rows(named=True)
    ]
    wanted = pl.concat([names.select("username"), accounts.select("username").drop_nulls()]).unique()
    sentences += _user(con, site.key, site.rules, names, wanted["username"].to_list())
    return [Story(f"{subject} at {site.name}", sentences)]


def _customer(row: Row, rules: SiteRules) -> str:
    state = "archived" if row["archived"] else "active" if row["active"] else "suspended"
    columns = {"free": "free", "pay": "pay"}
    if rules.flags != "papercut":
        columns = {"may print with ezeep": rules.flags, "free": f"{rules.flags}_free"}
    flags = [name for name, column in columns.items() if row[column]]
    return (
        f"Customer {row['coworker_id']}: {state} {row['kind']}, home location {row['business_id'] or 'none'}, "
        f"{'flag ' + ' and '.join(flags) if flags else 'no printing flag'}, {'a' if row['pin_digest'] else 'no'} PIN."
    )


def _account(account: Row, rules: SiteRules) -> list[str]:
    shared = f", {account['shared_credits']} of them shared by a team" if account["shared_credits"] else ""
    way = f"{ACCESS[account['access']]} ({account['credits']} valid credits{shared}, pricing model"
    way += f" {rules.pricing_model})"
    preferred = f"Customer {account['coworker_id']} is the preferred one: {way}."
    if account["reason"]:
        return [preferred, f"No print user: {REASONS[account['reason']].why}."]
    limit = "restricted to the balance" if account["restricted"] else "not restricted"
    return [preferred, f"Becomes the print user {account['username']}, {limit}."]


def _defaults(con: Connection, rules: SiteRules, customer: pl.DataFrame) -> list[str]:
    """Which default for new customers stands for a flag of the preferred customer, or was ended for it."""
    sentences: list[str] = []
    ended = defaults.ended(con)
    for row in customer.iter_rows(named=True):
        kind = "members" if row["member"] else "contacts"
        for flag in ("pay", "free"):
            if row[flag] or not customer.select(by_default(flag, rules)).item():
                continue
            setting = f"{kind}_{flag}_from"
            default = f"the default for new {kind} ({setting} in bridge.toml, {getattr(rules, setting):%Y-%m-%d %H:%M})"
            end = ended.filter(coworker_id=row["coworker_id"], flag=flag)
            for by, at in end.select("operator", "happened_at").iter_rows():
                sentences.append(f"For this customer {by} ended {default} at {at:%Y-%m-%d %H:%M} UTC.")
            if end.is_empty():
                registered = f"registered {row['registered_at']:%Y-%m-%d %H:%M} UTC"
                way = "pays" if flag == "pay" else "prints for free"
                sentences.append(
                    f"The customer {way} by {default}, {registered}, and not by a flag; `printbridge access revoke"
                    f" --{flag}` ends it for one customer."
                )
    return sentences


def _teams(teams: pl.DataFrame, customers: pl.DataFrame, same: pl.DataFrame, rules: SiteRules) -> list[str]:
    """For each team of a person whose printing credits its members may use, or why nobody's."""
    if not rules.takes_credits:
        return []
    if not rules.shares_credits:
        return ['Credits of a team are not used here: team_credits is "own".']
    ids = {str(number) for number in same["coworker_id"]}
    able = customers.filter(pl.col("active") & ~pl.col("archived"))["coworker_id"].to_list()
    sentences: list[str] = []
    for team in teams.sort("team_id").iter_rows(named=True):
        if ids.isdisjoint({*team["members"].split(","), str(team["payer_id"])}):
            continue
        name = f"Team {team['team_id']} ({team['name']})"
        if not (team["shares"] or team["combines"]):
            sentences.append(f"{name} shares no printing credits.")
        elif team["payer_id"] is None:
            sentences.append(f"{name} shares no printing credits: it has no paying customer.")
        elif team["payer_id"] not in able:
            sentences.append(f"{name} shares no printing credits: its payer {team['payer_id']} is not active.")
        else:
            sentences.append(
                f"{name}: its members use their own printing credits first, then those of customer {team['payer_id']},"
                " who pays for it."
            )
    return sentences


def _user(con: Connection, site: str, rules: SiteRules, names: pl.DataFrame, wanted: list[str]) -> list[str]:
    """What the print system has, whose it is, and what the last plan said of the names that are theirs or should be."""
    users = read(con, "print_users", site)
    sentences: list[str] = []
    for owned in names.iter_rows(named=True):
        name = owned["username"]
        sentences.append(f"The user {name} is ours since {owned['owned_from']:%Y-%m-%d %H:%M} UTC.")
        seen = users.filter(username=name)
        for user in seen.iter_rows(named=True):
            at = f"{user['observed_at']:%Y-%m-%d %H:%M} UTC"
            sentences.append(f"{rules.title} had it {_state(user, rules)} at {at}.")
        if not seen.height:
            sentences.append(f"{rules.title} was not yet seen with it.")
    plan = read(con, "user_sync_plan", site).filter(pl.col("username").is_in(wanted))
    sentences += [f"The last plan: {row['action']}, because {row['reason']}." for row in plan.iter_rows(named=True)]
    done = changes.last_of(con, site, names["coworker_id"].drop_nulls().unique().to_list())
    return sentences + [
        f"{row['happened_at']:%Y-%m-%d %H:%M} UTC: {row['action']} {row['outcome']}: {row['detail']}."
        for row in done.iter_rows(named=True)
    ]


def _state(user: Row, rules: SiteRules) -> str:
    """What a print user may do, in the words of its print system."""
    if "balance" not in rules.holds:
        return "out of the group of the site, so it cannot print" if user["restricted"] else "in the group of the site"
    state = "restricted" if user["restricted"] else "unrestricted"
    state += ", printing disabled" if user["disabled"] else ""
    return f"{state} with balance {_plain(user['balance'])}"


# --- jobs ------------------------------------------------------------------------------------------------------------


def _job_ids(con: Connection, site: str, subject: str) -> list[str]:
    if PATTERN.fullmatch(ref := subject.upper()):
        return jobs_of(con, site, ref=ref)
    return jobs_of(con, site, job_id=subject) or ([subject] if jobs.revisions(con, site, subject).height else [])


def _job(con: Connection, site: str, job_id: str) -> tuple[str, list[str], pl.DataFrame]:
    """Title, sentences from the warehouse, and the ledger lines of a job."""
    rows = jobs.revisions(con, site, job_id)
    lines = lines_of_site(con, site, pl.DataFrame({"job_id": [job_id]})).sort("revision", "kind", "seq")
    sentences = [_log_row(row) for row in rows.iter_rows(named=True)] or ["The job is not in the log that was read."]
    decided = assignments.assigned(con, site).filter(job_id=job_id)
    for row in decided.iter_rows(named=True):
        what = f"assigned to customer {row['coworker_id']}" if row["coworker_id"] else "waived"
        at = f"{row['happened_at']:%Y-%m-%d %H:%M} UTC"
        sentences.append(f"Nobody known had printed it; it was {what} by {row['operator']} at {at}: {row['reason']}.")
    for row in returns.known(con, site).filter(job_id=job_id, state=returns.TAKEN).iter_rows(named=True):
        at = f"{row['stamped_at']:%Y-%m-%d %H:%M:%S} UTC"
        sentences.append(f"Row {row['row_id']} of {at} takes {row['pages']} pages of it back: {row['reason']}.")
    if not lines.height and rows.height:
        sentences.append(_undecided(con, site, rows, decided))
    for line in lines.iter_rows(named=True):
        who = f"customer {line['coworker_id']}" if line["coworker_id"] else "nobody"
        what = f"{line['kind'].replace('_', ' ')} of {line['amount_cents']} cents for {who}"
        credit = f" from credit {line['credit_id']}" if line["credit_id"] else ""
        credit += f" of customer {line['credit_coworker_id']}" if line["credit_coworker_id"] else ""
        undoes = f", which reverses {line['undoes']}" if line["undoes"] else ""
        rule = line["rule"]
        why = f". {TITLES[rule]}" if rule in TITLES else f"; {RULES.get(rule, rule)}"  # the event below has the numbers
        sentences.append(f"{line['ref']}: {what}{credit}{undoes}{why}. It is {line['state']}.")
        sentences += [
            f"  {event['happened_at']:%Y-%m-%d %H:%M:%S} UTC {event['state']}, by {event['actor']}: {event['detail']}"
            for event in history(con, line["ref"]).iter_rows(named=True)
        ]
    return f"Job {job_id} at {site}", sentences, lines


def _log_row(row: Row) -> str:
    flags = [name for name in ("refunded", "shared_account") if row[name]]
    flags += [f"not {name}" for name in ("allowed", "printed") if not row[name]]
    flags += [f"missing in {row['lacked_by']}"] if row["lacked_by"] else []
    cost = "no cost" if row["cost"] is None else f"{_plain(row['cost'])} credits"
    return (
        f"Log row, revision {row['revision']}: {row['printed_at']:%Y-%m-%d %H:%M:%S} UTC, {row['username']} at"
        f" {row['printer']}, {row['pages']} pages, {cost}{', ' + ', '.join(flags) if flags else ''}."
    )


def _undecided(con: Connection, site: str, rows: pl.DataFrame, decided: pl.DataFrame) -> str:
    """Why a job without ledger lines has none."""
    last = rows.row(-1, named=True)
    if not last["allowed"] or last["refunded"] or (not last["printed"] and last["job_type"] == "PRINT"):
        return "It is not charged: it was refused, refunded or never printed."
    if last["shared_account"]:
        return "It is not charged: it was charged to a shared account."
    if decided.height and decided["coworker_id"][0] is None:
        return "It is not charged: a person waived it."
    if decided.is_empty() and last["username"] not in ownership.names(con, site)["username"].to_list():
        return (
            "It is not charged: its user was never ours. If a customer printed it: `printbridge held assign"
            f" {last['job_id']} --customer ID`; else `--waive --reason TEXT`."
        )
    return "It is not decided yet: it is from before charge_from, or has yet to mature; the next run decides."


def _live(site: Site, lines: pl.DataFrame) -> list[str]:
    """What Nexudus says right now of the sales of a job: the end of the way, the invoice line."""
    sentences: list[str] = []
    sold = lines.filter((pl.col("kind") == "sale") & pl.col("remote_id").is_not_null())
    for ref, remote_id in sold.select("ref", "remote_id").iter_rows():
        try:
            sale = site.nexudus.record("coworkerproducts", remote_id)
        except MissingError:
            sentences.append(f"Nexudus has no sale {remote_id} ({ref}) any more.")
            continue
        except PrintbridgeError as error:
            sentences.append(f"Nexudus could not be asked about sale {remote_id}: {error}")
            continue
        invoice = sale.get("CoworkerInvoiceNumber") or sale.get("CoworkerInvoiceId")
        where = f"on invoice {invoice}" if sale.get("Invoiced") else "not invoiced yet"
        total = (
            f"{sale['Quantity']} x {_plain(sale['TotalPrice'] / sale['Quantity'])}" if sale.get("TotalPrice") else ""
        )
        sentences.append(f"Nexudus has sale {remote_id} ({ref}): {total or sale['Quantity']}, {where}.")
    return sentences


def _plain(number: Any) -> str:
    return f"{number.normalize():f}" if hasattr(number, "normalize") else str(number)
