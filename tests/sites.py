"""Sites for tests, as a profile would describe them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from menndl_dask.cluster.batch.site import Site, check_site


def site(kind: str = "slurm", directory: Path | str = "shared", **keys: Any) -> Site:
    """Return a small site of a kind whose processes meet on the loopback address; nothing (None) removes a keyword."""
    keywords: dict[str, Any] = {"cores": 8, "memory": "8GB", "walltime": "01:00" if kind == "lsf" else "01:00:00"}
    keywords |= {"interface": "lo", **keys.pop("jobqueue", {})}
    kept = {key: value for key, value in keywords.items() if value is not None}
    return check_site(
        "test.yaml", kind, {"shared_directory": str(directory), "dashboard_port": None, "jobqueue": kept, **keys}
    )
