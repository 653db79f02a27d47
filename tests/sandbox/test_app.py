"""The sandbox as a process: counts, faults on real sockets, control, start and stop."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from pipeline.sandbox.app import DidNotStartError, start
from tests.nexudus_sandbox import ANNA, BEN, CREDIT, FIXTURES, LONDON, NEW, SALE, WORLD, Api, running_api
from tests.sandboxes import database_server
from tests.sandboxes import start as forked


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with running_api(tmp_path_factory.mktemp("sandbox")) as api:
        yield api


@pytest.fixture
def api(running: Api) -> Api:
    running.reset()
    return running


# Control, faults, limits (nexudus-api.md 7 and 10.3) ----------------------------------------------------------------


def test_calls_are_counted_by_verb_and_entity(api: Api) -> None:
    api.get("spaces/coworkers", size=1)
    api.get(f"spaces/coworkers/{ANNA}")
    api.get("spaces/coworkers/", id=f"[{ANNA}]")
    api.sale()
    api.post("spaces/coworkers/runcommand", {"Key": "COWORKER_BILL_RUN", "Ids": [BEN]})
    api.plain.post("token", data={})
    assert api.control("GET", "state")["calls"] == {
        "nexudus": {
            "GET coworkers": 3,
            "POST coworkerproducts": 1,
            "POST coworkers/runcommand": 1,
            "POST token": 1,
        },
        "sites": {},
    }


def sales(api: Api, notes: str) -> int:
    return sum(sale["Notes"] == notes for sale in api.control("GET", "state")["nexudus"]["coworkerproducts"])


@pytest.mark.parametrize(
    ("fault", "effect"),
    [
        ({"action": "drop_before"}, 0),
        ({"action": "drop_after"}, 1),
        ({"action": "truncate"}, 1),
        ({"action": "late_commit", "seconds": 30}, 0),
    ],
)
def test_faults_that_break_the_connection(api: Api, fault: dict, effect: int) -> None:
    notes = f"broken by {fault['action']}"
    api.fault(**fault)
    with pytest.raises(httpx.RemoteProtocolError) as error:
        api.post("billing/coworkerproducts", SALE | {"Notes": notes})
    text = "without sending complete message body" if fault["action"] == "truncate" else "without sending a response"
    assert text in str(error.value)
    assert sales(api, notes) == effect
    api.advance(31)
    assert sales(api, notes) == (1 if fault["action"] != "drop_before" else 0)
    assert api.post("billing/coworkerproducts", SALE).status_code == 200, "the fault was for one call"


@pytest.mark.parametrize(
    ("fault", "status", "effect"),
    [
        ({"action": "status", "code": 500}, 500, 0),
        ({"action": "status", "code": 500, "effect": True}, 500, 1),
        ({"action": "status", "code": 401}, 401, 0),
        ({"action": "html_200"}, 200, 1),
        ({"action": "was_successful_false"}, 200, 0),
        ({"action": "rejected"}, 400, 0),
        ({"action": "delay", "seconds": 0.2}, 200, 1),
        ({"action": "throttle", "style": "429_text", "seconds": 2}, 429, 0),
        ({"action": "throttle", "style": "429_retry_after", "seconds": 2}, 429, 0),
        ({"action": "throttle", "style": "409_legacy", "seconds": 1}, 409, 0),
    ],
)
def test_faults_that_answer(api: Api, fault: dict, status: int, effect: int) -> None:
    notes = f"answered by {json.dumps(fault)}"
    api.fault(**fault)
    began = time.monotonic()
    answer = api.post("billing/coworkerproducts", SALE | {"Notes": notes})
    assert answer.status_code == status
    assert sales(api, notes) == effect
    match fault:
        case {"action": "html_200"}:
            assert answer.headers["content-type"].startswith("text/html")
        case {"action": "was_successful_false"}:
            assert answer.json()["WasSuccessful"] is False
        case {"action": "rejected"}:
            assert [each["PropertyName"] for each in answer.json()["Errors"]] == ["Product"]
        case {"action": "delay"}:
            assert time.monotonic() - began >= 0.2
        case {"style": "429_text"}:
            assert re.search(r"Wait ([\d.]+) seconds", answer.text)
        case {"style": "429_retry_after"}:
            assert answer.headers["retry-after"] == "2"
        case {"style": "409_legacy"}:
            first, *rest = (FIXTURES / "10-throttle-409-legacy.txt").read_text().splitlines()
            assert f"HTTP/1.1 409 {answer.reason_phrase}" == first
            assert f"Retry-After: {answer.headers['retry-after']}" in rest
            assert answer.content == b""
        case _:
            assert "Message" in answer.json()


def test_lists_that_come_short(api: Api) -> None:
    whole = api.get("spaces/coworkers").json()
    api.fault("short_list", "GET coworkers")
    short = api.get("spaces/coworkers").json()
    assert short["Records"] == whole["Records"][: len(whole["Records"]) // 2]
    assert short["TotalItems"] == whole["TotalItems"], "a missing page does not change what the list says of itself"
    api.fault("empty_list", "GET coworkers", times=2)
    empty = api.get("spaces/coworkers").json()
    assert (empty["Records"], empty["TotalItems"]) == ([], 0)
    assert api.get(f"spaces/coworkers/{ANNA}").json()["Id"] == ANNA, "a record is no list"


def test_another_world_takes_the_place_of_this_one(folder: Path) -> None:
    given = {
        **WORLD,
        "sites": {"london": {"business_id": LONDON, "users": [{"username": "ann", "balance": 5}], "printers": [{}]}},
    }
    with running_api(folder, given) as api:
        api.fault("status", times=9)
        users = [{"username": "ann", "internal": True}, {"username": "ben", "notes": "new"}]
        people = [{"Id": BEN, "FullName": "Ben Bo", "Email": "ben@example.com"}]
        api.control("PUT", "world", {"nexudus": {"coworkers": people}, "sites": {"london": {"users": users}}})
        state = api.control("GET", "state")
        assert [row["Id"] for row in state["nexudus"]["coworkers"]] == [BEN]
        assert [row["Id"] for row in state["nexudus"]["coworkerextraservices"]] == [CREDIT], "not named, so it stays"
        assert [(user["username"], user["balance"]) for user in state["sites"]["london"]["users"]] == [
            ("ann", 0), ("ben", 0),
        ]  # fmt: skip
        with psycopg.connect(api.ready["sites"]["london"]["jobs_uri"].replace("+psycopg", "")) as con:
            assert con.execute("SELECT user_name, notes FROM tbl_user ORDER BY 1").fetchall() == [
                ("ann", ""), ("ben", "new"),
            ]  # fmt: skip
        assert api.post("billing/coworkerproducts", SALE | {"CoworkerId": BEN}).status_code == 200, "faults end"
        api.control("POST", "print", {"site": "london", "username": "ann", "printer": "printer", "cost": 1})
        refused = api.plain.put(f"{api.control_url}/world", json={"sites": {"london": {"users": []}}})
        assert refused.status_code == 400
        assert "has print jobs" in refused.json()["error"]


def test_faults_wait_for_their_turn(api: Api) -> None:
    api.fault("status", times=2, after=1)
    codes = [api.post("billing/coworkerproducts", SALE).status_code for _ in range(4)]
    assert codes == [200, 500, 500, 200]
    api.fault("status", times=5)
    api.control("DELETE", "faults")
    assert api.post("billing/coworkerproducts", SALE).status_code == 200


def test_a_late_commit_happens_by_time_alone(api: Api) -> None:
    api.fault("late_commit", seconds=0.3)
    with pytest.raises(httpx.RemoteProtocolError):
        api.post("billing/coworkerproducts", SALE | {"Notes": "by time"})
    assert sales(api, "by time") == 0
    end = time.monotonic() + 5
    while sales(api, "by time") == 0:
        assert time.monotonic() < end, "the late effect never came"
        time.sleep(0.05)


def test_the_throttle_lets_a_number_of_calls_through(api: Api) -> None:
    api.switch(throttle="429_text", throttle_requests=3, throttle_seconds=60)
    codes = [api.get("spaces/coworkers", size=1).status_code for _ in range(5)]
    assert codes == [200, 200, 200, 429, 429]
    api.advance(61)
    assert api.get("spaces/coworkers", size=1).status_code == 200


def test_switches_that_plan_faults_and_limits(api: Api) -> None:
    api.switch(post_fault_times=2)
    api.switch(post_fault="fail_created")
    codes = [api.post("billing/coworkerproducts", SALE | {"Notes": "burst"}).status_code for _ in range(3)]
    assert (codes, sales(api, "burst")) == ([500, 500, 200], 3)
    api.switch(coworker_daily_limit=0)
    limited = api.post("spaces/coworkers", NEW)
    assert (limited.status_code, limited.json()) == (401, "Access Denied")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("switches", {"string_match": "fuzzy"}),
        ("faults", {"target": "nexudus", "match": "*", "action": "explode"}),
        ("faults", {"target": "nowhere", "match": "*", "action": "status"}),
        ("clock", {"advance_seconds": -1}),
        ("nexudus", {"entity": "cowokers", "set": {}}),
        ("print", {"site": "nowhere"}),
    ],
)
def test_control_refuses_what_makes_no_sense(api: Api, path: str, body: dict) -> None:
    answer = api.plain.post(f"{api.control_url}/{path}", json=body)
    assert (answer.status_code, list(answer.json())) == (400, ["error"])


def test_the_same_world_gives_the_same_records(api: Api, tmp_path: Path) -> None:
    person = api.get(f"spaces/coworkers/{ANNA}").json()
    with start(WORLD, tmp_path) as ready, httpx.Client(trust_env=False) as client:
        again = client.get(f"{ready['nexudus_url']}/api/spaces/coworkers/{ANNA}", auth=Api(ready).sign_in).json()
    assert again == person


def test_a_page_of_a_thousand_is_quick_and_ten_thousand_customers_fit(tmp_path: Path) -> None:
    people = [{"FullName": f"Pérson {number}", "Email": f"p{number}@example.com"} for number in range(10_000)]
    world = {"nexudus": {"businesses": [{"Id": LONDON}], "coworkers": people}, "sites": {}}
    with start(world, tmp_path) as ready, httpx.Client(auth=Api(ready).sign_in, trust_env=False) as client:
        began = time.monotonic()
        for page in range(1, 11):
            query = {"page": page, "size": 1000, "orderBy": "Id"}
            answer = client.get(f"{ready['nexudus_url']}/api/spaces/coworkers", params=query)
            assert len(answer.json()["Records"]) == 1000
        assert (time.monotonic() - began) / 10 < 0.3, "a page of 1,000 customers should take well under 0.3 s"
        assert len(client.get(f"{ready['control_url']}/state").json()["nexudus"]["coworkers"]) == 10_000


def test_it_stops_on_a_signal_and_when_its_parent_is_gone(tmp_path: Path) -> None:
    world, ready = tmp_path / "world.json", tmp_path / "ready.json"
    world.write_text('{"sites": {}}')
    command = [sys.executable, "-m", "pipeline.sandbox.app", "--world", str(world), "--ready-file", str(ready)]
    for how in ("signal", "end of input"):
        process = subprocess.Popen([*command, "--until-eof"], stdin=subprocess.PIPE)
        assert process.stdin is not None
        while not ready.exists():
            assert process.poll() is None
            time.sleep(0.02)
        assert oct(ready.stat().st_mode & 0o777) == "0o600", "the ready file holds a password"
        if how == "signal":
            os.kill(process.pid, signal.SIGTERM)
        else:
            process.stdin.close()
        assert process.wait(3) == 0, how
        process.stdin.close()
        ready.unlink()


OF_TESTS = """
import json, sys, time
from pathlib import Path
from tests.sandboxes import database_server, start
with start({"sites": {"london": {}}}, Path(sys.argv[1])) as ready:
    print(json.dumps([ready["control_url"], str(database_server().data)]), flush=True)
    time.sleep(60)
