from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from reelgenre.classifiers.late_fusion import Expert, LateFusionClassifier, LinearExpert
from reelgenre.classifiers.module import ClassifierModule


@pytest.fixture
def module(modules: Mapping[str, ClassifierModule]) -> LateFusionClassifier:
    found = modules["late_fusion"]
    assert isinstance(found, LateFusionClassifier)
    return found


def softplus(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.log1p(np.exp(x))


def reference_expert(state: Mapping[str, Tensor], x: NDArray[np.float64]) -> NDArray[np.float64]:
    """The expert's logits for one sequence [T, D], head by head, written from its definition."""
    w = {k: v.double().numpy() for k, v in state.items()}
    x = (x - w["standardise.mean"]) / w["standardise.std"]
    seen = w["hidden.weight"].shape[1]
    z = x[:, :seen] @ w["hidden.weight"].T + w["hidden.bias"]
    erf = torch.erf(torch.from_numpy(z) / np.sqrt(2)).numpy()
    h = 0.5 * z * (1 + erf)
    scores = h @ w["scorer.weight"].T + w["scorer.bias"]
    heads = scores.shape[1]
    logits = w["bias"].copy()
    for k in range(heads):
        attention = np.exp(scores[:, k]) / np.exp(scores[:, k]).sum()
        labels = len(logits)
        logits += w["head.weight"][k * labels : (k + 1) * labels] @ (attention @ h)
        if "trust" in w:
            logits += w["trust"] * (attention @ x[:, seen:]) / heads
    return logits


@torch.no_grad()
def test_logits_are_prior_plus_gated_differences(module: LateFusionClassifier) -> None:
    counts = {"frames": 7, "speech": 2}
    features = {n: torch.randn(1, t, module.config.features[n].dim) for n, t in counts.items()}
    fusion = module.fusion
    prior = fusion.prior.double().numpy()
    expected = prior.copy()
    for name, steps in counts.items():
        m = list(module.config.features).index(name)
        alpha, kappa = (p.double().numpy()[m] for p in (fusion.alpha, fusion.kappa))
        gate = softplus(alpha) * steps / (steps + softplus(kappa))
        logits = reference_expert(
            module.experts[name].state_dict(), features[name][0].double().numpy()
        )
        expected += gate * (logits - prior)
    np.testing.assert_allclose(module(features)[0].numpy(), expected, atol=1e-5)


@torch.no_grad()
def test_a_linear_expert_is_the_mean_of_a_linear_layer(module: LateFusionClassifier) -> None:
    expert = module.experts["sound"]
    assert isinstance(expert, LinearExpert)
    expert.bias.copy_(torch.tensor([0.5, -1.0, 2.0]))
    values = torch.randn(3, 9, 4)
    mask = torch.arange(9) < torch.tensor([[9], [4], [0]])
    values[~mask] = torch.nan
    logits, step_scores = expert(values, mask)
    weight = expert.head.weight.double().numpy()
    for row, steps in ((0, 9), (1, 4)):
        mean = values[row, :steps].double().numpy().mean(axis=0)
        np.testing.assert_allclose(logits[row], weight @ mean + [0.5, -1.0, 2.0], atol=1e-5)
    assert torch.equal(logits[2], expert.bias)
    torch.testing.assert_close(step_scores.sum(1) + expert.bias, logits, atol=1e-6, rtol=0)
    assert (step_scores[~mask] == 0).all()


@torch.no_grad()
@pytest.mark.parametrize("name", ["frames", "speech"])
def test_step_scores_and_bias_sum_to_the_logits(module: LateFusionClassifier, name: str) -> None:
    expert = module.experts[name]
    assert isinstance(expert, Expert)
    values = torch.randn(3, 9, module.config.features[name].dim)
    mask = torch.arange(9) < torch.tensor([[9], [4], [0]])
    logits, step_scores = expert(values, mask)
    torch.testing.assert_close(step_scores.sum(1) + expert.bias, logits, atol=1e-6, rtol=0)
    assert (step_scores[~mask] == 0).all()
    assert torch.equal(logits[2], expert.bias)
    # Each share is what is lost when its head weights see nothing of that step.
    assert step_scores[0].abs().min() > 0


@settings(max_examples=50, deadline=None)
@given(few=st.integers(0, 500), more=st.integers(1, 500))
@torch.no_grad()
def test_gates_grow_with_evidence_from_zero(
    modules: Mapping[str, ClassifierModule], few: int, more: int
) -> None:
    module = modules["late_fusion"]
    assert isinstance(module, LateFusionClassifier)
    for name in module.config.features:
        low, high = module.fusion.gate(name, torch.tensor([float(few), float(few + more)]))
        assert (low < high).all()
        assert (high <= nn.functional.softplus(module.fusion.alpha).max()).all()
        assert (module.fusion.gate(name, torch.zeros(1)) == 0).all()


@torch.no_grad()
def test_without_any_modality_the_answer_is_the_prior(module: LateFusionClassifier) -> None:
    nothing = module({"frames": torch.randn(2, 3, 8)}, {"frames": torch.zeros(2, 3).bool()})
    assert torch.equal(nothing, module.fusion.prior.expand(2, -1))


def test_set_prior_takes_prevalences(module: LateFusionClassifier) -> None:
    fusion = type(module.fusion)(("a",), 2)
    fusion.set_prior(torch.tensor([0.5, 0.2]))
    torch.testing.assert_close(torch.sigmoid(fusion.prior), torch.tensor([0.5, 0.2]))
    for wrong in ([0.5, 0.0], [0.5, 1.0], [0.5]):
        with pytest.raises(ValueError, match="prevalence"):
            fusion.set_prior(torch.tensor(wrong))


def test_an_expert_learns_alone_and_fusion_learns_after(module: LateFusionClassifier) -> None:
    torch.manual_seed(0)
    fresh = LateFusionClassifier(module.config, module.config.architecture)  # type: ignore[arg-type]
    # One step in nine carries the label: only attention over time finds it.
    labels = torch.eye(3).repeat(20, 1)
    values = torch.randn(60, 9, 8) * 0.3
    values[torch.arange(60), torch.randint(0, 9, (60,)), labels.argmax(1)] += 3
    mask = torch.ones(60, 9, dtype=torch.bool)
    loss_of = nn.BCEWithLogitsLoss()
    expert = fresh.experts["frames"].eval()
    optimiser = torch.optim.Adam(expert.parameters(), lr=0.02)
    losses = []
    for _ in range(80):
        loss = loss_of(expert(values, mask).logits, labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 < losses[0]
    assert all(p.grad is None for p in fresh.fusion.parameters())

    logits = {"frames": expert(values, mask).logits.detach()}
    fused = fresh.fusion(logits, {"frames": mask.sum(1).float()})
    loss_of(fused, labels).backward()
    assert fresh.fusion.alpha.grad is not None
    assert fresh.fusion.alpha.grad[0].abs().min() > 0
    assert (fresh.fusion.alpha.grad[1:] == 0).all()


@pytest.mark.parametrize(
    ("mean", "std"), [([0.0], [1.0]), ([0.0] * 8, [float("nan")] * 8), ([0.0] * 8, [1.0] * 7)]
)
def test_statistics_must_fit(
    module: LateFusionClassifier, mean: list[float], std: list[float]
) -> None:
    expert = Expert(8, 3, module.config.architecture, scored=False)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="statistics"):
        expert.standardise.set(torch.tensor(mean), torch.tensor(std))


def test_a_feature_that_never_varies_keeps_its_scale(module: LateFusionClassifier) -> None:
    expert = Expert(2, 3, module.config.architecture, scored=False)  # type: ignore[arg-type]
    expert.standardise.set(torch.tensor([1.0, 2.0]), torch.tensor([0.0, 4.0]))
    torch.testing.assert_close(
        expert.standardise(torch.tensor([[3.0, 10.0]])), torch.tensor([[2.0, 2.0]])
    )
