"""Samples follow the requested distribution and are repeatable."""

from __future__ import annotations

import pytest
import torch

from model.network import sampling
from model.network.sampling import HISTORY

DRAWS = 20_000


def draw(logits: torch.Tensor, temperature: float, top_k: int, seed: int = 1) -> torch.Tensor:
    """Many draws from one distribution, each with the noise of another step."""
    rows = logits.expand(DRAWS, -1)
    rng = sampling.make_sampler(
        torch.full((DRAWS,), temperature),
        torch.full((DRAWS,), top_k),
        torch.full((DRAWS,), seed),
        torch.arange(DRAWS),
        torch.tensor([3]),
        logits.shape[-1],
        top_k == 0,
    )
    return rng.draw(rows, 0)


@pytest.mark.parametrize(("temperature", "top_k"), [(1.0, 0), (0.7, 0), (1.3, 4), (0.5, 2)])
def test_token_frequencies_equal_the_distribution(temperature: float, top_k: int):
    logits = torch.tensor([2.0, 0.5, -1.0, 1.0, 0.0, 1.5])
    expected = torch.softmax(logits / temperature, -1)
    if top_k:
        expected[expected < expected.topk(top_k).values[-1]] = 0
    expected /= expected.sum()
    seen = torch.bincount(draw(logits, temperature, top_k), minlength=6) / DRAWS
    assert (seen[expected == 0] == 0).all()
    assert torch.allclose(seen, expected, atol=0.015)  # four standard deviations


def test_token_frequencies_equal_the_distribution_over_a_large_vocabulary():
    """With 1,500 tokens, of which top-k keeps at most 500."""
    logits = torch.zeros(1500)
    logits[1499] = 7.0
    seen = torch.bincount(draw(logits, 1.0, 0), minlength=1500) / DRAWS
    assert abs(seen[1499] - torch.softmax(logits, -1)[1499]) < 0.015
    assert (seen > 0).sum() > 1400
    assert len(draw(logits, 1.0, 500).unique()) == 500


def test_temperature_0_is_greedy():
    assert (draw(torch.tensor([0.1, 0.3, 0.2]), 0.0, 0) == 1).all()


@pytest.mark.parametrize("vocabulary", [50, 2048])
def test_a_sample_does_not_depend_on_a_neighbours_options(vocabulary: int):
    """Also if logits are equal because they were bfloat16."""
    logits = torch.randn(64, vocabulary, generator=torch.Generator().manual_seed(0)).bfloat16().float()
    args = (torch.full((64,), 0.9), torch.full((64,), 40), torch.arange(64), torch.arange(64), torch.tensor([0]))
    bounded, unbounded = (sampling.make_sampler(*args, vocabulary, wants) for wants in (False, True))
    assert torch.equal(bounded.draw(logits, 0), unbounded.draw(logits, 0))


def test_noise_has_no_pattern():
    """Noise is uniform over tokens, steps, streams and seeds, and uncorrelated between neighbours."""
    keys = torch.arange(64)[:, None]
    noise = torch.exp(-torch.exp(-sampling.gumbel(sampling._mix(keys), torch.arange(2048).expand(64, -1))))
    assert noise.min() > 0
    assert noise.max() < 1
    assert abs(noise.mean() - 0.5) < 0.005
    assert abs(noise.var() - 1 / 12) < 0.002
    lags = [torch.corrcoef(torch.stack([noise[:, 1:].flatten(), noise[:, :-1].flatten()]))[0, 1]]
    lags += [torch.corrcoef(torch.stack([noise[1:].flatten(), noise[:-1].flatten()]))[0, 1]]
    assert max(map(abs, lags)) < 0.015


def penalised(history: list[int], span: int, penalty: float = 2.0, pad: int = 3) -> torch.Tensor:
    state = sampling.make_state(1, torch.device("cpu"))
    state.penalty[0], state.penalty_span[0] = penalty, span
    for token in history:
        sampling.append_history_(torch.tensor([token]), pad, state, None)
    logits = torch.tensor([[2.0, -2.0, 4.0, 1.0, -1.0, 6.0]])
    sampling.penalise_(logits, state)
    return logits[0]


def test_penalty_lowers_recent_tokens():
    assert penalised([0, 1, 1], span=10).tolist() == [1.0, -4.0, 4.0, 1.0, -1.0, 6.0]


def test_penalty_ignores_old_tokens_and_padding():
    assert penalised([0, 1, 3, 3, 5], span=2).tolist() == [2.0, -4.0, 4.0, 1.0, -1.0, 3.0]
    assert penalised([0] + [1] * HISTORY, span=HISTORY).tolist()[0] == 2.0
    assert penalised([0] + [1] * (HISTORY - 1) + [3] * 5, span=HISTORY).tolist()[0] == 1.0
    assert penalised([], span=10).tolist()[0] == 2.0


def test_pad_bonus_multiplies_its_probability():
    logits, temperature, factor = torch.tensor([2.0, 0.5, -1.0, 1.0]), 0.7, 3.0
    state = sampling.make_state(1, torch.device("cpu"))
    state.text_temperature[0], state.pad_bonus[0] = temperature, torch.tensor(factor).log()
    favoured = logits[None].clone()
    sampling.add_pad_bias_(favoured, 3, state)
    expected = torch.softmax(logits / temperature, -1)
    expected[3] *= factor
    assert torch.allclose(torch.softmax(favoured[0] / temperature, -1), expected / expected.sum())


def test_an_idle_slot_records_no_token():
    state = sampling.make_state(2, torch.device("cpu"))
    sampling.append_history_(torch.tensor([5, 5]), 3, state, torch.tensor([True, False]))
    assert state.said.tolist() == [1, 0]
