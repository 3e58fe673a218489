"""The report of a run: one self-contained HTML page. Runs on the driver.

The page loads no other files, is readable without JavaScript and has a light and a dark theme. It is rewritten during
the run. All content is read from the run directory, so it works for running, finished and crashed runs.
"""

from __future__ import annotations

import shlex
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path

from menndl_dask import files
from menndl_dask.errors import RunError, reading
from menndl_dask.genome.individual import Evaluation, ranked
from menndl_dask.report import page
from menndl_dask.report.conclusion import search_title
from menndl_dask.report.contenders import contender_table, contender_text, contender_title, cost_table, cost_title
from menndl_dask.report.content import ReportContent, read_content
from menndl_dask.report.figures import (
    PHASES,
    anchor,
    curve_figures,
    front_members,
    is_stopped,
    progress_figure,
    timeline_figure,
    tradeoff_figures,
)
from menndl_dask.report.finals import final_table, final_title
from menndl_dask.report.headline import UNTESTED, OnTest, Scored
from menndl_dask.report.model_card import write_model_card
from menndl_dask.report.network.first_sight import at_first_sight, drawings
from menndl_dask.report.network.layer_table import layer_by_layer
from menndl_dask.report.network_drawing import boxes, draw_boxes, summary
from menndl_dask.report.performance import performance_section
from menndl_dask.report.pictures.lineage import lineage, lineage_figure
from menndl_dask.report.pictures.operators import importance_figure, operator_figure, outcome_figure
from menndl_dask.report.pictures.split_results import split_section
from menndl_dask.report.table import best_rows, table
from menndl_dask.result import FAILURES
from menndl_dask.run.layout import island_of, whole_run
from menndl_dask.run.planned_value import PlannedValue
from menndl_dask.run.run import Run
from menndl_dask.text import MISSING, TextTable, counted, duration, fitness_text, milliseconds, quantity, size

_DOMINATES = 0.7  # share of evaluations from which on advice for a kind of failure is shown
_FEW = 8  # evaluations below which no advice is shown
_REFRESH_S = 15
_NOTES = 200  # latest notes on the page
_DRAWINGS = 400_000  # characters of drawings of networks of the front
_BESIDE = """Latency and time of training were measured beside other trainings, so equal networks may differ in them.
    “menndl compare RUN --with standard” measures each network alone."""
_AGAIN = """There are no pictures of test samples: an earlier version has tested this run. “menndl predict RUN DATA
    PREDICTIONS.zarr” writes a page with them; “menndl retrain RUN” trains again and shows them here."""

_ADVICE: Mapping[str, str] = {
    "infeasible": """Check the limits and ranges of the search space: most of its networks cannot be built.""",
    "no_learning": """Check the data first: run “menndl check”. Are images and labels in the same order? Do the values
        have a suitable scale? Is one class much larger than the others? If the data is sound, use a longer budget or a
        larger learning rate.""",
    "diverged": """Try a smaller learning rate, and check the images for very large or missing values
        (“menndl check”).""",
    "out_of_memory": """Allow each evaluation more memory, use a smaller batch, or limit the parameters and FLOPs of
        the search space.""",
    "timed_out": """Allow each evaluation more time, use a smaller budget or fewer samples, or limit the FLOPs of the
        search space.""",
    "killed": """See the messages below: signal 9 usually means that the operating system ran out of memory.""",
    "worker_lost": """See the logs of the cluster: wall time, preemption or a failing node. The search space is not the
        cause.""",
    "error": """See the messages below: usually an exception in the user's loss, metric or gene kind.""",
}


def write_report(run: Run, path: Path | None = None, *, is_running: bool = False) -> Path:
    """Write ``report.html`` into the run directory, or a file elsewhere, replacing it atomically; return its path.

    In the run directory the model card of its best network is written too. The page of a run that `is_running` loads
    itself anew now and then, while it is looked at.

    Raises
    ------
    RunError
        If it cannot be written.
    """
    root = whole_run(run.path) if path is None else None
    path = path or run.path / "report.html"
    with reading(run.path, RunError):
        text = render(read_content(run), refresh_s=_REFRESH_S if is_running else 0)
    try:
        files.write_text(path, text, root=root)
    except OSError as error:
        elsewhere = "; menndl report RUN --output FILE writes it elsewhere" if root is not None else ""
        raise RunError(f"{path}: cannot be written: {error.strerror}{elsewhere}") from error
    if root is not None:
        write_model_card(run)
    return path


