from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from server.settings import Settings


def test_flags_win_over_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PARLEY_SLOTS", "3")
    monkeypatch.setenv("PARLEY_PORT", "1234")
    settings = Settings(slots=5)
    assert (settings.slots, settings.port) == (5, 1234)
    assert Settings().slots == 3


def test_a_secret_may_be_a_file(tmp_path: Path):
    (tmp_path / "parley_token").write_text("from-a-file-0123456789\n")
    token = Settings(_secrets_dir=tmp_path).token  # type: ignore[call-arg]
    assert token and token.get_secret_value() == "from-a-file-0123456789"


def test_as_many_slots_as_fit_are_the_default():
    assert Settings().slots == Settings(slots="auto").slots == "auto"


def test_settings_are_frozen():
    with pytest.raises(ValidationError):
        Settings().port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    "wrong",
    [
        {"slots": 0},
        {"slots": 1025},
        {"slots": "many"},
        {"weights": "4bit"},
        {"port": -1},
        {"device": "tpu"},
        {"quiet_s": 0},
        {"quiet_s": "nan"},
        {"stalled_s": "inf"},
        {"max_call_s": -1},
        {"max_call_s": "inf"},
        {"max_call_s": 1e308},
    ],
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, object]):
    with pytest.raises(ValidationError):
        Settings(**wrong)  # type: ignore[arg-type]