"""


def test_the_sandbox_of_a_test_process_ends_with_it_however_it_ends(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", OF_TESTS, str(tmp_path)], cwd=root, stdout=subprocess.PIPE) as tests:
        assert tests.stdout is not None
        control, files = json.loads(tests.stdout.readline())
        assert httpx.get(f"{control}/state", trust_env=False).status_code == 200
        assert (Path(files) / "postmaster.pid").exists()
        tests.kill()
    deadline = time.monotonic() + 20
    while (answers(control) or Path(files).exists()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not answers(control), "a sandbox outlived the tests that used it"
    assert not Path(files).exists(), "a database server outlived the tests that used it"
    Path(files).parent.rmdir()  # what a killed process cannot remove itself


def answers(url: str) -> bool:
    try:
        httpx.get(f"{url}/state", trust_env=False)
    except httpx.TransportError:
        return False
    return True


def test_sandboxes_of_one_database_server_have_databases_of_their_own_and_leave_none(tmp_path: Path) -> None:
    world = {"sites": {"london": {"users": [{"username": "alice"}]}}}

    def users(ready: dict[str, Any]) -> list[tuple[str]]:
        with psycopg.connect(ready["sites"]["london"]["jobs_uri"].replace("+psycopg", "")) as con:
            return con.execute("SELECT user_name FROM tbl_user ORDER BY user_id").fetchall()

    def databases() -> set[str]:
        with database_server().connect("postgres") as con:
            return {name for (name,) in con.execute("SELECT datname FROM pg_database").fetchall()}

    before = databases()
    with (
        running_api(tmp_path / "one", world) as one,
        running_api(tmp_path / "other", {"sites": {"london": {}}}) as other,
    ):
        assert len(databases() - before) == 2
        assert ("alice",) in users(one.ready)
        assert ("alice",) not in users(other.ready)
    assert databases() == before


def test_a_forked_sandbox_that_can_not_be_says_why(tmp_path: Path) -> None:
    world = {"nexudus": {"products": [{"Price": "cheap"}]}, "sites": {}}
    with pytest.raises(DidNotStartError, match="products: Price can not be 'cheap'"), forked(world, tmp_path):
        pass


def test_a_world_that_can_not_be_says_why(tmp_path: Path) -> None:
    world = {"nexudus": {"products": [{"Price": "cheap"}]}, "sites": {}}
    with pytest.raises(DidNotStartError, match="products: Price can not be 'cheap'"), start(world, tmp_path):
        pass


# Sites --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def london(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    site = {"business_id": 7, "users": [{"username": "alice", "balance": 100}], "printers": [{"name": "front"}]}
    with running_api(tmp_path_factory.mktemp("site"), {"sites": {"london": site}}) as api:
        yield api


def balance(api: Api) -> httpx.Response:
    site = api.ready["sites"]["london"]
    body = xmlrpc.client.dumps((site["token"], "alice"), "api.getUserAccountBalance")
    return api.plain.post(site["papercut_url"], content=body, headers={"Content-Type": "text/xml"})


def test_a_site_prints_and_answers(london: Api) -> None:
    assert london.get("sys/businesses/7").json()["Name"] == "London", "a site's location exists without being listed"
    job = {"site": "london", "username": "alice", "printer": "front", "pages": 3, "color_pages": 0, "copies": 1}
    done = london.control("POST", "print", job | {"cost": 30})
    assert (done["allowed"], done["balance"]) == (True, 70.0)
    several = london.control("POST", "print", [job | {"cost": 5}, job | {"cost": 5}])
    assert [each["balance"] for each in several] == [65.0, 60.0]
    assert london.control("POST", "refund", {"site": "london", "job_id": done["job_id"]})
    assert balance(london).headers["content-type"] == "text/xml"
    assert xmlrpc.client.loads(balance(london).content)[0] == (90.0,)
    state = london.control("GET", "state")
    assert [user["balance"] for user in state["sites"]["london"]["users"]] == [90.0]
    assert state["calls"]["sites"]["london"]["api.getUserAccountBalance"] == 2
    refused = london.plain.post(f"{london.control_url}/print", json=job | {"username": "nobody", "cost": 1})
    assert (refused.status_code, list(refused.json())) == (400, ["error"])


def test_faults_reach_a_site(london: Api) -> None:
    def fault(action: str, **more: object) -> None:
        match = "api.getUserAccountBalance"
        london.control("POST", "faults", {"target": "london", "match": match, "action": action, **more})

    for action in ("drop_before", "drop_after", "late_commit", "truncate"):
        fault(action)
        with pytest.raises(httpx.RemoteProtocolError):
            balance(london)
    fault("status", code=503)
    assert balance(london).status_code == 503
    fault("html_200")
    assert balance(london).headers["content-type"].startswith("text/html")
    fault("was_successful_false")
    assert xmlrpc.client.loads(balance(london).content)[0] == (False,)
    fault("was_successful_false", style="fault")
    with pytest.raises(xmlrpc.client.Fault, match="could not be saved"):
        xmlrpc.client.loads(balance(london).content)
    fault("throttle", style="429_retry_after", seconds=3)
    assert balance(london).headers["retry-after"] == "3"
    assert xmlrpc.client.loads(balance(london).content)[0]
