from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
import pytest
import torch
from ctranslate2.converters.transformers import WhisperLoader
from numpy.typing import NDArray
from tests.extractors.paper.text_models import distilbert
from transformers import WhisperConfig, WhisperForConditionalGeneration

from reelgenre.errors import WeightsError
from reelgenre.extractors.loading import Loading
from reelgenre.extractors.paper import speech_reading
from reelgenre.extractors.paper.language_of_text import NgramLanguage
from reelgenre.extractors.paper.speech_reading import SpeechReading, load_speech_reading
from reelgenre.extractors.paper.speech_tokens import SpeechTokensExtractor, speech_tokens
from reelgenre.extractors.paper.token_encoder import TokenEncoder
from reelgenre.extractors.settings import SpeechTokensSettings
from reelgenre.extractors.speech import SpeechLine, SpeechRecogniser
from reelgenre.extractors.whisper import Whisper
from reelgenre.media import SoundBlock

CPU = torch.device("cpu")
RATE = 16_000
Sound = NDArray[np.float32]
SPANISH = "La policía encontró el cuerpo cerca del río anoche."


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return distilbert(tmp_path_factory.mktemp("models") / "distilbert")


@pytest.fixture(scope="module")
def encoder(folder: Path) -> TokenEncoder:
    return TokenEncoder(folder, "sha", CPU)


@pytest.fixture(scope="module")
def language() -> NgramLanguage:
    return NgramLanguage()


class FakeRecogniser:
    """Says, whatever it hears, the lines that it was given."""

    def __init__(self, lines: list[SpeechLine]) -> None:
        self.identity: dict[str, str | int | float] = {"whisper": "sha"}
        self.translated: bool | None = None
        self._lines = lines

    def lines(self, blocks: Iterable[SoundBlock], *, translate: bool) -> list[SpeechLine]:
        list(blocks)
        self.translated = translate
        return self._lines


def _lines(*texts: str, language: str = "en") -> list[SpeechLine]:
    """Lines of two seconds, every ten."""
    return [
        SpeechLine(text, 10.0 * i, 10.0 * i + 2.0, 0.8, language) for i, text in enumerate(texts)
    ]


def _extractor(
    lines: list[SpeechLine], language: Any, encoder: TokenEncoder
) -> tuple[SpeechTokensExtractor, FakeRecogniser]:
    recogniser: Any = FakeRecogniser(lines)
    return SpeechTokensExtractor("asr", SpeechReading(recogniser, language), encoder), recogniser


def test_each_token_has_the_time_of_its_line(
    encoder: TokenEncoder, language: NgramLanguage, sound_view: Callable[[Any], Any]
) -> None:
    texts = ["The king sent his soldiers", "to war against the enemy.", "One man must fight!"]
    extractor, _ = _extractor(_lines(*texts), language, encoder)
    view = sound_view(np.zeros(RATE))
    extraction = extractor.extract(view)
    assert view.ended
    assert extraction is not None
    expected = encoder.encode(texts)
    assert expected is not None
    np.testing.assert_array_equal(extraction.sequence.values, expected.values)
    assert extraction.sequence.times.tolist() == (
        [[0.0, 2.0]] * 5 + [[10.0, 12.0]] * 6 + [[20.0, 22.0]] * 5
    )
    assert extraction.sequence.made_by == extractor.spec.fingerprint
    assert [
        (e.kind, e.text, e.start, e.score, e.step, e.language) for e in extraction.evidence
    ] == [
        ("speech", text, 10.0 * i, 0.8, step, "en")
        for i, (text, step) in enumerate(zip(texts, (0, 5, 11), strict=True))
    ]


def test_another_language_is_replaced_as_a_whole(
    encoder: TokenEncoder, language: NgramLanguage, sound_view: Callable[[Any], Any]
) -> None:
    # An English word or two in between does not save it: the paper decides on the entire text.
    lines = _lines(SPANISH, "Okay.", "Tenemos diez minutos antes de que explote la bomba.")
    extraction = _extractor(lines, language, encoder)[0].extract(sound_view(np.zeros(RATE)))
    assert extraction is not None
    expected = encoder.encode(["Spanish language"])
    assert expected is not None
    np.testing.assert_array_equal(extraction.sequence.values, expected.values)
    assert extraction.sequence.times.tolist() == [[0.0, 22.0]] * 2
    assert [(e.text, e.language, e.step) for e in extraction.evidence] == [
        (line.text, "es", 0) for line in lines
    ]


