"""Models of the paper's sizes with random weights, for a folder as ``$REELGENRE_WEIGHTS`` is one.

Arithmetic does not depend on what the weights are, so these take the time that the published ones
take. Two things follow the text: DistilBERT gets the vocabulary that it was published with (that of
the sentence encoder of the embedded profile, whose tokens are the same), the others one learnt from
a list of English words.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from shutil import copyfile
from typing import Any

import numpy as np
import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import (
    ASTConfig,
    ASTForAudioClassification,
    BartConfig,
    BartForConditionalGeneration,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    DistilBertConfig,
    DistilBertForMaskedLM,
    RobertaConfig,
    RobertaForSequenceClassification,
    ViTConfig,
    ViTForImageClassification,
)

from reelgenre.extractors.paper.mel import mel_filters
from reelgenre.extractors.paper.music_networks import ChoiFcn
from reelgenre.extractors.paper.panns import Cnn14
from reelgenre.weights import resolve

CLIP_PREPROCESSOR = {
    "crop_size": 224,
    "do_center_crop": True,
    "do_normalize": True,
    "do_resize": True,
    "feature_extractor_type": "CLIPFeatureExtractor",
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "resample": 3,
    "size": 224,
}
"""As published with CLIP ViT-B/32."""
VIT_PREPROCESSOR = {
    "do_normalize": True,
    "do_resize": True,
    "feature_extractor_type": "ViTFeatureExtractor",
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "resample": 2,
    "size": 224,
}
_AST_PREPROCESSOR = {
    "do_normalize": True,
    "feature_size": 1,
    "max_length": 1024,
    "mean": -4.2677393,
    "num_mel_bins": 128,
    "sampling_rate": 16_000,
    "std": 4.5689974,
}
_LANGUAGES = "ar bg de el en es fr hi it ja nl pl pt ru sw th tr ur vi zh"
_BART_TOKENS = 50_265
_XLM_ROBERTA_TOKENS = 250_002


def save_clip(folder: Path) -> None:
    """CLIP ViT-B/32's image tower."""
    CLIPVisionModelWithProjection(CLIPVisionConfig()).save_pretrained(folder)
    _write(folder / "preprocessor_config.json", CLIP_PREPROCESSOR)


def _save_vit(folder: Path) -> None:
    ViTForImageClassification(ViTConfig()).save_pretrained(folder)
    _write(folder / "preprocessor_config.json", VIT_PREPROCESSOR)


def _save_ast(folder: Path) -> None:
    config = ASTConfig(id2label={index: str(index) for index in range(527)})
    ASTForAudioClassification(config).save_pretrained(folder)
    _write(folder / "preprocessor_config.json", _AST_PREPROCESSOR)


def _save_panns(folder: Path) -> None:
    state = Cnn14().state_dict()
    state["logmel_extractor.melW"] = mel_filters(32_000, 1024, 64, 50.0, 14_000.0, "slaney")
    wave = np.exp(-2j * np.pi * np.outer(np.arange(513), np.arange(1024)) / 1024)
    wave *= np.hanning(1025)[:-1]
    for part, kernel in (("real", wave.real), ("imag", wave.imag)):
        name = f"spectrogram_extractor.stft.conv_{part}.weight"
        state[name] = torch.from_numpy(kernel).float()[:, None]
    torch.save({"model": state}, folder / "Cnn14_emb128_mAP=0.412.pth")


def _save_fcn(folder: Path) -> None:
    torch.save(ChoiFcn().state_dict(), folder / "best_model.pth")


def _save_distilbert(folder: Path) -> None:
    DistilBertForMaskedLM(DistilBertConfig()).save_pretrained(folder)
    copyfile(resolve("minilm-int8").files["tokenizer.json"], folder / "tokenizer.json")


def _save_corrector(folder: Path) -> None:
    """BART base, as the paper's; like it, it searches with four beams."""
    config = BartConfig(
        vocab_size=_BART_TOKENS,
        d_model=768,
        encoder_layers=6,
        decoder_layers=6,
        encoder_attention_heads=12,
        decoder_attention_heads=12,
        encoder_ffn_dim=3072,
        decoder_ffn_dim=3072,
    )
    model = BartForConditionalGeneration(config)
    settings: Any = model.generation_config
    settings.num_beams, settings.early_stopping, settings.no_repeat_ngram_size = 4, True, 3
    model.save_pretrained(folder)
    _save_byte_pairs(folder)


def _save_language(folder: Path) -> None:
    """XLM-RoBERTa base is RoBERTa base with more tokens."""
    labels = dict(enumerate(_LANGUAGES.split()))
    config = RobertaConfig(
        vocab_size=_XLM_ROBERTA_TOKENS,
        max_position_embeddings=514,
        type_vocab_size=1,
        id2label=labels,
        label2id={name: index for index, name in labels.items()},
    )
    RobertaForSequenceClassification(config).save_pretrained(folder)
    _save_byte_pairs(folder)


def _save_byte_pairs(folder: Path) -> None:
    words = resolve("symspell-english").files["frequency_dictionary_en_82_765.txt"]
    lines = words.read_text(encoding="utf-8-sig").splitlines()
    tokenizer = ByteLevelBPETokenizer(add_prefix_space=True)
    tokenizer.train_from_iterator(
        (line.split()[0] for line in lines),
        vocab_size=_BART_TOKENS,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        show_progress=False,
    )
    tokenizer.save_model(str(folder))


_MAKERS: dict[str, Callable[[Path], None]] = {
    "clip-vit-b32": save_clip,
    "vit-base": _save_vit,
    "ast-audioset": _save_ast,
    "panns-cnn14-emb128": _save_panns,
    "choi-fcn": _save_fcn,
    "distilbert": _save_distilbert,
    "spelling-corrector": _save_corrector,
    "language-detection": _save_language,
}


def save_random(names: Iterable[str], root: Path) -> None:
    """A folder per name in ``root``, each with the SHA256SUMS by which it stands for the name."""
    torch.manual_seed(0)
    for name in names:
        folder = root / name
        folder.mkdir()
        _MAKERS[name](folder)
        _write_sums(folder)


def _write_sums(folder: Path) -> None:
    lines = []
    for path in sorted(folder.iterdir()):
        with path.open("rb") as file:
            lines.append(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {path.name}\n")
    (folder / "SHA256SUMS").write_text("".join(lines))


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content))
