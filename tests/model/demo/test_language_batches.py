"""Training columns equal those of serving, token for token."""

from __future__ import annotations

import pytest
import torch

from model.checkpoints.moshi_config import duplex_config
from model.checkpoints.random import BABBLE, small_mimi
from model.config import DuplexConfig
from model.demo.language_batches import corrupt, delayed, draw
from model.network.delays import Delays


def config_with(**lm: object) -> DuplexConfig:
    return duplex_config(BABBLE | lm, small_mimi(256))


@pytest.mark.parametrize(
    "config",
    [
        config_with(),
        config_with(n_q=8, dep_q=4, delays=[0, 0, 2, 1, 1, 0, 3, 1, 2]),
    ],
    ids=["published", "others"],
)
def test_columns_equal_those_of_the_delays_step_by_step(config: DuplexConfig):
    frames, calls = 20, 3
    streams = torch.randint(0, 200, (calls, frames, 1 + config.n_q), generator=torch.Generator().manual_seed(0))
    columns, said = delayed(streams, config)
    assert columns.shape[1] == said.shape[1] == frames - 1
    delays = Delays(config)
    state = delays.make_state(calls)
    for step in range(frames - 1):
        fed = delays.push_heard(streams[:, step, 1 + config.dep_q :], state)
        assert torch.equal(fed, columns[:, step])
        delays.push_spoken(said[:, step, 0], said[:, step, 1:], state, None)
        tokens, whole = delays.aligned(state)
        if whole.all():  # the aligned tokens are the frames of the streams
            assert torch.equal(tokens, streams[:, step + 1 - config.max_delay, : 1 + config.dep_q])


def test_the_columns_and_targets_of_a_window_are_aligned():
    config = config_with(context=30)
    streams = torch.arange(100)[None, :, None].repeat(4, 1, 2 + config.n_q)
    batch = draw(streams, config, torch.Generator().manual_seed(1), torch.zeros(config.dep_q, dtype=torch.int64))
    assert batch.columns.shape == (4, 30, 1 + config.n_q)
    text = batch.columns[..., 0]
    begun = text != config.text_vocab
    assert torch.equal(batch.text[begun], text[begun] + 1)
    assert torch.equal(batch.words[begun], text[begun])  # in this test a word has the number of its frame
    assert not batch.text_counts.all() and batch.text_counts.any()
    assert not (batch.audio_counts & ~batch.text_counts).any()


def test_frames_with_speech_train_the_codes_more_often_than_silence():
    config = config_with(context=200)
    quiet = torch.arange(config.dep_q)
    streams = torch.full((16, 201, 2 + config.n_q), config.text_pad)
    streams[..., 1 : 1 + config.dep_q] = quiet
    streams[:, 40:140, 3] = 77  # one codebook that differs from silence
    batch = draw(streams, config, torch.Generator().manual_seed(0), quiet)
    speaks = (batch.audio == 77).any(-1)
    spoken, silent = batch.audio_counts[speaks].float().mean(), batch.audio_counts[~speaks].float().mean()
    assert 0.25 < spoken < 0.45
    assert 0.02 < silent < 0.08


def test_corruption_keeps_text_and_initial_tokens_and_the_range_of_codes():
    config = config_with()
    columns, _ = delayed(torch.zeros(64, 50, 1 + config.n_q, dtype=torch.int64), config)
    corrupted = corrupt(columns, config, torch.Generator().manual_seed(0))
    changed = corrupted != columns
    assert not changed[..., 0].any()
    assert not changed[columns == config.audio_vocab].any()
    own, user = changed[..., 1 : 1 + config.dep_q], changed[..., 1 + config.dep_q :]
    assert 0.005 < own.float().mean() < 0.05 < user.float().mean() < 0.3
    assert 0.04 < user.all(-1).float().mean() < 0.11, "all codes of some frames are replaced"
    assert corrupted[..., 1:].max() <= config.audio_vocab
