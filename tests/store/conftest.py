from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from reelgenre.sequences import FeatureSequence
from reelgenre.store import Video

MakeSequence = Callable[..., FeatureSequence]


@pytest.fixture(name="make_sequence")
def fixture_make_sequence() -> MakeSequence:
    def make(made_by: str = "clip:0123", steps: int = 3, dim: int = 4, seed: int = 0):  # type: ignore[no-untyped-def]
        rng = np.random.default_rng([seed, steps, dim])
        starts = np.sort(rng.uniform(0, 60, steps))
        times = np.stack([starts, starts + 1], axis=1).astype(np.float32)
        values = rng.normal(size=(steps, dim)).astype(np.float32)
        return FeatureSequence(values, times, made_by)

    return make


@pytest.fixture(name="make_video")
def fixture_make_video() -> Callable[..., Video]:
    def make(number: int = 0, **facts):  # type: ignore[no-untyped-def]
        return Video.from_name("test", f"video{number}", **facts)

    return make
