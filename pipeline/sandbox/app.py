"""The sandbox as one process on this machine: its services and their control over HTTP, started and stopped cleanly.

What belongs here: addresses, the server, the ready file, and `start` for tests and the demo. What does not: what the
services answer (`nexudus/`, `papercut/`, `ezeep/`), the control endpoint (`control.py`), broken answers
(`misbehaviour.py`).
"""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Callable, Generator
from contextlib import AsyncExitStack, contextmanager, suppress
from html import escape
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from pipeline.sandbox.control import Control, Site, set_switches
from pipeline.sandbox.core import Clock, Core
from pipeline.sandbox.database import BorrowedCluster, Cluster
from pipeline.sandbox.ezeep import EzeepSite
from pipeline.sandbox.ezeep.calls import Call
from pipeline.sandbox.ezeep.routes import call_name as ezeep_call_name
from pipeline.sandbox.manners import EzeepManner, Manner, NexudusManner, PaperCutManner
from pipeline.sandbox.misbehaviour import CLOSED, Perform, misbehave, response
from pipeline.sandbox.nexudus import Answer, Nexudus
from pipeline.sandbox.nexudus.records import dump, load
from pipeline.sandbox.papercut import PaperCutSite
from pipeline.sandbox.wire import ParseError, call_name

Json = dict[str, Any]

HOST = "127.0.0.1"
SERVICES = ("account", "api")
METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH"]
START_SECONDS = 60.0
STOP_SECONDS = 3.0
TICK_SECONDS = 0.1

READY, LOG = "ready.json", "sandbox.log"


class DidNotStartError(RuntimeError):
    """The process of a sandbox ended, or was too slow, before it served."""


class Connection(HttpToolsProtocol):
    """A connection that the application can write to and close by itself, for answers that no server would give."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] - as uvicorn does
        """Put the transport where requests find it, and let no small answer wait for an acknowledgement."""
        super().connection_made(transport)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.app_state = {**self.app_state, "transport": transport}


class Server(uvicorn.Server):
    """A server that leaves signals to us: the databases have to stop, too."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """No handlers of its own."""
        yield


class Sandbox:
    """The services over one core.

    Args:
        core: what they share.
        nexudus: the one account.
        sites: the print systems by name.
    """

    def __init__(self, core: Core, nexudus: Nexudus, sites: dict[str, Site]) -> None:
        self.core = core
        self.nexudus = nexudus
        self.sites = sites

    def application(self) -> Starlette:
        """The addresses."""
        control = Control(self.core, self.nexudus, self.sites)
        return Starlette(
            routes=[
                Route("/api/{path:path}", self.api, methods=METHODS),
                Route("/sites/{name}/rpc/api/xmlrpc", self.xmlrpc, methods=["POST"]),
                Route("/sites/{name}/{service}{path:path}", self.ezeep, methods=METHODS),
                Mount("/control", app=control.application()),
            ],
        )

    async def api(self, request: Request) -> Response:
        """A call of the Nexudus REST API."""
        body, path = await request.body(), request.path_params["path"]

        async def perform() -> Answer:
            return self.nexudus.answer(request.method, path, request.url.query, request.headers, body)

        return await self._call("nexudus", self.nexudus.call_name(request.method, path), perform, NexudusManner())

    async def xmlrpc(self, request: Request) -> Response:
        """A call of a site's PaperCut web services."""
        name = request.path_params["name"]
        site = self.sites.get(name)
        if not isinstance(site, PaperCutSite):
            return Response(f"no site {name} with a PaperCut server", 404)
        body = await request.body()
        client = request.client.host if request.client else ""

        async def perform() -> Answer:
            try:
                return Answer(200, await site.rpc(body, client), "text/xml")
            except ParseError as error:
                return self._unreadable(str(error))

        return await self._call(name, call_name(body), perform, PaperCutManner())

    async def ezeep(self, request: Request) -> Response:
        """A call of one of the two services of a site's ezeep organisation."""
        name, service, path = (request.path_params[each] for each in ("name", "service", "path"))
        site = self.sites.get(name)
        if not isinstance(site, EzeepSite) or service not in SERVICES:
            return Response(f"no site {name} with an ezeep organisation that has a service {service}", 404)
        address = str(request.base_url.replace(path=f"/sites/{quote(name)}/{service}"))
        parts = (dict(request.query_params), request.headers, await request.body(), address)

        async def perform() -> Answer:
            return site.answer(Call(service, request.method, path, *parts))

        return await self._call(name, ezeep_call_name(service, request.method, path), perform, EzeepManner())

    def _unreadable(self, reason: str) -> Answer:
        """What the library does with a request that is not XML-RPC: its servlet fails, or it hangs up."""
        if self.core.switch("unreadable_request", "status_500") == "close":
            return CLOSED
        page = f"<html><body><h2>HTTP ERROR 500</h2><pre>ParseFailed: {escape(reason)}</pre></body></html>"
        return Answer(500, page.encode("utf-8", "replace"), "text/html;charset=utf-8")

    async def _call(self, target: str, call: str, perform: Perform, manner: Manner) -> Response:
        """Count the call, let what is due happen, then answer: as asked, or as a planned fault says."""
        self.core.count(target, call)
        await self.core.settle()
        if latency := float(self.core.switch("latency_ms", 0)):
            await asyncio.sleep(latency / 1000)
        fault = self.core.faults.take(target, call)
        if fault is not None:
            return await misbehave(self.core, fault, perform, manner)
        return response(await perform())

    def ready(self, address: str) -> Json:
        """What the ready file says."""
        return {
            "nexudus_url": address,
            "nexudus_email": self.nexudus.signin.email,
            "nexudus_password": self.nexudus.signin.password,
            "control_url": f"{address}/control",
            "sites": {name: site.ready(address) for name, site in self.sites.items()},
        }


