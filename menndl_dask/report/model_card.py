"""The model card: what a run's network is for and how good it is, each number with its source. Runs on the driver."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from menndl_dask import __version__, files
from menndl_dask.errors import RunError, UserError, reading
from menndl_dask.evaluation.simple_scores import FILE as SIMPLE_FILE
from menndl_dask.problem import SPLITS, UNITS, Problem
from menndl_dask.report.conclusion import alike_title, conclude, simple_text
from menndl_dask.report.contenders import (
    contender_table,
    contender_text,
    contender_title,
    cost_table,
    cost_title,
    rankings,
)
from menndl_dask.report.finals import final_table, final_title
from menndl_dask.report.headline import headline
from menndl_dask.report.network_drawing import summary
from menndl_dask.report.table import Row, table
from menndl_dask.run.recorder import Compared
from menndl_dask.run.run import Run
from menndl_dask.run.settings import installed_versions
from menndl_dask.space.standard.standard import standard_network
from menndl_dask.text import TextTable, counted, fitness_text, metric_title, milliseconds, quantity, size, with_error

FILE = "model_card.md"
_BEST, _JOURNAL, _SETTINGS = "best.keras", "journal.jsonl", "run.yaml"
_RARE = 0.01  # share of a class, below which the card says so


def write_model_card(
    run: Run, path: Path | None = None, *, network: Path | None = None, more: Sequence[str] = ()
) -> Path | None:
    """Write the model card of a network of a run.

    Parameters
    ----------
    run
        The run.
    path
        The file; by default ``model_card.md`` in the run directory.
    network
        The file with the network; by default ``best.keras`` of the run.
    more
        Sections to add.

    Returns
    -------
    Path or None
        Its path; None if the run has no such network, or is not on a data set.

    Raises
    ------
    RunError
        If it cannot be written.
    """
    problem = run.problem
    network = network or run.path / _BEST
    if problem is None or not network.is_file():
        return None
    path = path or run.path / FILE
    with reading(run.path, RunError):
        text = model_card(run, problem, network, more)
    try:
        files.write_text(path, text)
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {error.strerror}") from error
    return path


def model_card(run: Run, problem: Problem, network: Path, more: Sequence[str] = ()) -> str:
    """Return the model card of a network in Markdown."""
    used = training_of(run, problem, network)
    parts = [
        f"# Model card: {run.path.resolve().name}",
        f"Of `{network.name}`, written by menndl_dask {__version__} on {time.strftime('%d %B %Y')}. Each number has its"
        f" source: a file of the run, and the event (the kind of a line of `{_JOURNAL}`) or the key in it.",
        f"The search: {headline(run)}. Source: below, *Beside other networks*.",
        *_purpose(problem),
        *_data(problem),
        *_preprocessing(problem),
        *_network(network, used),
        *_training(problem, used),
        *_scores(run, problem, used),
        *_comparison(run, problem),
        *_costs(used),
        *_limits(problem),
        *more,
        "## Versions",
        ", ".join(f"{name} {number}" for name, number in (run.settings.get("versions") or installed_versions()).items())
        + f" (`{_SETTINGS}`: versions).",
        "## Licence",
        "The licence of the network and of the data is for you to state.",
    ]
    return "\n\n".join(parts) + "\n"


def training_of(run: Run, problem: Problem, network: Path) -> Compared | None:
    """Return the training that a network came from: whose file it equals, byte for byte; None if there is none."""
    wanted = network.stat().st_size, _digest(network)
    for each in _trainings(run, problem):
        path = each.path(run.path)
        if path.is_file() and path.stat().st_size == wanted[0] and _digest(path) == wanted[1]:
            return each
    return None


def _trainings(run: Run, problem: Problem) -> Iterable[Compared]:
    """Yield the trainings whose networks a run has saved, the latest first."""
    try:
        standard = standard_network(problem)[1].key
    except UserError:  # images of a single pixel have none
        standard = ""
    for each in reversed([*run.comparisons, *run.contenders, *run.finals]):
        if not each.is_standard or each.individual.genome.key == standard:  # others are not saved
            yield each
    if any(result.succeeded for _, result in run.evaluations):
        individual, result = run.best()
        yield Compared(f"network {individual.id}", individual, 0.0, result)


def event_of(training: Compared) -> str:
    """Return in words which event of the journal has a training."""
    kind = "final" if training.is_final else "compared" if training.seed is None else "contender"
    if training.factor == 0 and "flops_training" in training.result.costs:
        return f"`{_JOURNAL}`: told {training.individual.id}"
    seed = "" if training.seed is None else f", seed {training.seed}"
    return f"`{_JOURNAL}`: {kind} {training.individual.id}, factor {training.factor:g}{seed}"


def markdown(shown: TextTable) -> str:
    r"""Return a table in Markdown.

    >>> print(markdown(TextTable(["class", "pixels"], [["a | b", "7"]])))
    | class | pixels |
    |---|--:|
    | a \| b | 7 |
    """
    rows = [[cell.replace("|", "\\|") for cell in row] for row in (shown.head, *shown.rows)]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    sides = "|".join("---" if column in shown.left else "--:" for column in range(len(shown.head)))
    return "\n".join([lines[0], f"|{sides}|", *lines[1:]])


def _facts(rows: Sequence[Sequence[str]]) -> str:
    return markdown(TextTable(["", "", "source"], rows, (0, 1, 2)))


def _purpose(problem: Problem) -> list[str]:
    tasks = {"segmentation": "a class for each pixel", "classification": "a class for each image"}
    what = tasks.get(problem.task, f"{problem.facts.outputs} numbers for each image")
    what = "a number for each pixel" if problem.facts.pixel_values else what
    return [
        "## What it is for",
        f"The network gives {what} of {problem.seen}, of data such as `{Path(problem.data).name}`"
        f" (`{_SETTINGS}`: problem). State here what it is meant for, and what not.",
    ]


def _data(problem: Problem) -> list[str]:
    facts, where = problem.facts, f"`{_SETTINGS}`: problem.facts"
    counts = ", ".join(f"{n} {split}" for n, split in zip(facts.samples, SPLITS, strict=True))
    rows = [["fingerprint", f"`{facts.fingerprint}`", f"{where}.fingerprint"]]
    rows.append(["images" if problem.patches is None else "images or parts of them", counts, f"{where}.samples"])
    if facts.classes:
        unit = "pixels" if problem.by_pixel else "images"
        each = zip(facts.classes, facts.class_counts, strict=False)
        shown = ", ".join(f"{name}: {count:,}" for name, count in each)
        rows.append([f"classes, {unit} of the training split", shown, f"{where}.class_counts"])
    if facts.image_sizes:
        sizes = ", ".join("×".join(map(str, each)) for each in facts.image_sizes)
        rows.append(["smallest, median, largest image", sizes, f"{where}.image_sizes"])
    if facts.spacing:
        rows.append(["size of a pixel", " × ".join(f"{n:g}" for n in facts.spacing), f"{where}.spacing"])
    if problem.group is not None:
        rows.append(["kept together in a split", problem.group, f"`{_SETTINGS}`: problem.group"])
    return ["## Data", _facts(rows)]


def _preprocessing(problem: Problem) -> list[str]:
    facts, where = problem.facts, f"`{_SETTINGS}`: problem"
    mean = "; ".join(", ".join(f"{value:.6g}" for value in view) for view in facts.mean)
    variance = "; ".join(", ".join(f"{value:.6g}" for value in view) for view in facts.variance)
    rows = [
        ["normalisation, inside the network", problem.normalisation, f"{where}.normalisation"],
        ["mean of each channel, and in place of missing values", mean, f"{where}.facts.mean"],
        ["variance of each channel", variance, f"{where}.facts.variance"],
    ]
    if facts.clip:
        clip = ", ".join(f"{low:.6g} to {high:.6g}" for view in facts.clip for low, high in view)
        rows.append(["values are clipped", clip, f"{where}.facts.clip"])
    rows.append(["augmentation in training", ", ".join(problem.augmentation) or "none", f"{where}.augmentation"])
    return ["## Preprocessing", _facts(rows)]


def _network(network: Path, used: Compared | None) -> list[str]:
    digest = f"SHA-256 of `{network.name}`: `{_digest(network)}`."
    if used is None:
        return ["## Network", f"No training of the run has left this file; it came by other means. {digest}"]
    genome = summary(used.individual.genome, 5000)
    return [
        "## Network",
        f"{used.name}, the same bytes as `{used.path(Path())}`. {digest}",
        f"```\n{genome.rstrip()}\n```",
    ]


def _training(problem: Problem, used: Compared | None) -> list[str]:
    budget, where = problem.budget, f"`{_SETTINGS}`: problem"
    length = ", ".join(f"{value:g} {name}" for name in UNITS if (value := getattr(budget, name)) is not None)
    rows = [["budget of the search", length, f"{where}.budget"]]
    if used is not None:
        times = used.factor or 1.0
        rows.append(["times that budget", f"{times:g}", event_of(used)])
        splits = "train and validation" if used.is_final else "train"
        rows.append(["trained on the splits", splits, event_of(used)])
        rows.append(["seed", f"{used.result.seed}", f"{event_of(used)}: result.seed"])
        if "train_seconds" in used.result.costs:
            seconds = f"{used.result.costs['train_seconds']:.1f} s"
            rows.append(["time of training", seconds, f"{event_of(used)}: result.costs.train_seconds"])
    rate = f"learning rate {budget.learning_rate:g} ({budget.schedule})"
    settings = f"{budget.optimizer}, {rate}, batches of {budget.batch_size}"
    rows.append(["optimiser (unless a gene says otherwise)", settings, f"{where}.budget"])
    rows.append(["loss", problem.loss_name, f"{where}.loss"])
    return ["## Training", _facts(rows)]


def _scores(run: Run, problem: Problem, used: Compared | None) -> list[str]:
    name, metric = problem.metric_name, metric_title(problem.metric_name)
    rows = []
    if used is not None:
        metrics, source = used.result.metrics, event_of(used)
        validation = "trained on" if used.is_final else fitness_text(metrics.get(name, used.result.fitness))
        rows.append([f"{metric}, validation split", validation, f"{source}: result.metrics.{name}"])
        test = with_error(metrics, f"test_{name}")
        rows.append([f"{metric}, test split ± standard error", test, f"{source}: result.metrics.test_{name}"])
    if problem.facts.constant_fitness is not None:
        constant = fitness_text(problem.facts.constant_fitness)
        source = f"`{_SETTINGS}`: problem.facts.constant_fitness"
        rows.append(["constant predictor, validation split", constant, source])
    all_of_them = [*run.comparisons, *run.contenders, *run.finals]
    tests = [each for each in all_of_them if f"test_{name}" in each.result.metrics]
    own = sum(1 for each in tests if used is not None and each.individual.genome.key == used.individual.genome.key)
    looks = f"{counted(len(tests), 'time')}, {own} of them with this architecture"
    source = f"`{_JOURNAL}`: compared, contender, final: result.metrics.test_{name}"
    rows.append(["the test split was looked at", looks, source])
    return ["## Scores", _facts(rows)]


def _comparison(run: Run, problem: Problem) -> list[str]:
    """Return the tables and sentences of the report."""
    metric, parts = metric_title(problem.metric_name), []
    if alike := run.alike:
        parts += [alike_title(alike), markdown(table([Row.of(c.name, c.result) for c in alike], metric))]
        parts += [conclude(alike, problem, run.path), f"Source: `{_JOURNAL}`: compared."]
    if beside := simple_text(run.path, problem):
        parts += [beside, f"Source: `{SIMPLE_FILE}`."]
    for ranking in rankings(run):
        parts += [contender_title(ranking), markdown(contender_table(ranking)), contender_text(ranking)]
        if (costs := cost_table(ranking)) is not None:
            parts += [cost_title(ranking), markdown(costs)]
        parts.append(f"Source: `{_JOURNAL}`: contender, measured; differences: `contenders/*.test.npz`.")
    if finals := run.finals:
        parts += [final_title(finals), markdown(final_table(finals, problem)), f"Source: `{_JOURNAL}`: final."]
    return ["## Beside other networks", *(parts or ["No comparison was made: `menndl retrain`, `menndl compare`."])]


def _costs(used: Compared | None) -> list[str]:
    if used is None:
        return []
    costs, source = used.result.costs, event_of(used)
    where = f"on {used.result.worker or 'a worker'}, maybe beside other trainings"
    titles: tuple[tuple[str, str, Any], ...] = (
        ("parameters", "parameters", quantity),
        ("flops_forward", "FLOPs of one sample, forward", quantity),
        ("latency_ms", f"latency of one sample, {where}", milliseconds),
        ("memory_bytes", "peak memory of the training process", size),
    )
    rows = [[title, show(costs[k]), f"{source}: result.costs.{k}"] for k, title, show in titles if k in costs]
    return ["## Costs", _facts(rows)]


def _limits(problem: Problem) -> list[str]:
    facts = problem.facts
    seen = " and ".join("×".join(map(str, shape)) for shape in facts.input_shapes)
    how = {"vote": "by votes of windows", "mean": "by the mean of windows", "resize": "by resizing them"}
    larger = how.get(problem.large_images or "", "not at all")
    larger = "in overlapping tiles" if problem.by_pixel else larger
    lines = [
        f"It sees {seen} values, in {problem.rank}-D. `menndl predict` applies it to larger images {larger}"
        f" (`{_SETTINGS}`: problem.facts.input_shapes).",
        "It was tried on the images of this data set only. Other instruments, settings, doses, scales and preparations"
        " were not tried, nor values in another unit.",
    ]
    total = sum(facts.class_counts)
    few = [name for name, n in zip(facts.classes, facts.class_counts, strict=False) if n < _RARE * total]
    if few:
        named = ", ".join(few)
        lines.append(
            f"Less than {_RARE:.0%} of the training split is {named} (`{_SETTINGS}`: problem.facts.class_counts)."
        )
    return ["## Limits", "\n".join(f"* {line}" for line in lines)]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
