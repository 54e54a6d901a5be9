"""A FeatureSequence refuses what a classifier could choke on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelgenre.sequences import FeatureSequence


def times(steps: int) -> np.ndarray:
    return np.stack([np.arange(steps), np.arange(steps) + 1], axis=1).astype(np.float32)


@given(st.integers(1, 50), st.integers(1, 20))
def test_shapes_are_kept_and_arrays_are_frozen(steps: int, dim: int) -> None:
    sequence = FeatureSequence(np.zeros((steps, dim), np.float32), times(steps), "x:1")
    assert (sequence.steps, sequence.dim) == (steps, dim)
    with pytest.raises(ValueError, match="read-only"):
        sequence.values[0, 0] = 1
    assert f"[{steps}, {dim}]" in repr(sequence)


@pytest.mark.parametrize(
    ("values", "of_times", "made_by", "said"),
    [
        (np.zeros((0, 3), np.float32), times(0), "x", "T, D >= 1"),
        (np.zeros((2, 0), np.float32), times(2), "x", "T, D >= 1"),
        (np.zeros(3, np.float32), times(3), "x", "values must be"),
        (np.zeros((2, 3)), times(2), "x", "float64"),
        (np.zeros((2, 3), np.float32), times(3), "x", "times must be"),
        (np.full((2, 3), np.nan, np.float32), times(2), "x", "finite"),
        (np.zeros((2, 3), np.float32), times(2)[::-1].copy(), "x", "in order"),
        (np.zeros((2, 3), np.float32), times(2)[:, ::-1].copy(), "x", "start <= end"),
        (np.zeros((2, 3), np.float32), times(2), "", "made_by"),
    ],
)
def test_what_is_not_a_sequence_is_refused(
    values: np.ndarray, of_times: np.ndarray, made_by: str, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        FeatureSequence(values, of_times, made_by)
