"""A whole text to one vector and the probabilities of its labels: RoBERTa with a classifier."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForSequenceClassification

from reelgenre.extractors.paper.checkpoints import load_pretrained
from reelgenre.extractors.paper.device import share
from reelgenre.extractors.paper.text_tokenizer import EncoderTokenizer, even_windows
from reelgenre.extractors.shared_batches import Outputs

TEXT_CLASSIFIER_VERSION = 1
_BATCH = 8
# Published with the weights of a summary of the sentence that this kind of head does not read.
_UNUSED = r"roberta\.(pooler|embeddings\.position_ids)"


@dataclass(frozen=True, eq=False)
class ClassifiedText:
    """What the model made of a text.

    Attributes:
        vector: float32 [D], what its classifier reads: the last hidden state of the first mark.
        probabilities: by label, adding to 1.
    """

    vector: NDArray[np.float32]
    probabilities: dict[str, float]

    @property
    def best(self) -> tuple[str, float]:
        """The most probable label and its probability."""
        return max(self.probabilities.items(), key=lambda item: item[1])


class TextClassifier:
    """A BERT-like encoder with a classification head, run in single precision.

    A text of more tokens than the model takes is cut into even windows; vectors and probabilities
    are averaged, so the end counts as much as the beginning.

    Args:
        folder: ``config.json``, the weights with the head, and the tokenizer.
        device: where it runs.

    Raises:
        WeightsError: a file is missing or damaged, or the checkpoint has no head.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        self._device = device
        # The folder's config tells which class it is; transformers' chooser has no such type.
        kind: Any = AutoModelForSequenceClassification
        self._model: Any = load_pretrained(kind, folder, ignore=_UNUSED, device=device)
        self._tokenizer = EncoderTokenizer.load(folder, self._model)
        self._labels = [name for _, name in sorted(self._model.config.id2label.items())]
        self.dim = int(self._model.config.hidden_size)
        # To give hidden states, transformers 5.0 patches the model at every call.
        self._batches = share(self._compute, device, _BATCH, keeps_state=True)

    def classify(self, text: str) -> ClassifiedText:
        """The text as one vector, and its labels' probabilities."""
        windows = even_windows(self._tokenizer.encode(text).ids, self._tokenizer.longest)
        # One by one, since their lengths differ by one; those of other videos may join them.
        outputs = [self._batches(np.array([self._tokenizer.marked(w)])) for w in windows]
        vector, shares = (np.concatenate(part).mean(axis=0) for part in zip(*outputs, strict=True))
        return ClassifiedText(
            vector.astype(np.float32),
            {label: float(share) for label, share in zip(self._labels, shares, strict=True)},
        )

    @torch.inference_mode()
    def _compute(self, windows: NDArray[np.int64]) -> Outputs:
        """Vectors [N, D] and probabilities [N, C] of windows of token ids [N, L]."""
        ids = torch.from_numpy(windows).to(self._device)
        output = self._model(
            input_ids=ids, attention_mask=torch.ones_like(ids), output_hidden_states=True
        )
        vectors = output.hidden_states[-1][:, 0].float().cpu().numpy()
        return vectors, output.logits.float().softmax(-1).cpu().numpy()
