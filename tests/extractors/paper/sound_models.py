"""Small random models of sound in the published formats."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import ASTForAudioClassification
from transformers.models.audio_spectrogram_transformer import (
    configuration_audio_spectrogram_transformer as ast_config,
)
from transformers.models.audio_spectrogram_transformer import (
    feature_extraction_audio_spectrogram_transformer as ast_features,
)

from reelgenre.extractors.paper.mel import mel_filters
from reelgenre.extractors.paper.tensorflow_checkpoint import crc32c

Weights = dict[str, NDArray[np.float32]]


def cnn14_shapes(width: int) -> dict[str, list[int]]:
    """Names and shapes of the published checkpoint, whose first block is 64 wide."""
    shapes = {
        "spectrogram_extractor.stft.conv_real.weight": [513, 1, 1024],
        "spectrogram_extractor.stft.conv_imag.weight": [513, 1, 1024],
        "logmel_extractor.melW": [513, 64],
    }
    norms = {"bn0": 64}
    channels = [1, *(width * 2**i for i in range(6))]
    for block in range(1, 7):
        before, after = channels[block - 1], channels[block]
        shapes[f"conv_block{block}.conv1.weight"] = [after, before, 3, 3]
        shapes[f"conv_block{block}.conv2.weight"] = [after, after, 3, 3]
        norms |= {f"conv_block{block}.bn1": after, f"conv_block{block}.bn2": after}
    for name, size in norms.items():
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.{part}"] = [size]
        shapes[f"{name}.num_batches_tracked"] = []
    shapes |= {"fc1.weight": [128, channels[-1]], "fc1.bias": [128]}
    return shapes | {"fc_audioset.weight": [527, 128], "fc_audioset.bias": [527]}


def cnn14_state(width: int = 4) -> dict[str, Tensor]:
    """A checkpoint in the published layout, its Fourier kernels straight from the definition."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, shape in cnn14_shapes(width).items():
        tensor = torch.randn(shape, generator=generator)
        if name.endswith("running_var") or (".bn" in f".{name}" and name.endswith("weight")):
            tensor = tensor.abs() + 0.5
        elif name.endswith("num_batches_tracked"):
            tensor = torch.tensor(7)
        elif len(shape) > 1:
            tensor = tensor * (2.0 / np.prod(shape[1:])) ** 0.5
        state[name] = tensor
    turns = np.outer(np.arange(513), np.arange(1024))
    wave = np.exp(-2j * np.pi * turns / 1024) * np.hanning(1025)[:-1]
    state["spectrogram_extractor.stft.conv_real.weight"] = torch.tensor(wave.real).float()[:, None]
    state["spectrogram_extractor.stft.conv_imag.weight"] = torch.tensor(wave.imag).float()[:, None]
    # Small enough that no sigmoid is full.
    state["fc_audioset.weight"] *= 0.05
    state["logmel_extractor.melW"] = mel_filters(32_000, 1024, 64, 50.0, 14_000.0, "slaney")
    return state


def save_cnn14(folder: Path) -> None:
    """The checkpoint, and the table of its classes."""
    content = {"model": cnn14_state(), "iteration": 100}
    torch.save(content, folder / "Cnn14_emb128_mAP=0.412.pth")
    rows = "".join(f'{i},/m/{i},"Sound, number {i}"\n' for i in range(527))
    (folder / "class_labels_indices.csv").write_text("index,mid,display_name\n" + rows)


# The published checkpoints': 16, 512, 768, 3072, 12, 12, 128, 16, 320, 800.
BEATS_CFG: dict[str, Any] = {
    "input_patch_size": 16,
    "embed_dim": 12,
    "encoder_embed_dim": 16,
    "encoder_ffn_embed_dim": 24,
    "encoder_layers": 3,
    "encoder_attention_heads": 2,
    "conv_pos": 8,
    "conv_pos_groups": 4,
    "num_buckets": 16,
    "max_distance": 40,
    "conv_bias": False,
    "deep_norm": True,
    "gru_rel_pos": True,
    "finetuned_model": False,
    "predictor_class": 527,
    "activation_fn": "gelu",
    "layer_norm_first": False,
    "relative_position_embedding": True,
    "dropout": 0.1,
    "layer_wise_gradient_decay_ratio": 0.6,
}


