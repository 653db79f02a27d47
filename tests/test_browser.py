"""What operators see: Dagster's pages on a real state and the report from disk, in headless Chromium.

What belongs here: that the pages show what they should, in the words that stand on them. What does not: what the runs
write (`test_sync.py`, `test_catalogue.py`) and the figures of the report (`test_report_files.py`).

Each test leaves a picture in `tests/output/screens`; four of them stand in README.md, from docs/images.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from pipeline.definitions import ASSETS
from tests.harness import Harness, telling
from tests.optional import program
from tests.worlds import LEEDS, credit, customer, world

pytestmark = pytest.mark.chromium

ROOT = Path(__file__).parent.parent
NAMES = [key.to_user_string() for asset in ASSETS for key in asset.keys]
SCREENS = ROOT / "tests" / "output" / "screens"
PATIENCE = 60_000.0
"""Milliseconds for a page to show something, on a machine that does other things, too."""

FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--force-color-profile=srgb", "--lang=en",
)  # fmt: skip
"""A test may run as root; nothing but the pages of the test is asked for."""


@pytest.fixture(scope="module")
def chromium() -> str:
    return program("chromium", "chromium")


@pytest.fixture(scope="module")
def harness(chromium: str) -> Generator[Harness, None, None]:
    """Two sites and five days of prints, with a charge that waits for a person; reconciled and reported."""
    people = [customer(number, PaperCutPayAsYouPrint=number % 2 == 0) for number in range(101, 109)]
    people += [customer(number, InvoicingBusinessId=LEEDS, PaperCutPayAsYouPrint=True) for number in range(201, 205)]
    given = world(people, [credit(401, 101, 200), credit(402, 103, 50)], sites=("london", "leeds"))
    with telling(given, sites={"london": {"max_charge": 40}}) as running:
        _live(running)
        yield running


def _live(harness: Harness) -> None:
    for site in ("london", "leeds"):
        assert harness.run(site).ok
    for pages in (3, 8, 5, 2):
        harness.print_job("c102@example.com", 3 * pages, pages=pages)
        harness.print_job("c101@example.com", 2 * pages, pages=2 * pages)
        harness.print_job("c202@example.com", 4 * pages, site="leeds", pages=pages)
        harness.advance(days=1)
        assert harness.sync().ok
    harness.print_job("c104@example.com", 90, pages=30)
    harness.advance(hours=1)
    for site in ("london", "leeds"):
        assert harness.run(site, **{"printbridge/reason": "new print jobs"}).ok
        for day in range(2, 7):
            assert harness.reconcile(f"2026-11-{day:02}", site).ok
        assert harness.run({"site": site, "month": "2026-11"}, "monthly_report").ok
    assert harness.run(**{"printbridge/dry_run": "true"}).ok


@pytest.fixture(scope="module")
def address(harness: Harness) -> Generator[str, None, None]:
    """Dagster's web server on the state of printbridge."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "dagster_webserver", "-w", "workspace.yaml", "-h", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(
        command, cwd=ROOT, env=os.environ | {"DAGSTER_DISABLE_TELEMETRY": "1"}, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        _until_loaded(f"http://127.0.0.1:{port}", server)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.send_signal(signal.SIGINT)
        try:
            server.wait(20)
        finally:
            os.killpg(server.pid, signal.SIGKILL) if server.poll() is None else None


def _until_loaded(address: str, server: subprocess.Popen[bytes]) -> None:
    """Wait until the web server has the assets of the code location."""
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        assert server.poll() is None, "the web server ended"
        try:
            answer = httpx.post(f"{address}/graphql", json={"query": "{assetNodes{id}}"}, timeout=60, trust_env=False)
            if len(answer.json()["data"]["assetNodes"]) == len(NAMES):
                return
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    pytest.fail("the web server did not load the code location")


@pytest.fixture(scope="module")
def browser(chromium: str, address: str) -> Generator[Browser, None, None]:
    """Started after every run of printbridge: the loop that it keeps running is none of Dagster's."""
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        yield found
        found.close()


