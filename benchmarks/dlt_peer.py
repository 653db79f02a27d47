"""dlt's REST source into DuckDB, run by a Python of its own: prints the seconds of each round as JSON.

What belongs here: what an operator would write with dlt for the same list. What does not: anything of the bridge, which
this Python does not have.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any


def token(url: str, email: str, password: str) -> str:
    """Sign in."""
    form = urllib.parse.urlencode({"grant_type": "password", "username": email, "password": password}).encode()
    with urllib.request.urlopen(f"{url}/api/token", form) as answer:  # noqa: S310 - the sandbox on this machine
        return json.load(answer)["access_token"]


def config(url: str, bearer: str) -> dict[str, Any]:
    """Every customer, by pages of the documented maximum as the bridge reads them."""
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
    """Load all customers into a new DuckDB file, as often as the last argument says."""
    url, email, password, rounds = sys.argv[1:]
    seconds: list[float] = []
    with tempfile.TemporaryDirectory(prefix="printbridge-dlt-") as folder:
        os.environ |= {"DLT_DATA_DIR": folder, "RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "ERROR"}
        import dlt  # noqa: PLC0415 - reads the environment when it is imported
        from dlt.sources.rest_api import rest_api_source  # noqa: PLC0415

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
