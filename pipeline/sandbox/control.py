"""The control endpoint of the sandbox: its truth, its clock, its switches and faults, and people in all services.

What belongs here: `/control/...` as the design's section 8 fixes it, plus `/control/nexudus` and `/control/papercut`,
which play administrators, and what only one print system has. What does not: the services; nothing here is counted as a
call.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from typing import Any, Protocol, cast

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from pipeline.sandbox.core import Core, Fault
from pipeline.sandbox.nexudus import Nexudus
from pipeline.sandbox.nexudus.records import Record, dump, load
from pipeline.sandbox.switches import checked

STATE = (
    "coworkers", "coworkerextraservices", "coworkerproducts", "teams", "coworkerinvoices", "coworkerinvoicelines",
)  # fmt: skip
"""The Nexudus records that `/state` shows."""

POST_FAULTS = {
    "fail_not_created": Fault("nexudus", "POST co*", "status"),
    "fail_created": Fault("nexudus", "POST co*", "status", effect=True),
    "timeout_created": Fault("nexudus", "POST co*", "delay", seconds=3600),
}
"""The switch `post_fault` as the fault it plans, `post_fault_times` times."""

DEEDS = ("papercut", "export", "accept", "report", "deliver")
"""What only PaperCut has: an action by hand (`papercut/people.py`), its print files once more (`print_files.py`); and
what only ezeep has: a first login, a report written as a file, failed events sent again (`ezeep/site.py`)."""


class Site(Protocol):
    """What the sandbox needs of a site's print system (`papercut/site.py`, `ezeep/site.py`)."""

    @property
    def deeds(self) -> Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]]:
        """What only such a system can be asked to do, by the names of `DEEDS`."""
        ...

    @property
    def unit(self) -> AbstractContextManager[None, bool | None]:
        """One request: all of it happens, or nothing."""
        ...

    async def start(self) -> None:
        """Begin to serve."""
        ...

    async def stop(self) -> None:
        """End."""
        ...

    def ready(self, address: str) -> dict[str, Any]:
        """The site's entry in the ready file of a sandbox at an address."""
        ...

    def state(self) -> dict[str, Any]:
        """Users, transactions and jobs."""
        ...

    def restore(self, users: list[dict[str, Any]]) -> None:
        """Other users in place of all users."""
        ...

    def print_job(self, request: dict[str, Any]) -> dict[str, Any]:
        """Somebody prints."""
        ...

    def refund(self, request: dict[str, Any]) -> dict[str, Any]:
        """Staff refunds a job."""
        ...


def set_switches(core: Core, values: Mapping[str, object]) -> None:
    """Set switches; two of them, `post_fault` and `fault_burst`, plan faults.

    Raises:
        ValueError: an unknown switch, or a value that it does not take; none is set then.
    """
    core.switches.update({name: checked(name, value) for name, value in values.items()})
    times = int(core.switch("post_fault_times", 1))
    if values.get("post_fault", "off") != "off":
        planned = POST_FAULTS[str(values["post_fault"])]
        core.faults.planned.append(replace(planned, times=max(times, 0)))
    if burst := int(cast("int", values.get("fault_burst", 0))):
        core.faults.planned.append(Fault("nexudus", "*", "status", times=max(burst, 0)))


