"""The codec's training: it learns, resumes exactly, and writes a loadable checkpoint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from model.audio import SAMPLE_RATE_HZ
from model.checkpoints.random import small_mimi
from model.demo.codec import CodecTraining, learning_rate
from model.demo.codec_clips import latents, sounds
from model.demo.codec_config import CLIP_FRAMES, CODEBOOKS, MIMI, fresh_codec, write_codec
from model.demo.codec_data import CLIP_SAMPLES, SPOKEN_PER_FRAME, Clips, Corpus
from model.demo.codec_losses import SpectralDistance
from model.demo.codec_quantizer import CodebookTrainer
from model.demo.codes import load_codec
from model.demo.speech import MODEL_VOICE, SpeechError, say
from model.network.mimi import Mimi
from model.network.quantizer import ResidualQuantizer

SMALL = small_mimi(16, CODEBOOKS, width=16, filters=2)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tones(count: int, seed: int = 0) -> Clips:
    """Clips of steady tones; the pitch determines the phoneme."""
    phoneme = torch.arange(count) % 4
    angle = torch.arange(CLIP_SAMPLES) * (2 * torch.pi / SAMPLE_RATE_HZ) * (200 * 2**phoneme)[:, None]
    sound = 0.1 * torch.sin(angle + torch.rand(count, 1, generator=rng(seed)))
    labels = phoneme[:, None, None].expand(count, CLIP_FRAMES, SPOKEN_PER_FRAME).contiguous()
    return Clips(sound, sound, labels, torch.ones(count))


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> CodecTraining:
    monkeypatch.setattr("model.demo.codec.fresh_codec", lambda rng: fresh_codec(rng, SMALL))
    return CodecTraining(classes=4, steps=100, seed=0)


def start_codebooks(training: CodecTraining) -> None:
    found = latents(training.mimi, tones(16).heard).flatten(0, 1)
    for trainer, half in (
        (training.semantic, training.mimi.quantizer.first),
        (training.acoustic, training.mimi.quantizer.rest),
    ):
        trainer.start(half.input_proj(found).detach(), training.rng)
    training.step = 50


def fine_codec() -> Mimi:
    mimi = fresh_codec(rng(), SMALL)
    for half in (mimi.quantizer.first, mimi.quantizer.rest):
        CodebookTrainer(half).start(torch.randn(64, 32, generator=rng()), rng())
    return mimi


@torch.no_grad()
def test_training_and_serving_give_the_same_codes_and_sound():
    mimi, pcm = fine_codec(), tones(3).heard
    latent = latents(mimi, pcm)
    frames = pcm.unflatten(1, (CLIP_FRAMES, -1)).unbind(1)
    hearing, speaking = mimi.make_encoder_state(3), mimi.make_decoder_state(3)
    codes = torch.cat([mimi.encode(frame, hearing, None) for frame in frames], 1)
    halves = (mimi.quantizer.first, mimi.quantizer.rest)
    quantised = [CodebookTrainer(half)(half.input_proj(latent.flatten(0, 1)), None) for half in halves]
    trained = torch.cat([half.codes for half in quantised], 1).view_as(codes)
    assert (trained == codes).float().mean() > 0.99  # except for ties
    streamed = torch.cat([mimi.decode(code, speaking, None) for code in codes.split(1, 1)], 1)
    torch.testing.assert_close(sounds(mimi, mimi.quantizer.decode(codes.flatten(0, 1)).view_as(latent)), streamed)


def test_a_fresh_codec_keeps_the_level_of_the_sound():
    clips = tones(8)
    with torch.no_grad():
        latent = latents(fresh_codec(rng()), clips.heard)
        sound = sounds(fresh_codec(rng()), latent)
    assert 0.2 < latent.std() < 5
    assert 0.2 < sound.std() / clips.heard.std() < 5


def test_written_codec_loads_with_the_same_weights(tmp_path: Path):
    mimi = fine_codec()
    write_codec(tmp_path, mimi, SMALL)
    loaded = dict(load_codec(tmp_path).named_parameters())
    for name, parameter in mimi.named_parameters():
        torch.testing.assert_close(loaded[name], parameter, rtol=1e-3, atol=1e-6, msg=name)


def test_the_demo_codec_is_small():
    assert 2e6 < sum(parameter.numel() for parameter in fresh_codec(rng()).parameters()) < 3e6
    assert MIMI["transformer"]["context"] >= 2 * CLIP_FRAMES


def test_training_reduces_the_sound_and_phoneme_losses(training: CodecTraining):
    before = {name: loss.item() for name, loss in training.losses(tones(8)).items()}
    for seed in range(60):
        training.train_step(tones(4, seed))
    after = {name: loss.item() for name, loss in training.losses(tones(8)).items()}
    assert after["sound"] < before["sound"] and after["phonemes"] < before["phonemes"]


def test_gradients_pass_through_the_codebooks_without_changing_them(training: CodecTraining):
    start_codebooks(training)
    losses = training.losses(tones(8))
    assert losses["commitment"] > 0
    losses["sound"].backward()
    assert (
        training.mimi.quantizer.first.input_proj.weight.grad is None
    )  # the sound loss has no gradient into the semantic codes
    for parameter in (*training.mimi.encoder.parameters(), training.mimi.quantizer.rest.input_proj.weight):
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0
    losses = training.losses(tones(8))
    losses["phonemes"].backward()
    assert training.mimi.quantizer.first.input_proj.weight.grad is not None
    assert not any(average.requires_grad for average in (*training.semantic.state, *training.acoustic.state))
    assert training.mimi.quantizer.first.codebooks.grad is None


def test_a_resumed_training_equals_an_uninterrupted_one(training: CodecTraining, tmp_path: Path):
    start_codebooks(training)
    training.train_step(tones(4, seed=1))
    training.save(tmp_path / "training.pt")
    expected = [training.train_step(tones(4, seed)) for seed in (2, 3)]
    again = CodecTraining(classes=4, steps=100, seed=9)
    again.load(tmp_path / "training.pt")
    assert [again.train_step(tones(4, seed)) for seed in (2, 3)] == expected
    assert again.semantic.started and not CodecTraining(classes=4, steps=100, seed=0).semantic.started


def quantizer(codebooks: int, bins: int) -> ResidualQuantizer:
    return ResidualQuantizer(4, 4, codebooks, bins).to_empty(device="cpu")


def test_kmeans_finds_the_clusters_and_later_codebooks_code_the_residual():
    centres = torch.eye(4) * 10
    latent = centres.repeat(50, 1) + torch.randn(200, 4, generator=rng()) * 0.1
    half = quantizer(codebooks=2, bins=8)
    trainer = CodebookTrainer(half)
    trainer.start(latent, rng())
    errors = [(latent - half.codebooks[0][trainer(latent, None).codes[:, 0]]).square().mean()]
    errors.append((latent - trainer(latent, None).vectors).square().mean())
    assert errors[1] < errors[0] < 0.02


def test_an_unused_codebook_entry_is_moved_to_a_vector():
    latent = torch.randn(64, 4, generator=rng())
    half = quantizer(codebooks=1, bins=4)
    trainer = CodebookTrainer(half)
    trainer.start(latent, rng())
    half.codebooks[0, 3] = 1e6
    trainer.usage[0, 3] = 1e-6
    for _ in range(3):
        trainer(latent, rng())
    assert len(trainer(latent, None).codes.unique()) == 4


def test_spectral_distance_is_zero_for_equal_sounds_and_grows_with_the_difference():
    distance, sound = SpectralDistance(), tones(2).heard
    noise = torch.randn(sound.shape, generator=rng()) * 0.1
    same, near, far = distance(sound, sound), distance(sound + 0.01 * noise, sound), distance(noise, sound)
    silence = distance(torch.zeros_like(sound), sound)
    assert (same == 0).all() and (near > 0).all() and (near < far).all() and (near < silence).all()


def test_the_learning_rate_rises_and_falls():
    rates = [learning_rate(step, 1000) for step in range(1000)]
    assert rates[0] < rates[100] < rates[199] == pytest.approx(1e-3, rel=0.01)
    assert rates[199:] == sorted(rates[199:], reverse=True) and rates[-1] == pytest.approx(2e-5, rel=0.01)


def test_clips_repeat_match_their_phonemes_and_have_clean_targets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PARLEY_DEMO_CACHE", str(tmp_path))
    try:
        say("hello", MODEL_VOICE)
    except SpeechError as error:
        pytest.skip(str(error))
    corpus = Corpus(0, model_takes=6, caller_takes=6)
    clips, again = (corpus.draw(np.random.default_rng(3), 60) for _ in range(2))
    assert torch.equal(clips.heard, again.heard) and torch.equal(clips.phonemes, again.phonemes)
    assert clips.heard.shape == clips.wanted.shape == (60, CLIP_SAMPLES)
    assert clips.phonemes.shape == (60, CLIP_FRAMES, SPOKEN_PER_FRAME) and clips.phonemes.max() < corpus.classes
    level = clips.wanted.view(60, CLIP_FRAMES, SPOKEN_PER_FRAME, -1).square().mean(-1).sqrt()
    assert level[clips.phonemes > 0].mean() > 10 * level[clips.phonemes == 0].mean()
    untouched = (clips.heard == clips.wanted).all(1)
    assert 0.3 < untouched.float().mean() < 0.9  # the model's own voice and silence; callers are always augmented
