"""Print jobs as PaperCut treats them: admitted or refused, charged, logged, later refunded or changed.

What belongs here: the life of a job and its row in `tbl_printer_usage_log`. What does not: balances and the ledger
themselves (`records`), XML-RPC, the files (`print_files`). Source: `papercut-api.md` 3.7, 5.1 and 6.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from pipeline.sandbox.columns import stored
from pipeline.sandbox.database import Row
from pipeline.sandbox.papercut.records import Records, User
from pipeline.sandbox.papercut.undo import Unit
from pipeline.sandbox.papercut.values import RefusedError, flag, money
from pipeline.sandbox.print_files import PrintFiles

Request = Mapping[str, Any]

TABLE = "tbl_printer_usage_log"
_COLUMNS = {
    "pages": "total_pages",
    "color_pages": "total_color_pages",
    "copies": "copies",
    "document": "document_name",
    "job_type": "job_type",
    "denied_reason": "denied_reason",
    "refund_status": "refund_status",
}
_FLAGS = {"allowed": "usage_allowed", "printed": "printed", "cancelled": "cancelled", "refunded": "refunded"}
_JOB_FIELDS = ("allowed", "printed", "refunded", "job_type")
_PROCESS_JOB = {
    "user": "username",
    "cost": "cost",
    "total-pages": "total_pages",
    "total-color-pages": "color_pages",
    "copies": "copies",
    "document-name": "document",
    "duplex": "duplex",
    "grayscale": "grayscale",
    "job-type": "job_type",
    "paper-size-name": "paper_size",
    "document-size-kb": "size_kb",
    "comment": "comment",
    "client-machine": "client",
    "shared-account": "shared_account",
}
"""Fields of the `processJob` string that have the same meaning in a print request."""


@dataclass(slots=True)
class Job:
    """One row of the usage log, as far as later changes need it.

    `charged` is what the account has paid for it, `given_back` what a refund gave back without lowering the cost.
    """

    job_id: int
    user: User
    account: Row
    cost: Decimal
    allowed: bool
    printed: bool
    job_type: str
    at: datetime
    refunded: bool = False
    charged: Decimal = Decimal(0)
    given_back: Decimal = Decimal(0)

    @property
    def due(self) -> Decimal:
        """What the account owes: nothing for a job that was refused, refunded, or never left the release queue."""
        pays = self.allowed and not self.refunded and (self.printed or self.job_type != "PRINT")
        return self.cost - self.given_back if pays else Decimal(0)

    def state(self) -> dict[str, Any]:
        """The job as `GET /state` shows it."""
        return {
            "job_id": self.job_id,
            "username": self.user.name,
            "cost": float(self.cost),
            "allowed": self.allowed,
            "printed": self.printed,
            "refunded": self.refunded,
            "at": self.at.isoformat(),
        }


class Jobs:
    """Every job of one site."""

    def __init__(self, records: Records, files: PrintFiles) -> None:
        self.records = records
        self.files = files
        self.unit = Unit(records.undo, records.database, files)
        self.all: dict[int, Job] = {}
        self.last = 0

    def print(self, request: Request) -> dict[str, Any]:
        r"""Print, or change an existing job when `job_id` names one.

        Args:
            request: username, printer (`name` or `server\name`), pages, color_pages, copies, cost (number or text;
                left out: pages times the printer's price), at (ISO; left out: now), shared_account, printed (false:
                never released), cancelled, denied_reason, job_type, duplex, grayscale, document, client, offline,
                create_user, job_id.

        Returns:
            job_id, allowed and the balance afterwards; `job_id` is None while a site server holds an `offline` job back
            (switch `offline_rows`: seconds).

        Raises:
            RefusedError: an unknown user (unless `create_user`), shared account, or a number that is none.
            ValueError: a value that its column cannot hold, or one of the wrong kind.
        """
        if request.get("job_id") in self.all:
            return self._change(self.kept(request["job_id"]), request)
        delay = self.records.core.switch("offline_rows", 0)
        if request.get("offline") and delay and delay != "off":
            request = {"at": self.records.core.clock.now().isoformat(), **request}
            job, _, _ = self._made(request)
            balance = job.user.account["balance"]
            self.records.core.postpone(float(delay), lambda: self._submit(request))
            return {"job_id": None, "allowed": True, "balance": float(balance)}
        return self.answer(self._add(request))

    async def _submit(self, request: Request) -> None:
        """Log a job whose site server is connected again; one that is refused by then is lost."""
        with suppress(RefusedError, ValueError), self.unit:
            self._add(request)

    def load(self, requests: list[Request]) -> None:
        """Log the jobs of the world file as history: none is refused, and the balances given there hold afterwards."""
        charged: defaultdict[int, Decimal] = defaultdict(Decimal)
        for request in requests:
            job = self._add(request, history=True)
            charged[job.account["account_id"]] += job.charged
        for row in [*(user.account for user in self.records.users.values()), *self.records.shared.values()]:
            row["balance"] += charged[row["account_id"]]
        for row, _ in self.records.transactions:
            row["balance"] += charged[row["account_id"]]

    def process(self, details: str) -> None:
        """Log and charge the job in a `processJob` string (3.7); filters, limits and the release queue are bypassed.

        Raises:
            RefusedError: a required field is missing, or the user or printer is unknown.
        """
        pairs = next(csv.reader([details or "\n"]))
        given = {name.strip(): value.strip() for name, _, value in (pair.partition("=") for pair in pairs)}
        given = self.records.core.switch("process_job_defaults", {}) | given
        if not (given.get("user") and given.get("server") and given.get("printer")):
            raise RefusedError("bad_job", details)
        if given.get("unknown") != "create":
            self.records.printer(given["server"], given["printer"])
        request: dict[str, Any] = {ours: given[name] for name, ours in _PROCESS_JOB.items() if given.get(name)}
        request["printer"] = f"{given['server']}\\{given['printer']}"
        request["create_user"] = given.get("unknown") == "create"
        for name in ("duplex", "grayscale"):
            request[name] = str(given.get(name, "")).lower() in {"y", "yes", "true"}
        if given.get("time"):
            try:
                moment = datetime.strptime(given["time"], "%Y%m%dT%H%M%S").replace(tzinfo=self.records.zone)
            except ValueError as error:
                raise RefusedError("bad_job", details) from error
            request["at"] = moment.isoformat()
        self._add(request, history=True)

    def _made(self, request: Request, *, history: bool = False) -> tuple[Job, Row, Row]:
        """A job, its row and its printer's row, not kept yet.

        Raises:
            RefusedError, ValueError: as for `print`.
        """
        user = self._user(request)
        printer = self._printer(str(request.get("printer") or "printer"))
        shared = request.get("shared_account")
        account = self.records.shared_account(shared) if shared else user.account
        copies = int(request.get("copies", 1))
        times = copies if self.records.core.switch("pages_with_copies", "yes") == "yes" else 1
        pages = int(request.get("total_pages", 0)) or int(request.get("pages", 1)) * times
        color = int(request.get("color_pages", 0)) * (1 if "total_pages" in request else times)
        cost = money(request["cost"]) if "cost" in request else money(printer["default_cost"]) * pages
        refusal = self._refusal(user, account, printer, cost) if not history else ""
        job = Job(
            job_id=int(request.get("job_id") or self.last + 1),
            user=user,
            account=account,
            cost=cost,
            allowed=bool(request.get("allowed", not refusal)),
            printed=bool(request.get("printed", not refusal)),
            job_type=request.get("job_type", "PRINT"),
            at=self._moment(request.get("at")),
            refunded=bool(request.get("refunded")),
        )
        row = self._row(job, request, printer, (pages, color, copies))
        row["denied_reason"] = self._reason(job, request, refusal)
        stored(TABLE, row)
        return job, row, printer

    def _add(self, request: Request, *, history: bool = False) -> Job:
        job, row, printer = self._made(request, history=history)
        user, account, last = job.user, job.account, self.last
        self.records.undo.add(lambda: (self.all.pop(job.job_id), setattr(self, "last", last)))
        self.all[job.job_id] = job
        self.last = max(self.last, job.job_id)
        self.records.database.insert(TABLE, row)
        self.pay(job, -job.due, "PRINT", "")
        if self.records.core.switch("anonymize_jobs", "off") == "on" and not history:
            self.anonymize(job, "")
        if job.allowed and job.printed:
            self._add_totals(user, printer, row)
            self.files.note(job.at.astimezone(self.records.zone), job.user.name, account["account_name"], printer, row)
        return job

    def _row(self, job: Job, request: Request, printer: Row, sizes: tuple[int, int, int]) -> Row:
        pages, color, copies = sizes
        duplex = bool(request.get("duplex"))
        document = str(request.get("document", "document"))[:255]
        if self.records.core.switch("flatten_names", "off") == "on":
            document = document.encode("ascii", "replace").decode()
        local = self.records.local(job.at)
        return {
            "printer_usage_log_id": job.job_id,
            "usage_date": local,
            "usage_day": local.date(),
            "used_by_user_id": job.user.row["user_id"],
            "charged_to_account_id": job.account["account_id"],
            "assoc_with_account_id": job.account["account_id"],
            "usage_cost": job.cost,
            "original_usage_cost": job.cost,
            "usage_allowed": flag(job.allowed),
            "printer_id": printer["printer_id"],
            "original_printer_id": printer["printer_id"],
            "print_queue_id": printer["printer_id"],
            "job_id": str(job.job_id),
            "job_uid": f"job-{job.job_id}",
            "document_name": document,
            "client_machine": str(request.get("client", "")),
            "printer_language": "PCL6",
            "total_pages": pages,
            "total_sheets": -(-pages // 2) if duplex else pages,
            "copies": copies,
            "duplex_pages": pages if duplex else 0,
            "total_color_pages": color,
            "color_pages_estimated": "N",
            "duplex": flag(duplex),
            "gray_scale": flag(request.get("grayscale", color == 0)),
            "paper_size": str(request.get("paper_size", "A4")),
            "paper_height_mm": 297,
            "paper_width_mm": 210,
            "document_size_kb": int(request.get("size_kb", 64)),
            "printed": flag(job.printed),
            "cancelled": flag(request.get("cancelled")),
            "refunded": flag(job.refunded),
            "invoiced": "N",
            "replayed": "N",
            "offline_usage": flag(request.get("offline")),
            "job_type": job.job_type,
            "job_comment": str(request.get("comment", "")),
        }

    def _change(self, job: Job, request: Request) -> dict[str, Any]:
        """Change the fields given; the account pays or gets back the difference, the original cost stays (6.2)."""
        changes: Row = {column: request[name] for name, column in _COLUMNS.items() if name in request}
        if "document" in request:
            changes["document_name"] = str(request["document"])[:255]
        changes |= {column: flag(request[name]) for name, column in _FLAGS.items() if name in request}
        if "cost" in request:
            job.cost = changes["usage_cost"] = money(request["cost"])
        for name in _JOB_FIELDS:
            if name in request:
                setattr(job, name, request[name])
        if changes:
            self.write(job, changes)
        self.pay(
            job, job.charged - job.due, "REFUND" if job.charged > job.due else "PRINT", f"Job {job.job_id} changed"
        )
        return self.answer(job)

    def pay(self, job: Job, amount: Decimal, kind: str, comment: str) -> None:
        """Charge a job (below zero), or give something back, and write the ledger row that says so."""
        if amount:
            job.charged -= amount
            at = job.at if kind == "PRINT" else None
            number = None if self.records.core.switch("anonymize_jobs", "off") == "on" else job.job_id
            self.records.post(job.account, amount, comment, kind, by="[system]", job_id=number, at=at)

    def anonymize(self, job: Job, document: str, name: str = "anonymous") -> None:
        """Give a job to a user of that name, as *Anonymize jobs* does; the ledger still has who paid, not for what.

        Args:
            job: the job.
            document: what its document is called from now on; empty: as before.
            name: the user, created if need be, whose log then shows the job.
        """
        self.kept(job.job_id)
        known = self.records.users.get(name) or self.records.add_user(name, {"internal": True})
        job.user = known
        account = known.account["account_id"]
        changes: Row = {
            "used_by_user_id": known.row["user_id"],
            "charged_to_account_id": account,
            "assoc_with_account_id": account,
        }
        if document:
            changes |= {"document_name": document[:255], "document_size_kb": 0, "client_machine": document[:255]}
            changes |= {"job_comment": ""}
        self.write(job, changes)

    def write(self, job: Job, changes: Row) -> None:
        """Note new values of some columns of a job's row."""
        self.records.database.update(
            TABLE, "printer_usage_log_id", {"printer_usage_log_id": job.job_id, **changes}, *changes
        )

    def answer(self, job: Job) -> dict[str, Any]:
        """What a print request is answered with."""
        return {"job_id": job.job_id, "allowed": job.allowed, "balance": float(job.user.account["balance"])}

    def kept(self, job_id: int) -> Job:
        """The job, remembered with its account as it is now in case the request fails.

        Raises:
            RefusedError: no such job.
        """
        job = self.all.get(job_id)
        if not job:
            raise RefusedError("unknown_job", str(job_id))
        before = replace(job)
        self.records.undo.keep(job.account)
        self.records.undo.add(lambda: [setattr(job, name, getattr(before, name)) for name in job.__slots__])
        return job

    def _user(self, request: Request) -> User:
        name = str(request.get("username", ""))
        if request.get("create_user") and name.lower() not in self.records.users:
            return self.records.add_user(name, {})
        return self.records.user(name)

    def _printer(self, name: str) -> Row:
        """The printer, added at its first job as PaperCut does; without a server, the first one of that name."""
        server, _, short = name.rpartition("\\")
        for row in self.records.printers.values():
            if row["printer_name"].lower() == short.lower() and server.lower() in {"", row["server_name"].lower()}:
                self.records.undo.keep(row)
                return row
        return self.records.add_printer(server or "server", short)

    def _refusal(self, user: User, account: Row, printer: Row, cost: Decimal) -> str:
        """Why the job may not print, or an empty string (4.6). The words are ours: the real ones are unknown."""
        if self.records.disabled(user):
            return "USER_DISABLED"
        if printer["disabled"] == "Y":
            return "PRINTER_DISABLED"
        if account["restricted"] == "Y" and self.records.available(account) < cost:
            return "NO_CREDIT"
        return ""

    def _reason(self, job: Job, request: Request, refusal: str) -> str | None:
        timeout = "RELEASE_STATION_TIMEOUT" if job.allowed and not job.printed and job.job_type == "PRINT" else ""
        reason = str(request.get("denied_reason") or refusal or timeout)
        names: dict[str, str] = self.records.core.switch("job_values", {})
        return names.get(reason, reason) or None

    def _moment(self, text: str | None) -> datetime:
        """An ISO time; without a zone it is the server's local time."""
        if not text:
            return self.records.core.clock.now()
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo else moment.replace(tzinfo=self.records.zone)

    def _add_totals(self, user: User, printer: Row, row: Row) -> None:
        for table, owner in (("tbl_user", user.row), ("tbl_printer", printer)):
            owner["total_jobs"] += 1
            owner["total_pages"] += row["total_pages"]
            owner["total_sheets"] += row["total_sheets"]
            seen = "last_user_activity" if table == "tbl_user" else "last_usage_date"
            owner[seen] = row["usage_date"]
            self.records.changed(table, owner, "total_jobs", "total_pages", "total_sheets", seen)