def render(content: ReportContent, refresh_s: int = 0) -> str:
    """Return the page as HTML; with `refresh_s` it loads itself anew after so many seconds."""
    sections = [
        _heading(content),
        page.tiles(_tiles(content)),
        _certainty(content),
        _networks(content),
        split_section(content.split_results, content.problem, _AGAIN),
        _progress(content),
        _best_network(content),
        _lineage(content),
        _tradeoffs(content),
        _operators(content),
        _failures(content),
        _islands(content),
        _events(content),
        _workers(content),
        "" if content.usage is None else performance_section(content.usage),
        _forecast(content),
        _plan(content),
        _reproduce(content),
    ]
    written = time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(content.written))
    return page.whole(f"{content.title} – menndl", sections, f"written {written} by menndl_dask", refresh_s)


def _heading(content: ReportContent) -> str:
    what = ""
    if content.problem is not None:
        facts = content.problem.facts
        classes = f", {facts.outputs} {'outputs' if content.problem.task == 'regression' else 'classes'}"
        train, validation, test = facts.samples
        what = (
            f"{content.problem.task.capitalize()} of {content.problem.seen}{classes}; {train:,} training, "
            f"{validation:,} validation and {test:,} test samples. Data: {content.problem.data}"
        )
    said, _, more = _headline(content).partition(f"{UNTESTED}; ")
    said = said or UNTESTED  # the heading is short
    next_step = f"<p class=sub>{escape(more[0].upper() + more[1:])}.</p>" if more else ""
    return f"<header><h1>{escape(f'{content.title}: {said}')}</h1><p class=sub>{escape(what)}</p>{next_step}</header>"


def _headline(content: ReportContent) -> str:
    total = len(content.evaluations)
    if not total:
        return "no results yet"
    if content.best is None:
        return f"none of {counted(total, 'network')} has succeeded so far"
    return content.headline


def _tiles(content: ReportContent) -> list[tuple[str, str, str]]:
    """Return the key figures: of the two networks of the headline, or of a search that is not tested yet."""
    total = len(content.evaluations)
    stopped = sum(r.failure == "pruned" for _, r in content.evaluations)
    failed = sum(not r.succeeded for _, r in content.evaluations) - stopped
    wanted = f"of {content.asked}" if content.asked else ""
    if content.on_test is not None and content.on_test.other is not None:
        spent = MISSING if content.usage is None else duration(content.usage.spent.seconds)
        what = f"of a worker: {counted(total, 'network')}, {stopped} stopped early, {failed} failed"
        return [*_tested_tiles(content.on_test, content.on_test.other, content.metric), ("search", spent, what)]
    values = [("networks evaluated", f"{total}", wanted)]
    if content.best is not None:
        best, result = content.best
        values.append((f"best {content.metric}", fitness_text(result.fitness), f"network {best.id}, validation split"))
    if content.constant is not None:
        values.append(("constant predictor", fitness_text(content.constant), "ignores the image"))
    if content.standard is not None:
        values.append(("standard network", fitness_text(content.standard.fitness), content.standard.name))
    if total:
        if stopped:
            values.append(("stopped early", f"{stopped}", f"{stopped / total:.0%} of all: a saving, no failure"))
        values.append(("failed", f"{failed}", f"{failed / total:.0%} of all"))
    if content.per_hour is not None:
        values.append(("networks per hour", f"{content.per_hour:.0f}", ""))
    return values


def _certainty(content: ReportContent) -> str:
    """Say what ± means, and which differences the test split is too small to show."""
    found, problem = content.on_test, content.problem
    if found is None or problem is None or found.own.error is None:
        return ""
    text = "± is the standard error on the test split."
    if found.between is not None and not found.between.is_certain:
        reach = (found.between.high - found.between.low) / 2
        text += f""" “As accurate as” says that the 95 % interval of the difference contains 0: with
            {counted(problem.facts.samples[2], "test sample")}, differences below about {reach:.2g} cannot be seen."""
    return f"<p class=note>{escape(' '.join(text.split()))}</p>"


