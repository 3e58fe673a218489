"""The field's words: names of the private language that the package once had do not come back."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "menndl_dask"
MODULES = sorted(PACKAGE.rglob("*.py"))

# parts of names, between underscores and capital letters, that no name may have
_PARTS = """
    litter litters contest contests outlook outlooks curiosity parcel parcels flight flying chronicle legacy legacies
    workforce archipelago allotment barren appraisal verdict verdicts hopeless obituary bury stairs unbroken whoever
    survey surveys probe probes advise story stories descriptor descriptors mended mend welcome emigrants grants pinned
    workforces alignment inherit inherited inheritance bequeath census blueprint doubts heard arrivals
"""
# whole names
_NAMES = """
    Child Children Contest Operators Entry Seen Sight Places Expected Viability Screening Rates promise chance look
    deviation knows Task Bar Bars Course Appraisal Look Judge tested signs look_is_due rung_pass _Home _Homes Record
    Watched last_words _obituary tie_to aside Flight _Flying ground give_up NotBegun told leave put_back _Drive
    Forecast outstanding Pace Rungs Allotment News Chronicle Legacies Networks Tally Finding Examination _Life _bury
    GroupCluster Survey Probe Inspection Stack Pictures Scene Use Cut _Drawing constant_prediction pinned
"""
PARTS, NAMES = set(_PARTS.split()), set(_NAMES.split())
# names that are another thing elsewhere, by the folder in which they may not stand
NAMES_OF = {"cluster": {"Shape"}, "search": {"Task"}}
# what stands in the journals and commands of users' runs, or is a contract of the package
KEPT = {"emigrants"}


def identifiers(tree: ast.AST) -> Iterator[str]:
    """Yield the names that a module defines: classes, functions, parameters, variables, attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr
        elif isinstance(node, ast.alias) and node.asname:
            yield node.asname


def parts(name: str) -> set[str]:
    """Return the words of a name.

    >>> sorted(parts("_OldName_of_it"))
    ['it', 'name', 'of', 'old']
    """
    name = re.sub(r"in_flight|InFlight", "", name)  # what is submitted and not completed is in flight
    return {part.lower() for part in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_names_are_of_the_field(path: Path) -> None:
    found = set(identifiers(ast.parse(path.read_text(encoding="utf-8")))) | {path.stem}
    forbidden = NAMES | NAMES_OF.get(path.relative_to(PACKAGE).parts[0], set())
    bad = {name for name in found - KEPT if name in forbidden or parts(name) & PARTS}
    assert not bad, sorted(bad)


MANNERED = re.compile(
    r"\b(com(?:e|es|ing) home|(?:is|are|was|were) home|whoever|nobody|somebody|put(?:s|ting)? down"
    r"|nothing (?:if|where|by default)"
    r"|or nothing\b|litters?|outlooks?|verdicts?|hopeless|legac(?:y|ies))\b|; nothing\b",
    re.IGNORECASE,
)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_texts_speak_plainly(path: Path) -> None:
    """Docstrings, comments and messages have none of the phrases that a busy reader stumbles over."""
    lines = path.read_text(encoding="utf-8").splitlines()
    bad = [f"{number}: {line.strip()}" for number, line in enumerate(lines, 1) if MANNERED.search(line)]
    assert not [line for line in bad if "0.1.0" not in line], bad  # words of version 0.1.0 are still read


def test_a_forbidden_name_is_found() -> None:
    tree = ast.parse("class Litter: ...\ndef f(best_outlook): x.is_hopeless = 1")
    assert {name for name in identifiers(tree) if parts(name) & PARTS} == {"Litter", "best_outlook", "is_hopeless"}
    assert MANNERED.search("what has come home")
