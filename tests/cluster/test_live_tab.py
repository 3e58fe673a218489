"""The page of a running search on the port of Dask's dashboard, in a real browser."""

from __future__ import annotations

import asyncio
import json
import threading
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.request import urlopen

import pytest
from distributed import Client, LocalCluster

from menndl_dask.cluster import live_tab
from menndl_dask.cluster.cluster import load_cluster
from menndl_dask.cluster.profile import Local
from menndl_dask.report.report import write_report
from menndl_dask.run.progress import Counts, ProgressLine
from menndl_dask.search import throttle
from menndl_dask.search.live.live import LivePage
from menndl_dask.search.search import Search
from tests import evaluations
from tests.chromium import browser_page, find_browser
from tests.evaluations import SPACE


def asked(address: str) -> str:
    with urlopen(address, timeout=120) as answer:
        return str(answer.read().decode())


@pytest.mark.browser
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_the_tab_of_a_running_search_changes_as_results_arrive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "_LEAST_S", 0.2)
    hurry, run = tmp_path / "hurry", tmp_path / "<b>mine"
    with (
        load_cluster(Local(workers=1, dashboard_port=0)) as cluster, cluster.client() as client,
        (tmp_path / "line").open("w") as stream,
    ):  # fmt: skip
        live = LivePage(client, run, ProgressLine(stream))
        search = Search(None, SPACE, run, evaluate=partial(evaluations.unhurried, hurry))
        searching = threading.Thread(
                target=partial(
                    search.run, client, evaluations=80, progress=live,
                    on_change=lambda found: live.show_report(write_report(found, is_running=True)),
                )
            )  # fmt: skip
        searching.start()
        try:
            assert cluster.live is not None and cluster.live.endswith("/menndl")
            asyncio.run(looked_at(cluster.live, tmp_path, hurry))
        finally:
            hurry.touch()
            searching.join()


async def looked_at(address: str, folder: Path, hurry: Path) -> None:
    async with browser_page(find_browser() or "", folder / "profile") as page:
        await page.emulate("light", 1280)
        evaluated = "document.querySelector('iframe:not(.next)')?.contentDocument.body.innerText ?? ''"
        evaluated = f"/networks evaluated\\s+(\\d+)/i.exec({evaluated})?.[1]"
        await page.open(address, f"({evaluated}) > 0")
        early = await page.evaluate(evaluated)
        first = await page.evaluate("document.getElementById('line').textContent")
        assert (
            "evaluations" in first and await page.evaluate("document.getElementById('phase').textContent") == "search"
        )
        assert await page.evaluate("document.title") == "<b>mine – menndl"
        # before the search hurries to its end: a slow machine may have no time for another report then
        await page.until(f"({evaluated}) > {early}")  # in its place: the page was not loaded again
        hurry.touch()
        await page.until("document.getElementById('line').textContent.startsWith('80/80')")
        origin = address.rpartition("/")[0]
        assert {each.startswith((origin, "data:")) for each in page.requests} == {True}
        assert (page.errors, page.failed) == ([], [])
        await page.screenshot(folder / "live.png")
        # a link there and back
        assert await page.evaluate("document.querySelector('header a').getAttribute('href')") == "status"
        await page.open(f"{origin}/status", "document.querySelector('a[href=menndl]') !== null")


def test_a_scheduler_of_the_users_own_shows_the_page_if_it_preloads_it(tmp_path: Path) -> None:
    with (
        LocalCluster(n_workers=0, processes=False, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client, (tmp_path / "line").open("w") as stream,
    ):  # fmt: skip
        live_tab.dask_setup(cluster.scheduler)
        address = f"http://127.0.0.1:{cluster.scheduler_info['services']['dashboard']}/menndl"
        assert "<title>menndl</title>" in asked(address)
        assert json.loads(asked(f"{address}/state")) == {"version": None, "workers": 0, "busy": 0}
        live = LivePage(client, tmp_path / "run", ProgressLine(stream))
        counts = Counts(0.0, 8, done=2, phase="comparison")
        live.show(counts, 10.0)
        live.show(counts, 10.5)
        state = json.loads(asked(f"{address}/state"))
        assert (state["title"], state["phase"], state["done"]) == ("run", "comparison", 0.25)
        assert "report appears here" in asked(f"{address}/report")
        (tmp_path / "report.html").write_text("a report")
        live.show_report(tmp_path / "report.html")
        assert asked(f"{address}/report") == "a report"
        assert json.loads(asked(f"{address}/state"))["version"]


def test_metadata_of_others_does_not_harm_the_page() -> None:
    page: Any = live_tab.Report.__new__(live_tab.Report)
    page.server = SimpleNamespace(task_metadata={"menndl": "odd"})
    assert page._known == {}
