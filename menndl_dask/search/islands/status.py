"""The status of an island: its progress and its best networks, as other islands and users read them. Runs anywhere.

Each driver writes the status of its island into ``island.json`` in the island's directory.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from menndl_dask import files
from menndl_dask.genome.individual import Evaluation, Individual
from menndl_dask.result import Result
from menndl_dask.run.layout import whole_run

_FILE = "island.json"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class IslandStatus:
    """Progress and best networks of an island."""

    results: int = 0
    in_flight: int = 0  # evaluations that its workers have, or are about to get
    workers: int = 0
    failures: Mapping[str, int] = field(default_factory=dict)  # of each kind
    best: float | None = None  # the highest fitness; None if no evaluation has succeeded
    best_id: int | None = None  # number of that individual
    emigrants: tuple[Evaluation, ...] = ()  # that other islands may take in
    beat: int = 0  # rises while the driver lives

    @classmethod
    def read(cls, island: Path) -> Self | None:
        """Read the status from an island's directory; None if there is none, or it cannot be read at the moment."""
        try:
            values: dict[str, Any] = json.loads(files.read_text(island / _FILE, root=whole_run(island)))
            if "told" in values:  # as version 0.1.0 wrote it
                values["results"] = values.pop("told")
            pairs = values.pop("emigrants")
            emigrants = tuple((Individual.from_dict(one), Result.from_dict(result)) for one, result in pairs)
            return cls(**values, emigrants=emigrants)
        except FileNotFoundError:
            return None
        except Exception as error:  # noqa: BLE001 - whatever is in its place
            # on network file systems a file can vanish while it is replaced; it is read again soon
            logger.debug("%s: cannot be read now: %s", island / _FILE, error)
            return None

    @staticmethod
    def written_at(island: Path) -> float:
        """Return when an island last wrote its status, in seconds since the epoch; 0 if never."""
        try:
            return (island / _FILE).stat().st_mtime
        except OSError:
            return 0.0

    def write(self, island: Path) -> None:
        """Write the status into an island's directory, in place of the old one."""
        emigrants = [[individual.to_dict(), result.to_dict()] for individual, result in self.emigrants]
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        files.write_text(island / _FILE, json.dumps({**values, "emigrants": emigrants}) + "\n", root=whole_run(island))
