"""The report: what it tells of runs of every kind, how big it is, and how it is put in place."""

from __future__ import annotations

import base64
import hashlib
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest

from menndl_dask.report.bootstrap import Difference
from menndl_dask.report.content import ReportContent
from menndl_dask.report.headline import OnTest, Scored
from menndl_dask.report.report import render, write_report
from menndl_dask.report.table import Row
from menndl_dask.result import Result
from tests import split_results as examples
from tests import stories
from tests.runs import finished, made_up


def _words(page: str) -> str:
    return " ".join(re.sub(r"<(style|script)>.*?</\1>|<[^>]+>", " ", page, flags=re.DOTALL).split())


def test_the_heading_of_a_running_search_is_short_and_the_next_step_stands_below_it() -> None:
    told = "not tested yet; a search does so at its end, or menndl retrain /a/long/path"
    page = render(replace(stories.story(), headline=told))
    assert re.search("<h1>[^<]*</h1>", page)[0] == "<h1>stem: not tested yet</h1>"  # type: ignore[index]
    assert "A search does so at its end, or menndl retrain /a/long/path." in _words(page)


def test_the_page_tells_what_a_search_has_found() -> None:
    text = _words(render(stories.story()))
    best = max(result.fitness for _, result in stories.story().evaluations if result.fitness is not None)
    assert "stem: not tested yet Segmentation" in text  # the best fitness is no headline
    assert f"best mean IoU {best:.4f}" in text
    assert "Segmentation of 64×64×1 images, 4 classes" in text
    for part in ("Progress", "Best networks", "The best network", "Fitness versus cost", "Failures", "Workers"):
        assert part in text
    assert "constant predictor" in text
    assert "menndl search stem.zarr" in text
    assert "Seed 7." in text
    assert "carried on after 31 evaluations" in text


def test_a_comparison_comes_with_its_conclusion() -> None:
    text = _words(render(stories.compared()))
    assert "network test mean IoU validation mean IoU parameters" in text  # a narrow page shows the test split first
    assert "U-Net, retrained 0.8410 0.8430" in text
    assert "ahead by 0.009" in text


def test_the_conclusion_is_the_headline() -> None:
    told = "network 7 is as accurate as the small U-Net (mean IoU 0.665 ± 0.030 against 0.669 ± 0.035 on test)"
    assert f"<h1>stem: {told}</h1>" in render(replace(stories.compared(), headline=told))


def test_the_key_figures_are_those_of_the_test_and_of_what_it_cost() -> None:
    own = Scored("network 7", 7, 0.74, 0.01, {"parameters": 333e3, "flops_forward": 325e6, "latency_ms": 7.6})
    costs = {"parameters": 7.77e6, "flops_forward": 1.51e9, "latency_ms": 23.6}
    other = Scored("U-Net, planned", -1, 0.75, 0.01, costs)
    found = OnTest(own, other, Difference(-0.01, -0.02, 0.004, 0.01, 0.01))
    text = _words(render(replace(stories.compared(), on_test=found)))
    assert "difference on test -0.0100 in mean IoU to U-Net, planned; 95 %: -0.0200 to +0.0040" in text
    assert "parameters 333 k 7.77 M of U-Net, planned FLOPs 325 M 1.51 G of U-Net, planned" in text
    assert "latency beside trainings 7.6 ms 23.6 ms of U-Net, planned" in text  # not measured alone
    assert "stopped early, " in text and "ignores the image" not in text  # the maximum on the validation split is none
    assert "± is the standard error on the test split. “As accurate as” says that" in text
    assert "with 20 test samples, differences below about 0.012 cannot be seen" in text
    alone = replace(found, own=replace(own, costs=own.costs | {"samples_per_s": 200.0}), between=None)
    text = _words(render(replace(stories.compared(), on_test=alone)))
    assert "latency 7.6 ms" in text and "not known how certain" in text


def test_the_plan_of_a_search_stands_on_the_page_with_its_reasons() -> None:
    patch = {"value": [96, 96], "because": "images of 512 × 512 pixels", "given": False}
    epochs = {"value": 10, "because": "you gave it", "given": True}
    text = _words(render(replace(stories.story(), plan={"patch": patch, "epochs": epochs})))
    assert "Plan value is because patch 96 × 96 images of 512 × 512 pixels epochs 10 you gave it" in text
    assert "Plan value" not in _words(render(stories.story()))


def test_a_search_that_has_just_begun_has_a_page() -> None:
    text = _words(render(stories.empty()))
    assert "no results yet" in text
    assert "The best network" not in text
    assert "Failures" not in text


def test_the_first_network_has_a_page() -> None:
    text = _words(render(stories.story(1, failing=0.0)))
    assert "not tested yet" in text
    assert "drawn at random." in text
    assert "Failures None." in text


def test_a_search_in_which_all_failed_says_what_to_do() -> None:
    text = _words(render(stories.all_failed()))
    assert "none of 20 networks has succeeded so far" in text
    assert "100% of the networks: no learning. Check the data first" in text
    assert "20 × no_learning (network 0, …): no better than chance" in text
    one = replace(stories.all_failed(), evaluations=stories.all_failed().evaluations[:1])
    assert "none of 1 network has succeeded" in _words(render(one))
    assert "100% of the networks" not in _words(render(one))  # one failure is no rule


def test_a_story_without_a_problem_can_be_told() -> None:
    text = _words(render(replace(stories.story(8), problem=None, asked=None, completed_at={}, standard=None)))
    assert "best fitness" in text
    assert "constant predictor" not in text.replace("no better than the constant predictor", "")


def test_an_unknown_constant_predictor_is_left_out() -> None:
    story = stories.story(8)
    assert story.problem is not None
    unknown = replace(story.problem, facts=replace(story.problem.facts, constant_fitness=None))
    text = _words(render(replace(story, problem=unknown)))
    assert "ignores the image" not in text
    assert "ignores the image" in _words(render(story))


