"""Variables that mean nothing, or something wrong, stop the start by their name."""

import re
from pathlib import Path

import pytest

from localrec.cli import main
from models.contract.errors import ConfigError, EnvironmentVariableError
from service.gateway.environment import OTHERS, PREFIX, check_names
from service.gateway.settings import Settings, load_settings

ROOT = Path(__file__).parents[3]
PASSWORD = "hunter2"  # noqa: S105 - so that a test may look for it


def refusal(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> str:
    monkeypatch.setenv(name, value)
    with pytest.raises(EnvironmentVariableError) as caught:
        load_settings()
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("LOCALREC_REDIS_URI", "LOCALREC_REDIS_URL"),
        ("LOCALREC_HTPP__DRAIN_S", "LOCALREC_HTTP__DRAIN_S"),
        ("LOCALREC_BUNDEL", "LOCALREC_BUNDLE"),
        ("localrec_redis_uri", "LOCALREC_REDIS_URL"),
    ],
)
def test_a_variable_that_is_no_setting_is_named_with_the_nearest(
    monkeypatch: pytest.MonkeyPatch, name: str, nearest: str
):
    why = refusal(monkeypatch, name, "1")
    assert why == f"{name}: no such setting, nearest is {nearest}; expected a key of deploy/gateway.toml"


def test_one_that_is_near_to_none_is_refused_too(monkeypatch: pytest.MonkeyPatch):
    assert refusal(monkeypatch, "LOCALREC_QQQQQQQQQQQQQQQQQQ", "1") == (
        "LOCALREC_QQQQQQQQQQQQQQQQQQ: no such setting; expected a key of deploy/gateway.toml"
    )


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("LOCALREC_LIMITS__MIN", "many", "LOCALREC_LIMITS__MIN='many': Input should be a valid integer"),
        ("LOCALREC_LIMITS__MIX", "3", "LOCALREC_LIMITS__MIX='3': Extra inputs are not permitted"),
        ("LOCALREC_DEFAULT_DEADLINE_MS", "0", "LOCALREC_DEFAULT_DEADLINE_MS='0': Input should be greater than"),
        ("LOCALREC_LOGGING__FORMAT", "xml", "LOCALREC_LOGGING__FORMAT='xml': Input should be 'json' or 'text'"),
        ("LOCALREC_PIPELINES__CF__FALLBACKS", '["cf", 3]', "LOCALREC_PIPELINES__CF__FALLBACKS="),
        (
            "LOCALREC_PIPELINES__CF__FALLBACKS",
            "[popular",
            "LOCALREC_PIPELINES__CF__FALLBACKS='[popular': expected JSON",
        ),
        ("LOCALREC_PIPELINES", "", "LOCALREC_PIPELINES='': expected JSON"),
    ],
)
def test_a_wrong_value_is_shown_with_what_is_expected(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: str
):
    monkeypatch.setenv("LOCALREC_PIPELINES__CF__KIND", "cf") if "CF__" in name else None
    assert refusal(monkeypatch, name, value).startswith(expected)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LOCALREC_REDIS_URL", f"http://user:{PASSWORD}@host"),
        ("LOCALREC_POOLS", f'[{{"name": "p", "urls": ["http://user:{PASSWORD}@host"]}}]'),
        ("LOCALREC_POOLS", f"http://user:{PASSWORD}@host"),
        ("LOCALREC_TRACING__OTLP_ENDPOINT", f"http://user:{PASSWORD}@host:4318"),
    ],
)
def test_a_value_that_may_hold_a_password_is_not_shown(monkeypatch: pytest.MonkeyPatch, name: str, value: str):
    why = refusal(monkeypatch, name, value)
    assert why.startswith(f"{name} (not shown): ")
    assert PASSWORD not in why


def test_what_is_wrong_in_the_file_is_no_variables_fault(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "gateway.toml").write_text("[limits]\nmin = -1\n")
    monkeypatch.setenv("LOCALREC_LIMITS__MAX", "100")
    with pytest.raises(ConfigError, match=r"gateway.toml: limits.min: ") as caught:
        load_settings(tmp_path / "gateway.toml")
    assert caught.value.exit_code == 1


@pytest.mark.parametrize("command", ["gateway", "engine"])
def test_it_is_one_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
):
    monkeypatch.setenv("LOCALREC_REDIS_URI", "redis://here")
    arguments = ["--bundle", "nowhere"] if command == "engine" else []
    with pytest.raises(SystemExit) as caught:
        main(["serve", command, *arguments])
    assert caught.value.code == 2
    assert re.fullmatch(r"localrec: LOCALREC_REDIS_URI: .+\n", capsys.readouterr().err)


def test_what_kubernetes_tells_of_services_is_left_alone():
    links = {
        "LOCALREC_SERVICE_HOST": "10.0.0.1",
        "LOCALREC_PORT": "tcp://10.0.0.1:8080",
        "LOCALREC_GATEWAY_SERVICE_PORT": "8080",
        "LOCALREC_GATEWAY_SERVICE_PORT_HTTP": "8080",
        "LOCALREC_GATEWAY_PORT_8080_TCP_ADDR": "10.0.0.1",
    }
    check_names(links, Settings.model_fields)
    with pytest.raises(EnvironmentVariableError):
        check_names({"LOCALREC_ADMN__PORT": "8081"}, Settings.model_fields)


@pytest.mark.parametrize("path", ["docker-compose.yml", ".env.example", "scripts", "deploy", "localrec"])
def test_every_variable_that_we_name_is_a_setting_or_listed(path: str):
    files = [ROOT / path] if (ROOT / path).is_file() else [each for each in (ROOT / path).rglob("*") if each.is_file()]
    text = "\n".join(file.read_text(errors="ignore") for file in files if "__pycache__" not in file.parts)
    names = {name.rstrip("_") for name in re.findall(rf"\b{PREFIX}[A-Z][A-Z_]+", text)}
    assert names or path == "deploy"
    check_names(dict.fromkeys(names, ""), Settings.model_fields)


def test_no_name_is_listed_that_is_a_setting():
    assert not {name.removeprefix(PREFIX).lower() for name in OTHERS} & set(Settings.model_fields)
