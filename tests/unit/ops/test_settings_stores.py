"""Ledger, broker and index: which go together, what each needs, and that no secret is ever shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ingestion.errors import Misconfigured, WrongSettings
from ops import stores
from ops.opening import ledger_url
from ops.settings import Settings, load
from ops.settings_stores import masked
from ops.stores import broker_url, make_broker
from retrieval.api.keys import hash_key

SECRET = "s3cret-and-long-enough"
POSTGRES = f"postgresql://headwater:{SECRET}@db.example:5432/headwater"
REDIS = f"redis://:{SECRET}@queue.example:6379/2"
WEAVIATE = {"HEADWATER_INDEX__KIND": "weaviate", "HEADWATER_INDEX__URL": "http://weaviate.example:8080"}


def faults(**environ: str) -> list[str]:
    with pytest.raises(WrongSettings) as caught:
        load(environ=environ)
    assert SECRET not in str(caught.value)
    return str(caught.value).splitlines()[1:]


@pytest.mark.parametrize(
    "environ",
    [
        {},
        WEAVIATE,
        {"HEADWATER_BROKER__URL": REDIS},
        {"HEADWATER_BROKER__URL": REDIS, **WEAVIATE},
        {"HEADWATER_LEDGER__URL": POSTGRES, "HEADWATER_BROKER__URL": REDIS, **WEAVIATE},
    ],
)
def test_what_goes_together(environ: dict[str, str]) -> None:
    settings = load(environ=environ)
    assert (settings.broker.url is not None) == ("HEADWATER_BROKER__URL" in environ)


def test_postgresql_needs_weaviate_and_a_broker() -> None:
    found = faults(HEADWATER_LEDGER__URL=POSTGRES)
    assert len(found) == 2
    assert "index.kind: is embedded, which lies in the SQLite file" in found[0]
    assert "broker.url: is missing" in found[1]


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"HEADWATER_LEDGER__URL": f"mysql://u:{SECRET}@h/d"}, "ledger.url: begins with something else"),
        ({"HEADWATER_LEDGER__URL": f"postgresql://u:{SECRET}@h:port/d"}, "ledger.url: is no address"),
        ({"HEADWATER_BROKER__URL": f"amqp://u:{SECRET}@h"}, "broker.url: begins with something else"),
        ({"HEADWATER_BROKER__URL": SECRET}, "broker.url: begins with something else"),
        ({"HEADWATER_BROKER__URL": "redis://"}, "broker.url: is no address"),
        (
            {"HEADWATER_BROKER__URL": REDIS, "HEADWATER_BROKER__PASSWORD_FILE": "/x"},
            "broker.password_file: is given beside the password in broker.url",
        ),
        ({"HEADWATER_BROKER__PASSWORD_FILE": "/x"}, "broker.password_file: is for an address"),
        ({"HEADWATER_INDEX__KIND": "weaviate"}, "index.url: is missing"),
        ({"HEADWATER_INDEX__API_KEY": SECRET}, "index.api_key: is for Weaviate"),
        ({**WEAVIATE, "HEADWATER_INDEX__PREFIX": "with space"}, "index.prefix: 'with space' is no prefix"),
        (
            {**WEAVIATE, "HEADWATER_INDEX__API_KEY": SECRET, "HEADWATER_INDEX__API_KEY_FILE": "/x"},
            "index.api_key_file: is given beside index.api_key",
        ),
        ({"HEADWATER_LEDGER__LEASE_S": "1"}, "ledger.lease_s: should be greater than or equal to 5"),
        ({"HEADWATER_API__KEYS_FILE": "/nowhere/keys"}, "api.keys_file: the file cannot be read"),
    ],
)
def test_what_is_said_of_wrong_ones(environ: dict[str, str], said: str) -> None:
    assert any(said in line for line in faults(**environ)), faults(**environ)


def test_secrets_are_in_nothing_that_is_shown(tmp_path: Path) -> None:
    environ = {
        "HEADWATER_LEDGER__URL": POSTGRES,
        "HEADWATER_BROKER__URL": REDIS,
        "HEADWATER_INDEX__API_KEY": SECRET,
        **WEAVIATE,
    }
    settings = load(environ=environ)
    assert SECRET not in repr(settings)
    assert SECRET not in str(settings.in_force())
    shown: dict[str, Any] = settings.in_force()
    assert shown["ledger.url"]["value"] == "postgresql://headwater:***@db.example:5432/headwater"
    assert shown["broker.url"]["value"] == "redis://:***@queue.example:6379/2"
    assert SECRET not in repr(make_broker(settings)) + make_broker(settings).shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://h", "redis://h"),
        ("redis://u@h:1/2", "redis://u@h:1/2"),
        ("rediss://u:p%40@[::1]:1/2?password=x", "rediss://u:***@[::1]:1/2"),
        ("redis://:@h", "redis://:***@h"),
        ("http://[", "an address that cannot be read"),
    ],
)
def test_addresses_without_their_secrets(url: str, shown: str) -> None:
    assert masked(url) == shown


def with_file(tmp_path: Path, words: str, **environ: str) -> Settings:
    file = tmp_path / "secret"
    file.write_text(words)
    return load(environ={name: value.replace("FILE", str(file)) for name, value in environ.items()})


def test_passwords_come_from_files(tmp_path: Path) -> None:
    settings = with_file(
        tmp_path,
        "p@ss/wörd\n",
        HEADWATER_LEDGER__URL="postgresql://u@h/d",
        HEADWATER_LEDGER__PASSWORD_FILE="FILE",
        HEADWATER_BROKER__URL="rediss://u@h:6380/1?ssl_ca_certs=/ca.pem",
        HEADWATER_BROKER__PASSWORD_FILE="FILE",
        **WEAVIATE,
    )
    made = ledger_url(settings)
    assert made is not None
    assert made.password == "p@ss/wörd"
    assert (
        broker_url(settings) == "rediss://u:p%40ss%2Fw%C3%B6rd@h:6380/1"
        "?ssl_ca_certs=%2Fca.pem&ssl_cert_reqs=required"
    )


def test_a_password_file_that_is_not_there(tmp_path: Path) -> None:
    settings = load(
        environ={
            "HEADWATER_BROKER__URL": "redis://h",
            "HEADWATER_BROKER__PASSWORD_FILE": f"{tmp_path}/{SECRET}",
        }
    )
    with pytest.raises(Misconfigured, match="cannot be read from the file that") as told:
        broker_url(settings)
    assert SECRET not in str(told.value)


def test_the_keys_of_the_api_come_from_a_file(tmp_path: Path) -> None:
    settings = with_file(
        tmp_path,
        f"{SECRET}\n{hash_key('another-key-of-mine')}\n",
        HEADWATER_API__KEYS_FILE="FILE",
        HEADWATER_DAEMON__HOST="0.0.0.0",
    )
    assert settings.api.keys == (hash_key(SECRET), hash_key("another-key-of-mine"))


def test_roles_need_a_broker() -> None:
    with pytest.raises(Misconfigured, match=r"broker\.url names none"):
        make_broker(load(environ={}))


def test_a_data_file_on_a_network_mount_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "file_system", lambda path: "nfs4")
    with pytest.raises(Misconfigured, match="is on nfs4") as told:
        stores.refuse_network_mount(tmp_path / "not" / "there")
    assert "ledger.url" in told.value.hint
