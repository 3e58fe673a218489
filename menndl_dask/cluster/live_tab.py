"""The page of the search at ``/menndl`` on the port of Dask's dashboard. Runs where the scheduler runs.

The driver sends the scheduler the state of the search and the report (`menndl_dask.search.live.live`), and this page
shows them. So it needs no file of the run, and works for a scheduler on another machine too. A scheduler that is
started here has it by Dask's setting ``distributed.scheduler.http.routes``. One of the user's own has it if it is
started with ``dask scheduler --preload menndl_dask.cluster.live_tab``.
"""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any

from distributed.http.utils import RequestHandler

KEY = "menndl"  # of the metadata of the scheduler
_WAITING = "<!doctype html><title>menndl</title><p>The report appears here after the first result.</p>"


class _Page(RequestHandler):
    """A page of the scheduler."""

    def set_default_headers(self) -> None:
        """Let no browser keep what changes, and no other site show it."""
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("X-Frame-Options", "SAMEORIGIN")

    @property
    def _known(self) -> dict[str, Any]:
        found = self.server.task_metadata.get(KEY)
        return found if isinstance(found, dict) else {}


class Tab(_Page):
    """The page itself, which asks for the rest."""

    def get(self) -> None:
        """Answer with the page."""
        self.write(_page())


class State(_Page):
    """The state of the search as JSON: what the driver has sent, and the workers that are busy now."""

    def get(self) -> None:
        """Answer with the state."""
        workers = self.server.workers.values()
        state = self._known.get("state")
        known = state if isinstance(state, dict) else {}
        busy = sum(bool(worker.processing) for worker in workers)
        version = self._known.get("version")
        self.write({**known, "version": version, "workers": len(workers), "busy": busy})


class Report(_Page):
    """The report as the driver has last sent it."""

    def get(self) -> None:
        """Answer with the report."""
        self.write(str(self._known.get("report") or _WAITING))


routes: list[tuple[str, type[RequestHandler], dict[str, Any]]] = [
    ("menndl", Tab, {}),
    ("menndl/state", State, {}),
    ("menndl/report", Report, {}),
]


def link(scheduler: Any) -> None:
    """Name the page in the navigation of Dask's own pages, if there are any."""
    try:
        from distributed.dashboard.scheduler import template_variables
    except ImportError:  # without Bokeh there is no dashboard
        return
    pages = template_variables(scheduler)["pages"]
    if KEY not in pages:
        pages.insert(0, KEY)


def dask_setup(scheduler: Any) -> None:
    """Add the page to a scheduler of the user's own: ``dask scheduler --preload menndl_dask.cluster.live_tab``."""
    each = [(f"/{path}", handler, {"dask_server": scheduler, **more}) for path, handler, more in routes]
    scheduler.http_application.add_handlers(".*$", each)
    link(scheduler)


@cache
def _page() -> str:
    page, script = (files(__package__).joinpath(f"live_tab.{kind}").read_text("utf-8") for kind in ("html", "js"))
    digest = b64encode(sha256(script.encode()).digest()).decode()
    return page.replace("SCRIPT_HASH", digest).replace("<script>SCRIPT", f"<script>{script}")
