"""Pictures of test samples: image, label, prediction and error, and what was confused with what. Runs on the driver.

They come from arrays as `menndl_dask.training.scoring.examples.Examples.arrays` returns them. Colours of classes are
those of Okabe and Ito (2008, jfly.uni-koeln.de/color), then of Tol (2021, personal.sron.nl/~pault), which people with
any kind of colour vision can tell apart.
"""

from __future__ import annotations

import base64
import io
import zlib
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from menndl_dask.problem import Problem
from menndl_dask.report.chart import element
from menndl_dask.text import metric_title
from menndl_dask.training.scoring.examples import NO_LABEL

Array = NDArray[Any]
_COLOURS = (
    "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", "#332288", "#88ccee", "#44aa99",
    "#117733", "#999933", "#ddcc77", "#cc6677", "#882255", "#aa4499",
)  # fmt: skip
_WRONG, _UNKNOWN = "#d81b60", "#808080"  # of wrong pixels, and of pixels without a label
_ALPHA, _WRONG_ALPHA = 150, 230
_GAP, _ABOVE = 8, 20  # between panels, and for their titles, pixels
_WIDTH = 800  # of a picture with its four panels, pixels
_TITLES = {"best": "Best", "median": "Median", "worst": "Worst"}
_PLACES = ("best", "median", "worst")


def sample_pictures(found: Mapping[str, Array], problem: Problem) -> str:
    """Return the best, median and worst test samples as HTML; empty if there are none.

    One of each is shown, further ones are folded away. For classification these are small pictures with a caption, and
    the samples that were confused come first.
    """
    numbers = [number for number, place in enumerate(found["place"].tolist()) if place in _PLACES]
    if not numbers:
        return ""
    if problem.facts.pixel_values:
        return "".join(_maps(found, number) for number in numbers)
    if problem.task != "segmentation":
        return _sheets(found, problem)
    places = found["place"].tolist()
    first = [next(n for n in numbers if places[n] == place) for place in _PLACES if place in places]
    drawn = {number: masked_picture(found, number, problem) for number in numbers}
    more = [drawn[number] for number in numbers if number not in first]
    folded = f"<details><summary>{len(more)} further samples</summary>{''.join(more)}</details>" if more else ""
    return legend(problem) + "".join(drawn[number] for number in first) + folded


def masked_picture(found: Mapping[str, Array], number: int, problem: Problem) -> str:
    """Return one sample as SVG: its image, its label and its prediction over it, and its wrong pixels."""
    image, label, guess = (found[f"{name}{number}"] for name in ("image", "label", "prediction"))
    known = (label != NO_LABEL) & (guess != NO_LABEL)
    unknown = (label == NO_LABEL) & (guess != NO_LABEL)  # what neither has lies between the planes of a volume
    wrong = np.where(unknown, 2, known & (label != guess)).astype(np.uint16)
    colours = _colours(problem)
    masks = [("label", label, colours, _ALPHA), ("prediction", guess, colours, _ALPHA)]
    masks.append(("wrong pixels", wrong, {1: _WRONG, 2: _UNKNOWN}, _WRONG_ALPHA))
    return _panels(image, masks, caption_of(found, number))


def labelled_picture(image: Array, label: Array, problem: Problem, caption: str) -> str:
    """Return an image and its label over it as SVG; the label is `NO_LABEL` where there is none."""
    return _panels(image, [("label", label, _colours(problem), _ALPHA)], caption)