def serve(
    world: Json, ready_file: Path, port: int = 0, *, until_eof: bool = False, database_server: str | None = None
) -> None:
    """Serve a world until SIGTERM or SIGINT.

    Args:
        world: the content of a world file.
        ready_file: written when everything answers.
        port: the port on 127.0.0.1; 0 takes a free one.
        until_eof: also stop when standard input ends, which it does when the parent process is gone.
        database_server: the address of a running server, see `BorrowedCluster`; without it one is started: slower.

    Raises:
        ValueError: the world holds a value that its service could not.
        OSError: the port is taken.
    """
    asyncio.run(_serve(world, ready_file, port, database_server, until_eof=until_eof))


async def _serve(world: Json, ready_file: Path, port: int, database_server: str | None, *, until_eof: bool) -> None:
    stopped = _stop_event(until_eof=until_eof)
    core = Core(Clock.starting_at(world.get("clock")), {})
    set_switches(core, world.get("switches", {}))
    nexudus = Nexudus(core, _with_locations(world))
    listener = socket.create_server((HOST, port))
    async with AsyncExitStack() as stack:
        sites = await _sites(core, world.get("sites", {}), ready_file.parent, database_server, stack)
        sandbox = Sandbox(core, nexudus, sites)
        server = Server(
            uvicorn.Config(
                sandbox.application(),
                http=Connection,
                ws="none",
                lifespan="off",
                log_level="warning",
                access_log=False,
                timeout_graceful_shutdown=1,
            )
        )
        serving = asyncio.create_task(server.serve([listener]))
        while not server.started and not serving.done():
            await asyncio.sleep(0.01)
        _write(ready_file, dump(sandbox.ready(f"http://{HOST}:{listener.getsockname()[1]}")))
        await _settle_until(core, stopped)
        server.should_exit = True
        await serving


def _with_locations(world: Json) -> Json:
    """The Nexudus part of a world, with a location for every site that names one that is not there."""
    nexudus: Json = dict(world.get("nexudus", {}))
    businesses: list[Json] = list(nexudus.get("businesses", []))
    known = {business.get("Id") for business in businesses}
    for name, site in world.get("sites", {}).items():
        if site.get("business_id") and site["business_id"] not in known:
            businesses.append({"Id": site["business_id"], "Name": name.title()})
    return nexudus | {"businesses": businesses}


async def _sites(
    core: Core, worlds: Json, folder: Path, database_server: str | None, stack: AsyncExitStack
) -> dict[str, Site]:
    """Start the print systems, which stop with the stack. Print files and reports go below `folder`.

    A database server is started for PaperCut only.

    Raises:
        ValueError: a site has a `system` that is neither `papercut` nor `ezeep`.
    """
    systems = {name: world.get("system", "papercut") for name, world in worlds.items()}
    if unknown := set(systems.values()) - {"papercut", "ezeep"}:
        message = f"the system of a site is papercut or ezeep, not {', '.join(map(repr, unknown))}"
        raise ValueError(message)
    cluster = await _cluster(database_server, stack) if "papercut" in systems.values() else None
    sites: dict[str, Site] = {}
    for name, world in worlds.items():
        with_database = cluster if systems[name] == "papercut" else None
        sites[name] = (
            PaperCutSite(core, name, world, with_database, folder)
            if with_database
            else EzeepSite(core, name, world, folder)
        )
        await sites[name].start()
        stack.push_async_callback(sites[name].stop)
    return sites


