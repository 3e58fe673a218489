"""Cluster profiles: one YAML file a site that says where the workers are. Runs on the driver."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml

import menndl_dask
from menndl_dask.device import VENDORS
from menndl_dask.errors import ProfileError, nearest
from menndl_dask.site import KINDS as SITE_KINDS
from menndl_dask.site import Site, check_site


@dataclass(frozen=True, slots=True, kw_only=True)
class Local:
    """Worker processes on this machine.

    Parameters
    ----------
    workers
        How many; by default one for each core.
    gpus, gpu_vendor
        GPUs of this machine, where each worker is to see one of them and no other; then they say how many workers.
    trainers_per_gpu
        Networks that are trained on one GPU at the same time, where one alone leaves it idle.
    prepare_ahead
        Whether each worker has its next network prepared while it trains another one; by default where there are GPUs
        and a worker has three cores or more.
    dashboard_port
        Port of the Dask dashboard on the loopback address; nothing: no dashboard.
    """

    workers: int | None = None
    gpus: int = 0
    gpu_vendor: str | None = None
    trainers_per_gpu: int = 1
    prepare_ahead: bool | None = None
    dashboard_port: int | None = 8787


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduler:
    """A Dask scheduler that is already running, with its own workers.

    Parameters
    ----------
    address
        Such as ``tcp://10.0.0.1:8786``.
    scheduler_file
        The file that ``dask scheduler --scheduler-file`` writes; one of the two is needed.
    timeout_s
        Seconds to wait for an answer, at the start and when the connection is lost.
    """

    address: str | None = None
    scheduler_file: str | None = None
    timeout_s: float = 60.0


Profile = Local | Scheduler | Site

_KINDS: Mapping[str, type[Local | Scheduler]] = {"local": Local, "scheduler": Scheduler}
_ALL_KINDS = (*_KINDS, *SITE_KINDS)
_Check = tuple[str, Callable[[Any], bool]]


def _is_integer(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


_COUNT: _Check = ("an integer ≥ 1", lambda value: _is_integer(value, 1))
_PORT: _Check = ("a port, 0 to 65535, or null", lambda v: v is None or (_is_integer(v, 0) and v < 2**16))
_TEXT: _Check = ("a text", lambda value: isinstance(value, str) and value != "")
_SECONDS: _Check = ("a number > 0", lambda value: _is_integer(value, 1) or (isinstance(value, float) and value > 0))
_CHECKS: Mapping[str, _Check] = {
    "workers": _COUNT,
    "gpus": _COUNT,
    "gpu_vendor": (f"one of {', '.join(VENDORS)}", lambda value: value in VENDORS),
    "trainers_per_gpu": _COUNT,
    "prepare_ahead": ("true or false", lambda value: isinstance(value, bool)),
    "dashboard_port": _PORT,
    "address": _TEXT,
    "scheduler_file": _TEXT,
    "timeout_s": _SECONDS,
}


def read_profile(profile: str | Path) -> Profile:
    """Read a profile.

    Parameters
    ----------
    profile
        The path of a YAML file, or the name of a profile that is shipped, such as ``local``.

    Raises
    ------
    ProfileError
        If there is none, or a key or a value is not as expected; the message names the file and the key.
    """
    file = _find(profile)
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ProfileError(f"{file}: cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(values, Mapping):
        raise ProfileError(f"{file}: expected keys with values, got {values!r}")
    return _checked(str(file), dict(values))


def shipped_profiles() -> list[str]:
    """Return the names of the profiles that are shipped."""
    return sorted(file.name.removesuffix(".yaml") for file in _folder().iterdir() if file.name.endswith(".yaml"))


def _find(profile: str | Path) -> Path | Traversable:
    path = Path(profile)
    if path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
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
    if kind not in _ALL_KINDS:
        near = nearest(str(kind), _ALL_KINDS)
        raise ProfileError(f"{file}: kind: expected one of {', '.join(_ALL_KINDS)}, got {kind!r}{near}")
    if kind in SITE_KINDS:
        return check_site(file, kind, values)
    known = [field.name for field in fields(_KINDS[kind])]
    for key, value in values.items():
        if key not in known:
            near = nearest(str(key), known)
            raise ProfileError(f"{file}: unknown key {key!r} for kind {kind}; known are {', '.join(known)}{near}")
        expected, accepts = _CHECKS[key]
        if not accepts(value):
            raise ProfileError(f"{file}: {key}: expected {expected}, got {value!r}")
    profile = _KINDS[kind](**values)
    if isinstance(profile, Local) and (profile.gpus > 0) != (profile.gpu_vendor is not None):
        got = f"{profile.gpus} and {profile.gpu_vendor}"
        raise ProfileError(f"{file}: expected gpus and gpu_vendor together, got {got}")
    if isinstance(profile, Local) and profile.gpus == 0 and profile.trainers_per_gpu > 1:
        raise ProfileError(f"{file}: trainers_per_gpu: expected nothing without gpus, got {profile.trainers_per_gpu}")
    if isinstance(profile, Scheduler) and (profile.address is None) == (profile.scheduler_file is None):
        got = "neither" if profile.address is None else "both"
        raise ProfileError(f"{file}: expected either address or scheduler_file, got {got}")
    return profile