def _tested_tiles(found: OnTest, other: Scored, metric: str) -> list[tuple[str, str, str]]:
    """Return how the evolved network differs from the standard one on the test split, and what both cost."""
    reach = "not known how certain"
    if found.between is not None:
        reach = f"95 %: {found.between.low:+.4f} to {found.between.high:+.4f}"
    beside = f"in {metric} to {other.name}; {reach}"
    values = [("difference on test", f"{found.own.score - other.score:+.4f}", beside)]
    alone = "samples_per_s" in found.own.costs  # else the latency is that of the training
    latency = "latency" if alone else "latency beside trainings"
    for title, key, written in (
        ("parameters", "parameters", quantity), ("FLOPs", "flops_forward", quantity),
        (latency, "latency_ms", milliseconds), ("memory to predict", "inference_bytes", size),
    ):  # fmt: skip
        own, theirs = found.own.costs.get(key), other.costs.get(key)
        if own is not None and theirs is not None:
            values.append((title, written(own), f"{written(theirs)} of {other.name}"))
    return values


def _progress(content: ReportContent) -> str:
    if not content.evaluations:
        text = "Results appear here when the first network is trained. Reload the page: it is rewritten during the run."
        return page.section("Progress", f"<p>{text}</p>", name="progress")
    figure = progress_figure(content.evaluations, content.fitness_title, content.constant, content.standard)
    entries = [("dot", "each network", ""), ("green", "best so far", "")]
    entries += [("red", "failed", "tick"), ("grey", "stopped early", "tick")]
    return page.section("Progress", _key(entries), page.scrolling(figure), name="progress")


def _key(entries: Sequence[tuple[str, str, str]]) -> str:
    """Return a legend: a colour of the page, its meaning and its style for each entry."""
    each = (f'<span class="key {st}" style="--c:var(--{colour})"></span>{escape(text)}' for colour, text, st in entries)
    return f'<p class="note">{"".join(each)}</p>'


def _networks(content: ReportContent) -> str:
    parts = []
    if content.compared:
        parts.append(f"<p>{escape(content.compared_title)}</p>")
        parts.append(_ranked(table(content.compared, content.fitness_title)))
        parts.append(f"<p>{escape(content.conclusion)}</p>" if content.conclusion else "")
    for ranking in content.rankings:
        parts.append(f"<p>{escape(contender_title(ranking))}</p>")
        parts.append(_ranked(contender_table(ranking)))
        costs = cost_table(ranking)
        parts += [] if costs is None else [f"<p>{escape(cost_title(ranking))}</p>", page.html_table(costs)]
        parts.append(f"<p>{escape(contender_text(ranking))}</p>")
    if (content.compared or content.rankings) and content.beside:
        parts.append(f"<p>{escape(content.beside)}</p>")
    if content.rankings and content.search_cost:
        parts.append(f"<p>{escape(content.search_cost)}</p>")
    if content.finals and content.problem is not None:
        parts.append(f"<p>{escape(final_title(content.finals))}</p>")
        parts.append(_ranked(final_table(content.finals, content.problem)))
    rows = best_rows(content.evaluations, 8)
    if rows:
        shown = [*rows, content.standard] if content.standard is not None else rows
        if content.compared:
            parts.append(f"<p>{escape(search_title(rows))}</p>")
        parts.append(_ranked(table(shown, content.fitness_title), len(rows) if content.standard is not None else None))
        if any("latency_ms" in row.costs for row in shown):
            parts.append(f"<p class=note>{_BESIDE}</p>")
    return page.section("Best networks", *parts, name="networks")


def _ranked(networks: TextTable, marked: int | None = None) -> str:
    return page.html_table(page.with_test_first(networks), marked, is_ranked=True)


def _best(content: ReportContent) -> Evaluation | None:
    """Return the network that the headline is about, or before the test the fittest one."""
    number = None if content.on_test is None else content.on_test.own.number
    return next((each for each in content.evaluations if each[0].id == number), content.best)


def _best_network(content: ReportContent) -> str:
    best = _best(content)
    if best is None:
        return ""
    individual, result = best
    parents = f", from {' and '.join(f'network {p}' for p in individual.parents)}" if individual.parents else ""
    costs = result.costs.get("parameters")
    weights = f" with {quantity(costs)} parameters" if costs else ""
    origins = {"random": "drawn at random", "seeded": "given at the start"}
    origin = origins.get(individual.origin, f"created by {individual.origin.replace('_', ' ')}")
    text = f"Network {individual.id}{weights}, {origin}{parents}."
    text += (
        " Each box shows a layer, its output shape, settings, parameters and the FLOPs of a sample, forward; the bar is"
        " its share of all parameters."
        " Boxes are indented by the number of times the image was halved. Violet lines are skip connections."
    )
    curves = page.side_by_side(curve_figures(result, content.fitness_title), "curves")
    heading = '<h2 style="margin-top:18px">Learning curve</h2>' if curves else ""
    nodes = boxes(individual.genome, content.problem)
    words = f"<details><summary>As text</summary><pre>{escape(summary(individual.genome, 5000))}</pre></details>"
    return page.section(
        "The best network",
        f"<p>{escape(text)}</p>",
        drawings(nodes),
        layer_by_layer(nodes, content.problem),
        heading + curves,
        words,
        name="best",
    )