async def _cluster(database_server: str | None, stack: AsyncExitStack) -> Cluster:
    if database_server:
        cluster: Cluster = BorrowedCluster(database_server)
    else:
        cluster = Cluster(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="printbridge-sandbox-"))))
    await cluster.start()
    stack.push_async_callback(cluster.stop)
    return cluster


def _stop_event(*, until_eof: bool) -> asyncio.Event:
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    if until_eof:
        loop.add_reader(sys.stdin.fileno(), stopped.set)
    return stopped


async def _settle_until(core: Core, stopped: asyncio.Event) -> None:
    """Let postponed effects happen in time even when nobody calls."""
    while not stopped.is_set():
        await core.settle()
        with suppress(TimeoutError):
            await asyncio.wait_for(stopped.wait(), TICK_SECONDS)


def _write(path: Path, content: bytes) -> None:
    """Write a file that is complete as soon as it exists, readable by its owner only: it holds a password."""
    part = path.with_name(f".{path.name}.part")
    part.touch(mode=0o600)
    part.write_bytes(content)
    part.replace(path)


@contextmanager
def start(world: Json, folder: Path) -> Generator[Json]:
    """Run a sandbox in a process of its own for the length of a `with` block; yields the content of the ready file.

    Args:
        world: the content of a world file.
        folder: where the world, the ready file and the log of the process go.

    Raises:
        DidNotStartError: with the end of its log.
    """
    command = [sys.executable, "-m", "pipeline.sandbox.app", *prepare(world, folder)]
    with (folder / LOG).open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, stderr=output)  # noqa: S603 - ours
    try:
        yield await_ready(folder, lambda: process.poll() is None)
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdin:
            process.stdin.close()


def prepare(world: Json, folder: Path) -> list[str]:
    """The words of a command that serves a world until its parent is gone; the world is written for it.

    Args:
        world: the content of a world file.
        folder: where the world and the ready file go, and the log is to go.
    """
    world_file, ready_file = folder / "world.json", folder / READY
    folder.mkdir(parents=True, exist_ok=True)
    ready_file.unlink(missing_ok=True)
    world_file.write_bytes(dump(world))
    return ["--until-eof", "--world", str(world_file), "--ready-file", str(ready_file)]


def await_ready(folder: Path, runs: Callable[[], bool]) -> Json:
    """The content of the ready file, once the process that was started in a folder has written it.

    Args:
        folder: the folder that was prepared.
        runs: whether the process still runs.

    Raises:
        DidNotStartError: with the end of its log.
    """
    ready_file, log = folder / READY, folder / LOG
    end = time.monotonic() + START_SECONDS
    while not ready_file.exists():
        if not runs() or time.monotonic() > end:
            tail = log.read_text(errors="replace")[-4000:]
            raise DidNotStartError(f"the sandbox did not start; its log, {log}, ends with:\n{tail}")
        time.sleep(0.01)
    return cast("Json", json.loads(ready_file.read_bytes()))


def main(words: list[str] | None = None) -> None:
    """`python -m pipeline.sandbox.app --world FILE --ready-file FILE [--port N] [--until-eof] [...]`."""
    parser = ArgumentParser(prog="python -m pipeline.sandbox.app", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--world", type=Path, required=True, help="the world file, JSON")
    parser.add_argument("--ready-file", type=Path, required=True, help="written when everything answers")
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--until-eof", action="store_true", help="also stop when standard input ends")
    parser.add_argument("--database-server", help="the address of a running PostgreSQL to make its databases in")
    arguments = parser.parse_args(words)
    text = arguments.world.read_bytes()
    world: Json = json.loads(text)
    world["nexudus"] = load(text).get("nexudus") or {}  # amounts and odd numbers exactly as they are written
    options = {"until_eof": arguments.until_eof, "database_server": arguments.database_server}
    serve(world, arguments.ready_file, arguments.port, **options)


if __name__ == "__main__":
    main()
