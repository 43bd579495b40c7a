from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from server.load import add_arguments, run


def parse(*argv: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_arguments(parser)
    return parser.parse_args(argv)


@pytest.mark.parametrize(
    ("given", "called"),
    [
        ("http://localhost:8998", "ws://localhost:8998/api/chat"),
        ("https://talk.example/", "wss://talk.example/api/chat"),
        ("ws://[::1]:1/api/chat", "ws://[::1]:1/api/chat"),
        ("http://a/b?text_seed=1", "ws://a/b/api/chat?text_seed=1"),
    ],
)
def test_addresses_become_the_chat_url(given: str, called: str) -> None:
    assert parse(given).url == called


@pytest.mark.parametrize(
    "argv",
    [
        ["localhost:8998"],
        ["ftp://host"],
        ["http://"],
        ["http://localhost:99999"],
        ["http://localhost:x"],
        ["http://[::1"],
        ["http://a", "-n", "0"],
        ["http://a", "-n", "1.5"],
        ["http://a", "-s", "0"],
        ["http://a", "-s", "nan"],
        ["http://a", "-s", "inf"],
        ["http://a", "--form", "mp3"],
        ["http://a", "--ramp", "9..3"],
        ["http://a", "--hold", "0"],
        ["http://a", "--find", "fast"],
        ["http://a", "--workers", "0"],
    ],
)
def test_invalid_arguments_are_rejected(argv: list[str]) -> None:
    with pytest.raises(argparse.ArgumentError):
        parse(*argv)


def test_help_groups_the_flags(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse("--help")
    said = capsys.readouterr().out
    assert "p99=80,late=1" in said
    assert all(f"\n{group}:\n" in said for group in ("calls", "audio", "load steps", "output"))


def test_a_server_that_cannot_be_reached_is_reported_with_status_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = tmp_path / "figures.json"
    assert run(parse("http://127.0.0.1:9", "-n", "3", "-s", "0.1", "--json", str(figures))) == 1
    said = capsys.readouterr().out
    assert "admitted        0 of 3" in said
    assert "3 × cannot connect" in said
    assert json.loads(figures.read_text())["failed"] == 3


def test_an_unreadable_sound_file_leaves_earlier_figures_as_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = tmp_path / "figures.json"
    figures.write_text("{}")
    assert run(parse("http://127.0.0.1:9", "--wav", "/nowhere.wav", "--json", str(figures))) == 2
    assert "/nowhere.wav" in capsys.readouterr().err
    assert figures.read_text() == "{}"


def test_an_output_that_cannot_be_written_is_reported_before_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "nowhere" / "figures.json"
    assert run(parse("http://127.0.0.1:9", "--json", str(path))) == 2
    said = capsys.readouterr()
    assert str(path) in said.err and said.out == ""