def _lineage(content: ReportContent) -> str:
    best = _best(content)
    if best is None:
        return ""
    steps = lineage(content.evaluations, best[0])
    if len(steps) < 2:
        return ""
    text = f"From the first ancestor of network {best[0].id} to itself, {len(steps) - 1} steps:"
    figure = lineage_figure(steps, content.fitness_title)
    return page.section("How it came about", f"<p>{text}</p>", page.scrolling(figure), name="lineage")


def _tradeoffs(content: ReportContent) -> str:
    drawn = _front_networks(content)
    figures = tradeoff_figures(content.evaluations, content.fitness_title, content.standard, drawn)
    if not figures:
        return ""
    entries = [("green", "Pareto front: no other network is both cheaper and fitter", "")]
    entries += [("violet", "its knee: more cost begins to gain little", ""), ("dot", "others", "")]
    if content.standard is not None:
        entries.append(("amber", "standard network", ""))
    text = "A click on a network of the front shows it below. Drag over a figure to enlarge a part of it."
    parts = [_key(entries), f"<p class=note>{text}</p>", page.side_by_side(figures), *drawn.values()]
    return page.section("Fitness versus cost", *parts, name="tradeoffs")


def _front_networks(content: ReportContent) -> dict[int, str]:
    """Return what is shown of networks of the front when they are clicked, by their numbers."""
    found: dict[int, str] = {}
    for individual, result in front_members(content.evaluations):
        drawing = draw_boxes(at_first_sight(boxes(individual.genome, content.problem)))
        if sum(map(len, found.values())) + len(drawing) > _DRAWINGS:
            break
        costs = [
            f"{show(result.costs[key])} {title}"
            for key, title, show in (("parameters", "parameters", quantity), ("flops_forward", "FLOPs", quantity))
            if key in result.costs
        ]
        words = f"Network {individual.id}: {content.fitness_title} {fitness_text(result.fitness)}, {', '.join(costs)}"
        saved = content.saved.get(individual.id)
        command = f"menndl predict {shlex.quote(saved)} IMAGES PREDICTIONS.zarr" if saved else ""
        how = f"<pre>{escape(command)}</pre>" if saved else '<p class="note">Its weights were not kept.</p>'
        found[individual.id] = (
            f'<div class="picked" id="{anchor(individual.id)}"><h3>{escape(words)}</h3>{how}'
            f'{page.scrolling(drawing)}<p class="note"><a href="#tradeoffs">close</a></p></div>'
        )
    return found


def _operators(content: ReportContent) -> str:
    success = page.scrolling(operator_figure(content.evaluations))
    mattered = page.scrolling(importance_figure(content.evaluations, content.problem))
    text = "In which respects networks of different fitness differ, as the surrogate has learned it:"
    return page.section(
        "What worked",
        f"<p>Networks that are fitter than the fittest of their parents, by operator:</p>{success}" if success else "",
        f"<p>{text}</p>{mattered}" if mattered else "",
        name="operators",
    )


def _failures(content: ReportContent) -> str:
    counts = Counter(r.failure for _, r in content.evaluations if r.failure is not None and not is_stopped(r))
    stopped = any(is_stopped(r) for _, r in content.evaluations)
    figure = page.scrolling(outcome_figure(content.evaluations)) if counts or stopped else ""
    if figure:
        entries = [("blue", "succeeded", ""), ("grey", "stopped early", ""), ("red", "failed, a shade a kind", "")]
        figure = f"<p>What became of the networks, in the order in which they were done:</p>{_key(entries)}{figure}"
    if not counts:
        return page.section("Failures", f"<p>None.</p>{figure}", name="failures") if content.evaluations else ""
    total = len(content.evaluations)
    rows = [
        f"<td><strong>{escape(kind.replace('_', ' '))}</strong></td><td class=n>{count}</td>"
        f"<td class=n>{count / total:.0%}</td>"
        f'<td><span class="meter"><i style="width:{100 * count / total:.1f}%"></i></span></td>'
        f"<td>{escape(FAILURES[kind])}</td>"
        for kind, count in counts.most_common()
    ]
    shown = page.raw_table(["kind", "#networks", "#share", "", "meaning"], rows)
    kind, count = counts.most_common(1)[0]
    advice = ""
    if total >= _FEW and count / total > _DOMINATES:
        heading = f"{count / total:.0%} of the networks: {kind.replace('_', ' ')}."
        advice = f'<p class="advice"><strong>{escape(heading)}</strong> {escape(_ADVICE[kind])}</p>'
    return page.section("Failures", advice, shown, figure, _messages(content), name="failures")