def test_what_does_not_tell_its_language_is_kept(
    encoder: TokenEncoder, language: NgramLanguage, sound_view: Callable[[Any], Any]
) -> None:
    lines = _lines("Hodor!", language="cy")
    extraction = _extractor(lines, language, encoder)[0].extract(sound_view(np.zeros(RATE)))
    assert extraction is not None
    assert extraction.sequence.steps == 6
    assert extraction.evidence[0].language == "cy"


def test_translation_in_place_of_the_name(
    encoder: TokenEncoder, sound_view: Callable[[Any], Any], language: NgramLanguage
) -> None:
    lines = _lines("The police found the body.", language="es")
    extractor, recogniser = _extractor(lines, None, encoder)
    extraction = extractor.extract(sound_view(np.zeros(RATE)))
    assert extraction is not None
    assert recogniser.translated is True
    assert extraction.evidence[0].language == "es"
    assert extraction.sequence.steps > 5
    naming, other = _extractor(lines, language, encoder)
    naming.extract(sound_view(np.zeros(RATE)))
    assert other.translated is False
    assert naming.spec.fingerprint != extractor.spec.fingerprint


def test_nobody_speaks(
    encoder: TokenEncoder, language: NgramLanguage, sound_view: Callable[[Any], Any]
) -> None:
    view = sound_view(np.zeros(RATE))
    assert _extractor([], language, encoder)[0].extract(view) is None
    assert view.ended


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (SPANISH, "es"),
        ("Wir haben zehn Minuten, bevor die Bombe explodiert.", "de"),
        ("Они пришли, чтобы уничтожить нашу землю.", "ru"),
        ("彼らは地球を滅ぼすために別の惑星からやって来た。", "ja"),
        ("I LOVE YOU, AND I WILL NEVER LEAVE YOU AGAIN.", "en"),
        ("Yes.", None),
        ("No!", None),
        ("", None),
    ],
)
def test_languages_of_texts(language: NgramLanguage, text: str, code: str | None) -> None:
    assert language.language(text) == code


