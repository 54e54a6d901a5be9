"""Short texts to sentence embeddings: MiniLM-L6 on onnxruntime.

The ONNX file holds int8 weights that are widened to float32 when it is loaded, so activations are
never quantised: a text's embedding does not depend on the texts it shares a batch with, beyond
the rounding of float32 sums.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from reelgenre.errors import WeightsError
from reelgenre.extractors.sessions import open_session

SENTENCE_DIM = 384

_VERSION = 1
# The length MiniLM-L6 was tuned for, with its two special tokens (its sentence_bert_config).
_MAX_TOKENS = 256
# Texts of one length share a batch of about so many tokens; more falls out of the cache.
_BATCH_TOKENS = 640


class SentenceEncoder:
    """Embeds texts as sentence-transformers' all-MiniLM-L6-v2 does.

    Token states are averaged over the text and scaled to length 1. A text that is longer than the
    model takes is cut into even windows whose states are averaged together, so its end counts as
    much as its beginning.

    Args:
        model: the ONNX file; int64 [N, L] ``input_ids``, ``attention_mask`` and
            ``token_type_ids`` in, float32 [N, L, 384] out.
        tokenizer: the ``tokenizer.json`` of that model.
        sha256: identifies both files, for the fingerprints of the extractors that embed text.
        threads: of one inference; None lets onnxruntime take all cores.

    Raises:
        WeightsError: a file is not what it should be.
    """

    def __init__(
        self, model: Path, tokenizer: Path, sha256: str, threads: int | None = None
    ) -> None:
        self._session = open_session(model, threads)
        try:
            self._tokenizer = Tokenizer.from_file(str(tokenizer))
        except Exception as error:  # the library raises bare Exception
            raise WeightsError(
                f"{tokenizer} is not a tokenizer: {error}",
                "Fetch it again with `reelgenre models pull`",
            ) from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        marks = [self._tokenizer.token_to_id(mark) for mark in ("[CLS]", "[SEP]")]
        if None in marks:
            raise WeightsError(
                f"{tokenizer} is not a tokenizer of BERT's kind",
                "Fetch it again with `reelgenre models pull`",
            )
        self._open_id, self._close_id = (int(mark) for mark in marks if mark is not None)
        self.identity: dict[str, str | int] = {
            "sentences": sha256,
            "sentences_max_tokens": _MAX_TOKENS,
            "sentences_version": _VERSION,
        }

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embeddings float32 [N, 384] of length 1, in the order of the texts.

        Texts of like length are run together, whatever their order. Equal texts are run once.
        """
        distinct = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        encodings = self._tokenizer.encode_batch_fast(list(distinct), add_special_tokens=False)
        owners: list[int] = []
        windows: list[list[int]] = []
        for row, encoding in enumerate(encodings):
            for window in _even_windows(encoding.ids, _MAX_TOKENS - 2):
                owners.append(row)
                windows.append([self._open_id, *window, self._close_id])
        sums = np.zeros((len(distinct), SENTENCE_DIM), np.float32)
        for batch in _batches_by_length(windows):
            # One text may own several windows of a batch, so plain += would lose some.
            np.add.at(sums, [owners[i] for i in batch], self._sums([windows[i] for i in batch]))
        # The mean and the sum of the token states point the same way.
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        embeddings = sums / np.maximum(lengths, np.finfo(np.float32).tiny)
        rows = np.fromiter((distinct[text] for text in texts), dtype=np.intp, count=len(texts))
        return np.asarray(embeddings[rows], dtype=np.float32)

    def _sums(self, windows: list[list[int]]) -> NDArray[np.float32]:
        """Sums of the token states, float32 [N, 384], of windows of one length."""
        ids = np.array(windows, dtype=np.int64)
        states = self._session.run(
            None,
            {
                "input_ids": ids,
                "attention_mask": np.ones_like(ids),
                "token_type_ids": np.zeros_like(ids),
            },
        )[0]
        return np.asarray(states.sum(axis=1), dtype=np.float32)


def _even_windows(ids: list[int], longest: int) -> Iterator[list[int]]:
    """Cut into as few windows as needed, of nearly the same length; an empty text is one window."""
    count = max(1, -(-len(ids) // longest))
    for start, end in pairwise(len(ids) * i // count for i in range(count + 1)):
        yield ids[start:end]


def _batches_by_length(windows: list[list[int]]) -> Iterator[list[int]]:
    """Indices of windows of equal length, in batches; no window is ever padded."""
    order = sorted(range(len(windows)), key=lambda i: len(windows[i]))
    batch: list[int] = []
    for i in order:
        length = len(windows[i])
        if batch and (
            length != len(windows[batch[0]]) or (len(batch) + 1) * length > _BATCH_TOKENS
        ):
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch
