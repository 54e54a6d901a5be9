from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.extractors.paper.text_models import damage, distilbert, without_tensor
from transformers import AutoModel, AutoTokenizer

from reelgenre.errors import WeightsError
from reelgenre.extractors.paper.token_encoder import TokenEncoder, overlapping_windows

CPU = torch.device("cpu")
LINES = ["The king sent his soldiers", "to WAR!", "", "Zorro's last witness?"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return distilbert(tmp_path_factory.mktemp("models") / "distilbert")


@pytest.fixture(scope="module")
def encoder(folder: Path) -> TokenEncoder:
    return TokenEncoder(folder, "sha", CPU)


def _reference(folder: Path, text: str) -> tuple[list[str], NDArray[np.float32]]:
    """Tokens and states of a text as transformers gives them, without the marks."""
    auto: Any = AutoTokenizer
    tokenizer = auto.from_pretrained(folder)
    inputs = tokenizer(text, return_tensors="pt")
    model = AutoModel.from_pretrained(folder)
    with torch.inference_mode():
        states = model(**inputs).last_hidden_state[0]
    return tokenizer.convert_ids_to_tokens(inputs["input_ids"][0])[1:-1], states[1:-1].numpy()


def test_states_are_those_of_transformers_and_know_their_lines(
    folder: Path, encoder: TokenEncoder
) -> None:
    encoded = encoder.encode(LINES)
    assert encoded is not None
    tokens, states = _reference(folder, " ".join(LINES))
    np.testing.assert_allclose(encoded.values, states, atol=1e-5)
    by_line: list[list[str]] = [[] for _ in LINES]
    for token, line in zip(tokens, encoded.lines, strict=True):
        by_line[line].append(token)
    assert ["".join(line).replace("##", "") for line in by_line] == [
        line.lower().replace(" ", "") for line in LINES
    ]
    assert [encoded.first(i) for i in range(5)] == [0, 5, None, 8, None]


def test_a_token_is_encoded_in_the_context_of_other_lines(encoder: TokenEncoder) -> None:
    alone, together = encoder.encode(["the king"]), encoder.encode(["the king", "must fight"])
    assert alone is not None
    assert together is not None
    assert np.abs(alone.values - together.values[:2]).max() > 1e-3


def test_a_long_text_is_encoded_to_its_end(folder: Path, encoder: TokenEncoder) -> None:
    generator = np.random.default_rng(0)
    words = list(generator.choice(["king", "war", "hope", "man", "family", "the"], 1300))
    encoded = encoder.encode([" ".join(words[i : i + 10]) for i in range(0, len(words), 10)])
    assert encoded is not None
    assert encoded.values.shape == (1300, 32)
    np.testing.assert_array_equal(encoded.lines, np.arange(1300) // 10)
    # Each row is the state in the window in whose middle its token stands most nearly.
    starts = [0, 197, 395, 592, 790]
    windows = [_reference(folder, " ".join(words[s : s + 510]))[1] for s in starts]
    for row in range(0, 1300, 7):
        best = min(range(5), key=lambda i: abs(starts[i] + 254.6 - row))
        np.testing.assert_allclose(
            encoded.values[row], windows[best][row - starts[best]], atol=1e-5
        )


def test_the_number_of_windows_in_a_batch_changes_nothing(
    folder: Path, encoder: TokenEncoder
) -> None:
    lines = ["one man must fight for his family"] * 300
    reference = encoder.encode(lines)
    assert reference is not None
    for batch in (1, 3):
        smaller: Any = TokenEncoder(folder, "sha", CPU, batch_windows=batch)
        smaller._batches = handed_in = Mock(wraps=smaller._batches)
        other = smaller.encode(lines)
        assert other is not None
        # States of all windows at once would be several times those of the tokens.
        assert max(len(call.args[0]) for call in handed_in.call_args_list) == batch
        np.testing.assert_allclose(other.values, reference.values, atol=1e-5)
    again = encoder.encode(lines)
    assert again is not None
    assert again.values.tobytes() == reference.values.tobytes()


@pytest.mark.parametrize("lines", [[], [""], ["", "  "], ["\u200b"]])
def test_no_tokens(encoder: TokenEncoder, lines: list[str]) -> None:
    assert encoder.encode(lines) is None


def test_other_scripts_are_unknown_words_not_errors(encoder: TokenEncoder) -> None:
    encoded = encoder.encode(["Свобода", "你好 👋"])
    assert encoded is not None
    assert np.isfinite(encoded.values).all()
    assert list(dict.fromkeys(encoded.lines)) == [0, 1]


@given(count=st.integers(1, 5000), longest=st.integers(2, 510))
def test_windows_cover_everything_once_with_context(count: int, longest: int) -> None:
    windows = overlapping_windows(count, longest)
    assert windows[0].first == windows[0].start == 0
    assert windows[-1].last == windows[-1].stop == count
    assert all(a.last == b.first for a, b in pairwise(windows))
    assert {window.stop - window.start for window in windows} == {min(count, longest)}
    for window in windows:
        assert window.start <= window.first < window.last <= window.stop
        if window.start > 0:
            assert window.first - window.start >= longest // 4
        if window.stop < count:
            assert window.stop - window.last >= longest // 4
    assert all(a.stop - b.start >= longest // 2 for a, b in pairwise(windows))


def test_damaged_and_incomplete_folders_are_refused(tmp_path: Path, folder: Path) -> None:
    def copy(name: str) -> Path:
        return Path(shutil.copytree(folder, tmp_path / name))

    damage(copy("cut") / "model.safetensors")
    without_tensor(copy("lacking"), "distilbert.transformer.layer.1.ffn.lin1.weight")
    for name in ("config.json", "model.safetensors"):
        (copy(f"no {name}") / name).unlink()
    no_tokenizer = copy("no tokenizer")
    for name in ("tokenizer.json", "vocab.txt"):
        (no_tokenizer / name).unlink()
    damage(copy("cut tokenizer") / "tokenizer.json")
    foreign = copy("foreign")
    vocabulary = (folder / "vocab.txt").read_text() + "".join(f"\nword{i}" for i in range(9))
    (foreign / "tokenizer.json").unlink()
    (foreign / "vocab.txt").write_text(vocabulary)

    for name, message in {
        "cut": "cannot be loaded",
        "lacking": "lacks .*layer.1.ffn.lin1.weight",
        "no config.json": "no config.json",
        "no model.safetensors": "cannot be loaded",
        "no tokenizer": "holds no tokenizer",
        "cut tokenizer": "no usable tokenizer",
        "foreign": "tokens, its model",
    }.items():
        with pytest.raises(WeightsError, match=message):
            TokenEncoder(tmp_path / name, "sha", CPU)
    with pytest.raises(WeightsError):
        TokenEncoder(tmp_path / "nowhere", "sha", CPU)
