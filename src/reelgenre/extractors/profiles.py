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

from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, ValidationError

from reelgenre.errors import RecipeError
from reelgenre.extractors.base import Extractor, TextExtractor
from reelgenre.extractors.loading import Loading
from reelgenre.extractors.settings import Settings, Strict, WordsSettings
from reelgenre.hooks import Hook, no_hook
from reelgenre.media import MediaOptions
from reelgenre.weights import is_offline, once, require_local

_SHIPPED = Path(__file__).parent.parent / "models"
# Where each kind's builder is: a function of its settings and a Loading. Imported when wanted.
_BUILDERS = {
    "frame_encoder": "embedded",
    "speech": "embedded",
    "screen_text": "embedded",
    "words": "embedded",
    "image_encoder": "paper.image_encoder",
    "panns": "paper.panns",
    "ast": "paper.ast",
    "beats": "paper.beats",
    "music_tagger": "paper.music_tagger",
    "musicnn": "paper.musicnn",
    "screen_tokens": "paper.screen_tokens",
    "speech_tokens": "paper.speech_tokens",
    "face_emotion": "paper.face_emotion",
    "screen_sentiment": "paper.sentiment",
    "speech_sentiment": "paper.sentiment",
}


class Profile(Strict):
    """What a profile file says.

    Attributes:
        name: for results and messages.
        classifier: folder of its classifier, relative to the profile file; None where it has
            none and whoever uses it brings one.
        detector: shot detector (see :class:`reelgenre.media.MediaOptions`).
        piece_s: longest piece of a shot that one frame stands for, likewise.
        extractors: in order.
        folder: where the file stands; not part of the file.
    """

    name: Annotated[str, Field(min_length=1)]
    classifier: Annotated[str, Field(min_length=1)] | None = None
    detector: Literal["threshold", "adaptive"] = "adaptive"
    piece_s: Annotated[float, Field(ge=0.1)] | None = None
    extractors: Annotated[tuple[Settings, ...], Field(min_length=1)]
    folder: Annotated[Path, Field(exclude=True)] = Path()

    @property
    def classifier_folder(self) -> Path | None:
        """The classifier's folder as a path that can be opened; None where there is none."""
        return None if self.classifier is None else self.folder / self.classifier

    @property
    def media(self) -> MediaOptions:
        """How the profile's files are decoded."""
        return MediaOptions(detector=self.detector, piece_s=self.piece_s)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of its modalities, in order."""
        return tuple(settings.modality for settings in self.extractors)

    def needed_for(self, names: Collection[str]) -> tuple[str, ...]:
        """Those of ``names`` that it has, and the modalities whose text one of them takes."""
        chosen = [settings for settings in self.extractors if settings.modality in names]
        sources = {one for s in chosen if isinstance(s, WordsSettings) for one in s.of}
        return tuple(name for name in self.modalities if name in names or name in sources)

    @property
    def artefacts(self) -> tuple[str, ...]:
        """All weights that its extractors load, each once, in order."""
        return tuple(dict.fromkeys(name for one in self.extractors for name in one.artefacts))

    @property
    def optimised(self) -> tuple[str, ...]:
        """All weights whose ONNX files its extractors load in their place, likewise."""
        return tuple(dict.fromkeys(name for one in self.extractors for name in one.optimised))


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
    for settings in profile.extractors:
        if isinstance(settings, WordsSettings):
            for name in settings.of:
                if name == settings.modality or name not in profile.modalities:
                    raise RecipeError(
                        f"{path}: {settings.modality} takes the text of {name!r}, which is no "
                        "other modality of the profile",
                        f"It has {', '.join(profile.modalities)}",
                    )
    return profile.model_copy(update={"folder": path.parent})


def build_extractors(
    profile: Profile,
    *,
    modalities: Iterable[str] | None = None,
    threads: int | None = None,
    device: str = "auto",
    offline: bool | None = None,
    hook: Hook = no_hook,
) -> list[Extractor | TextExtractor]:
    """Load a profile's extractors, each set of weights once per process.

    Args:
        profile: which.
        modalities: only these; None means all.
        threads: of each model; None means one per core.
        device: of torch models: ``auto``, ``cpu``, ``cuda``, ``mps``.
        offline: never fetch weights; None follows the environment.
        hook: hears of weights being fetched.

    Raises:
        RecipeError: the profile has no such modality, or a library it needs is missing.
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
    if is_offline(offline):
        # All that is missing in one error, rather than what the fastest extractor misses.
        needed = dict.fromkeys(name for settings in chosen for name in settings.artefacts)
        require_local(needed, base=profile.folder)
    loading = Loading(profile.folder, threads, device, offline, hook)
    for settings in chosen:
        # One after the other: transformers imports its parts when they are first named, which
        # fails where two threads do so at once.
        _builder(settings)
    with ThreadPoolExecutor(len(chosen)) as pool:
        # Loading is mostly reading and unpacking outside Python's lock.
        built = [pool.submit(_load, settings, loading) for settings in chosen]
        return [future.result() for future in built]


def _load(settings: Settings, loading: Loading) -> Extractor | TextExtractor:
    key = (settings.model_dump_json(), loading.folder, loading.threads, loading.device)
    return once(key, lambda: _build(settings, loading))


def _build(settings: Settings, loading: Loading) -> Extractor | TextExtractor:
    try:
        return _builder(settings)(settings, loading)
    except ModuleNotFoundError as error:
        raise _not_installed(settings, error) from error


def _builder(settings: Settings) -> Callable[[Settings, Loading], Extractor | TextExtractor]:
    try:
        module = import_module(f"reelgenre.extractors.{_BUILDERS[settings.kind]}")
    except ModuleNotFoundError as error:
        raise _not_installed(settings, error) from error
    build: Callable[[Settings, Loading], Extractor | TextExtractor]
    build = getattr(module, settings.kind)
    return build


def _not_installed(settings: Settings, error: ModuleNotFoundError) -> RecipeError:
    return RecipeError(
        f"the extractor {settings.kind} needs {error.name}, which is not installed",
        "pip install 'reelgenre[paper]'",
    )
