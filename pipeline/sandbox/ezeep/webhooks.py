"""The webhooks of ezeep: endpoints that are told of each job, and what became of telling them (`ezeep-api.md` 4.2).

What belongs here: the functions behind their paths, events, deliveries over HTTP. What does not: the jobs. Managing
endpoints is documented; the body of an event is as one public program of 2023 reads it (`corrections.md` 2.1).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import SplitResult, urlsplit

import httpx

from pipeline.sandbox.core import Core
from pipeline.sandbox.ezeep.answers import AbsentError, InvalidError, gone, reply
from pipeline.sandbox.ezeep.calls import Call, flag, page, stamp, text
from pipeline.sandbox.ezeep.jobs import Job
from pipeline.sandbox.ezeep.routes import serves
from pipeline.sandbox.ezeep.switches import choice
from pipeline.sandbox.nexudus.answers import Answer

if TYPE_CHECKING:
    from pipeline.sandbox.ezeep.site import EzeepSite

Json = dict[str, Any]

PATH = "/webhooks/endpoints"
TOPICS = ["printjob_succeeded", "printjob_failed"]
READ, WRITE = ("webhooks", "webhooks.readonly"), ("webhooks",)
HERE = {"127.0.0.1", "localhost"}
"""Receivers of tests, to which http will do."""

CONNECTOR = "5b0b1a4e-0000-4000-8000-000000000001"
"""Made up: the sandbox has one connector, which nothing else shows."""

SECONDS = 5.0
"""How long a receiver may take."""


@dataclass
class Event:
    """What an endpoint is to be told."""

    event_id: str
    endpoint_id: str
    body: Json
    tries: int = 0
    result: str = ""
    """What came of the last try."""


@dataclass
class Webhooks:
    """The endpoints of one organisation, and the events that they have not taken yet."""

    core: Core
    new_id: Callable[[str], str]
    endpoints: dict[str, Json] = field(default_factory=dict[str, Json])
    waiting: list[Event] = field(default_factory=list[Event])
    failed: list[Event] = field(default_factory=list[Event])
    delivered: int = 0
    tasks: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])

    def note(self, job: Job) -> None:
        """Make the events of a job; `send` sends them."""
        topic = f"printjob_{job.status}"
        for number, endpoint in self.endpoints.items():
            if topic in endpoint["topics"] and not endpoint["disabled"]:
                event = Event(self.new_id("event"), number, {"content": {"printjob": _printjob(job)}})
                twice = choice(self.core, "ezeep_webhook_twice") == "on"
                self.waiting += [event, event] if twice else [event]

    def send(self) -> None:
        """Begin to send what waits, while the sandbox goes on answering."""
        events, self.waiting = self.waiting, []
        if events:
            task = asyncio.get_running_loop().create_task(self._send(events))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    def retry(self) -> Json:
        """Begin to send once more what failed."""
        events, self.failed = self.failed, []
        self.waiting += events
        self.send()
        return {"retried": len(events)}

    def state(self) -> Json:
        """What was taken, and what was not."""
        failed = [
            {"event_id": each.event_id, "endpoint_id": each.endpoint_id, "tries": each.tries, "result": each.result}
            for each in self.failed
        ]
        return {"delivered": self.delivered, "failed": failed}

    async def stop(self) -> None:
        """End what is still being sent."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def _send(self, events: list[Event]) -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=SECONDS) as client:
            for event in events:
                event.tries += 1
                event.result = await self._result(client, event)
                if event.result == "taken":
                    self.delivered += 1
                elif event not in self.failed:
                    self.failed.append(event)

    async def _result(self, client: httpx.AsyncClient, event: Event) -> str:
        endpoint = self.endpoints.get(event.endpoint_id)
        if endpoint is None:
            return "the endpoint was deleted"
        basic = endpoint["authentication_scheme"] == "basic"
        auth = httpx.BasicAuth(endpoint["basic_username"], endpoint["basic_password"]) if basic else httpx.Auth()
        try:
            answer = await client.post(endpoint["url"], json=event.body, auth=auth)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return f"{type(error).__name__}: {error}"
        return "taken" if answer.is_success else f"HTTP {answer.status_code}"


def _printjob(job: Job) -> Json:
    return {
        "printjob_id": job.job_id,
        "filename": job.document,
        "status": job.status,
        "user_name": job.user_name,
        "user_id": job.user_id,
        "user_email": job.username,
        "printer_id": job.printer_id,
        "printer_name": job.printer,
        "created": stamp(job.at),
        "color": job.color_pages > 0,
        "duplex": job.duplex,
        "copies": job.copies,
        "paper": job.paper,
        "total_printed_pages": job.pages,
        "co2_impact": None,
        "connector_id": CONNECTOR,
        "connector_name": "connector",
        "type": "network",
    }


@serves("api", "POST", PATH, "endpoints", WRITE)
def add_endpoint(site: EzeepSite, call: Call) -> Answer:
    """Register an endpoint."""
    content = call.content()
    url, scheme = text(content, "url", most=2000), text(content, "authentication_scheme", required=False)
    parts = _parts(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in HERE):
        raise InvalidError("url", "The address has to begin with https://.")
    if scheme not in ("", "basic"):
        raise InvalidError("authentication_scheme", "The scheme is basic, or left out.")
    endpoint: Json = {
        "endpoint_id": site.directory.new_id("endpoint"),
        "name": text(content, "name"),
        "url": url,
        "topics": _topics(content.get("topics", TOPICS)),
        "disabled": flag(content, "disabled", default=False),
        "authentication_scheme": scheme or None,
        "basic_username": text(content, "basic_username", required=scheme == "basic"),
        "basic_password": text(content, "basic_password", required=scheme == "basic"),
    }
    site.webhooks.endpoints[endpoint["endpoint_id"]] = endpoint
    return reply(201, endpoint, invention="status 201" if parts.scheme == "https" else "http to a local receiver")


@serves("api", "GET", PATH, "endpoints", READ)
def list_endpoints(site: EzeepSite, call: Call) -> Answer:
    """The endpoints."""
    endpoints = list(site.webhooks.endpoints.values())
    return reply(200, page(site.core, call, endpoints, lambda each: each), invention="list of endpoints")


@serves("api", "GET", PATH + "/{id}", "endpoints", READ)
def show_endpoint(site: EzeepSite, call: Call) -> Answer:
    """One endpoint."""
    return reply(200, _endpoint(site, call), invention="path of an endpoint")


@serves("api", "DELETE", PATH + "/{id}", "endpoints", WRITE)
def delete_endpoint(site: EzeepSite, call: Call) -> Answer:
    """Take an endpoint away."""
    del site.webhooks.endpoints[_endpoint(site, call)["endpoint_id"]]
    return gone(invention="path and status of deleting an endpoint")


def _endpoint(site: EzeepSite, call: Call) -> Json:
    if call.parameters["id"] not in site.webhooks.endpoints:
        raise AbsentError
    return site.webhooks.endpoints[call.parameters["id"]]


def _parts(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError as error:
        raise InvalidError("url", "Enter a valid URL.") from error


def _topics(value: object) -> list[str]:
    topics = cast("list[object]", value) if isinstance(value, list) else [value]
    known = [topic for topic in topics if isinstance(topic, str) and topic in TOPICS]
    if not known or len(known) < len(topics):
        raise InvalidError("topics", f"The topics are {' and '.join(TOPICS)}.")
    return known