@dataclass(frozen=True)
class Control:
    """The endpoints over one sandbox."""

    core: Core
    nexudus: Nexudus
    sites: Mapping[str, Site]

    def application(self) -> Starlette:
        """The addresses below the one that the ready file calls `control_url`; requests without sense get 400."""
        routes = [
            Route("/state", self.state),
            Route("/world", self.restore, methods=["PUT"]),
            Route("/clock", self.clock, methods=["GET", "POST"]),
            Route("/calls", self.forget_calls, methods=["DELETE"]),
            Route("/faults", self.faults, methods=["POST", "DELETE"]),
            Route("/switches", self.switches, methods=["POST"]),
            Route("/print", self.print_jobs, methods=["POST"]),
            Route("/refund", self.refund, methods=["POST"]),
            *(Route(f"/{deed}", self.act, methods=["POST"], name=deed) for deed in DEEDS),
            Route("/nexudus", self.edit, methods=["POST"]),
        ]
        senseless = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)
        return Starlette(routes=routes, exception_handlers=dict.fromkeys(senseless, _refuse))

    async def state(self, _request: Request) -> Response:
        """The servers' own truth."""
        await self.core.settle()
        return StreamingResponse(self._state(), media_type="application/json")

    async def _state(self) -> AsyncIterator[bytes]:
        """Record by record: an account of 10,000 customers is not built up in memory."""
        sites = {name: site.state() for name, site in self.sites.items()}
        counts = {name: dict(self.core.calls[name]) for name in self.sites}
        calls = {"nexudus": dict(self.core.calls["nexudus"]), "sites": counts}
        tables = {path: self.nexudus.state(path) for path in STATE}
        yield b'{"nexudus":{'
        for position, (path, rows) in enumerate(tables.items()):
            yield b'%s"%s":[' % (b"," if position else b"", path.encode())
            for number, row in enumerate(rows):
                yield (b"," if number else b"") + dump(row)
            yield b"]"
        yield b'},"sites":' + dump(sites) + b',"calls":' + dump(calls) + b"}"

    async def restore(self, request: Request) -> Response:
        """Another world in place of this one: the Nexudus records of the entities named, the users of the sites named.

        What is left out stays; faults end, and calls count from 0 on. Only for sites without print jobs.
        """
        world = load(await request.body())
        with ExitStack() as together:
            for name, site in world.get("sites", {}).items():
                together.enter_context(self._site({"site": name}).unit)
                self._site({"site": name}).restore(site["users"])
            self.nexudus.restore(world.get("nexudus", {}))
        self.core.faults.planned.clear()
        self.core.calls.clear()
        return _answer({})

    async def clock(self, request: Request) -> Response:
        """The sandbox's time, after moving it forward if asked to."""
        if request.method == "POST":
            self.core.clock.advance(float((await _body(request))["advance_seconds"]))
        await self.core.settle()
        return _answer({"now": self.core.clock.now().isoformat()})

    async def forget_calls(self, _request: Request) -> Response:
        """All counts to zero."""
        self.core.calls.clear()
        return _answer({})

    async def faults(self, request: Request) -> Response:
        """Plan one fault or several, or end all of them."""
        if request.method == "DELETE":
            self.core.faults.planned.clear()
        else:
            planned = [Fault(**fault) for fault in _several(await _body(request))]
            for fault in planned:
                if fault.target not in {"nexudus", *self.sites}:
                    message = f"unknown target {fault.target!r}; known: {', '.join(['nexudus', *self.sites])}"
                    raise ValueError(message)
            self.core.faults.planned += planned
        return _answer({"planned": len(self.core.faults.planned), "fired": self.core.faults.fired})

    async def switches(self, request: Request) -> Response:
        """Set switches; the answer shows all that were ever set."""
        set_switches(self.core, await _body(request))
        return _answer(self.core.switches)

    async def print_jobs(self, request: Request) -> Response:
        """Print one job or several; after a request without sense nothing is printed."""
        body = await _body(request)
        with ExitStack() as together:
            for site in {str(job.get("site")): self._site(job) for job in _several(body)}.values():
                together.enter_context(site.unit)
            jobs = [self._site(job).print_job(job) for job in _several(body)]
        return _answer(jobs) if isinstance(body, list) else _answer(jobs[0])

    async def refund(self, request: Request) -> Response:
        """Refund a job, wholly or in part, in one of the forms of `papercut/refunds.py` or of `ezeep/jobs.py`."""
        body = await _body(request)
        return _answer(self._site(body).refund(body))

    async def act(self, request: Request) -> Response:
        """Do something that only one print system has: `DEEDS`."""
        body, deed = await _body(request), request.url.path.rpartition("/")[2]
        deeds = self._site(body).deeds
        if deed not in deeds:
            message = (
                f"/control/{deed} is not for the print system of site {body['site']!r}, which has {', '.join(deeds)}"
            )
            raise ValueError(message)
        return _answer(deeds[deed](body))

    async def edit(self, request: Request) -> Response:
        """Change Nexudus as a person in its screens would; the answer is the record."""
        return _answer(self.nexudus.edit(load(await request.body())))

    def _site(self, request: Mapping[str, Any]) -> Site:
        name = str(request.get("site"))
        if name not in self.sites:
            message = f"unknown site {name!r}; known: {', '.join(self.sites)}"
            raise ValueError(message)
        return self.sites[name]


async def _refuse(_request: Request, error: Exception) -> Response:
    """The answer to a control request that makes no sense."""
    return Response(dump({"error": f"{type(error).__name__}: {error}"}), 400, media_type="application/json")


async def _body(request: Request) -> Any:
    """The JSON of a request; infinities are no JSON."""
    return json.loads(await request.body(), parse_constant=_no_constant)


def _no_constant(name: str) -> None:
    message = f"{name} is no JSON"
    raise ValueError(message)


def _several(body: Any) -> list[Record]:
    return cast("list[Record]", body if isinstance(body, list) else [body])


def _answer(value: Record | list[Record]) -> Response:
    """A result; one with an `error` is a request that the service can not take."""
    return Response(dump(value), 400 if "error" in value else 200, media_type="application/json")
