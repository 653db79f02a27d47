"""One ezeep site of the sandbox: its organisation, jobs and reports, and the truth behind them.

What belongs here: putting the parts together, and what the control endpoint asks of a site. What does not: HTTP, faults
of the transport, and the rules themselves.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.sandbox.core import Core
from pipeline.sandbox.ezeep import account, printing, reporting, routes, webhooks
from pipeline.sandbox.ezeep.calls import Call, instant
from pipeline.sandbox.ezeep.directory import Directory
from pipeline.sandbox.ezeep.jobs import Extract, Jobs
from pipeline.sandbox.ezeep.reporting import DELIMITERS, Report
from pipeline.sandbox.ezeep.signin import SignIn
from pipeline.sandbox.ezeep.webhooks import Webhooks
from pipeline.sandbox.nexudus.answers import Answer

Json = dict[str, Any]

LONGEST = 100
"""The name of a file has at most so many characters."""

FUNCTIONS = (account, printing, reporting, webhooks)
"""Importing them registers their paths."""


class EzeepSite:
    """An ezeep Blue organisation of the sandbox.

    Args:
        core: clock, switches, faults and call counts.
        name: the site's name; the target of its faults and counts.
        world: `users` (`email`, `first_name`, `last_name`, `is_verified`, `groups` by name, `roles`), `groups` and
            `printers` by name, `jobs` (as for `Jobs.print`; they are history, so everybody could print); and, each made
            up when it is left out, `organization_id`, `organizations` (`id` and `name`), `client_id`, `client_secret`.
        folder: the folder of the ready file.

    Raises:
        ValueError: the world holds something that could not be.
    """

    def __init__(self, core: Core, name: str, world: Json, folder: Path) -> None:
        self.core = core
        self.name = name
        made_up = str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{name}.example.com"))
        self.organization = str(uuid.UUID(world.get("organization_id") or made_up))
        here = {"id": self.organization, "name": name.title()}
        self.organizations: list[Json] = world.get("organizations") or [here]
        client, secret = world.get("client_id"), world.get("client_secret")
        self.signin = SignIn(
            core, self.organization, client or secrets.token_hex(20), secret or secrets.token_urlsafe(48)
        )
        self.directory = Directory(core, self.organization)
        self.printers: list[Json] = [
            {"id": self.directory.new_id("printer"), "name": str(printer)} for printer in world.get("printers", [])
        ]
        self.jobs = Jobs(self.directory, self.printers)
        self.reports: dict[str, Report] = {}
        self.webhooks = Webhooks(core, self.directory.new_id)
        self._folder = folder.absolute() / f"{name}-reports"  # who reads the ready file may work somewhere else
        self._written = 0
        self._load(world)

    def _load(self, world: Json) -> None:
        for group in world.get("groups", []):
            self.directory.named(str(group))
        for user in world.get("users", []):
            self.directory.load(user)
        for job in world.get("jobs", []):
            self.jobs.print({**job, "force": True})

    @property
    def deeds(self) -> Mapping[str, Callable[[Json], Json]]:
        """What `/control` can ask of such a site only."""
        return {"accept": self.accept, "report": self.report, "deliver": lambda _request: self.webhooks.retry()}

    def ready(self, address: str) -> Json:
        """The site's entry in the ready file."""
        return {
            "ezeep_account_url": f"{address}/sites/{self.name}/account",
            "ezeep_api_url": f"{address}/sites/{self.name}/api",
            "client_id": self.signin.client_id,
            "client_secret": self.signin.client_secret,
            "organization_id": self.organization,
            "reports_folder": str(self._folder),
        }

    async def start(self) -> None:
        """Make the folder of the reports."""
        self._folder.mkdir(parents=True, exist_ok=True)

    async def stop(self) -> None:
        """End deliveries; the folder stays."""
        await self.webhooks.stop()

    def answer(self, call: Call) -> Answer:
        """The answer to a call of either service."""
        return routes.answer(self, call)

    @property
    @contextmanager
    def unit(self) -> Generator[None]:
        """One request of the control endpoint: all of it happens, or nothing. Endpoints are told once it has."""
        people, jobs, waiting = self.directory.keep(), self.jobs.keep(), list(self.webhooks.waiting)
        try:
            yield
        except BaseException:
            self.directory.put_back(people)
            self.jobs.put_back(jobs)
            self.webhooks.waiting = waiting
            raise
        self.webhooks.send()

    def state(self) -> Json:
        """The site's truth, in the shape of `GET /state`."""
        return {
            "system": "ezeep",
            **self.directory.state(),
            "jobs": [job.state() for job in self.jobs.all.values()],
            "webhooks": self.webhooks.state(),
        }

    def restore(self, users: list[Json]) -> None:
        """Put users, as in a world file, in place of all users.

        Raises:
            ValueError: there are print jobs, which would be nobody's, or a user cannot be.
        """
        if self.jobs.all:
            message = f"site {self.name} has print jobs, so its users cannot be replaced"
            raise ValueError(message)
        with self.unit:
            self.directory.replace(users)

    def print_job(self, request: Json) -> Json:
        """Print: `Jobs.print`; endpoints of webhooks are told.

        Raises:
            ValueError: the person could not print, or the job could not be.
        """
        job = self.jobs.print(request)
        self.webhooks.note(job)
        return job.state()

    def refund(self, request: Json) -> Json:
        """Take pages of a job back: `Jobs.refund`.

        Raises:
            ValueError: no such job, or more pages than are left.
        """
        return self.jobs.refund(request).state()

    def accept(self, request: Json) -> Json:
        """Let the person with an address (`email`) log in for the first time.

        Raises:
            ValueError: nobody has it, or no invitation of it is open.
        """
        user = self.directory.accept(str(request.get("email") or ""))
        return user.shown(self.core.clock.now())

    def report(self, request: Json) -> Json:
        """Write the report of the jobs so far, as a person would download it, into the folder of the reports.

        Args:
            request: `delimiter` ("," or ";"), `blank_email`, `name` of the file, `start` and `end` (exclusive); all
                may be left out.

        Raises:
            ValueError: the name is no name of a file, or the delimiter no delimiter.
        """
        self._written += 1
        name = str(request.get("name") or f"ezeep-report-{self._written:04}.csv")
        delimiter = str(request.get("delimiter") or DELIMITERS[0])
        if name != Path(name).name or name.startswith(".") or len(name) > LONGEST or delimiter not in DELIMITERS:
            message = f"a report has the name of a file and a delimiter of , or ;: not {name!r} and {delimiter!r}"
            raise ValueError(message)
        start, end = (instant(str(request[each])) if request.get(each) else None for each in ("start", "end"))
        blank = bool(request.get("blank_email"))
        written = self.jobs.csv(Extract(start, end, delimiter=delimiter, blank_email=blank))
        path, part = self._folder / name, self._folder / f".{name}.part"
        part.write_text(written, encoding="utf-8", errors="replace", newline="")
        part.replace(path)  # whoever reads the folder meanwhile sees all of it or nothing
        return {"path": str(path), "rows": written.count("\r\n") - 1}
