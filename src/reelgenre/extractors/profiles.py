"""A profile: a named, ordered set of extractors that belongs together, and its classifier.

Profiles are small YAML files; the shipped ones stand beside the package's models. A profile names
its extractors by kind, so that a file of the user's own can choose and set them up too:

    name: embedded
    classifier: classifier
    extractors:
      - kind: frame_encoder
        file: frame_encoder.onnx
        sha256: 0123...
      - kind: speech
        other_languages: translate
      - kind: screen_text
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from reelgenre.errors import RecipeError, WeightsError
from reelgenre.extractors.base import Extractor
from reelgenre.extractors.sentences import SentenceEncoder
from reelgenre.hooks import Hook, no_hook
from reelgenre.media import MediaOptions
from reelgenre.weights import ResolvedWeights, once, resolve

_SHIPPED = Path(__file__).parent.parent / "models"


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FrameEncoderSettings(_Strict):
    """The `frames` modality: an image encoder (see :class:`reelgenre.extractors.frames`).

    Attributes:
        file: ONNX file, relative to the profile file.
        sha256: of that file.
    """

    kind: Literal["frame_encoder"]
    modality: Literal["frames"] = "frames"
    file: Annotated[str, Field(min_length=1)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class SpeechSettings(_Strict):
    """The `speech` modality: Whisper, then sentence embeddings.

    Attributes:
        other_languages: ``translate`` lets Whisper translate into English; ``name`` puts
            "<Language> language" in place of the text, as the paper does.
        beam_size: of Whisper's search.
    """

    kind: Literal["speech"]
    modality: Literal["speech"] = "speech"
    other_languages: Literal["translate", "name"] = "translate"
    beam_size: Annotated[int, Field(ge=1, le=16)] = 1


class ScreenTextSettings(_Strict):
    """The `screen_text` modality: text recognition, then sentence embeddings."""

    kind: Literal["screen_text"]
    modality: Literal["screen_text"] = "screen_text"


Settings = Annotated[
    FrameEncoderSettings | SpeechSettings | ScreenTextSettings, Field(discriminator="kind")
]


class Profile(_Strict):
    """What a profile file says.

    Attributes:
        name: for results and messages.
        classifier: folder of its classifier; relative to the profile file.
        detector: shot detector (see :class:`reelgenre.media.MediaOptions`).
        piece_s: longest piece of a shot that one frame stands for, likewise.
        extractors: in order.
        folder: where the file stands; not part of the file.
    """

    name: Annotated[str, Field(min_length=1)]
    classifier: str = "classifier"
    detector: Literal["threshold", "adaptive"] = "adaptive"
    piece_s: Annotated[float, Field(ge=0.1)] | None = None
    extractors: Annotated[tuple[Settings, ...], Field(min_length=1)]
    folder: Annotated[Path, Field(exclude=True)] = Path()

    @property
    def classifier_folder(self) -> Path:
        """The classifier's folder as a path that can be opened."""
        return self.folder / self.classifier

    @property
    def media(self) -> MediaOptions:
        """How the profile's files are decoded."""
        return MediaOptions(detector=self.detector, piece_s=self.piece_s)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of its modalities, in order."""
        return tuple(settings.modality for settings in self.extractors)


def shipped_profiles() -> list[str]:
    """Names of the profiles that come with the package."""
    return sorted(path.parent.name for path in _SHIPPED.glob("*/profile.yaml"))


def load_profile(name: str | PathLike[str]) -> Profile:
    """A shipped profile by name, or a profile file or the folder it stands in.

    Raises:
        RecipeError: there is none of that name, or the file is not a profile.
    """
    if isinstance(name, str) and name in shipped_profiles():
        path = _SHIPPED / name / "profile.yaml"
    else:
        path = Path(name)
        path = path / "profile.yaml" if path.is_dir() else path
    if not path.is_file():
        raise RecipeError(
            f"there is no profile {str(name)!r}",
            f"Shipped profiles are {', '.join(shipped_profiles())}; or give a profile file",
        )
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        profile = Profile.model_validate(content)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is not YAML: {error}", "Correct the file") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise RecipeError(f"{path}: {where}: {first['msg']}", "Correct the file") from error
    if len(set(profile.modalities)) != len(profile.modalities):
        raise RecipeError(f"{path} has a modality twice", "Name each extractor once")
    return profile.model_copy(update={"folder": path.parent})


def build_extractors(
    profile: Profile,
    *,
    modalities: Iterable[str] | None = None,
    threads: int | None = None,
    offline: bool | None = None,
    hook: Hook = no_hook,
) -> list[Extractor]:
    """Load a profile's extractors, each set of weights once per process.

    Args:
        profile: which.
        modalities: only these; None means all.
        threads: of each model; None means one per core.
        offline: never fetch weights; None follows the environment.
        hook: hears of weights being fetched.

    Raises:
        RecipeError: the profile has no such modality.
        WeightsError: weights are missing or damaged.
    """
    wanted = profile.modalities if modalities is None else tuple(modalities)
    for name in wanted:
        if name not in profile.modalities:
            raise RecipeError(
                f"the profile {profile.name} has no modality {name!r}",
                f"It has {', '.join(profile.modalities)}",
            )

    chosen = [settings for settings in profile.extractors if settings.modality in wanted]
    with ThreadPoolExecutor(len(chosen)) as pool:
        # Loading is mostly reading and unpacking outside Python's lock.
        built = [
            pool.submit(_load, settings, _Loading(profile.folder, threads, offline, hook))
            for settings in chosen
        ]
        return [future.result() for future in built]


@dataclass(frozen=True)
class _Loading:
    """How models are loaded; what each extractor is built with."""

    folder: Path
    threads: int | None
    offline: bool | None
    hook: Hook

    def weights(self, name: str) -> ResolvedWeights:
        return resolve(name, offline=self.offline, hook=self.hook)


def _load(settings: Settings, loading: _Loading) -> Extractor:
    key = (settings.model_dump_json(), loading.folder, loading.threads)
    return once(key, lambda: _build(settings, loading))


def _build(settings: Settings, loading: _Loading) -> Extractor:
    # Each branch imports only what it needs: Whisper alone takes a third of a second.
    if isinstance(settings, FrameEncoderSettings):
        return _frame_encoder(settings, loading)
    if isinstance(settings, SpeechSettings):
        from reelgenre.extractors.speech import SpeechExtractor

        whisper, vad = loading.weights("whisper-base"), loading.weights("silero-vad")
        return SpeechExtractor(
            whisper.folder,
            f"{whisper.artefact.digest} {vad.artefact.digest}",
            _sentence_encoder(loading),
            other_languages=settings.other_languages,
            threads=loading.threads or 0,
            beam_size=settings.beam_size,
        )
    from reelgenre.extractors.ocr import TextReader
    from reelgenre.extractors.screen_text import ScreenTextExtractor
    from reelgenre.extractors.spelling import EnglishSpelling

    ocr, words = loading.weights("rapidocr"), loading.weights("symspell-english")
    return ScreenTextExtractor(
        TextReader(
            ocr.files["PP-OCRv6_det_small.onnx"],
            ocr.files["PP-OCRv6_rec_small.onnx"],
            loading.threads,
        ),
        EnglishSpelling(
            words.files["frequency_dictionary_en_82_765.txt"],
            words.files["frequency_bigramdictionary_en_243_342.txt"],
        ),
        _sentence_encoder(loading),
        f"{ocr.artefact.digest} {words.artefact.digest}",
    )


def _frame_encoder(settings: FrameEncoderSettings, loading: _Loading) -> Extractor:
    from reelgenre.extractors.frames import FrameEncoder

    path = loading.folder / settings.file
    if not path.is_file():
        raise WeightsError(f"{path} is missing", "Install the package or copy the profile again")
    if hashlib.sha256(path.read_bytes()).hexdigest() != settings.sha256:
        raise WeightsError(
            f"{path} is not the file that its profile names",
            "Install the package or copy the profile again",
        )
    return FrameEncoder(path, settings.sha256, loading.threads)


def _sentence_encoder(loading: _Loading) -> SentenceEncoder:
    def load() -> SentenceEncoder:
        weights = loading.weights("minilm-int8")
        return SentenceEncoder(
            weights.files["model.onnx"],
            weights.files["tokenizer.json"],
            weights.artefact.digest,
            loading.threads,
        )

    return once(("sentences", loading.threads), load)
