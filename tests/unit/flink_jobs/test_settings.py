"""Settings come from one file, and an error says what is wrong with it."""

import json
from pathlib import Path

import pytest

from flink_jobs.store.settings import BreakerSettings, SettingsError, load_settings

CONTENT = {
    "kafka": {"bootstrap_servers": "192.0.2.1:9092"},
    "topics": {name: name for name in ("transactions", "predictions", "fraud_alerts", "transactions_dlq")},
    "s3": {"endpoint_url": "http://192.0.2.1:9000", "access_key": "a", "secret_key": "b"},
    "buckets": {name: name for name in ("datalake", "models", "features", "flink")},
}


def test_the_environment_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "settings.json"
    file.write_text(json.dumps(CONTENT))
    monkeypatch.setenv("FRAUD_SETTINGS", str(file))
    assert load_settings().kafka.bootstrap_servers == "192.0.2.1:9092"


@pytest.mark.parametrize(
    ("root", "deployment"), [(None, "lab"), ("terraform/libvirt", "libvirt"), ("/srv/terraform/aws/", "aws")]
)
def test_the_deployments_own_file_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: str | None, deployment: str
) -> None:
    monkeypatch.delenv("FRAUD_SETTINGS", raising=False)
    monkeypatch.delenv("TERRAFORM_ROOT", raising=False)
    if root:
        monkeypatch.setenv("TERRAFORM_ROOT", root)
    monkeypatch.chdir(tmp_path)
    for name in ("lab", "libvirt", "aws"):
        (tmp_path / "build" / name).mkdir(parents=True)
        content = CONTENT | {"kafka": {"bootstrap_servers": f"{name}:9092"}}
        (tmp_path / "build" / name / "settings.json").write_text(json.dumps(content))
    assert load_settings().kafka.bootstrap_servers == f"{deployment}:9092"


def test_a_missing_file_says_what_makes_one(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.json; ansible-playbook site\.yml writes one"):
        load_settings(tmp_path / "nowhere.json")


def test_a_wrong_field_is_named(tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    file.write_text(json.dumps(CONTENT | {"kafka": {}}))
    with pytest.raises(SettingsError, match="bootstrap_servers"):
        load_settings(file)


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe{\0}\0", b'{"kafka": "\xff"}', b'{"x": ' + b"[" * 100_000]
)
def test_what_is_no_json_is_an_error_of_the_file(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "settings.json"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match=r"settings\.json: .*; ansible-playbook site\.yml writes it anew"):
        load_settings(file)


def test_the_currency_has_a_default_and_a_form(tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    for content, currency in ((CONTENT, "EUR"), (CONTENT | {"currency": "USD"}, "USD")):
        file.write_text(json.dumps(content))
        assert load_settings(file).currency == currency
    file.write_text(json.dumps(CONTENT | {"currency": "dollars"}))
    with pytest.raises(SettingsError, match="currency"):
        load_settings(file)


def test_the_share_of_control_transactions_has_a_default_and_a_form(tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    for content, share in ((CONTENT, 0.001), (CONTENT | {"control_share": 0}, 0.0)):
        file.write_text(json.dumps(content))
        assert load_settings(file).control_share == share
    file.write_text(json.dumps(CONTENT | {"control_share": 1.5}))
    with pytest.raises(SettingsError, match="control_share"):
        load_settings(file)


def test_settings_of_before_the_breaker_only_say_what_it_finds(tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    file.write_text(json.dumps(CONTENT))
    assert load_settings(file).breaker == BreakerSettings(multiple=3.0, go_back=False)
    file.write_text(json.dumps(CONTENT | {"breaker": {"multiple": 5, "go_back": True}}))
    assert load_settings(file).breaker == BreakerSettings(multiple=5.0, go_back=True)
    file.write_text(json.dumps(CONTENT | {"breaker": {"multiple": 1}}))
    with pytest.raises(SettingsError, match=r"breaker\.multiple"):
        load_settings(file)
