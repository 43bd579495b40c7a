from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from server.cli import main
from server.settings import Settings, unknown_variables


def test_flags_take_precedence_over_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PARLEY_SLOTS", "3")
    monkeypatch.setenv("PARLEY_PORT", "1234")
    settings = Settings(slots=5)
    assert (settings.slots, settings.port) == (5, 1234)
    assert Settings().slots == 3


def test_token_is_read_from_a_secrets_file(tmp_path: Path):
    (tmp_path / "parley_token").write_text("from-a-file-0123456789\n")
    token = Settings(_secrets_dir=tmp_path).token  # type: ignore[call-arg]
    assert token and token.get_secret_value() == "from-a-file-0123456789"


def test_unreadable_secret_is_a_one_line_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "parley_token").write_bytes(b"\xff")  # not by its mode, since root may read any file
    monkeypatch.setitem(Settings.model_config, "secrets_dir", tmp_path)
    assert main(["serve", "--model", "echo"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("parley: cannot read the secrets: ")


def test_slots_default_to_auto():
    assert Settings().slots == Settings(slots="auto").slots == "auto"


def test_settings_are_frozen():
    with pytest.raises(ValidationError):
        Settings().port = 1  # type: ignore[misc]


def test_empty_environment_variable_is_an_error(monkeypatch: pytest.MonkeyPatch):
    for name in ("PARLEY_RECORD", "PARLEY_TOKEN", "PARLEY_ALLOWED_HOST"):
        monkeypatch.setenv(name, "")
        with pytest.raises(ValidationError, match="must not be empty"):
            Settings()
        monkeypatch.delenv(name)


def test_misspelt_environment_variable_is_reported():
    environment = {"PARLEY_SLOT": "4", "PARLEY_PORT": "1", "PARLEY_CHROMIUM": "/usr/bin/chromium", "PATH": "/bin"}
    assert unknown_variables(environment) == [
        "Unknown environment variable PARLEY_SLOT ignored. Did you mean PARLEY_SLOTS?"
    ]


def test_list_setting_is_split_at_commas_and_spaces():
    assert Settings(allowed_host=" a.example, 192.0.2.1,\n").allowed_host == ("a.example", "192.0.2.1")  # type: ignore[arg-type]


def test_server_id_may_be_an_ipv6_address():
    """docker/kubernetes uses a pod's IPv6 address as its server id."""
    name = "fd12-3456-789a-bcde-f012-3456-789a-bcde"
    assert Settings(server_id=name).server_id == name


@pytest.mark.parametrize(
    "wrong",
    [
        {"slots": 0},
        {"slots": 1025},
        {"slots": "many"},
        {"quantization": "int4"},
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
def test_invalid_setting_is_an_error(wrong: dict[str, object]):
    with pytest.raises(ValidationError):
        Settings(**wrong)  # type: ignore[arg-type]
