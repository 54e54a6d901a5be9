"""One video to its genres: decode once, extract every modality meanwhile, classify, explain."""

from __future__ import annotations

import time
from collections.abc import Iterable
from importlib.metadata import version
from os import PathLike, fspath

from reelgenre.classifiers import GenreClassifier
from reelgenre.errors import MediaError, RecipeError
from reelgenre.explain import explain
from reelgenre.extractors import Extractor, Text, TextExtractor
from reelgenre.extractors.profiles import build_extractors, load_profile
from reelgenre.extractors.running import Read, read_video
from reelgenre.hooks import Hook, no_hook
from reelgenre.media import MediaOptions
from reelgenre.results import GenreResult, GenreScore, ModalityReport, ModelReport


class GenrePipeline:
    """Classifies videos; models are loaded once, when it is made.

    Args:
        extractors: in the order in which results list them.
        classifier: trained on features of these extractors, or on more modalities than these.
        profile: name of the profile, for results.
        media: how files are decoded.

    Use :meth:`from_pretrained` unless you bring your own parts.

    Raises:
        RecipeError: no extractor looks or listens.
    """

    def __init__(
        self,
        extractors: Iterable[Extractor | TextExtractor],
        classifier: GenreClassifier,
        *,
        profile: str = "custom",
        media: MediaOptions | None = None,
    ) -> None:
        self.extractors = tuple(extractors)
        self.classifier = classifier
        self.profile = profile
        self._media = media or MediaOptions()
        if all(isinstance(extractor.spec.needs, Text) for extractor in self.extractors):
            raise RecipeError(
                "a pipeline needs a modality that looks or listens", "Name one of the profile's"
            )

    @classmethod
    def from_pretrained(
        cls,
        name: str | PathLike[str] = "embedded",
        *,
        model: str | PathLike[str] | None = None,
        modalities: Iterable[str] | None = None,
        threads: int | None = None,
        device: str = "auto",
        offline: bool | None = None,
        hook: Hook = no_hook,
    ) -> GenrePipeline:
        """Load a profile and its classifier.

        Args:
            name: a shipped profile's name, or a profile file of your own.
            model: classifier folder to use in place of the profile's own.
            modalities: these of the profile's; None means those that the classifier reads, and
                those whose text they are made of.
            threads: processor threads of each model; None means one per core.
            device: of torch models: ``auto``, ``cpu``, ``cuda``, ``mps``.
            offline: never fetch; None follows the environment.
            hook: hears of weights being fetched and loaded.

        Raises:
            RecipeError: no such profile or modality, or no classifier, or one that reads none of
                the profile's modalities.
            WeightsError: weights are missing or damaged.
            ModelError: the classifier folder is not usable.
            FeatureMismatchError: the classifier was trained on other extractors.
        """
        profile = load_profile(name)
        folder = model or profile.classifier_folder
        if folder is None:
            raise RecipeError(
                f"the profile {profile.name} has no classifier of its own",
                "Name one that was trained on its features (--model FOLDER), or train one: "
                "reelgenre train",
            )
        classifier = GenreClassifier.from_pretrained(folder)
        inputs = classifier.config.features
        read = profile.needed_for(inputs)
        if not read:
            raise RecipeError(
                f"the classifier {classifier.name} reads {', '.join(inputs)}, of which the profile "
                f"{profile.name} has none",
                "Name the profile that the classifier was trained with, or another classifier",
            )
        extractors = build_extractors(
            profile,
            modalities=read if modalities is None else modalities,
            threads=threads,
            device=device,
            offline=offline,
            hook=hook,
        )
        _check_inputs(classifier, extractors)
        return cls(extractors, classifier, profile=profile.name, media=profile.media)

    def __call__(
        self, path: str | PathLike[str], *, threshold: float | None = None, hook: Hook = no_hook
    ) -> GenreResult:
        """Classify one file.

        Args:
            path: a video, or a file with sound alone.
            threshold: one probability for every genre; None uses the classifier's per-genre
                thresholds.
            hook: hears of the decoding (``decode``, in seconds of the video) and of every
                modality's extraction as its artefact.

        Raises:
            MediaError: the file gives nothing.
            ValueError: the threshold is not between 0 and 1.
        """
        if threshold is not None and not 0.0 <= threshold <= 1.0:
            raise ValueError("threshold must be from 0 to 1")
        started = time.perf_counter()
        read = self.extract(path, hook=hook)
        classifying = time.perf_counter()
        result = self._classify(path, read, threshold)
        now = time.perf_counter()
        result.timings.update(
            total=now - started, decoding=read.decoding_s, classifying=now - classifying
        )
        return result

    def extract(self, path: str | PathLike[str], *, hook: Hook = no_hook) -> Read:
        """Decode a file once and run every extractor on it at the same time.

        Raises:
            MediaError: the file gives nothing.
            Exception: what the first extractor that failed raised.
        """
        read = read_video(path, self.extractors, self._media, hook)
        read.raise_first_failure()
        return read

    def _classify(
        self, path: str | PathLike[str], read: Read, threshold: float | None
    ) -> GenreResult:
        config = self.classifier.config
        features = {
            name: extraction.sequence
            for name, extraction in read.extractions.items()
            if name in config.features
        }
        if not features:
            raise MediaError(
                f"{fspath(path)} shows and says nothing that could be classified "
                f"(looked for {', '.join(e.spec.name for e in self.extractors)})",
                "Give a file with a picture or speech, or ask for more modalities",
            )
        prediction = self.classifier.predict(features)
        thresholds = (
            prediction.thresholds if threshold is None else [threshold] * len(config.labels)
        )
        scores = sorted(
            (
                GenreScore(label, float(probability), float(least))
                for label, probability, least in zip(
                    config.labels, prediction.probabilities, thresholds, strict=True
                )
            ),
            key=lambda score: (-score.probability, score.genre),
        )
        predicted = tuple(s.genre for s in scores if s.probability >= s.threshold)
        return GenreResult(
            path=fspath(path),
            duration_s=read.report.duration_s,
            genres=tuple(scores),
            predicted=predicted,
            modalities={
                extractor.spec.name: _modality_report(extractor.spec.name, read)
                for extractor in self.extractors
            },
            evidence=explain(prediction, read.extractions, config.labels, predicted),
            model=ModelReport(
                name=self.classifier.name,
                profile=self.profile,
                version=version("reelgenre"),
                fingerprints={e.spec.name: e.spec.fingerprint for e in self.extractors},
            ),
            warnings=read.report.warnings,
            timings={},
        )


def _check_inputs(
    classifier: GenreClassifier, extractors: Iterable[Extractor | TextExtractor]
) -> None:
    """Refuse extractors that the classifier was not trained on before a video is decoded."""
    for extractor in extractors:
        spec = extractor.spec
        if spec.name in classifier.config.features:
            classifier.accept(spec.name, spec.fingerprint, spec.dim)


def _modality_report(name: str, read: Read) -> ModalityReport:
    extraction = read.found[name]
    return ModalityReport(
        present=extraction is not None,
        steps=0 if extraction is None else extraction.sequence.steps,
        seconds=read.seconds[name],
    )
