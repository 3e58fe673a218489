"""The command ``menndl export``. Runs on the driver."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from menndl_dask.cli.parser import add_command, add_import_option
from menndl_dask.terminal import say
from menndl_dask.text import counted

if TYPE_CHECKING:
    from menndl_dask.run.run import Run

FORMATS = ("keras", "savedmodel", "onnx")


def add_commands(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
    text = "write a trained network for use elsewhere, with its preprocessing inside, and check it"
    parser = add_command(commands, "export", _export, text)
    parser.add_argument("model", type=Path, metavar="RUN|MODEL", help="a run, or a trained network such as best.keras")
    text = "keras, savedmodel (TensorFlow) or onnx (needs its converter); default: keras"
    parser.add_argument("--format", choices=FORMATS, default="keras", help=text)
    text = "file or folder to write; must not exist (default: in the folder export beside the network)"
    parser.add_argument("--output", type=Path, metavar="PATH", help=text)
    text = "pixels along each axis that the network is to take (default: as trained)"
    parser.add_argument("--tile", type=int, nargs="+", metavar="PIXELS", help=text)
    text = "write the run as a study of Optuna into a new SQLite file, for its dashboard, and export no network"
    parser.add_argument("--optuna", type=Path, metavar="FILE", help=text)
    add_import_option(parser)


def _export_study(run: Run, path: Path) -> int:
    from menndl_dask.tracking.optuna_study import export_study

    say(f"{path}: {counted(export_study(run, path), 'trial')}; to look at them: optuna-dashboard sqlite:///{path}")
    return 0


def _export(given: argparse.Namespace) -> int:
    from menndl_dask.cli import trust
    from menndl_dask.prediction.ensemble import run_of
    from menndl_dask.prediction.export import export
    from menndl_dask.report.model_card import write_model_card
    from menndl_dask.run.run import Run

    if given.optuna is not None:
        return _export_study(Run(given.model), given.optuna)
    trust.allow(given)
    say(f"exporting {given.model} as {given.format}; this takes some seconds …")
    done = export(given.model, given.output, kind=given.format, tile=given.tile)
    say(str(done))
    run = run_of(done.network)
    card = None if run is None else write_model_card(
        run, done.path.with_name(f"{done.path.name}.md"), network=done.network, more=done.section(given.format)
    )  # fmt: skip
    say("no model card: the network is in no run" if card is None else f"model card: {card}")
    return 0
