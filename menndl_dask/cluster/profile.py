"""Cluster profiles: one YAML file a site that says where the workers are. Runs on the driver."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import menndl_dask
from menndl_dask.cluster.batch.site import KINDS as SITE_KINDS
from menndl_dask.cluster.batch.site import Site, check_site
from menndl_dask.cluster.dask_config import user_keywords
from menndl_dask.environment import GPU_VENDORS
from menndl_dask.errors import ProfileError, nearest
from menndl_dask.validation import PORT_OR_NONE, Check, checked, integer, number, one_of, read, read_yaml, schema, text

AUTO = "auto"
MOST = 10_000  # of workers or GPUs of a machine: a number of another kind would make lists without end
_COUNT = integer(1, MOST)
_TRAINERS = Check(
    f"{_COUNT.expected}, or {AUTO}",
    lambda value: _COUNT.accepts(value) or value == AUTO,
    {"anyOf": [dict(_COUNT.schema), {"const": AUTO}]},
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Local:
    """Worker processes on this machine.

    Parameters
    ----------
    workers
        Number of workers; by default `trainers_per_gpu` for each GPU, or one for each core without GPUs.
    gpus, gpu_vendor
        Number of GPUs of this machine, of which each worker sees one, and their vendor; by default those that are found
        there and that the framework can use. 0: none.
    trainers_per_gpu
        Number of networks that are trained on one GPU at the same time, if one does not use it fully; ``auto``: as many
        as fit by their predicted memory and make the search faster.
    dashboard_port
        Port of the Dask dashboard on the loopback address; None for no dashboard.
    """

    workers: int | None = checked(_COUNT, None)
    gpus: int | None = checked(integer(0, MOST), None)
    gpu_vendor: str | None = checked(one_of(GPU_VENDORS), None)
    trainers_per_gpu: int | str = checked(_TRAINERS, 1)
    dashboard_port: int | None = checked(PORT_OR_NONE, 8787)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduler:
    """A Dask scheduler that is already running, with its own workers.

    Parameters
    ----------
    address
        Address of the scheduler, such as ``tcp://10.0.0.1:8786``.
    scheduler_file
        File that ``dask scheduler --scheduler-file`` writes, in place of the address.
    timeout_s
        Seconds to wait for an answer, at the start and when the connection is lost.
    """

    address: str | None = checked(text(), None)
    scheduler_file: str | None = checked(text(), None)
    timeout_s: float = checked(number(above=0), 60.0)


Profile = Local | Scheduler | Site

logger = logging.getLogger(__name__)

_KINDS: Mapping[str, type[Local | Scheduler]] = {"local": Local, "scheduler": Scheduler}
_ALL_KINDS = (*_KINDS, *SITE_KINDS)


def read_profile(profile: str | Path) -> Profile:
    """Read a profile: a YAML file, or one that is shipped, by its name, such as ``local``.

    Raises
    ------
    ProfileError
        If there is none, or a key or a value is not as expected; the message names the file and the key.
    """
    file = _find(profile)
    return _checked(str(file), read_yaml(file, ProfileError))


def profile_file(profile: str | Path) -> Path | None:
    """Return the file of a user's profile; None for the name of one that is shipped."""
    path = Path(profile)
    return path if path.suffix in (".yaml", ".yml") or len(path.parts) > 1 else None


def profile_schema() -> dict[str, Any]:
    """Return the JSON schema of profiles, with which editors complete keys and mark mistakes."""
    kinds: dict[tuple[str, ...], dict[str, Any]] = {SITE_KINDS: schema(Site)}
    kinds |= {(name,): schema(kind) for name, kind in _KINDS.items()}
    for each in kinds.values():
        each["properties"]["kind"] = True  # said below
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Cluster profile of menndl_dask",
        "type": "object",
        "required": ["kind"],
        "properties": {"kind": {"enum": [*_ALL_KINDS]}},
        "allOf": [
            {"if": {"required": ["kind"], "properties": {"kind": {"enum": [*names]}}}, "then": each}
            for names, each in kinds.items()
        ],
    }


def shipped_profiles() -> list[str]:
    """Return the names of the profiles that are shipped."""
    return sorted(file.name.removesuffix(".yaml") for file in _folder().iterdir() if file.name.endswith(".yaml"))


def _find(profile: str | Path) -> Path | Traversable:
    if (path := profile_file(profile)) is not None:
        if not path.is_file():
            raise ProfileError(f"{path}: expected a cluster profile, got no such file")
        return path
    names = shipped_profiles()
    if str(profile) not in names:
        raise ProfileError(
            f"cluster {str(profile)!r}: expected a YAML file or one of {', '.join(names)}{nearest(str(profile), names)}"
        )
    return _folder() / f"{profile}.yaml"


def _folder() -> Traversable:
    """Return the folder of the shipped profiles: beside the package in a checkout, in it where it is installed."""
    beside = Path(menndl_dask.__file__).parents[1] / "clusters"
    return beside if (beside / "local.yaml").is_file() else resources.files("menndl_dask.clusters")


def _checked(file: str, values: dict[str, Any]) -> Profile:
    kind = values.pop("kind", None)
    one_of(_ALL_KINDS).demand(f"{file}: kind", kind, ProfileError)
    if values.pop("prepare_ahead", None) is not None:  # a key of version 0.1.0
        logger.warning("%s: prepare_ahead was removed and has no effect", file)
    if kind in SITE_KINDS:
        return check_site(file, kind, values, *user_keywords(str(values.get("batch") or kind)))
    known = ", ".join(each.name for each in fields(_KINDS[kind]))
    profile = read(_KINDS[kind], values, file, ProfileError, f" for kind {kind}; known are {known}")
    wrong = None
    if isinstance(profile, Scheduler):
        if (profile.address is None) == (profile.scheduler_file is None):
            wrong = f"expected either address or scheduler_file, got {'neither' if profile.address is None else 'both'}"
    elif bool(profile.gpus) != (profile.gpu_vendor is not None):
        wrong = f"expected gpus and gpu_vendor together, got {profile.gpus} and {profile.gpu_vendor}"
    elif profile.gpus == 0 and profile.trainers_per_gpu != 1:
        wrong = f"trainers_per_gpu: expected nothing without gpus, got {profile.trainers_per_gpu}"
    if wrong is not None:
        raise ProfileError(f"{file}: {wrong}")
    return profile
