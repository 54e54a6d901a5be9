"""The paper's spelling correction: a sequence-to-sequence model that writes a text again.

Source: Guhr (2023), a BART trained to undo typing errors, named by Sulun et al. (2024, section
3.1.1).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSeq2SeqLM

from reelgenre.extractors.paper.checkpoints import load_pretrained
from reelgenre.extractors.paper.text_tokenizer import load_tokenizer

_VERSION = 1
# It was trained on sentences; a page of text is corrected in pieces of so many words.
_PIECE_WORDS = 48
# A piece of more tokens is no language (a row of marks, say) and is left as it is.
_MOST_TOKENS = 256


class SpellingModel:
    """Corrects texts with a neural model, which decodes as its own generation config says.

    No sampling: the same text always gives the same correction. Texts are put into lower case
    first, since titles are set in capitals, which such models know as abbreviations. A correction
    is at most twice as long as what was read.

    Args:
        folder: ``config.json``, the weights, the tokenizer and, where the model has one,
            ``generation_config.json``.
        sha256: identifies these files, for fingerprints.
        device: where it runs, in single precision.
        prefix: put before every text, for models that do several tasks (``"grammar: "``).
        batch_size: texts run together; only those of one length are, so it changes no result.

    Raises:
        WeightsError: a file is missing, damaged, or of another kind of model.
    """

    def __init__(
        self,
        folder: Path,
        sha256: str,
        device: torch.device,
        *,
        prefix: str = "",
        batch_size: int = 16,
    ) -> None:
        self._device = device
        # The tokenizer and ``generate`` of transformers set up their own objects at every call.
        self._one_at_a_time = threading.Lock()
        self._prefix = prefix
        self._batch_size = batch_size
        # The folder's config tells which class it is; transformers' chooser has no such type.
        kind: Any = AutoModelForSeq2SeqLM
        self._model: Any = load_pretrained(kind, folder, device=device)
        self._tokenizer = load_tokenizer(folder, self._model.get_input_embeddings().num_embeddings)
        self.identity: dict[str, str | int] = {
            "corrector": sha256,
            "corrector_prefix": prefix,
            "corrector_version": _VERSION,
        }

    def correct(self, texts: Sequence[str]) -> list[str]:
        """The texts with their spelling corrected, in their order."""
        pieces = [_pieces(text.lower()) for text in texts]
        distinct = list(dict.fromkeys(piece for of_text in pieces for piece in of_text))
        with self._one_at_a_time:
            corrected = dict(zip(distinct, self._rewrite(distinct), strict=True))
        # What the model has no words for stays as it was read.
        return [" ".join(corrected[piece] or piece for piece in of_text) for of_text in pieces]

    def _rewrite(self, texts: list[str]) -> list[str]:
        ids = [self._tokenizer.encode(self._prefix + text) for text in texts]
        rewritten = list(texts)
        by_length: dict[int, list[int]] = {}
        for index, of_text in enumerate(ids):
            if len(of_text) <= _MOST_TOKENS:
                by_length.setdefault(len(of_text), []).append(index)
        for length, indices in sorted(by_length.items()):
            for first in range(0, len(indices), self._batch_size):
                batch = indices[first : first + self._batch_size]
                outputs = self._generate([ids[i] for i in batch], 2 * length)
                for index, output in zip(batch, outputs, strict=True):
                    rewritten[index] = " ".join(output.split())
        return rewritten

    @torch.inference_mode()
    def _generate(self, ids: list[list[int]], longest: int) -> list[str]:
        inputs = torch.tensor(ids, device=self._device)
        outputs = self._model.generate(
            input_ids=inputs,
            attention_mask=torch.ones_like(inputs),
            do_sample=False,
            num_return_sequences=1,
            # In place of the length in its config, which would cut long titles short.
            max_length=None,
            min_length=0,
            max_new_tokens=longest,
        )
        texts: list[str] = self._tokenizer.batch_decode(outputs, skip_special_tokens=True)
        return texts


def _pieces(text: str) -> list[str]:
    words = text.split()
    return [
        " ".join(words[start : start + _PIECE_WORDS])
        for start in range(0, len(words), _PIECE_WORDS)
    ]
