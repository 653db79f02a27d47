"""Refunds in every form that PaperCut may store: which of them the real server uses is unknown.

What belongs here: the forms, and giving a refund in one. What does not: the life of a job (`jobs`).
Source: `papercut-api.md` 6.2.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, NamedTuple

from pipeline.sandbox.database import Row
from pipeline.sandbox.papercut.jobs import Job, Jobs
from pipeline.sandbox.papercut.values import RefusedError, flag, money


class Form(NamedTuple):
    """What a refund leaves behind.

    On the job's row: `cost` (usage_cost is lowered), `original` (so is original_usage_cost), `flag` (refunded),
    `status` (refund_status). In the ledger: a row of `kind`, which names the job when it is `linked`.
    """

    cost: bool = False
    original: bool = False
    flag: bool = False
    status: bool = False
    kind: str = "REFUND"
    linked: bool = True


FORMS = {
    "lower_cost": Form(cost=True, status=True),
    "set_flag": Form(flag=True, status=True),
    "both": Form(cost=True, flag=True, status=True),
    "status_only": Form(status=True),
    "cost_only": Form(cost=True),
    "no_original": Form(cost=True, original=True),
    "transaction": Form(),
    "adjustment": Form(kind="ADJUST", linked=False),
}
"""The words of the switch `partial_refund` and of the field `form` of `POST /refund`."""

WHOLE = ("lower_cost", "set_flag", "both")
"""In these forms a refund of the whole job sets the flag and leaves the cost, as the manual shows it."""


def refund(jobs: Jobs, request: dict[str, Any]) -> dict[str, Any]:
    """Give a job's cost back, all of it or a part.

    Args:
        jobs: the jobs of the site.
        request: `job_id`; `amount`, for a part; `form` (one of `FORMS`; left out: the switch `partial_refund`);
            `comment` of the ledger row.

    Raises:
        RefusedError: no such job, nothing left to refund, or an amount above the cost.
        ValueError: an unknown form.
    """
    job = jobs.kept(int(request.get("job_id", 0)))
    name = str(request.get("form") or jobs.records.core.switch("partial_refund", "lower_cost"))
    if name not in FORMS:
        message = f"unknown form of a refund {name!r}; known: {', '.join(FORMS)}"
        raise ValueError(message)
    amount = job.charged if request.get("amount") is None else money(request["amount"])
    if not 0 < amount <= job.charged:
        raise RefusedError("bad_refund", str(job.job_id))
    form, part = FORMS[name], amount < job.charged
    if not part and name in WHOLE:
        form = Form(flag=True, status=True)
    comment = str(request.get("comment") or f"Refund of job {job.job_id}")
    if form.linked:
        _write(jobs, job, form, amount, part=part)
        jobs.pay(job, amount, form.kind, comment)
    else:  # an adjustment by hand, of which the job knows nothing
        jobs.records.post(job.account, amount, comment, form.kind, by="admin")
    return jobs.answer(job) | {"refunded": job.refunded, "cost": float(job.cost)}


def _write(jobs: Jobs, job: Job, form: Form, amount: Decimal, *, part: bool) -> None:
    changes: Row = {}
    if form.cost:
        job.cost -= amount
        changes["usage_cost"] = job.cost
    elif not form.flag:
        job.given_back += amount
    if form.original:
        changes["original_usage_cost"] = job.cost
    if form.flag:
        job.refunded = True
    if form.flag or job.refunded:
        changes["refunded"] = flag(job.refunded)
    if form.status:
        names: dict[str, str] = jobs.records.core.switch("job_values", {})
        status = "PARTIALLY_REFUNDED" if part else "REFUNDED"
        changes["refund_status"] = names.get(status, status)
    if changes:
        jobs.write(job, changes)
