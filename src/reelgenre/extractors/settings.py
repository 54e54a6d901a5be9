"""What a profile says of each of its extractors, by kind; see :mod:`reelgenre.extractors.profiles`.

Light on purpose: reading a profile imports no model library.

``weights`` names registered weights (``reelgenre models list``) or a folder of the user's own,
relative to the profile file and written with a slash (``./my-clip``). ``precision`` is the number
format of the model's arithmetic; ``auto`` takes bfloat16 or half precision where the device
computes them faster and single precision elsewhere.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Precision = Literal["auto", "fp32", "bf16", "fp16", "int8"]
WeightsName = Annotated[str, Field(min_length=1)]
Overlap = Annotated[float, Field(ge=0.0, le=0.9)]
ModalityName = Annotated[str, Field(pattern="^[a-z][a-z0-9_]*$")]


class Strict(BaseModel):
    """Frozen; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ExtractorSettings(Strict):
    """What the settings of every kind have."""

    @property
    def artefacts(self) -> tuple[str, ...]:
        """All weights that the extractor loads; the only list there is of what a profile needs."""
        return ()

    @property
    def optimised(self) -> tuple[str, ...]:
        """Weights that it does not load itself, but the ONNX files that were made of them."""
        return ()


class FrameEncoderSettings(ExtractorSettings):
    """Our own image encoder on onnxruntime (see :mod:`reelgenre.extractors.frames`).

    Attributes:
        file: ONNX file, relative to the profile file.
        sha256: of that file.
        weights: one-file checkpoint that the ONNX file takes weights from which it lacks; None
            where it has all of them.
    """

    kind: Literal["frame_encoder"]
    modality: Literal["frames"] = "frames"
    file: Annotated[str, Field(min_length=1)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    weights: WeightsName | None = None

    @property
    def artefacts(self) -> tuple[str, ...]:
        """All weights that the extractor loads."""
        return (self.weights,) if self.weights else ()


class SpeechSettings(ExtractorSettings):
    """Whisper, then sentence embeddings.

    Attributes:
        other_languages: ``translate`` lets Whisper translate into English; ``name`` puts
            "<Language> language" in place of the text, as the paper does.
        beam_size: of Whisper's search.
    """

    kind: Literal["speech"]
    modality: Literal["speech"] = "speech"
    other_languages: Literal["translate", "name"] = "translate"
    beam_size: Annotated[int, Field(ge=1, le=16)] = 1

    @property
    def artefacts(self) -> tuple[str, ...]:
        """All weights that the extractor loads."""
        return ("whisper-base", "silero-vad", "minilm-int8")


class ScreenTextSettings(ExtractorSettings):
    """Text recognition, then sentence embeddings."""

    kind: Literal["screen_text"]
    modality: Literal["screen_text"] = "screen_text"

    @property
    def artefacts(self) -> tuple[str, ...]:
        """All weights that the extractor loads."""
        return ("rapidocr", "symspell-english", "minilm-int8")


class WordsSettings(ExtractorSettings):
    """Which words were said and shown (see :mod:`reelgenre.extractors.words`).

    Attributes:
        file: word table, relative to the profile file.
        sha256: of that file.
        of: modalities of the profile whose text counts.
    """

    kind: Literal["words"]
    modality: Literal["words"] = "words"
    file: Annotated[str, Field(min_length=1)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    of: Annotated[tuple[ModalityName, ...], Field(min_length=1)]


class ImageEncoderSettings(ExtractorSettings):
    """CLIP's or SigLIP's image tower, one vector per mid-shot frame.

    Attributes:
        weights: with a ``config.json`` of transformers, which tells the architecture.
        onnx: run the ONNX files that ``reelgenre models optimise`` made of the weights.
    """

    kind: Literal["image_encoder"]
    modality: ModalityName = "clip"
    weights: WeightsName = "clip-vit-b32"
    precision: Precision = "auto"
    onnx: bool = False

    @property
    def artefacts(self) -> tuple[str, ...]:
        """All weights that the extractor loads."""
        return () if self.onnx else (self.weights,)

    @property
    def optimised(self) -> tuple[str, ...]:
        """Weights whose ONNX files it loads."""
        return (self.weights,) if self.onnx else ()


class PannsSettings(ExtractorSettings):
    """PANNs Cnn14 with the 128-wide embedding, one vector per window of 3 s.

    Attributes:
        overlap: part of a window that the next one shares. The paper does not state it; its
            longest sequences (140 steps in 214 s) are those of a half.
    """

    kind: Literal["panns"]
    modality: ModalityName = "audiotag"
    weights: WeightsName = "panns-cnn14-emb128"
    overlap: Overlap = 0.5

    @property
    def artefacts(self) -> tuple[str, ...]:
        """All weights that the extractor loads."""
        return (self.weights,)


class AstSettings(ExtractorSettings):
    """Audio Spectrogram Transformer, one vector per window of 10.24 s.

    Attributes:
        overlap: part of a window that the next one shares (Sulun et al., 2024, section 3.2.5).
    """

    kind: Literal["ast"]
    modality: ModalityName = "audiotag"
    weights: WeightsName = "ast-audioset"
    precision: Precision = "auto"
    overlap: Overlap = 0.5

    @property
    def artefacts(self) -> tuple[str, ...]:
        """All weights that the extractor loads."""
        return (self.weights,)


class BeatsSettings(ExtractorSettings):
    """BEATs, one vector per window of sound.

    Attributes:
        window_s: length of a window in seconds; the published release has 3 s and an overlap of a
            half, and ``beats-iter3-plus-finetuned``. BEATs was trained on 10 s.
        overlap: part of a window that the next one shares.
    """

    kind: Literal["beats"]
    modality: ModalityName = "audiotag"
    weights: WeightsName = "beats-iter3-plus"
    precision: Precision = "auto"
    window_s: Annotated[float, Field(ge=0.5, le=30.0)] = 3.0
    overlap: Overlap = 0.5

    @property
    def artefacts(self) -> tuple[str, ...]:
        """All weights that the extractor loads."""
        return (self.weights,)


class MusicTaggerSettings(ExtractorSettings):
    """Choi et al.'s music tagger, one vector per window of 1366 mel frames.

    Attributes:
        weights: ``choi-fcn`` (64 wide, 16 kHz, 21.8 s: what the paper describes), or its
            authors' own ``choi-cnn`` (256 wide) and ``choi-crnn`` (32 wide), 12 kHz, 29.1 s.
        reading: of the authors' own files: as the networks were ``trained``, or as the authors'
            example reads them when it prints its tags (see
            :func:`reelgenre.extractors.paper.music_tagger.load_music_tagger`).
        overlap: part of a window that the next one shares. The paper does not state it; its
            longest sequences (18 steps in 214 s) are those of a half.
    """

    kind: Literal["music_tagger"]
    modality: ModalityName = "musicnet"
    weights: WeightsName = "choi-fcn"
    reading: Literal["trained", "printed"] = "trained"
    overlap: Overlap = 0.5

    @property
    def artefacts(self) -> tuple[str, ...]:
        """All weights that the extractor loads."""
        return (self.weights,)


class MusicnnSettings(ExtractorSettings):
    """The musicnn tagger, one vector per 3 s; its weights come out of a package's wheel.

    Attributes:
        corpus: what it was trained on: the Million Song Dataset or MagnaTagATune.
        overlap: part of a window that the next one shares.
    """

    kind: Literal["musicnn"]
    modality: ModalityName = "musicnet"
    weights: WeightsName = "musicnn"
    corpus: Literal["msd", "mtt"] = "msd"
    overlap: Overlap = 0.0

    @property
    def artefacts(self) -> tuple[str, ...]:
        """All weights that the extractor loads."""
        return (self.weights,)


class _ScreenReading(ExtractorSettings):
    """How text on screen is read.

    Attributes:
        reader: recognises the text.
        paddle_detection, paddle_recognition: weights of the reader paddleocr.
        spelling: ``dictionary`` repairs by word frequencies, ``model`` by a neural
            sequence-to-sequence corrector (Sulun et al., 2024, section 3.1.1).
        corrector: weights of that model.
        corrector_prefix: what that model wants in front of a text, such as ``"grammar: "``.
    """

    reader: Literal["rapidocr", "paddleocr"] = "rapidocr"
    paddle_detection: WeightsName = "paddleocr-detection"
    paddle_recognition: WeightsName = "paddleocr-recognition"
    spelling: Literal["none", "dictionary", "model"] = "dictionary"
    corrector: WeightsName = "spelling-corrector"
    corrector_prefix: str = ""

    @property
    def artefacts(self) -> tuple[str, ...]:
        """All weights that the extractor loads."""
        reader = {
            "rapidocr": ("rapidocr",),
            "paddleocr": (self.paddle_detection, self.paddle_recognition),
        }
        spelling = {"none": (), "dictionary": ("symspell-english",), "model": (self.corrector,)}
        return *reader[self.reader], *spelling[self.spelling]


class ScreenTokensSettings(_ScreenReading):
    """Text recognition, spelling correction, then DistilBERT: one vector per token.

    Attributes:
        weights: of the token encoder.
    """

    kind: Literal["screen_tokens"]
    modality: ModalityName = "ocr"
    weights: WeightsName = "distilbert"

    @property
    def artefacts(self) -> tuple[str, ...]:
        """All weights that the extractor loads."""
        return *super().artefacts, self.weights


class _SpeechReading(ExtractorSettings):
    """How speech is written down.

    Attributes:
        whisper: weights of the recogniser; any multilingual size, converted for CTranslate2.
        beam_size: of Whisper's search.
        other_languages: ``name`` puts "<Language> language" in place of a text that is not
            English, as the paper does; ``translate`` has Whisper translate it.
        language: tells the language of the text: ``ngrams`` is py3langid, ``model`` the paper's
            neural network.
        language_weights: of that network.
    """

    whisper: WeightsName = "whisper-base"
    beam_size: Annotated[int, Field(ge=1, le=16)] = 5
    other_languages: Literal["translate", "name"] = "name"
    language: Literal["ngrams", "model"] = "ngrams"
    language_weights: WeightsName = "language-detection"

    @property
    def artefacts(self) -> tuple[str, ...]:
        """All weights that the extractor loads."""
        language = (self.language_weights,) if self.language == "model" else ()
        return self.whisper, "silero-vad", *language


class SpeechTokensSettings(_SpeechReading):
    """Whisper, language identification on the text, then DistilBERT: one vector per token.

    Attributes:
        weights: of the token encoder.
    """

    kind: Literal["speech_tokens"]
    modality: ModalityName = "asr"
    weights: WeightsName = "distilbert"

    @property
    def artefacts(self) -> tuple[str, ...]:
        """All weights that the extractor loads."""
        return *super().artefacts, self.weights


class FaceEmotionSettings(ExtractorSettings):
    """Faces found in mid-shot frames and a ViT that reads their expression, one vector a frame."""

    kind: Literal["face_emotion"]
    modality: ModalityName = "face_emotion"
    detector: WeightsName = "face-detector"
    weights: WeightsName = "face-expression"
    precision: Precision = "auto"

    @property
    def artefacts(self) -> tuple[str, ...]:
        """All weights that the extractor loads."""
        return (self.detector, self.weights)


class ScreenSentimentSettings(_ScreenReading):
    """All text on screen as one vector of a sentiment model.

    Attributes:
        weights: of the sentiment model.
    """

    kind: Literal["screen_sentiment"]
    modality: ModalityName = "ocr_sentiment"
    weights: WeightsName = "roberta-sentiment"

    @property
    def artefacts(self) -> tuple[str, ...]:
        """All weights that the extractor loads."""
        return *super().artefacts, self.weights


class SpeechSentimentSettings(_SpeechReading):
    """All that is said as one vector of a sentiment model.

    Attributes:
        other_languages: the published release translates.
        weights: of the sentiment model.
    """

    kind: Literal["speech_sentiment"]
    modality: ModalityName = "asr_sentiment"
    other_languages: Literal["translate", "name"] = "translate"
    weights: WeightsName = "roberta-sentiment"

    @property
    def artefacts(self) -> tuple[str, ...]:
        """All weights that the extractor loads."""
        return *super().artefacts, self.weights


Settings = Annotated[
    FrameEncoderSettings
    | SpeechSettings
    | ScreenTextSettings
    | WordsSettings
    | ImageEncoderSettings
    | PannsSettings
    | AstSettings
    | BeatsSettings
    | MusicTaggerSettings
    | MusicnnSettings
    | ScreenTokensSettings
    | SpeechTokensSettings
    | FaceEmotionSettings
    | ScreenSentimentSettings
    | SpeechSentimentSettings,
    Field(discriminator="kind"),
]