def _panels(image: Array, masks: Sequence[tuple[str, Array, Mapping[int, str], int]], caption: str) -> str:
    """Return an image, and again with each mask over it: its title, class numbers, their colours and its alpha."""
    height, width = image.shape[:2]
    columns = 2 if width > 1.6 * height or len(masks) == 1 else 4
    side = (_WIDTH - (columns - 1) * _GAP) / columns
    tall = side * height / width
    limit = 400 if columns == 2 and len(masks) > 1 else 260
    side, tall = (side * limit / tall, limit) if tall > limit else (side, tall)
    png = _png(image)
    name = f"sample-{zlib.crc32(png.encode()):08x}"
    size = f'width="{side:.1f}" height="{tall:.1f}" preserveAspectRatio="none"'
    parts = []
    for place in range(len(masks) + 1):
        x, y = (place % columns) * (side + _GAP), (place // columns) * (tall + _ABOVE + _GAP) + _ABOVE
        title = masks[place - 1][0] if place else "image"
        parts.append(f'<text class="title" x="{x:.1f}" y="{y - 6:.1f}">{title}</text>')
        first = f'<image id="{name}" x="0" y="{_ABOVE}" {size} href="{png}"/>'
        again = f'<use href="#{name}" x="{x:.1f}" y="{y - _ABOVE:.1f}"/>'
        parts.append(again if place else first)
        if place:
            _, mask, colours, alpha = masks[place - 1]
            parts.append(f'<image x="{x:.1f}" y="{y:.1f}" {size} href="{_mask_png(mask, colours, alpha)}"/>')
    rows = -(-(len(masks) + 1) // columns)
    total = columns * side + (columns - 1) * _GAP
    svg = element(caption, total, rows * (tall + _ABOVE) + (rows - 1) * _GAP, "".join(parts), "chart sample")
    return f"<figure><figcaption>{escape(caption)}</figcaption>{svg}</figure>"


def caption_of(found: Mapping[str, Array], number: int) -> str:
    """Return which sample it is, and its score, in words."""
    place, score = str(found["place"][number]), float(found["score"][number])
    sources = found.get("source", found["unit"])
    which = f"{int(sources[number])}"
    if (sources != found["unit"]).any():  # parts of images are scored one by one
        which += f", part {int(found['unit'][number])} of all"
    metric = str(found["metric"])
    named = {"confidence": f"probability of its class {score:.2f}", "error": f"error {-score:.3g} standard deviations"}
    reached = named.get(metric, f"{metric_title(metric)} {score:.4f}")
    return f"{_TITLES.get(place, 'Confused')}: sample {which}, {reached}"


def legend(problem: Problem, *, errors: bool = True) -> str:
    """Return the colours of the classes, as HTML; the most frequent class has none, so that the image is seen."""
    colours = _colours(problem)
    keys = [(colours[n], name) for n, name in enumerate(problem.facts.classes) if n in colours]
    keys += [(_WRONG, "wrong"), (_UNKNOWN, "no label")] if errors else []
    each = "".join(f'<span class="key" style="--c:{colour}"></span>{escape(name)}' for colour, name in keys)
    plain = [name for n, name in enumerate(problem.facts.classes) if n not in colours]
    without = f"{escape(plain[0])} has no colour; " if plain else ""
    return f'<p class="note">{without}{each}</p>'


def _colours(problem: Problem) -> dict[int, str]:
    """Return the colour of each class but the most frequent one."""
    counts = problem.facts.class_counts or (1,)
    classes = [n for n in range(problem.facts.outputs) if n != int(np.argmax(counts))]
    return {n: _COLOURS[place % len(_COLOURS)] for place, n in enumerate(classes)}


def _maps(found: Mapping[str, Array], number: int) -> str:
    """Return one sample with a value for each pixel as HTML: its image, its true and its predicted map."""
    words = f"{_TITLES[str(found['place'][number])]}: the image, its true and its predicted map"
    label, guess = _values(found[f"label{number}"]), _values(found[f"prediction{number}"])
    picture = f'<img src="{_png(found[f"image{number}"])}" alt="{words}" style="width:100%;image-rendering:pixelated">'
    caption = f"<figcaption>{words}; mean {label}, predicted {guess}</figcaption>"
    return f'<figure style="margin:0 0 14px">{picture}{caption}</figure>'


def _sheets(found: Mapping[str, Array], problem: Problem) -> str:
    """Return small pictures of samples with a label each, as HTML."""
    places = found["place"].tolist()
    parts = []
    for place, heading in (
        ("confused", "Confused most often"), ("worst", "Worst"), ("median", "Median"), ("best", "Best")
    ):  # fmt: skip
        numbers = [number for number, known in enumerate(places) if known == place]
        if numbers:
            each = "".join(_tile(found, number, problem) for number in numbers)
            parts.append(f'<h3>{heading}</h3><div class="sheet">{each}</div>')
    return "".join(parts)


def _tile(found: Mapping[str, Array], number: int, problem: Problem) -> str:
    label, guess = found[f"label{number}"], found[f"prediction{number}"]
    if problem.task == "classification":
        names = problem.facts.classes
        right = int(label) == int(guess)
        words = f"{names[int(label)]}" if right else f"{names[int(label)]}, predicted {names[int(guess)]}"
        words += f" ({float(found[f'confidence{number}']):.0%})" if _knows_confidence(found) else ""
    else:
        words = f"true {_values(label)}, predicted {_values(guess)}"
    tip = caption_of(found, number)
    return tile(found[f"image{number}"], words, tip)


def _knows_confidence(found: Mapping[str, Array]) -> bool:
    """Return whether the probabilities of the classes were kept, and not only the predicted classes."""
    if "calibration" not in found:
        return True
    number, confidence, _ = found["calibration"]
    return not np.allclose(confidence, number)


def tile(image: Array, words: str, tip: str = "") -> str:
    """Return a small picture ``(y, x)`` or ``(y, x, 3)`` of uint8 with its caption, as HTML."""
    source = f'<img src="{_png(image)}" alt="{escape(tip or words)}" title="{escape(tip)}">'
    return f"<figure>{source}<figcaption>{escape(words)}</figcaption></figure>"


def _values(values: Array) -> str:
    return ", ".join(f"{value:.4g}" for value in np.atleast_1d(values).tolist())


def _png(image: Array) -> str:
    """Return an image as the address of a PNG."""
    return _address(Image.fromarray(np.ascontiguousarray(image)))


def _mask_png(mask: Array, colours: Mapping[int, str], alpha: int) -> str:
    """Return a mask as the address of a PNG that is transparent where a class has no colour."""
    numbers = sorted(colours)
    places = np.zeros(mask.shape, np.uint8)
    palette, seen = [0, 0, 0], [0]
    for number in numbers[:255]:
        seen.append(alpha)
        palette += list(bytes.fromhex(colours[number][1:]))
        places[mask == number] = len(seen) - 1
    drawn = Image.fromarray(places, "P")
    drawn.putpalette(palette)
    return _address(drawn, transparency=bytes(seen))


def _address(image: Image.Image, **options: Any) -> str:
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True, **options)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