def beats_shapes(cfg: dict[str, Any]) -> dict[str, list[int]]:
    """Names and shapes of the published layout."""
    width, embed, wide = cfg["encoder_embed_dim"], cfg["embed_dim"], cfg["encoder_ffn_embed_dim"]
    heads, side, taps = cfg["encoder_attention_heads"], cfg["input_patch_size"], cfg["conv_pos"]
    shapes = {
        "patch_embedding.weight": [embed, 1, side, side],
        "layer_norm.weight": [embed],
        "layer_norm.bias": [embed],
        "post_extract_proj.weight": [width, embed],
        "post_extract_proj.bias": [width],
        "encoder.pos_conv.0.bias": [width],
        "encoder.pos_conv.0.weight_g": [1, 1, taps],
        "encoder.pos_conv.0.weight_v": [width, width // cfg["conv_pos_groups"], taps],
        "encoder.layer_norm.weight": [width],
        "encoder.layer_norm.bias": [width],
    }
    for layer in range(cfg["encoder_layers"]):
        name = f"encoder.layers.{layer}"
        for part in "qkv":
            shapes[f"{name}.self_attn.{part}_proj.weight"] = [width, width]
            shapes[f"{name}.self_attn.{part}_proj.bias"] = [width]
        shapes |= {
            f"{name}.self_attn.out_proj.weight": [width, width],
            f"{name}.self_attn.out_proj.bias": [width],
            f"{name}.self_attn.grep_linear.weight": [8, width // heads],
            f"{name}.self_attn.grep_linear.bias": [8],
            f"{name}.self_attn.grep_a": [1, heads, 1, 1],
            f"{name}.self_attn.relative_attention_bias.weight": [cfg["num_buckets"], heads],
            f"{name}.self_attn_layer_norm.weight": [width],
            f"{name}.self_attn_layer_norm.bias": [width],
            f"{name}.fc1.weight": [wide, width],
            f"{name}.fc1.bias": [wide],
            f"{name}.fc2.weight": [width, wide],
            f"{name}.fc2.bias": [width],
            f"{name}.final_layer_norm.weight": [width],
            f"{name}.final_layer_norm.bias": [width],
        }
    if cfg["finetuned_model"]:
        shapes |= {"predictor.weight": [cfg["predictor_class"], width]}
        shapes |= {"predictor.bias": [cfg["predictor_class"]]}
    return shapes


def beats_checkpoint(cfg: dict[str, Any]) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(1)
    state = {
        name: torch.randn(shape, generator=generator) * 0.3
        for name, shape in beats_shapes(cfg).items()
    }
    # So that patches differ, and attention has something to choose from.
    for name in state:
        if name.endswith("norm.weight"):
            state[name] += 1.0
    state["patch_embedding.weight"] -= state["patch_embedding.weight"].mean((2, 3), keepdim=True)
    shared = "encoder.layers.0.self_attn.relative_attention_bias.weight"
    state[shared] *= 5.0
    for layer in range(1, cfg["encoder_layers"]):
        state[shared.replace(".0.", f".{layer}.", 1)] = state[shared]
    return {"cfg": cfg, "model": state}


def save_beats(folder: Path, **changes: Any) -> Path:
    cfg = BEATS_CFG | changes
    content = beats_checkpoint(cfg)
    if cfg["finetuned_model"]:
        content["label_dict"] = {i: f"/m/{i}" for i in range(cfg["predictor_class"])}
    tuned = "_finetuned_on_AS2M_cpt2" if cfg["finetuned_model"] else ""
    path = folder / f"BEATs_iter3_plus_AS2M{tuned}.pt"
    torch.save(content, path)
    return path


def save_ast(folder: Path) -> None:
    """A model of the transformers library and its preprocessor."""
    torch.manual_seed(0)
    config = ast_config.ASTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        id2label={i: f"sound {i}" for i in range(5)},
        initializer_range=0.2,
    )
    ASTForAudioClassification(config).save_pretrained(folder)
    prepare: Any = ast_features.ASTFeatureExtractor  # not annotated
    prepare().save_pretrained(folder)


def save_fcn(folder: Path) -> dict[str, Tensor]:
    """In the layout that Won et al. published, with their spectrogram's derived tensors."""
    torch.manual_seed(0)
    state: dict[str, Tensor] = {
        "spec.spectrogram.window": torch.hann_window(512),
        "spec.mel_scale.fb": torch.empty(0),
    }
    norms = {"spec_bn": 1}
    channels = [1, 64, 128, 128, 128, 64]
    for i in range(1, 6):
        fan = channels[i - 1] * 9
        state[f"layer{i}.conv.weight"] = torch.randn(channels[i], channels[i - 1], 3, 3) / fan**0.5
        state[f"layer{i}.conv.bias"] = torch.randn(channels[i])
        norms[f"layer{i}.bn"] = channels[i]
    for name, size in norms.items():
        for part in ("weight", "running_var"):
            state[f"{name}.{part}"] = torch.rand(size) + 0.5
        for part in ("bias", "running_mean"):
            state[f"{name}.{part}"] = torch.randn(size)
        state[f"{name}.num_batches_tracked"] = torch.tensor(3)
    state |= {"spec_bn.running_mean": torch.tensor([-20.0])}
    state |= {"spec_bn.running_var": torch.tensor([200.0])}
    state |= {"dense.weight": torch.randn(50, 64) * 0.1, "dense.bias": torch.randn(50)}
    torch.save(state, folder / "best_model.pth")
    return state


def musicnn_shapes() -> dict[str, list[int]]:
    """Names and shapes of the published checkpoints."""
    kernels = [[7, 38, 1, 204], [7, 67, 1, 204]]
    kernels += [[128, 1, 1, 51], [64, 1, 1, 51], [32, 1, 1, 51]]
    kernels += [[7, 561, 1, 64], [7, 64, 1, 64], [7, 64, 1, 64]]
    found: dict[str, list[int]] = {}
    for number, kernel in enumerate(kernels):
        name = f"conv2d_{number}" if number else "conv2d"
        found |= {f"{name}/kernel": kernel, f"{name}/bias": kernel[-1:]}
    for number, size in enumerate([1, 204, 204, 51, 51, 51, 64, 64, 64, 1506, 200]):
        name = f"batch_normalization_{number}" if number else "batch_normalization"
        for part in ("gamma", "beta", "moving_mean", "moving_variance"):
            found[f"{name}/{part}"] = [size]
    found |= {"dense/kernel": [1506, 200], "dense/bias": [200]}
    return found | {"dense_1/kernel": [200, 50], "dense_1/bias": [50]}


def musicnn_weights() -> Weights:
    generator = np.random.default_rng(5)
    weights: Weights = {}
    for name, shape in musicnn_shapes().items():
        scale = 0.1 if len(shape) == 1 else float(2.0 / np.prod(shape[:-1])) ** 0.5
        weight = generator.normal(size=shape) * scale
        if name.endswith(("gamma", "moving_variance")):
            weight = np.abs(weight) + 0.8
        weights[name] = weight.astype(np.float32)
    return weights


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _block(entries: list[tuple[bytes, bytes]]) -> bytes:
    out, before, restarts = bytearray(), b"", []
    for number, (key, value) in enumerate(entries):
        shared = 0
        if number % 16:
            while shared < min(len(key), len(before)) and key[shared] == before[shared]:
                shared += 1
        else:
            restarts.append(len(out))
        out += _varint(shared) + _varint(len(key) - shared) + _varint(len(value))
        out += key[shared:] + value
        before = key
    return bytes(out) + struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts))