@pytest.fixture
def page(browser: Browser) -> Generator[Page, None, None]:
    """A new page in a profile of its own; what it asks for and complains of is kept in `asked` and `complaints`."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, locale="en", timezone_id="Europe/London")
    context.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    yield context.new_page()
    context.close()


def keep(page: Page, name: str, **options: Any) -> None:
    """Keep a picture as test output."""
    SCREENS.mkdir(parents=True, exist_ok=True)
    path = SCREENS / f"{name}.png"
    page.mouse.move(5, 5)
    page.screenshot(path=path, animations="disabled", **options)
    sys.__stdout__.write(f"screenshot: {path}\n")


def test_the_asset_graph_shows_every_asset(page: Page, address: str) -> None:
    page.set_viewport_size({"width": 2200, "height": 1500})
    page.goto(f"{address}/asset-groups")
    for group in ("extract", "transform", "load", "report"):
        expect(page.get_by_text(group, exact=True).first).to_be_visible()
    expect(page.locator("[data-tooltip=print_accounts]")).to_have_count(0)
    page.get_by_text("Hide navigation").click()
    page.mouse.click(1500, 250, button="right")
    page.get_by_text("Expand all groups").last.click()
    for name in NAMES:  # one that does not fit is cut, and whole in its tooltip
        expect(page.locator(f"[data-tooltip={name}]").first).to_be_visible()
    page.wait_for_timeout(1000)  # the groups open with a movement
    keep(page, "asset-graph", clip={"x": 400, "y": 150, "width": 1735, "height": 1270})


def test_a_partition_page_shows_the_numbers_and_the_chart_of_a_site(page: Page, address: str) -> None:
    page.goto(f"{address}/assets/print_jobs?view=partitions")
    expect(page.get_by_text("Materialized (2)")).to_be_visible()
    page.get_by_text("london", exact=True).first.click()
    for name in ("pages_today", "credits_today", "unreadable"):
        expect(page.get_by_text(name, exact=True).first).to_be_visible()
    assert "@example.com" not in page.content(), "the page may not show who printed"
    page.get_by_role("row", name="per_day").get_by_text("Show Markdown").click()
    chart = page.get_by_role("img", name=re.compile("pages and .* credits, 2026"))
    expect(chart).to_be_visible()
    assert chart.evaluate("image => image.naturalWidth") > 500, "the chart must be drawn, not merely be there"
    keep(page, "partition")


def test_a_check_page_names_the_rows_at_fault_and_plots_how_many(page: Page, address: str) -> None:
    page.goto(f"{address}/assets/nexudus_print_charges?view=checks&checkDetail=nothing_is_held")
    page.get_by_text("nothing_is_held", exact=True).first.click()
    expect(page.get_by_text(re.compile(r"london: 1 held charge: .*above max_charge")).first).to_be_visible()
    expect(page.get_by_text("rows_at_fault").first).to_be_visible()
    keep(page, "check")


def test_the_run_list_says_why_each_run_was_started(page: Page, address: str) -> None:
    page.goto(f"{address}/runs")
    for tag in ("printbridge/reason: new print jobs", "printbridge/reason: by hand", "printbridge/dry_run: true"):
        expect(page.get_by_text(tag).first).to_be_visible()
    keep(page, "runs")


def test_the_launch_form_offers_a_dry_run(page: Page, address: str) -> None:
    page.goto(f"{address}/locations/printbridge/jobs/sync_site")
    launch = page.get_by_role("button", name="Materialize all")
    launch.locator("xpath=../..").get_by_role("button").last.click()
    page.get_by_text("Open launchpad").click()
    expect(page.locator(".CodeMirror").filter(has_text="dry_run: false")).to_be_visible()
    expect(page.get_by_text("No errors")).to_be_visible()
    keep(page, "launch-form")


def test_the_report_opens_from_disk_and_asks_for_nothing(page: Page, harness: Harness) -> None:
    asked: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    (file,) = (harness.state_folder.exports / "2026-11" / "london").glob("*.html")
    page.set_viewport_size({"width": 1100, "height": 1250})
    page.goto(file.as_uri())
    expect(page.get_by_role("heading", name=re.compile("November 2026")).first).to_be_visible()
    expect(page.locator("svg").first).to_be_visible()
    for text in ("Customer 101", "p1"):
        expect(page.get_by_text(text).first).to_be_visible()
    keep(page, "report")
    page.wait_for_timeout(500)
    assert asked == [file.as_uri()], "a page on disk may ask for nothing else"
    assert complaints == [], "a page without script has nothing to complain of"
