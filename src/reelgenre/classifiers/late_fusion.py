"""Ours: one small expert per modality, fused by gates that trust each by how much it has seen.

Why late: the modalities' training data need not be paired (posters here, dialogues there), each
expert is trained alone on what exists for it, and any subset of modalities works afterwards.

- Expert: standardise, one hidden layer per step, K-head attention pooling over time, one linear
  layer; where the steps end with scores of an encoder that was trained on the labels itself, these
  are pooled by the same attention and added; where the steps are nothing but scores, the mean over
  time of one linear layer. Because the last layer is linear and pooling is a weighted sum, the
  logits are exactly the sum over steps of what each step contributed, plus a bias: the explanation
  is the computation.
- Fusion: ``prior + sum of gate * (expert - prior)``, where prior is the log-odds of each label's
  prevalence and ``gate = softplus(alpha) * n / (n + softplus(kappa))`` grows with the number n of
  real steps from 0. Without any modality the answer is the prior.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from reelgenre.classifiers.config import ClassifierConfig, LateFusion
from reelgenre.classifiers.module import ClassifierModule, Standardise, Steps, clear_padding

SOFTPLUS_OF_ONE = math.log(math.e - 1)
"""softplus of this is 1."""


class ExpertTensors(NamedTuple):
    """What an expert says of a batch.

    Attributes:
        logits: [B, C]; the bias alone where a sample has no real step.
        step_scores: [B, T, C], zero at padded steps; their sum over T plus the expert's bias is
            ``logits``.
    """

    logits: Tensor
    step_scores: Tensor


class Expert(nn.Module):
    """A classifier of one modality; trainable on its own.

    Args:
        dim: width D of the steps.
        labels: number C of labels.
        settings: hidden width H, pooling heads K, dropout.
        scored: whether the last C of the D numbers are scores of the labels.

    Attributes:
        trust: [C], what the scores are multiplied with; None where there are none. An encoder's
            scores of the samples that it was itself trained on are too good to be true, so fit
            this on others.
    """

    def __init__(self, dim: int, labels: int, settings: LateFusion, *, scored: bool) -> None:
        super().__init__()
        self.heads = settings.heads
        self.features = dim - labels if scored else dim
        self.standardise = Standardise(dim)
        self.input_dropout = nn.Dropout(settings.dropout)
        self.hidden = nn.Linear(self.features, settings.hidden)
        self.dropout = nn.Dropout(settings.dropout)
        self.scorer = nn.Linear(settings.hidden, settings.heads)
        self.head = nn.Linear(settings.hidden, settings.heads * labels, bias=False)
        self.bias = nn.Parameter(torch.zeros(labels))
        self.trust = nn.Parameter(torch.ones(labels)) if scored else None

    def forward(self, values: Tensor, mask: Tensor) -> ExpertTensors:
        """Logits and step scores of values [B, T, D] with mask [B, T] (True = real)."""
        x = self.standardise(clear_padding(Steps(values, mask)))
        hidden = self.input_dropout(x[..., : self.features])
        hidden = self.dropout(functional.gelu(self.hidden(hidden)))
        real = mask[..., None]
        scores = self.scorer(hidden).masked_fill(~real, torch.finfo(hidden.dtype).min)
        # Where no step is real the softmax is uniform over padding: the mask makes it zero.
        attention = torch.softmax(scores, dim=1) * real
        votes = self.head(hidden).unflatten(-1, (self.heads, -1))
        step_scores = (attention[..., None] * votes).sum(dim=2)
        if self.trust is not None:
            attended = attention.mean(dim=2, keepdim=True)
            step_scores = step_scores + attended * x[..., self.features :] * self.trust
        return ExpertTensors(step_scores.sum(dim=1) + self.bias, step_scores)


class LinearExpert(nn.Module):
    """A classifier of one modality: one linear layer, averaged over time.

    Args:
        dim: width D of the steps.
        labels: number C of labels.
    """

    def __init__(self, dim: int, labels: int) -> None:
        super().__init__()
        self.head = nn.Linear(dim, labels, bias=False)
        if dim == labels:
            nn.init.eye_(self.head.weight)  # steps that are scores of the labels pass as they are
        self.bias = nn.Parameter(torch.zeros(labels))

    def forward(self, values: Tensor, mask: Tensor) -> ExpertTensors:
        """Logits and step scores of values [B, T, D] with mask [B, T] (True = real)."""
        count = mask.sum(dim=1).clamp(min=1)[:, None, None]
        step_scores = self.head(clear_padding(Steps(values, mask))) / count
        return ExpertTensors(step_scores.sum(dim=1) + self.bias, step_scores)


class GatedFusion(nn.Module):
    """prior + sum over modalities of gate(n) * (expert - prior).

    Args:
        names: modalities in the order of the parameters' rows.
        labels: number C of labels.

    Attributes:
        prior: buffer [C], log-odds of the labels' prevalence.
        alpha: [M, C], softplus of it is the trust in modality m on label c with much evidence.
        kappa: [M], softplus of it is the number of steps at which that trust is half reached.
    """

    prior: Tensor

    def __init__(self, names: tuple[str, ...], labels: int) -> None:
        super().__init__()
        self.names = names
        self.register_buffer("prior", torch.zeros(labels))
        self.alpha = nn.Parameter(torch.full((len(names), labels), SOFTPLUS_OF_ONE))
        self.kappa = nn.Parameter(torch.full((len(names),), SOFTPLUS_OF_ONE))

    def set_prior(self, prevalence: Tensor) -> None:
        """Fix the prior from each label's share [C] of the training samples.

        Raises:
            ValueError: a share is not strictly between 0 and 1.
        """
        if prevalence.shape != self.prior.shape or not ((prevalence > 0) & (prevalence < 1)).all():
            raise ValueError(f"prevalence must be {len(self.prior)} shares between 0 and 1")
        self.prior.copy_(torch.logit(prevalence))

    def gate(self, name: str, evidence: Tensor) -> Tensor:
        """Trust [B, C] in a modality that has ``evidence`` [B] real steps; zero for none."""
        m = self.names.index(name)
        share = evidence / (evidence + functional.softplus(self.kappa[m]))
        return share[:, None] * functional.softplus(self.alpha[m])

    def forward(self, logits: Mapping[str, Tensor], evidence: Mapping[str, Tensor]) -> Tensor:
        """Fused logits [B, C] from any subset of experts' logits [B, C] and step counts [B]."""
        fused = self.prior
        for name, expert in logits.items():
            fused = fused + self.gate(name, evidence[name]) * (expert - self.prior)
        return fused