def test_real_speech_by_the_builder(
    folder: Path,
    encoder: TokenEncoder,
    whisper_folder: Path,
    say: Callable[..., Sound],
    music: Callable[[float], Sound],
    sound_view: Callable[[Any], Any],
) -> None:
    settings = SpeechTokensSettings(kind="speech_tokens", weights="./distilbert", beam_size=1)
    extractor = speech_tokens(settings, Loading(folder.parent, threads=2, device="cpu"))
    assert (extractor.spec.name, extractor.spec.dim) == ("asr", 32)
    sound = music(14.0) * 0.1
    spoken = say("You are the best player this team has ever had.")
    sound[8 * RATE :][: len(spoken)] += spoken
    extraction = extractor.extract(sound_view(sound))
    assert extraction is not None
    (item,) = extraction.evidence
    assert "best player" in (item.text or "").lower()
    assert item.score is not None
    assert 0.3 < item.score <= 1.0
    expected = encoder.encode([item.text or ""])
    assert expected is not None
    np.testing.assert_array_equal(extraction.sequence.values, expected.values)
    np.testing.assert_allclose(extraction.sequence.times[:, 0], 8.0, atol=0.8)
    # Nothing is made up over music, silence or next to no sound.
    for nothing in (music(8.0), np.zeros(RATE // 2), np.empty(0)):
        assert extractor.extract(sound_view(nothing)) is None

    spanish = extractor.extract(sound_view(say(SPANISH, "es")))
    assert spanish is not None
    assert {item.language for item in spanish.evidence} == {"es"}
    named = encoder.encode(["Spanish language"])
    assert named is not None
    np.testing.assert_array_equal(spanish.sequence.values, named.values)


def test_whisper_goes_where_ctranslate2_can_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, whisper_folder: Path
) -> None:
    devices = []

    def recogniser(*_: Any, device: str, **__: Any) -> FakeRecogniser:
        devices.append(device)
        return FakeRecogniser([])

    monkeypatch.setattr(speech_reading, "SpeechRecogniser", recogniser)
    settings = SpeechTokensSettings(kind="speech_tokens", other_languages="translate")
    for name, count in (("cuda:1", 2), ("cuda", 0), ("mps", 0), ("cpu", 2)):
        monkeypatch.setattr(speech_reading, "torch_device", lambda _, name=name: torch.device(name))
        monkeypatch.setattr(ctranslate2, "get_cuda_device_count", lambda count=count: count)
        load_speech_reading(settings, Loading(folder.parent))
    assert devices == ["cuda:1", "cpu", "cpu", "cpu"]


# What the scripted Whisper hears as its language, and then says, whatever the sound.
SCRIPT = ["<|yue|>", "<|0.20|>", "ĠThe", "Ġking", ".", "<|1.40|>", "<|endoftext|>"]


def _large_v3(folder: Path, base: Path) -> Path:
    """A Whisper with the mel bands and the vocabulary of large-v3, converted for CTranslate2."""
    tokenizer = json.loads((base / "tokenizer.json").read_text(encoding="utf-8"))
    # Cantonese came in before the task tokens and moved all that follow.
    last = max(entry["id"] for entry in tokenizer["added_tokens"] if entry["content"] == "<|su|>")
    for entry in tokenizer["added_tokens"]:
        entry["id"] += entry["id"] > last
    tokenizer["added_tokens"].append({**tokenizer["added_tokens"][1], "content": "<|yue|>"})
    tokenizer["added_tokens"][-1]["id"] = last + 1
    tokenizer["added_tokens"].sort(key=lambda entry: entry["id"])
    ids = {entry["content"]: entry["id"] for entry in tokenizer["added_tokens"]}
    ids = {**tokenizer["model"]["vocab"], **ids}
    tokens = sorted(ids, key=lambda token: ids[token])

    torch.manual_seed(0)
    config = WhisperConfig(
        vocab_size=len(tokens),
        num_mel_bins=128,
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        max_target_positions=448,
    )
    model = WhisperForConditionalGeneration(config)
    decoder = model.model.decoder
    with torch.no_grad():
        # The state depends on the position alone, and each position on one entry of it.
        for layer in decoder.layers:
            for part in (layer.self_attn.out_proj, layer.encoder_attn.out_proj, layer.fc2):
                part.weight.zero_()
                part.bias.zero_()
        decoder.embed_positions.weight.zero_()
        decoder.embed_tokens.weight.zero_()
        decoder.layer_norm.weight.fill_(20.0)
        # The prompt is three tokens long; the language is told at the first.
        for position, token in zip((0, *range(2, 8)), SCRIPT, strict=True):
            decoder.embed_positions.weight[position, position] = 100.0
            decoder.embed_tokens.weight[ids[token], position] = 1.0
    spec = WhisperLoader().get_model_spec(model)
    spec.register_vocabulary(tokens)
    spec.config.suppress_ids = []
    spec.config.suppress_ids_begin = []
    spec.config.lang_ids = sorted(ids[f"<|{c}|>"] for c in (*["en", "zh", "su", "jw"], "yue"))
    spec.config.alignment_heads = [(0, 0)]
    spec.validate()
    folder.mkdir()
    spec.save(str(folder))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    return folder


def test_mel_bands_and_special_tokens_are_those_of_the_model(
    tmp_path: Path, whisper_folder: Path
) -> None:
    whisper = Whisper(_large_v3(tmp_path / "large-v3", whisper_folder), threads=1)
    encoded = whisper.encode(np.zeros(2 * RATE, np.float32))
    heard = whisper.languages(encoded)
    assert max(heard, key=lambda code: heard[code]) == "yue"
    (line,) = whisper.decode(encoded, 2.0, "yue", "transcribe")
    assert line.text == "The king."
    assert (line.start, line.end) == pytest.approx((0.2, 1.4))
    assert line.confidence == pytest.approx(1.0, abs=0.01)


def test_a_whisper_that_is_damaged_or_cannot_run_here(tmp_path: Path, whisper_folder: Path) -> None:
    (tmp_path / "cut").mkdir()
    for path in whisper_folder.iterdir():
        content = path.read_bytes()
        half = len(content) // 2 if path.name == "model.bin" else len(content)
        (tmp_path / "cut" / path.name).write_bytes(content[:half])
    with pytest.raises(WeightsError, match="does not hold a Whisper model"):
        SpeechRecogniser(tmp_path / "cut", "sha")
    if ctranslate2.get_cuda_device_count() == 0:
        with pytest.raises(WeightsError, match=r"(?i)cuda"):
            SpeechRecogniser(whisper_folder, "sha", device="cuda")