def _messages(content: ReportContent) -> str:
    seen: dict[tuple[str, str], list[int]] = {}
    for individual, result in content.evaluations:
        if result.failure is not None and result.message and not is_stopped(result):
            seen.setdefault((result.failure, result.message[:400]), []).append(individual.id)
    if not seen:
        return ""
    common = sorted(seen.items(), key=lambda item: -len(item[1]))[:12]
    lines = "\n".join(
        f"{len(ids)} × {kind} (network {ids[0]}{', …' if len(ids) > 1 else ''}): {text}" for (kind, text), ids in common
    )
    return f"<details><summary>Messages</summary><pre>{escape(lines)}</pre></details>"


def _islands(content: ReportContent) -> str:
    if not content.migrations:
        return ""
    rows = []
    for number, migrations in content.migrations.items():
        own = [(individual, result) for individual, result in content.evaluations if island_of(individual) == number]
        best = next(iter(ranked(own, 1)), None)
        fitness = "–" if best is None else f"{fitness_text(best[1].fitness)} (network {best[0].id})"
        rows.append([f"island {number}", f"{len(own)}", fitness, f"{migrations}"])
    text = "Searches with separate drivers and workers; now and then each receives the best network of another."
    islands = TextTable(["", "networks evaluated", f"best {content.metric}", "migrants received"], rows)
    return page.section("Islands", f"<p>{text}</p>", page.html_table(islands), name="islands")


def _events(content: ReportContent) -> str:
    if not content.notes:
        return ""
    dropped = len(content.notes) - _NOTES
    rows = [
        f"<td class=t>{time.strftime('%m-%d %H:%M:%S', time.localtime(note['time']))}</td>"
        f"<td>{escape(note['message'])}</td>"
        for note in content.notes[-_NOTES:]
    ]
    before = f"<p class=note>The latest {_NOTES} of {len(content.notes)}.</p>" if dropped > 0 else ""
    return page.section("Events", before, page.raw_table(["time", "event"], rows), name="events")


def _workers(content: ReportContent) -> str:
    figure = timeline_figure(content.evaluations, content.completed_at)
    total: Counter[str] = Counter()
    for _, result in content.evaluations:
        total.update({k: v for k, v in result.times.items() if k not in ("total", "wait") and v > 0})
    seconds = sum(total.values())
    each = (f"{name} {duration(value)} ({value / seconds:.0%})" for name, value in total.most_common())
    phases = f'<p class="note">Time of the evaluations by phase: {escape(", ".join(each))}.</p>' if total else ""
    key = _key([(PHASES[name], name, "") for name in PHASES if total[name]]) if figure else ""
    return page.section("Workers", key, page.scrolling(figure), phases, name="workers")


def _forecast(content: ReportContent) -> str:
    if content.forecast is None:
        return ""
    note = f'<p class="note">{escape(content.forecast.title)}; see docs/forecast.md.</p>'
    return page.section("Forecast", page.html_table(replace(content.forecast, title="")), note, name="forecast")


def _plan(content: ReportContent) -> str:
    if not content.plan:
        return ""
    values = [PlannedValue.from_dict(name, each) for name, each in content.plan.items()]
    rows = [[each.title, each.shown, each.reason] for each in values]
    return page.section("Plan", page.html_table(TextTable(["value", "is", "because"], rows, (0, 1, 2))), name="plan")


def _reproduce(content: ReportContent) -> str:
    parts = []
    if content.command:
        parts.append(f"<pre>{escape(content.command)}</pre>")
    if content.seed is not None:
        parts.append(f"<p>Seed {escape(str(content.seed))}.")
        if content.problem is not None and content.problem.facts.fingerprint:
            parts.append(f" Data fingerprint <code>{escape(content.problem.facts.fingerprint)}</code>.")
        parts.append("</p>")
    if content.versions:
        versions = ", ".join(f"{name} {number}" for name, number in content.versions.items())
        parts.append(f'<p class="note">{escape(versions)}</p>')
    return page.section("How to reproduce", *parts, name="reproduce")