def save_checkpoint(index: Path, data: Path, weights: Weights) -> None:
    """As TensorFlow writes it: a sorted table of places, in blocks, and the plain numbers."""
    entries = [(b"", bytes.fromhex("08011a020801"))]
    numbers = bytearray()
    for name in sorted(weights):
        tensor = weights[name]
        sizes = [b"\x08" + _varint(size) for size in tensor.shape]
        shape = b"".join(b"\x12" + _varint(len(size)) + size for size in sizes)
        value = b"\x08\x01\x12" + _varint(len(shape)) + shape
        if numbers:
            value += b"\x20" + _varint(len(numbers))
        value += b"\x28" + _varint(tensor.nbytes) + b"\x35" + b"\0\0\0\0"
        entries.append((name.encode(), value))
        numbers += tensor.tobytes()
    data.write_bytes(numbers)

    table, places = bytearray(), []

    def put(block: bytes) -> bytes:
        place = _varint(len(table)) + _varint(len(block))
        check = crc32c(block + b"\0")
        masked = ((check >> 15 | check << 17) + 0xA282EAD8) & 0xFFFFFFFF
        table.extend(block + b"\0" + struct.pack("<I", masked))
        return place

    for start in range(0, len(entries), 40):
        part = entries[start : start + 40]
        places.append((part[-1][0], put(_block(part))))
    footer = put(_block([])) + put(_block(places))
    table.extend(footer + bytes(40 - len(footer)) + bytes.fromhex("57fb808b247547db"))
    index.write_bytes(table)


def save_musicnn(folder: Path) -> None:
    """Both taggers, in the folders of the wheel."""
    for corpus in ("MSD", "MTT"):
        (folder / f"{corpus}_musicnn").mkdir()
        index = folder / f"{corpus}_musicnn" / ".index"
        save_checkpoint(index, index.with_name(".data-00000-of-00001"), musicnn_weights())
