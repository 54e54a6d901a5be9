"""A folder for ``$REELGENRE_WEIGHTS`` with a small random model for every published one.

Formats and file names are the published ones. So are the widths of the features that the
published release's classifiers read; everything else is small. What Python packages carry
(Whisper, RapidOCR, the dictionary) is not here: the real one is used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from tests.extractors.paper.picture_models import (
    save_clip,
    save_expression_vit,
    save_red_detector,
    save_siglip,
)
from tests.extractors.paper.sound_models import (
    save_ast,
    save_beats,
    save_cnn14,
    save_fcn,
    save_musicnn,
)
from tests.extractors.paper.text_models import bart, distilbert, roberta

LANGUAGES = {0: "en", 1: "de", 2: "fr"}

_MAKERS: dict[str, Callable[[Path], object]] = {
    "clip-vit-b32": lambda folder: save_clip(folder, width=512),
    "siglip2-base": save_siglip,
    "vit-base": save_expression_vit,
    "face-expression": lambda folder: save_expression_vit(folder, width=768),
    "face-detector": lambda folder: save_red_detector(folder / "face_detection_yunet_2023mar.onnx"),
    "panns-cnn14-emb128": save_cnn14,
    "ast-audioset": save_ast,
    "beats-iter3-plus": lambda folder: save_beats(folder, encoder_embed_dim=768),
    "beats-iter3-plus-finetuned": lambda folder: save_beats(
        folder, encoder_embed_dim=768, finetuned_model=True, predictor_class=527
    ),
    "choi-fcn": save_fcn,
    "musicnn": save_musicnn,
    "distilbert": distilbert,
    "spelling-corrector": bart,
    "language-detection": lambda folder: roberta(folder, LANGUAGES),
    "roberta-sentiment": lambda folder: roberta(folder, dim=768),
}


def save_all(root: Path) -> Path:
    """Save them all.

    Args:
        root: a new folder.

    Returns:
        The same, with a folder per registered name. Each has a SHA256SUMS, by which it stands for
        the registered weights though it is not them.
    """
    for name, make in _MAKERS.items():
        folder = root / name
        folder.mkdir(parents=True)
        make(folder)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        sums = (
            f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder)}\n"
            for path in files
        )
        (folder / "SHA256SUMS").write_text("".join(sums))
    return root
