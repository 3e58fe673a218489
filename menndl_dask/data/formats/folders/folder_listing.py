"""Which files of a folder are images, which are their masks, classes and splits. Runs on the driver."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from menndl_dask.data.formats.content import SPLIT_NAMES, split_name
from menndl_dask.data.formats.folders.image_file import PICTURES
from menndl_dask.data.formats.readers.readers import FORMATS, ending
from menndl_dask.errors import DataError
from menndl_dask.text import counted

IMAGES = ("images", "image", "img", "imgs", "imagestr", "raw", "frames", "input", "inputs", "volumes", "scans")
MASKS = (
    "labels", "masks", "label", "mask", "annotations", "annotation", "labelstr", "segmentation", "segmentations",
    "seg", "gt", "ground_truth", "groundtruth", "targets", "target",
)  # fmt: skip
"""Names of folders with images and masks."""

_MASK_WORDS = "masks?|segmentations?|seg|labels?|lbl|gt|groundtruth|ground_truth|annotations?|targets?|truth|manual1?"
_IMAGE_WORDS = "images?|img|im|raw|input|0000"
_TABLES = (".csv", ".tsv")
OUTLINES = (".json", ".geojson", ".xml", ".txt", ".roi")
NOT_READ = "outlines and boxes (COCO, LabelMe, YOLO, VOC) are not read; draw them as masks, a PNG for each image"
_OF_MACOS = ("__macosx",)  # a folder that its archives hold
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class FolderImage:
    """An image of a folder, with its mask or its class, and its split, if it has one."""

    file: Path
    mask: Path | None = None
    kind: str | None = None  # its class
    split: str | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """The images that are taken, in natural order, how many were found, and what was left out and why."""

    entries: tuple[FolderImage, ...]
    found: int = 0
    notes: tuple[str, ...] = ()


def natural(name: object) -> list[tuple[int, int, str]]:
    """Return a key that sorts numbers in names by their value.

    >>> sorted(["10.png", "9.png", "a1"], key=natural)
    ['9.png', '10.png', 'a1']
    """
    parts = re.findall(r"\d+|\D+", str(name).lower())
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts]


def listed(names: Sequence[object]) -> str:
    """Return the first few names as text."""
    return ", ".join(map(str, names[:_SHOWN])) + (", …" if len(names) > _SHOWN else "")


def list_folder(root: Path, labelled: bool = False) -> Listing:
    """Find the images of a folder; `labelled` if their labels come from elsewhere.

    Raises
    ------
    DataError
        If there are no images, an image has no mask or several, or only some splits have masks.
    """
    items, others = _walk(root)
    tops = _by_folder(root, items)
    splits = _splits(tops)
    notes = []
    if splits:
        stray = [file for name, files in tops.items() if name not in splits for file in files]
        if stray:
            where = listed(sorted({file.relative_to(root).parts[0] for file in stray}, key=natural))
            notes.append(f"left out: {counted(len(stray), 'image')} of {where} (beside {', '.join(splits)})")
        roots: list[tuple[Path, list[Path], str | None]] = [(root / n, tops[n], split) for n, split in splits.items()]
    else:
        roots = [(root, items, None)]
    masked = {folder.name: _folder(folder, MASKS) is not None for folder, _, _ in roots}
    if not labelled and len(set(masked.values())) > 1:
        raise DataError(f"{root}: expected masks in all of {', '.join(sorted(masked))} or in none")
    entries: list[FolderImage] = []
    for folder, files, split in roots:
        part = _entries(folder, files, labelled)
        entries += [replace(entry, split=split or entry.split) for entry in part.entries]
        notes += part.notes
    if not entries:
        expected = "a subfolder with images for each class, subfolders images and labels, or images"
        found = f"no image that can be read, but {listed(_names(others))}" if others else "no files"
        raise DataError(f"{root}: expected {expected}, found {found}; docs/formats.md lists the endings")
    if any(entry.split for entry in entries) and not splits:
        notes.append("splits are those of the folders below")
    return Listing(tuple(_by_name(entries)), len(items), (*notes, *_about(root, others, entries)))


def _walk(root: Path, above: tuple[Path, ...] = ()) -> tuple[list[Path], list[Path]]:
    """Return the image files below a folder and its other files, in natural order, without hidden ones.

    `above` are the folders around it: a link that leads back to one of them is not followed.
    """
    above = (*above, root.resolve())
    items: list[Path] = []
    others: list[Path] = []
    for path in sorted(root.iterdir(), key=lambda path: natural(path.name)):
        if path.name.startswith((".", "__")):
            continue
        if is_image(path):
            items.append(path)
        elif path.is_dir():
            if path.resolve() in above:
                continue
            below = _walk(path, above)
            items += below[0]
            others += below[1]
        else:
            others.append(path)
    return items, others


def is_image(path: Path) -> bool:
    """Whether a file, or a folder that is a store, has an ending that can be read."""
    return ending(path) in (*PICTURES, *FORMATS) and (path.is_file() or path.name.lower().endswith(".zarr"))


def _by_folder(root: Path, items: Iterable[Path]) -> dict[str, list[Path]]:
    """Return files by the folder at the top in which they lie; ``""`` for those that lie in none."""
    folders = sorted((d.name for d in root.iterdir() if d.is_dir() and d.name[0] not in "._"), key=natural)
    found: dict[str, list[Path]] = {name: [] for name in folders}
    for file in items:
        parts = file.relative_to(root).parts
        found.setdefault(parts[0] if len(parts) > 1 else "", []).append(file)
    return found


def _splits(tops: Mapping[str, Sequence[Path]]) -> dict[str, str]:
    """Return the folders at the top that are splits: one of them is for training, or all are splits."""
    tops = {name: files for name, files in tops.items() if files} or tops
    named = {name: SPLIT_NAMES[name.lower()] for name in tops if name.lower() in SPLIT_NAMES}
    return named if "train" in named.values() or len(named) == len(tops) else {}


def split_of_name(name: str) -> str | None:
    """Return the split that a word of a file's name says.

    >>> split_of_name("em_train.npz"), split_of_name("latest.npz")
    ('train', None)
    """
    words = re.split(r"[^a-z]+", name.lower())
    return next((SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES), None)


def _by_name(entries: Sequence[FolderImage]) -> Iterator[FolderImage]:
    """Yield entries with the splits that the names of all files say, if they have no others."""
    named = [split_of_name(entry.file.name) for entry in entries]
    use = all(named) and "train" in named and not any(entry.split for entry in entries)
    for entry, split in zip(entries, named, strict=True):
        yield replace(entry, split=split) if use else entry


def _entries(root: Path, files: Sequence[Path], labelled: bool) -> Listing:
    """Return the images below a folder that is no split."""
    masks, images = _folder(root, MASKS), _folder(root, IMAGES)
    if masks is not None:
        inside = [file for file in files if masks in file.parents]
        beside = [file for file in files if masks not in file.parents]
        if labelled:
            return Listing(tuple(map(FolderImage, beside)))
        return _pairs(root, images, masks, beside, inside)
    if labelled:
        return Listing(tuple(map(FolderImage, files)))
    suffixed = {file for file in files if _stem(file) != _key(file, _MASK_WORDS)}
    pictures = {_beside(file, _IMAGE_WORDS) for file in files if file not in suffixed}
    if any(_beside(file, _MASK_WORDS) in pictures for file in suffixed):
        images_beside = [file for file in files if file not in suffixed]
        return _matched(root, images_beside, [file for file in files if file in suffixed], _beside)
    tops = _by_folder(root, files)
    classes = {name: found for name, found in tops.items() if name and found}
    if len(classes) > 1:
        entries = [FolderImage(file, kind=name) for name, found in classes.items() for file in found]
        at_top = tops.get("", [])
        words = [name for name in classes if name.lower() in SPLIT_NAMES]
        notes = [f"labels: {', '.join(words)} is a class, no split, as there is no folder train"] if words else []
        left = f"left out: {counted(len(at_top), 'image')} beside the folders of the classes ({listed(_names(at_top))})"
        empty = [name for name, found in tops.items() if name and not found and name.lower() not in _OF_MACOS]
        nothing = f"left out: {listed(empty)} (no images in {'it' if len(empty) == 1 else 'them'})"
        said = (*notes, *([left] if at_top else []), *([nothing] if empty else []))
        return Listing(tuple(entries), notes=said)
    alone = (f"one folder with images, {next(iter(classes))}, is not taken to be a class",) if classes else ()
    return Listing(tuple(map(FolderImage, files)), notes=() if images is not None else alone)


def _folder(path: Path, names: Sequence[str]) -> Path | None:
    return next((d for d in sorted(path.iterdir()) if d.is_dir() and d.name.lower() in names), None)


def _names(files: Iterable[Path]) -> list[str]:
    return [file.name for file in files]


def _pairs(root: Path, images: Path | None, masks: Path, beside: Sequence[Path], inside: Sequence[Path]) -> Listing:
    """Return images and masks of two folders, matched by their paths there without ending."""
    if images is None and not beside:
        raise DataError(f"{root}: expected a subfolder images beside {masks.name}, found none")
    base = images or root
    taken = [file for file in beside if images is None or images in file.parents]
    if not taken:
        raise DataError(f"{images}: expected images ({', '.join(PICTURES)}, {', '.join(FORMATS)}), found none")

    def place(file: Path, words: str) -> str:
        within = file.relative_to(masks if masks in file.parents else base)
        return "/".join((*within.parts[:-1], _key(file, words)))

    found = _matched(masks, taken, inside, place)
    parts = [entry.file.relative_to(base).parts[0].lower() for entry in found.entries]
    if "train" in {split_name(part) for part in parts} and set(parts) <= set(SPLIT_NAMES):
        split = [split_name(part) for part in parts]
        entries = tuple(replace(e, split=name) for e, name in zip(found.entries, split, strict=True))
        found = replace(found, entries=entries)
    known = set(taken)
    stray = [file for file in beside if file not in known]
    if not stray:
        return found
    note = f"left out: {counted(len(stray), 'image')} beside {base.name} ({listed(_names(stray))})"
    return replace(found, notes=(*found.notes, note))


def _matched(masks: Path, images: Sequence[Path], labels: Sequence[Path], place: Callable[[Path, str], str]) -> Listing:
    exact: dict[str, list[Path]] = {}
    short: dict[str, list[Path]] = {}
    any_case: dict[str, list[Path]] = {}
    for file in labels:
        exact.setdefault(place(file, ""), []).append(file)
        short.setdefault(place(file, _MASK_WORDS), []).append(file)
        any_case.setdefault(place(file, _MASK_WORDS).lower(), []).append(file)
    entries: list[FolderImage] = []
    without: list[Path] = []
    used: dict[Path, Path] = {}
    for file in images:
        key, bare = place(file, ""), place(file, _IMAGE_WORDS)
        found = exact.get(key) or short.get(key) or short.get(bare) or any_case.get(bare.lower()) or []
        if not found:
            without.append(file)
            continue
        if len(found) > 1:
            raise DataError(f"{file}: expected one mask in {masks.name}, found {' and '.join(_names(found))}")
        if found[0] in used:
            raise DataError(f"{found[0]}: expected one image of this mask, found {used[found[0]].name} and {file.name}")
        used[found[0]] = file
        entries.append(FolderImage(file, found[0]))
    if without:
        raise DataError(_no_mask(masks, without, images, labels))
    left = [file for file in labels if file not in used]
    note = f"left out: {counted(len(left), 'mask')} without an image ({listed(_names(left))})"
    return Listing(tuple(entries), notes=(note,) if left else ())


def _no_mask(masks: Path, without: Sequence[Path], images: Sequence[Path], labels: Sequence[Path]) -> str:
    """Return a line about images without a mask."""
    first, parent = without[0], without[0].parent
    where = f"{_stem(first)}_mask.*" if parent == masks else f"{masks.name}/{_stem(first)}.*"
    there = sorted(masks.iterdir(), key=lambda file: natural(file.name)) if masks.is_dir() and not labels else []
    outlines = [file for file in there if file.suffix.lower() in OUTLINES]
    if outlines:
        return f"{first}: expected a mask {where}, found {listed(_names(outlines))}: {NOT_READ}"
    if len(without) == len(images):
        others = f"; masks there: {listed(_names(labels))}" if labels else ""
        return f"{first}: expected a mask {where}, found none for all {counted(len(images), 'image')}{others}"
    return (
        f"{first}: expected a mask {where}, found none for {len(without):,} of {counted(len(images), 'image')}; "
        "put images without a mask into another folder"
    )


def _stem(file: Path) -> str:
    """Return the name of a file without its ending: ``a`` of ``a.ome.tif``, ``a.nii.gz``."""
    name = file.name[: -len(ending(file, (*PICTURES, *FORMATS)))]
    return name.removesuffix(".ome").removesuffix(".OME")


def _key(file: Path, words: str) -> str:
    """Return the stem of a file without a word for masks or images at its end or beginning."""
    stem = _stem(file)
    if not words:
        return stem
    shorter = re.sub(rf"(?i)[_\-. ]({words})$|^({words})[_\-. ]", "", stem)
    return shorter or stem


def _beside(file: Path, words: str) -> str:
    return f"{file.parent}/{_key(file, words)}"


def _about(root: Path, others: Sequence[Path], entries: Sequence[FolderImage]) -> Iterator[str]:
    """Yield what to say of files that are no images."""
    tables = [file for file in others if file.suffix.lower() in _TABLES]
    broken = [file for file in others if file.is_symlink() and not file.exists()]
    if broken:
        lead = "leads" if len(broken) == 1 else "lead"
        yield f"left out: {counted(len(broken), 'link')} that {lead} to no file ({listed(_names(broken))})"
    others = [file for file in others if file not in broken]
    if others:
        yield f"left out: {counted(len(others), 'file')} of other kinds ({listed(_names(others))})"
    if any(entry.mask is not None or entry.kind is not None for entry in entries):
        return
    stems = {_stem(entry.file) for entry in entries}
    if len(tables) == 1:
        yield f"a table lies there: with --label {tables[0].relative_to(root.parent)} its rows become labels"
    elif tables:
        yield f"tables lie there: with --label, such as --label {tables[0]}, the rows of one become labels"
    if any(file.suffix.lower() in OUTLINES and file.stem in stems for file in others):
        yield f"labels: {NOT_READ}"


def match_masks(folder: Path, images: Sequence[Path], masks: Sequence[Path]) -> Listing:
    """Match masks of another folder to images by their names."""
    return _matched(folder, images, masks, _key)