def test_ten_thousand_evaluations_and_test_samples_make_a_light_page_quickly() -> None:
    of = examples.pixels(size=900, channels=3)  # of noise, which compresses worst
    story = replace(stories.as_if(10_000), split_results=examples.results_of(of), problem=of)
    started = time.process_time()
    page = render(story)
    assert time.process_time() - started < 4
    assert page.count("<image ") == 9 * 4
    assert len(page.encode()) < 3_000_000
    assert "networks evaluated</dt><dd>10000" in page


def test_a_network_of_the_front_is_shown_with_the_command_that_applies_it() -> None:
    story = stories.story()
    assert story.best is not None
    number = story.best[0].id
    page = render(replace(story, saved={number: "runs/my run/networks/1/network.keras"}))
    shown = page[page.index(f'id="network-{number}"') :]
    assert "menndl predict &#x27;runs/my run/networks/1/network.keras&#x27; IMAGES PREDICTIONS.zarr" in shown
    assert shown.index("<svg") < shown.index("close")
    assert "Its weights were not kept." in shown


def test_the_word_for_a_training_that_is_stopped_early_is_the_same_everywhere() -> None:
    story = stories.story(40)
    stopped = Result.failed("pruned", "after 2 epochs its fitness was 0.1", times={"total": 3.0}, worker="one:1")
    told = [(i, r if n % 2 else stopped) for n, (i, r) in enumerate(story.evaluations)]
    page = render(replace(story, evaluations=told))
    assert "stopped early</dt><dd>20" in page
    assert "pruned" not in page
    assert "failed or" not in page


def test_notes_are_shown_with_their_time_the_last_ones_of_many() -> None:
    notes = [{"time": stories.START + n, "message": f"note {n}"} for n in range(251)]
    text = _words(render(replace(stories.story(1), notes=notes)))
    assert "The latest 200 of 251." in text
    assert "note 51" in text
    assert "note 50 " not in text
    assert f"{time.strftime('%m-%d %H:%M:%S', time.localtime(stories.START + 250))} note 250" in text


def test_what_users_write_cannot_break_the_page() -> None:
    story = stories.story(3, failing=0.0)
    individual, result = story.evaluations[0]
    nasty = "</script><script>alert(1)</script>"
    entries = [(individual, replace(result, worker=nasty)), (story.evaluations[1][0], Result.failed("error", nasty))]
    rows = {"compared": [Row(nasty, 0.5)], "standard": Row(nasty, 0.4)}
    told = ReportContent(entries, stories.STEM, nasty, **rows, notes=[{"time": stories.START, "message": nasty}])
    times = {individual.id: stories.START}
    page = render(replace(told, completed_at=times, command=nasty, versions={nasty: nasty}, conclusion=nasty))
    assert "<script>alert" not in page
    assert page.count("</script>") == 1


def test_a_page_replaces_the_old_one_whole(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("the old one", "utf-8")
    run = finished(tmp_path, made_up(1))
    before = {file.name for file in tmp_path.iterdir()}
    assert "networks evaluated" in write_report(run).read_text("utf-8")
    assert {file.name for file in tmp_path.iterdir()} == before


@pytest.mark.parametrize("count", [0, 1, 2])
def test_networks_an_hour_are_known_once_times_are(count: int) -> None:
    story = stories.story(max(count, 1), failing=0.0)
    story = story if count else replace(story, evaluations=[], completed_at={})
    assert (story.per_hour is None) == (count == 0)
    assert replace(story, completed_at={}).per_hour is None


def test_texts_of_a_run_put_neither_elements_nor_scripts_into_the_page() -> None:
    """Every text that a run holds is one that would run a script and turn the direction of the text."""
    evil = "\"'><img src=x onerror=alert(1)><script>alert(2)</script>\u202e\x1b[2J"
    story = stories.story()
    assert story.problem is not None
    problem = replace(
        story.problem,
        data=evil,
        inputs=(evil,) * len(story.problem.inputs),
        facts=replace(story.problem.facts, classes=(evil,) * story.problem.facts.outputs, fingerprint=evil),
    )
    told = [
        (individual, replace(result, worker=evil, message=evil if result.failure else ""))
        for individual, result in story.evaluations
    ]
    plan = {"loss": {"value": evil, "because": evil, "given": False}}
    notes = [{"time": 1.0, "message": evil}]
    content = replace(story, title=evil, problem=problem, evaluations=told, notes=notes, plan=plan)
    content = replace(content, versions={evil: evil}, command=evil, conclusion=evil)
    object.__setattr__(content, "seed", evil)  # a number, but a file may hold anything
    text = render(content)
    assert "<img" not in text
    assert text.count("<script>") == 1
    assert not set("\u202e\x1b") & set(text)
    assert "&lt;script&gt;alert(2)" in text


def test_a_browser_is_told_to_run_the_scripts_of_the_page_only() -> None:
    text = render(stories.story())
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text
    assert "default-src 'none'" in text


def test_the_network_that_is_drawn_is_that_of_the_headline() -> None:
    story = stories.story()
    assert story.best is not None
    other = next(i for i, result in story.evaluations if result.succeeded and i.id != story.best[0].id)
    own = Scored("network of another name", other.id, 0.5, None, {"parameters": 100.0, "flops_forward": 100.0})
    page = render(replace(story, headline="it is as accurate", on_test=OnTest(own, None, None)))
    drawn = page.partition("The best network</h2>")[2]
    assert drawn.startswith(f"<p>Network {other.id} with ")
    assert render(story).partition("The best network</h2>")[2].startswith(f"<p>Network {story.best[0].id} with ")
