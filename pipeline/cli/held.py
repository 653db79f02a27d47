"""The command `held`: charges that wait for a person, and their decision.

What belongs here: arguments and the order of the steps. What does not: what a decision does
(`pipeline.operations.held`), how results look (`console.py`).
"""

from __future__ import annotations

from typing import Annotated

import typer

from pipeline.cli.common import AsJson, OneSite, chosen_of, configured, operator_name

held = typer.Typer(help="Charges that wait for a person: list them, and decide them.", no_args_is_help=True)

Reason = Annotated[str, typer.Option("--reason", help="Why; it stands in the history of the line.")]
Refs = Annotated[list[str], typer.Argument(metavar="REF...", help="References, from `printbridge held list`.")]


@held.command("list")
def held_list(site: OneSite = None, *, as_json: AsJson = False) -> None:
    """List the charges, jobs without an owner and unclear refunds that wait for a person, each with its reason."""
    from pipeline.cli import console
    from pipeline.operations import returns
    from pipeline.operations.held import ownerless, waiting

    with configured() as sites:
        lines = waiting(sites, chosen_of(sites, site) if site else None)
        jobs = ownerless(chosen_of(sites, site))
        rows = returns.waiting(chosen_of(sites, site))
    if as_json:
        console.document({"held": lines, "jobs": jobs, "returns": rows})
    else:
        console.held(lines)
        console.ownerless(jobs)
        console.returns(rows)


@held.command("assign")
def held_assign(
    jobs: Annotated[list[str], typer.Argument(metavar="JOB...", help="Job ids, from `printbridge held list`.")],
    customer: Annotated[int | None, typer.Option(help="The Nexudus id of the customer who printed them.")] = None,
    reason: Annotated[str, typer.Option("--reason", help="Why; needed with --waive.")] = "",
    site: OneSite = None,
    *,
    waive: Annotated[bool, typer.Option("--waive", help="Charge nobody for them, now or later.")] = False,
    as_json: AsJson = False,
) -> None:
    """Give jobs of guests and unknown users to a customer, who is charged as if it were their print; or waive them."""
    from pipeline.cli import console
    from pipeline.operations.held import assign

    if waive == (customer is not None):
        raise typer.BadParameter("say one of the two: --customer ID, or --waive", param_hint="--customer, --waive")
    if waive and not reason.strip():
        raise typer.BadParameter("say why in a few words", param_hint="--reason")
    with configured() as sites:
        operator = operator_name()
        done = assign(sites, jobs, customer, reason=reason.strip() or "assigned", operator=operator, only=site)
    if as_json:
        console.document({"customer": customer, "waived": waive, "jobs": done})
        return
    then = "Nobody is charged for them" if waive else f"Now of customer {customer}. The next run charges them"
    typer.echo(f"{', '.join(job['job_id'] for job in done)}: {then}.")


@held.command("return")
def held_return(
    row: Annotated[str, typer.Argument(metavar="ROW", help="The row, from `printbridge held list`.")],
    reason: Reason,
    job: Annotated[str | None, typer.Argument(metavar="[JOB]", help="The print of which it takes pages back.")] = None,
    site: OneSite = None,
    *,
    nothing: Annotated[bool, typer.Option("--nothing", help="It takes nothing back, or was refunded by hand.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say of which print a row of an ezeep report takes pages back; the next run refunds them."""
    from pipeline.cli import console
    from pipeline.operations.returns import decide

    if nothing == (job is not None):
        raise typer.BadParameter("say one of the two: JOB, or --nothing", param_hint="JOB, --nothing")
    if not reason.strip():
        raise typer.BadParameter("say why in a few words", param_hint="--reason")
    with configured() as sites:
        done = decide(sites, row, job, reason=reason.strip(), operator=operator_name(), only=site)
    if as_json:
        console.document({"row": done["row_id"], "job": job, "pages": done["pages"]})
        return
    then = "nothing is taken back" if nothing else f"{done['pages']} pages of job {job}, which the next run takes back"
    typer.echo(f"{done['row_id']}: {then}.")


@held.command("accept")
def held_accept(
    reason: Reason,
    credits_: Annotated[
        list[int] | None,
        typer.Argument(metavar="[CREDIT...]", help="Credit ids, from `printbridge alerts check`."),
    ] = None,
    jobs: Annotated[
        list[str] | None,
        typer.Option("--job", help="A job of which the books differ, by id; may be given several times."),
    ] = None,
    site: OneSite = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Take as right: what is left of credits that were changed in Nexudus by hand, or the difference of a job."""
    from pipeline.cli import console
    from pipeline.operations.held import accept, accept_jobs

    if not reason.strip():
        raise typer.BadParameter("say why in a few words", param_hint="--reason")
    if bool(credits_) == bool(jobs):
        raise typer.BadParameter("say one of the two: CREDIT..., or --job JOB", param_hint="CREDIT, --job")
    with configured() as sites:
        who, why = operator_name(), reason.strip()
        rows = accept_jobs(sites, jobs, reason=why, operator=who, only=site) if jobs else []
        done = accept(sites, credits_, reason=why, operator=who) if credits_ else []
    if as_json:
        console.document({"credits": done, "jobs": rows})
        return
    told = [f"credit {each['credit_id']} ({each['remaining_uses']} left)" for each in done]
    told += [f"job {each['job_id']} of {each['day']} ({each['unexplained_cents']} cents)" for each in rows]
    typer.echo(f"Accepted: {', '.join(told)}. Later changes count from here.")


@held.command("retry")
def held_retry(
    refs: Refs,
    reason: Reason,
    *,
    as_money: Annotated[
        bool, typer.Option("--as-money", help="Charge money as the line says, even where credits would pay by now.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Let lines be sent by the next run.

    What a rule held is decided again, by the rules at the time of the print and without the one that held it: credits
    pay first, then money. Credits too large, and customers who are gone, hold it again. --as-money skips that.
    """
    then = "The next run charges it" if as_money else "The next run sends it, or lets credits pay"
    _decide(refs, "priced", reason, then, as_money=as_money, as_json=as_json)


@held.command("void")
def held_void(refs: Refs, reason: Reason, *, as_json: AsJson = False) -> None:
    """Waive lines: nothing is charged for them, now or later."""
    _decide(refs, "void", reason, "Nothing is charged for it", as_json=as_json)


@held.command("confirm")
def held_confirm(
    refs: Refs,
    reason: Reason,
    sale: Annotated[int | None, typer.Option(help="The Nexudus id of the sale; it must agree with the line.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Take lines as done: a person has seen the charge in Nexudus, or has made it by hand."""
    if sale is not None and len(refs) > 1:
        raise typer.BadParameter("one sale belongs to one line", param_hint="--sale")
    _decide(refs, "confirmed", reason, "It counts as done", sale, as_json=as_json)


def _decide(
    refs: list[str],
    state: str,
    reason: str,
    then: str,
    sale: int | None = None,
    *,
    as_money: bool = False,
    as_json: bool,
) -> None:
    """Move held lines, all or none, each under the lock of its site."""
    from pipeline.cli import console
    from pipeline.operations.held import decide

    if not reason.strip():
        raise typer.BadParameter("say why in a few words", param_hint="--reason")
    with configured() as sites:
        lines = decide(
            sites, refs, state, reason=reason.strip(), operator=operator_name(), sale=sale, as_money=as_money
        )
    cents = sum(line["amount_cents"] for line in lines)
    if as_json:
        console.document({"state": state, "lines": lines, "cents": cents})
        return
    typer.echo(f"Now {state}: {', '.join(line['ref'] for line in lines)} ({cents} cents). {then}.")
