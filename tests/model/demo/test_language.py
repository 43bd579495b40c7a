"""All stages with tiny networks: data from a random codec, a training that learns, a checkpoint that runs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
import torch

from model.audio import FRAME_SAMPLES
from model.checkpoints.build import build
from model.checkpoints.defaults import MOSHI_JSON
from model.checkpoints.families import find
from model.checkpoints.files import in_directory
from model.checkpoints.moshi_config import duplex_config
from model.checkpoints.random import BABBLE, small_mimi, write_checkpoint
from model.demo import conversation, language, language_data, network
from model.demo.answers import AnswerBook, make_book, model_says
from model.demo.codes import decode, encode, load_codec
from model.demo.evaluate import converse
from model.demo.network import make_network
from model.demo.speech import CALLER_VOICES
from model.demo.trials import Trial
from model.demo.words import PAD, train_tokenizer
from model.modes.duplex import DuplexInputs
from tests.golden.cases import speech_like

TINY = {
    "dim": 32, "num_heads": 2, "num_layers": 1, "context": 40,
    "depformer_dim": 16, "depformer_num_heads": 2, "depformer_num_layers": 1, "depformer_dim_feedforward": 64,
}  # fmt: skip


@pytest.fixture(scope="module")
def codec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("codec")
    write_checkpoint(directory, BABBLE | {"card": 64}, small_mimi(64, width=32, filters=4))
    return directory


@pytest.fixture(scope="module")
def data(codec: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One small shard of each kind, in which one track stands for every answer and cut."""
    directory = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PARLEY_DEMO_CACHE", str(directory / "speech"))
        tokenizer = train_tokenizer(conversation.answers())
        (directory / language_data.TOKENIZER).write_bytes(tokenizer)
        words = sentencepiece.SentencePieceProcessor(model_proto=tokenizer)
        language_data.halve_codec(codec, directory)
        mimi = load_codec(directory)
        some = make_book([conversation.BACKCHANNEL], mimi, words)
        part = some.tracks[conversation.BACKCHANNEL, 0]
        cuts = range(120)
        book = AnswerBook(some.silence, {(a, cut): part for a in conversation.answers() for cut in cuts})
        book.save(directory / language_data.BOOK)
        for kind in ("train", "valid"):
            shard = language_data.make_shard(np.random.default_rng(0), CALLER_VOICES, mimi, book, calls=2, frames=90)
            np.save(directory / f"{kind}-000.npy", shard)
    return directory


def test_a_cut_answer_has_the_codes_of_the_whole_answer_before_the_cut(codec: Path, data: Path):
    mimi = load_codec(codec)
    words = sentencepiece.SentencePieceProcessor(model_file=str(data / language_data.TOKENIZER))
    answer = conversation.BACKCHANNEL
    book = make_book([answer], mimi, words)
    frames = -(-len(model_says(answer).pcm) // FRAME_SAMPLES)
    assert set(book.tracks) == {(answer, cut) for cut in range(frames)}
    whole, cut = book.tracks[answer, 0], book.tracks[answer, 3]
    assert np.array_equal(whole[:4, 1:], cut[:4, 1:])
    assert [words.id_to_piece(int(token)) for token in whole[whole[:, 0] != PAD, 0]] == ["<unk>", "▁Mm-hm."]


def test_the_codes_of_the_data_equal_those_of_a_call(codec: Path):
    duplex, _ = build(find(in_directory(codec)), torch.device("cpu"), torch.float32)
    pcm = speech_like(12).astype(np.float32)[None] / np.float32(32768)
    state = duplex.make_state(1)
    with torch.inference_mode():
        frames = torch.from_numpy(pcm).unflatten(1, (-1, FRAME_SAMPLES))
        heard = [duplex.step(DuplexInputs(frames[:, at]), state).input_codes[0] for at in range(12)]
    codes = encode(duplex.mimi, pcm)
    assert np.array_equal(codes[0, 1:], torch.stack(heard[1:]).numpy())
    assert decode(duplex.mimi, codes).shape == pcm.shape


def test_data_of_another_codec_or_of_other_answers_is_refused(
    codec: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write_checkpoint(tmp_path, BABBLE | {"card": 64}, small_mimi(64, width=32, filters=4), seed=1)
    with pytest.raises(SystemExit, match="another codec"):
        language_data.main(["--codec", str(tmp_path), "--out", str(data), "--workers", "1"])
    monkeypatch.setattr(conversation, "answers", lambda: ("Hi.",))
    with pytest.raises(SystemExit, match="other answers"):
        language_data.main(["--codec", str(codec), "--out", str(data), "--workers", "1"])


def test_dropout_is_active_in_training_only():
    duplex = make_network(duplex_config(BABBLE, small_mimi(256)), torch.device("cpu"), seed=0)
    columns = torch.zeros(1, 5, 1 + duplex.config.n_q, dtype=torch.int64)

    def logits() -> torch.Tensor:
        return duplex.temporal(columns, duplex.temporal.make_state(1), None)[1]

    assert not torch.equal(logits(), logits())
    duplex.eval()
    assert torch.equal(logits(), logits())


def test_training_learns_resumes_and_writes_a_checkpoint_that_runs(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(language, "LANGUAGE", network.LANGUAGE | TINY)
    arguments = ["--data", str(data), "--batch", "8", "--threads", "1", "--steps", "60"]
    for out, stop in (("whole", 60), ("parts", 15), ("parts", 60)):
        assert language.main([*arguments, "--out", str(tmp_path / out), "--stop-after", str(stop)]) == 0
    curves = [json.loads(line) for line in (tmp_path / "whole/curves.jsonl").read_text().splitlines()]
    assert curves[-1]["step"] == 60
    assert curves[-1]["text"] < 0.7 * curves[0]["text"]
    assert curves[-1]["semantic"] < 0.9 * curves[0]["semantic"]
    resumed = json.loads((tmp_path / "parts/curves.jsonl").read_text().splitlines()[-1])
    assert resumed["total"] == pytest.approx(curves[-1]["total"], rel=1e-3)

    checkpoint = tmp_path / "whole/checkpoint"
    assert set(MOSHI_JSON) < set(json.loads((checkpoint / "config.json").read_text())), (
        "a default is missing, which other loaders need"
    )
    duplex, tokenizer = build(find(in_directory(checkpoint)), torch.device("cpu"), torch.float32)
    pcm = speech_like(20).astype(np.float32) / np.float32(32768)
    trial = Trial(pcm, "", 0.2, 0.4)
    outcomes = converse(duplex, tokenizer, [trial, trial])
    assert outcomes[0].pcm.shape == (21 * FRAME_SAMPLES,)
    assert not outcomes[0].pcm[: 2 * FRAME_SAMPLES].any()  # its first frame is played when the third one begins
