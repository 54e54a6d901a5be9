"""High dynamic range pictures, brought to what a standard display shows."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

_PQ, _HLG = 16, 18
TRANSFERS = frozenset((_PQ, _HLG))
"""H.273 codes of the transfer characteristics that :func:`standard_range` understands."""

# Diffuse white in cd/m2 (ITU-R BT.2408) and where the shoulder of the tone curve ends.
_WHITE = 203.0
_PEAK = 1000.0
# Linear BT.2020 to linear BT.709 (ITU-R BT.2087).
_TO_709 = np.array(
    [
        [1.6605, -0.5876, -0.0728],
        [-0.1246, 1.1329, -0.0083],
        [-0.0182, -0.1006, 1.1187],
    ],
    np.float32,
)
# BT.2020 luminance weights, for the system gamma of HLG.
_LUMA = np.array([0.2627, 0.6780, 0.0593], np.float32)


def standard_range(image: NDArray[np.uint16], transfer: int) -> NDArray[np.uint8]:
    """Tone-map a BT.2100 picture to BT.709.

    Light up to about diffuse white keeps its ratio; highlights up to 1000 cd/m2 are rolled off
    on the largest of the three channels, so that hues stay.

    Args:
        image: RGB uint16 [H, W, 3], signal values over the full range of 16 bits.
        transfer: one of :data:`TRANSFERS`.

    Returns:
        RGB uint8 [H, W, 3].
    """
    light = _light(transfer)[image]
    if transfer == _HLG:
        # System gamma 1.2 of a 1000 cd/m2 display (ITU-R BT.2100).
        light *= np.maximum(light @ _LUMA, 1e-6)[..., None] ** 0.2 * (_PEAK / _WHITE)
    light = np.maximum(light @ _TO_709.T, 0.0)
    peak = np.maximum(light.max(axis=2, keepdims=True), 1e-6)
    # Extended Reinhard: linear near black, 1 at the peak.
    most = _PEAK / _WHITE
    light *= (1.0 + peak / most**2) / (1.0 + peak)
    levels = _SIGNAL_STEPS * np.clip(light, 0.0, 1.0)
    shown: NDArray[np.uint8] = _signal()[levels.astype(np.int32)]
    return shown


_SIGNAL_STEPS = 16383


@cache
def _light(transfer: int) -> NDArray[np.float32]:
    """Linear light of every 16-bit signal value: over diffuse white for PQ, scene light for HLG."""
    signal = np.arange(65536) / 65535.0
    if transfer == _PQ:
        m1, m2 = 2610 / 16384, 2523 / 4096 * 128
        c1, c2, c3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
        power = signal ** (1 / m2)
        nits = 10_000 * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1)
        return (nits / _WHITE).astype(np.float32)
    a = 0.17883277
    b, c = 1 - 4 * a, 0.5 - a * np.log(4 * a)
    light = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    return light.astype(np.float32)


@cache
def _signal() -> NDArray[np.uint8]:
    """The 8-bit sRGB signal of linear light from 0 to 1."""
    light = np.arange(_SIGNAL_STEPS + 1) / _SIGNAL_STEPS
    signal = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.round(255 * signal).astype(np.uint8)
