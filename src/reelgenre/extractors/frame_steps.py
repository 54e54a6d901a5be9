"""Mid-shot frames to one step each, in batches; shared by the image encoders."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from reelgenre.extractors.base import Evidence, Extraction
from reelgenre.media import Frame
from reelgenre.sequences import FeatureSequence


def frame_steps(
    frames: Iterable[Frame],
    encode: Callable[[Sequence[Frame]], NDArray[np.float32]],
    size: int,
    made_by: str,
) -> Extraction | None:
    """One step per frame, as long as its shot, with the frame as its evidence.

    Args:
        frames: in order of time.
        encode: features float32 [N, D] of N frames.
        size: frames that are encoded at once; no more are held.
        made_by: the extractor's fingerprint.

    Returns:
        None where there is no frame.
    """
    features: list[NDArray[np.float32]] = []
    shots: list[tuple[float, float]] = []
    evidence: list[Evidence] = []
    for batch in batches(frames, size):
        features.append(encode(batch))
        for frame in batch:
            evidence.append(Evidence("frame", frame.time, frame.time, step=len(shots)))
            shots.append(frame.shot)
    if not shots:
        return None
    times = np.array(shots, dtype=np.float32)
    return Extraction(FeatureSequence(np.concatenate(features), times, made_by), tuple(evidence))


def batches(frames: Iterable[Frame], size: int) -> Iterator[list[Frame]]:
    """The frames in lists of ``size``, the last one shorter; no more than one list is held."""
    iterator = iter(frames)
    while batch := list(islice(iterator, size)):
        yield batch
