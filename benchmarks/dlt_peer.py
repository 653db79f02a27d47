"""dlt's REST source into DuckDB, run by a Python of its own: prints the seconds of each round as JSON.

What belongs here: what an operator would write with dlt for the same list. What does not: anything of printbridge,
which this Python does not have.
"""

from __future__ import annotations

import json
import sys
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import dlt
from dlt.sources.rest_api import rest_api_source


def token(url: str, email: str, password: str) -> str:
    """Sign in."""
    connection = HTTPConnection(urlsplit(url).netloc)
    form = urlencode({"grant_type": "password", "username": email, "password": password})
    connection.request("POST", "/api/token", form, {"Content-Type": "application/x-www-form-urlencoded"})
    with connection.getresponse() as answer:
        return json.load(answer)["access_token"]


def config(url: str, bearer: str) -> dict[str, Any]:
    """Every customer, by pages of the documented maximum as printbridge reads them."""
    pages = {"type": "page_number", "base_page": 1, "page_param": "page", "total_path": "TotalPages"}
    return {
        "client": {"base_url": f"{url}/api/", "auth": {"type": "bearer", "token": bearer}, "paginator": pages},
        "resources": [
            {
                "name": "coworkers",
                "endpoint": {
                    "path": "spaces/coworkers",
                    "params": {"size": 1000, "orderBy": "Id"},
                    "data_selector": "Records",
                },
            }
        ],
    }


def main() -> None:
    """Load all customers into a new DuckDB file below a folder, as often as the last argument says."""
    url, email, password, folder, rounds = sys.argv[1:]
    seconds: list[float] = []
    rows = 0
    for turn in range(int(rounds)):
        file = Path(folder) / f"peer{turn}.duckdb"
        pipeline = dlt.pipeline(f"peer{turn}", destination=dlt.destinations.duckdb(str(file)), dataset_name="peer")
        source = rest_api_source(config(url, token(url, email, password)))
        started = time.perf_counter()
        pipeline.run(source)
        seconds.append(time.perf_counter() - started)
        rows = pipeline.last_trace.last_normalize_info.row_counts["coworkers"]
    sys.stdout.write("\n" + json.dumps({"seconds": seconds, "rows": rows}))


if __name__ == "__main__":
    main()