class LateFusionClassifier(ClassifierModule):
    """The experts and their fusion; ``experts[name]`` and ``fusion`` are trained in turn."""

    def __init__(self, config: ClassifierConfig, settings: LateFusion) -> None:
        super().__init__(config)
        labels = len(config.labels)
        self.experts = nn.ModuleDict(
            {
                name: LinearExpert(f.dim, labels)
                if name in settings.linear
                else Expert(f.dim, labels, settings, scored=name in settings.scored)
                for name, f in config.features.items()
            }
        )
        self.fusion = GatedFusion(tuple(config.features), labels)

    def outputs(self, inputs: Mapping[str, Steps]) -> dict[str, Tensor]:
        """``logits`` and per modality ``NAME_logits``, ``NAME_gate``, ``NAME_step_scores``."""
        logits: dict[str, Tensor] = {}
        evidence: dict[str, Tensor] = {}
        details: dict[str, Tensor] = {}
        for name, (values, mask) in inputs.items():
            expert: ExpertTensors = self.experts[name](values, mask)
            logits[name] = expert.logits
            evidence[name] = mask.sum(dim=1).to(values.dtype)
            details[f"{name}_logits"] = expert.logits
            details[f"{name}_gate"] = self.fusion.gate(name, evidence[name])
            details[f"{name}_step_scores"] = expert.step_scores
        return {"logits": self.fusion(logits, evidence), **details}
