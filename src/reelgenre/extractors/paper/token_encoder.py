"""Lines of text to one vector per token, each token with the line that it came from.

Source: DistilBERT (Sanh et al., 2019) as Sulun et al. (2024, section 3.1.1) use it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import DistilBertModel

from reelgenre.extractors.loading import Loading
from reelgenre.extractors.paper.checkpoints import load_pretrained
from reelgenre.extractors.paper.device import share, torch_device
from reelgenre.extractors.paper.text_tokenizer import EncoderTokenizer
from reelgenre.extractors.shared_batches import Outputs
from reelgenre.weights import once

_VERSION = 1
# The checkpoint also has the head that it was trained with, to guess masked words.
_HEAD = r"vocab_(transform|layer_norm|projector)\."


@dataclass(frozen=True, eq=False)
class EncodedTokens:
    """What the encoder made of lines of text.

    Attributes:
        values: float32 [T, D], one row per token.
        lines: int64 [T], index of the line that each token came from, never falling.
    """

    values: NDArray[np.float32]
    lines: NDArray[np.int64]

    def first(self, line: int) -> int | None:
        """Row of the first token of a line; None where the line has none."""
        row = int(np.searchsorted(self.lines, line))
        return row if row < len(self.lines) and self.lines[row] == line else None


class TokenEncoder:
    """The last hidden states of DistilBERT, one per word piece.

    All lines are one text, joined by blanks, so that a token is encoded in the context of its
    neighbours. The opening and closing marks are given to the model as it was trained, but their
    states are left out: they are no words and have no time.

    A text of more tokens than the model has positions (512, two of them for the marks) is encoded
    in as few full windows as overlap by half or more. Each token's state is taken from the window
    in whose middle it stands most nearly, so it has at least a quarter of a window of context on
    both sides, or the text's end.

    Args:
        folder: ``config.json``, ``model.safetensors`` and the tokenizer of the model.
        sha256: identifies these files, for fingerprints.
        device: where it runs, in single precision: a trailer's text is a moment's work anywhere.
        batch_windows: how many windows of one video are run together; changes no result.

    Raises:
        WeightsError: a file is missing, damaged, or of another kind of model.
    """

    def __init__(
        self, folder: Path, sha256: str, device: torch.device, *, batch_windows: int = 8
    ) -> None:
        self._device = device
        self._batch_windows = batch_windows
        self._batches = share(self._compute, device, batch_windows)
        self._model = load_pretrained(DistilBertModel, folder, ignore=_HEAD, device=device)
        self._tokenizer = EncoderTokenizer.load(folder, self._model)
        self.dim = int(self._model.config.dim)
        self.identity: dict[str, str | int] = {"tokens": sha256, "tokens_version": _VERSION}

    def encode(self, lines: Sequence[str]) -> EncodedTokens | None:
        """States of the tokens of all lines; None where there are no tokens.

        Args:
            lines: consecutive texts.
        """
        encoding = self._tokenizer.encode(" ".join(lines))
        if not encoding.ids:
            return None
        starts = [0, *accumulate(len(line) + 1 for line in lines[:-1])]
        owners = [bisect_right(starts, end) - 1 for _, end in encoding.offsets]
        values = np.empty((len(encoding.ids), self.dim), np.float32)
        windows = overlapping_windows(len(encoding.ids), self._tokenizer.longest)
        # Not all at once: the windows of a long film overlap, and are several times its tokens.
        for start in range(0, len(windows), self._batch_windows):
            batch = windows[start : start + self._batch_windows]
            marked = [self._tokenizer.marked(encoding.ids[w.start : w.stop]) for w in batch]
            (states,) = self._batches(np.array(marked, np.int64))
            for window, of_window in zip(batch, states, strict=True):
                values[window.first : window.last] = of_window[
                    window.first - window.start : window.last - window.start
                ]
        return EncodedTokens(values, np.array(owners, np.int64))

    @torch.inference_mode()
    def _compute(self, windows: NDArray[np.int64]) -> Outputs:
        """States float32 [N, L, D] of windows [N, L + 2], without those of the marks."""
        ids = torch.from_numpy(windows).to(self._device)
        states = self._model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
        return (states[:, 1:-1].float().cpu().numpy(),)


@dataclass(frozen=True)
class Window:
    """A stretch of tokens that is encoded at once, and the part of it that is kept.

    Attributes:
        start, stop: the tokens that the model sees.
        first, last: those among them whose states are kept, ``last`` not included.
    """

    start: int
    stop: int
    first: int
    last: int


def overlapping_windows(count: int, longest: int) -> list[Window]:
    """Cover ``count`` tokens by windows of equal length that overlap by half or more.

    Args:
        count: tokens, at least 1.
        longest: of a window.

    Returns:
        Windows in order; their kept parts follow one another without gap or overlap.
    """
    if count <= longest:
        return [Window(0, count, 0, count)]
    steps = -(-(count - longest) // max(1, longest // 2))
    starts = [(count - longest) * i // steps for i in range(steps + 1)]
    # Halfway between the middles of two neighbours.
    borders = [(a + b + longest) // 2 for a, b in pairwise(starts)]
    return [
        Window(start, start + longest, first, last)
        for start, first, last in zip(starts, [0, *borders], [*borders, count], strict=True)
    ]


def load_token_encoder(name: str, loading: Loading) -> TokenEncoder:
    """The encoder of these weights, one per process however many modalities use it.

    Raises:
        WeightsError: the weights are missing or damaged.
    """
    weights = loading.weights(name)
    device, digest = torch_device(loading), weights.artefact.digest
    return once(
        ("tokens", digest, str(device)), lambda: TokenEncoder(weights.folder, digest, device)
    )
