"""A profile as text: what the device reaches, each batch size, and each layer. Runs on the driver."""

from __future__ import annotations

from menndl_dask.performance.profile import BatchProfile, Profile
from menndl_dask.text import MISSING, TextTable, quantity, size

_FIGURES = ("ms", "samples/s", "FLOP/s", "of peak", "memory")
_ROWS = ("batch", *_FIGURES, "train ms", *_FIGURES[1:])
_LAYERS = ("layer", "settings", "output", "parameters", "FLOPs", "FLOP/byte", "ms", "of time", "FLOP/s", "of peak")
_WIDEST = 34  # characters of the settings


def profile_text(profile: Profile) -> str:
    """Return a profile as text for a terminal."""
    cost = profile.cost
    lines = [
        f"{quantity(cost.parameters)} parameters; one sample: {quantity(cost.flops_forward)} FLOPs forward,"
        f" {quantity(cost.flops_training)} FLOPs in training",
        f"{profile.device}, {profile.precision}; measured just now: matrix product {quantity(profile.product)} FLOP/s,"
        f" convolution {quantity(profile.convolution)} FLOP/s, memory {quantity(profile.bandwidth)} bytes/s,"
        f" an empty call {1000 * profile.call_s:.2g} ms",
    ]
    if profile.was_busy:
        lines.append(
            f"the machine was busy: other processes took {profile.busy_share:.0%} of its cores meanwhile, so that all"
            " figures disagree with those of an idle machine; measure again there"
        )
    table = TextTable(_ROWS, [_batch(profile, each) for each in profile.batches], left=())
    lines += ["", "Predictions, and training steps with the optimiser:", str(table)]
    lines += [f"batch {each.batch}: {each.failure}" for each in profile.batches if each.failure]
    lines += ["", f"Layers, each alone, forward, {profile.layer_batch} samples:", str(layer_table(profile))]
    lines += ["of peak: share of the larger of matrix product and convolution above"]
    return "\n".join(lines)


def layer_table(profile: Profile) -> TextTable:
    """Return the rows of the layers of a profile."""
    total = sum(layer.seconds for layer in profile.layers)
    rows = []
    for layer in profile.layers:
        rate = profile.layer_batch * layer.flops / layer.seconds if layer.seconds else 0.0
        detail = layer.detail if len(layer.detail) <= _WIDEST else layer.detail[: _WIDEST - 1] + "…"
        share = f"{layer.seconds / total:.0%}" if total else MISSING
        rows.append([
            layer.title, detail, "×".join(map(str, layer.shape)), _amount(layer.parameters), _amount(layer.flops),
            f"{layer.intensity:.1f}", in_ms(layer.seconds), share, _amount(rate), _share(rate, profile),
        ])  # fmt: skip
    return TextTable(_LAYERS, rows, left=(0, 1))


def in_ms(seconds: float) -> str:
    """Return a time in milliseconds, as text.

    >>> in_ms(0.00123456), in_ms(1.7234)
    ('1.23', '1,723')
    """
    return f"{1000 * seconds:,.0f}" if seconds >= 0.1 else f"{1000 * seconds:.3g}"


def _batch(profile: Profile, batch: BatchProfile) -> list[str]:
    inference = _figures(profile, batch, batch.inference_s, profile.inference_rate(batch), batch.inference_bytes)
    return [
        str(batch.batch),
        *inference,
        *_figures(profile, batch, batch.training_s, profile.training_rate(batch), batch.training_bytes),
    ]


def _figures(
    profile: Profile, batch: BatchProfile, seconds: float | None, rate: float | None, memory: float | None
) -> list[str]:
    if not seconds or not rate:
        return [MISSING] * 5
    held = MISSING if memory is None else size(memory)
    return [in_ms(seconds), quantity(batch.batch / seconds), quantity(rate), _share(rate, profile), held]


def _amount(value: float) -> str:
    return quantity(value) if value else MISSING


def _share(rate: float, profile: Profile) -> str:
    return f"{rate / profile.peak:.1%}" if rate else MISSING
