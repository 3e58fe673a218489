"""Picture of the lineage of a network: from its first ancestor to itself, with what each step changed. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from html import escape
from textwrap import shorten

from menndl_dask.genome.genome import Genome
from menndl_dask.genome.individual import Evaluation, Individual
from menndl_dask.report.chart import Scale, element
from menndl_dask.report.figures import outcome
from menndl_dask.report.network_drawing import boxes, detail_of

_WIDTH, _ROW, _TOP, _LEFT, _PLOT = 820, 44, 30, 26, 210  # sizes, pixels
_FIRST, _LAST = 3, 20  # steps that are shown of a long lineage
_LETTERS = 94  # of a line


@dataclass(frozen=True, slots=True)
class Step:
    """A network of a lineage, and what its creation changed in the ancestor before it."""

    evaluation: Evaluation
    changes: Sequence[str] = ()


def lineage(evaluations: Sequence[Evaluation], of: Individual) -> list[Step]:
    """Return a network and its ancestors, the first one first.

    Of two parents the one that the network has more layers of is followed, of such the fitter one.
    """
    known = {individual.id: (individual, result) for individual, result in evaluations}
    if of.id not in known:
        return []
    found = [known[of.id]]
    seen = {of.id}
    while True:
        child = found[-1][0]
        parents = [known[number] for number in child.parents if number in known and number not in seen]
        if not parents:
            break
        own = Counter(_layers(child.genome))
        alike = [(own & Counter(_layers(one.genome))).total() for one, _ in parents]
        fitness = [result.fitness or 0.0 for _, result in parents]
        nearest = max(range(len(parents)), key=lambda n: (alike[n], fitness[n]))
        found.append(parents[nearest])
        seen.add(parents[nearest][0].id)
    found.reverse()
    before = [None, *(individual.genome for individual, _ in found)]
    return [
        Step(one, [] if parent is None else changes(parent, one[0].genome))
        for parent, one in zip(before, found, strict=False)
    ]


def changes(parent: Genome, child: Genome) -> list[str]:
    """Return in words what differs between two networks, layer by layer.

    >>> from menndl_dask.genome.layers import Convolution, Pooling
    >>> first = Genome((Convolution(16), Pooling()))
    >>> changes(first, Genome((Convolution(32), Pooling(), Convolution(8))))
    ['Convolution 16 → 32', 'added Convolution 8 · 3 · relu']
    """
    before, after = _layers(parent), _layers(child)
    found = []
    for kind, low, high, start, stop in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if kind == "equal":
            continue
        old, new = list(before[low:high]), list(after[start:stop])
        for (old_name, old_text), (new_name, new_text) in zip(old, new, strict=False):
            found.append(_replaced(old_name, old_text, new_name, new_text))
        found += [f"removed {name} {text}".strip() for name, text in old[len(new) :]]
        found += [f"added {name} {text}".strip() for name, text in new[len(old) :]]
    first, second = ([detail_of(gene) for gene in genome.settings] for genome in (parent, child))
    found += [f"training {a} → {b}" for a, b in zip(first, second, strict=False) if a != b]
    return found or ["other connections" if parent.key != child.key else "the same network"]


def _replaced(name: str, settings: str, new_name: str, new_settings: str) -> str:
    """Return in words how a layer became another one: of one of the same kind, the settings that differ."""
    old, new = settings.split(" · "), new_settings.split(" · ")
    if name == new_name and len(old) == len(new):
        return f"{name} {', '.join(f'{a} → {b}' for a, b in zip(old, new, strict=True) if a != b)}"
    ends = new_settings if name == new_name else f"{new_name} {new_settings}"
    return f"{name} {settings} → {ends}".strip()


def lineage_figure(steps: Sequence[Step], metric: str) -> str:
    """Return a lineage as SVG: the fitness of each network, how it came about, and what that changed."""
    if not steps:
        return ""
    left_out = len(steps) - _FIRST - _LAST
    rows: list[Step | None] = [*steps]
    if left_out > 1:
        rows = [*steps[:_FIRST], None, *steps[-_LAST:]]
    values = [step.evaluation[1].fitness for step in steps]
    scale = Scale.around([v for v in values if v is not None]).over(_LEFT, _LEFT + _PLOT)
    height = _TOP + _ROW * len(rows)
    grid = "".join(
        f'<path class="grid" d="M{scale(v):.1f} {_TOP - 8}V{height - 8}"/>'
        f'<text class="tick" x="{scale(v):.1f}" y="{_TOP - 12}" text-anchor="middle">{v:.4g}</text>'
        for v in scale.ticks(3)
    )
    marks, line = [], ""
    for number, step in enumerate(rows):
        y = _TOP + _ROW * number + 14
        if step is None:
            marks.append(f'<text class="tick" x="{_LEFT + _PLOT + 24}" y="{y + 4}">… {left_out} steps …</text>')
            continue
        marks.append(_row(step, y, scale, is_last=number == len(rows) - 1))
        fitness = step.evaluation[1].fitness
        if fitness is not None:
            line += f"{'L' if line else 'M'}{scale(fitness):.1f} {y}"
    words = escape(f"{metric} (left), and what each step changed")
    title = f'<text class="title" x="{_LEFT + _PLOT + 24}" y="{_TOP - 12}">{words}</text>'
    path = f'<path class="line best" d="{line}"/>'
    return element(f"Lineage of {len(steps)} networks", _WIDTH, height, grid + title + path + "".join(marks))


def _row(step: Step, y: float, scale: Scale, is_last: bool) -> str:
    individual, result = step.evaluation
    origin = {"random": "drawn at random", "seeded": "given at the start"}.get(individual.origin)
    origin = origin or individual.origin.replace("_", " ")
    head = f"network {individual.id} · {outcome(result)} · {origin}"
    if len(individual.parents) > 1:
        head += f" of {' and '.join(map(str, individual.parents))}"
    text = "; ".join(step.changes)
    tip = f"{head}\n{text}" if text else head
    x = scale(result.fitness) if result.fitness is not None else scale.start
    dot = f'<circle class="dot {"front" if is_last else "best"}" cx="{x:.1f}" cy="{y}" r="{5 if is_last else 4}">'
    at = _LEFT + _PLOT + 24
    return (
        f"{dot}<title>{escape(tip)}</title></circle>"
        f'<text class="name" x="{at}" y="{y + 1}">{escape(head)}</text>'
        f'<text class="detail" x="{at}" y="{y + 17}">{escape(shorten(text, _LETTERS, placeholder=" …"))}'
        f"<title>{escape(tip)}</title></text>"
    )


def _layers(genome: Genome) -> list[tuple[str, str]]:
    """Return the name and the settings of each layer; what is repeated is there once, with how often."""
    return [
        (box.title, f"{box.detail} × {box.times}" if box.times > 1 else box.detail)
        for box in boxes(genome)
        if box.family not in ("view", "head")
    ]
