"""A PaperCut server for the sandbox, faithful on the wire and in its database.

`site` puts the parts together; `server` receives calls; `users` and `system` are its methods; `records` and `jobs` are
what it knows and the rules it keeps; `values` is what callers may send. Source: `papercut-api.md`.
"""

from pipeline.sandbox.papercut.site import PaperCutSite
from pipeline.sandbox.wire import call_name

__all__ = ["PaperCutSite", "call_name"]
