"""Settings: which value wins, and what is said of wrong ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from ingestion.errors import WrongSettings
from ops.canary_sources import canary_sources
from ops.cli import headwater
from ops.kinds.files import FilesSettings
from ops.settings import Settings, is_loopback, load, sources_from_folders
from retrieval.api.keys import hash_key

KEY = "a-key-made-by-a-generator"


def written(folder: Path, text: str) -> Path:
    path = folder / "headwater.toml"
    path.write_text(text, encoding="utf-8")
    return path


def faults(path: Path | None = None, **options: object) -> list[str]:
    """The lines of the report, without its heading."""
    options.setdefault("environ", {})
    with pytest.raises(WrongSettings) as caught:
        load(path, **options)  # type: ignore[arg-type]
    return [line.strip() for line in str(caught.value).splitlines()[1:]]


def test_defaults_need_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load(environ={})
    assert settings == Settings()
    assert settings.config is None
    assert settings.daemon.data.is_absolute()
    assert settings.daemon.data.name == "headwater"
    assert (settings.daemon.host, settings.daemon.port) == ("127.0.0.1", 7878)
    assert (settings.embedding.model, settings.embedding.runtime) == ("all-MiniLM-L6-v2", "auto")
    assert settings.sources == ()
    assert {entry["from"] for entry in settings.in_force().values()} == {"default"}


def test_environment_beats_the_file_and_an_argument_beats_both(tmp_path: Path) -> None:
    path = written(tmp_path, '[daemon]\nport = 1\nhost = "::1"\n[embedding]\nmodel = "one"\n')
    environ = {"HEADWATER_DAEMON__PORT": "2", "HEADWATER_EMBEDDING__MODEL": "two"}
    settings = load(path, environ=environ, arguments={"embedding.model": "three", "daemon.host": None})
    assert (settings.daemon.host, settings.daemon.port, settings.embedding.model) == ("::1", 2, "three")
    shown = settings.in_force()
    assert shown["daemon.host"] == {"value": "::1", "from": f"{path}:3"}
    assert shown["daemon.port"] == {"value": 2, "from": "HEADWATER_DAEMON__PORT"}
    assert shown["embedding.model"] == {"value": "three", "from": "argument"}
    assert shown["index.kind"] == {"value": "embedded", "from": "default"}


def test_settings_cannot_be_changed_later() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().daemon.port = 1  # type: ignore[misc]


def test_everything_in_force_can_be_written_as_json(tmp_path: Path) -> None:
    path = written(tmp_path, '[[sources]]\nroot = "notes"\ninclude = ["*.md"]\n')
    shown = json.loads(json.dumps(load(path, environ={}).in_force()))
    assert shown["sources[0].root"] == {"value": str(tmp_path / "notes"), "from": f"{path}:2"}
    assert shown["sources[0].name"] == {"value": "notes", "from": "default"}
    assert shown["sources[0].include"]["value"] == ["*.md"]


def test_a_key_in_an_address_is_not_shown(tmp_path: Path) -> None:
    feed = 'name = "news"\nkind = "feed"\nurls = ["https://h.example/feed?cat=1&token=hush"]\n'
    settings = load(written(tmp_path, f"[[sources]]\n{feed}"), environ={})
    shown = "https://h.example/feed?cat=1&token=***"
    assert settings.in_force()["sources[0].urls"]["value"] == [shown]
    assert settings.sources[0].place == shown


def test_a_canary_lives_in_the_data_folder_or_where_several_processes_see_it(tmp_path: Path) -> None:
    def roots(text: str, **environ: str) -> list[str]:
        settings = load(written(tmp_path, f'[daemon]\ndata = "data"\n{text}'), environ=environ)
        return [str(one.root.relative_to(tmp_path)) for one in canary_sources(settings)]

    broker = '[broker]\nurl = "redis://localhost"\n'
    assert roots("") == ["data/canary/files"]
    assert roots("[canary]\nevery_s = 0\n") == []
    assert roots(broker) == []
    assert roots(f'{broker}[canary]\nfolder = "shared"\n') == ["shared/files"]
    assert roots(broker, HEADWATER_CANARY__FOLDER=str(tmp_path / "other")) == ["other/files"]


def test_a_canary_and_users_sources_are_kept_apart(tmp_path: Path) -> None:
    (tmp_path / "notes" / "in").mkdir(parents=True)
    path = written(
        tmp_path,
        '[daemon]\ndata = "data"\n[[sources]]\nroot = "notes"\n'
        '[[sources]]\nname = "_canary-files"\nroot = "b"\n'
        '[canary]\nfolder = "notes/in"\nevery_s = -1\n',
    )
    assert faults(path) == [
        f"{path}:9 canary.folder: and sources[0], {tmp_path}/notes, hold one another; name a folder outside "
        "every source.",
        f"{path}:6 sources[1].name: '_canary-files' begins as the canary's own sources do; "
        "begin with a letter or digit.",
        f"{path}:10 canary.every_s: should be greater than or equal to 0. It is -1.",
    ]
    text = '[daemon]\ndata = "data"\n[[sources]]\nroot = "c/d"\n[canary]\nfolder = "{}"\n'
    assert "hold one another" in faults(written(tmp_path, text.format("c")))[0]
    assert "is the data folder" in faults(written(tmp_path, text.format("data")))[0]
    assert load(written(tmp_path, text.format("data/birds")), environ={}).canary.folder


def test_an_objective_is_a_table_of_its_source(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        '[[sources]]\nroot = "a"\n[sources.objective]\nwithin_s = 10\n'
        '[[sources]]\nroot = "b"\nobjective = {share = 0.9, over_days = 7}\n',
    )
    settings = load(path, environ={})
    first, second = (source.objective for source in settings.sources)
    assert (first.share, first.within_s, first.deletions_within_s, first.over_days) == (0.99, 10, 5, 30)
    assert (second.share, second.within_s, second.over_days) == (0.9, 60, 7)
    shown = json.loads(json.dumps(settings.in_force()))
    assert shown["sources[0].objective.within_s"] == {"value": 10.0, "from": f"{path}:4"}
    assert shown["sources[0].objective.share"] == {"value": 0.99, "from": "default"}
    assert shown["sources[1].objective.share"] == {"value": 0.9, "from": f"{path}:7"}


def test_the_file_is_named_or_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    here = written(tmp_path, "[daemon]\nport = 1\n")
    (tmp_path / "other.toml").write_text("[daemon]\nport = 2\n", encoding="utf-8")
    assert load(environ={}).daemon.port == 1
    assert load(environ={"HEADWATER_CONFIG": "other.toml"}).daemon.port == 2
    assert load(here, environ={"HEADWATER_CONFIG": "other.toml"}).daemon.port == 1


def test_relative_paths_start_where_they_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "work").mkdir()
    path = written(tmp_path / "etc", '[daemon]\ndata = "../data"\n[embedding]\nmodel = "./model"\n')
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    settings = load(path, environ={"HEADWATER_SOURCES": '[{"root": "a"}, {"root": "~/b"}]'})
    assert settings.daemon.data == tmp_path / "data"
    assert settings.embedding.model == str(tmp_path / "etc/model")
    assert [source.place for source in settings.sources] == [
        str(tmp_path / "work/a"),
        str(tmp_path / "home/b"),
    ]


def test_a_model_with_a_slash_is_a_name() -> None:
    assert load(environ={"HEADWATER_EMBEDDING__MODEL": "org/model"}).embedding.model == "org/model"


def test_all_faults_come_together_each_with_its_place(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """# a comment = 1
[daemon]
port = 99999   # too high
text = '''
port = 1
'''

[[sources]]
root = "a"

[[sources]]
include = [
  "[x",
  "!",
]
""",
    )
    found = faults(path, environ={"HEADWATER_EMBEDDING__RUNTIME": "cuda"}, arguments={"index.kind": "faiss"})
    assert sorted(found) == sorted(
        [
            f"{path}:3 daemon.port: should be less than or equal to 65535. It is 99999.",
            f"{path}:4 daemon.text: is an unknown key; known here: data, host, port, log_format.",
            f'{path}:11 sources[1].root: is missing; name the folder: root = "~/notes".',
            f"{path}:12 sources[1].include: '!' is no pattern as in .gitignore.",
            "HEADWATER_EMBEDDING__RUNTIME embedding.runtime: 'cuda' is not supported by this version; "
            "supported: 'auto', 'openvino', 'sentence-transformers', 'openai' or 'cohere'.",
            "argument index.kind: 'faiss' is not supported by this version; "
            "supported: 'embedded' or 'weaviate'.",
        ]
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[deamon]\nport = 1", ":1 deamon: is an unknown key; did you mean daemon?"),
        ("[daemon]\nprot = 1", ":2 daemon.prot: is an unknown key; did you mean port?"),
        ("port = 1", ":1 port: is an unknown key; did you mean daemon.port?"),
        (
            '[[sources]]\nroot = "a"\nincludes = []',
            ":3 sources[0].includes: is an unknown key; did you mean include?",
        ),
        (
            '[[sources]]\nkind = "file"\nroot = "a"',
            ":2 sources[0].kind: 'file' is no kind of sources. Did you mean files? There are: ",
        ),
        (
            '[[sources]]\nkind = 5\nroot = "a"',
            ":2 sources[0].kind: 5 is no kind of sources. There are: files",
        ),
        (
            '[[sources]]\nkind = "push"\nname = "t"\nroot = "a"',
            ":4 sources[0].root: is for sources of the kind files; for push there are: name, kind, ",
        ),
        ('[[sources]]\nroot = "a"\ncron = "2 * *"', ":3 sources[0].cron: '2 * *' should have 5 fields: "),
        ('[[sources]]\nroot = "a"\ncron = "99 * * * *"', ":3 sources[0].cron: '99 * * * *' is no schedule"),
        ('[[sources]]\nroot = "a"\ncron = "0 0 31 2 *"', ":3 sources[0].cron: '0 0 31 2 *' is no schedule"),
        (
            '[[sources]]\nroot = "a"\ncron = "0 2 * * *"\nscan_every_s = 5',
            ":1 sources[0]: has both scan_every_s and cron; leave one of them out.",
        ),
        ('[[sources]]\nkind = "web"\nname = "w"', ":1 sources[0]: names nothing to look at; give urls or"),
        (
            '[[sources]]\nkind = "web"\nname = "w"\nurls = ["file:///etc/passwd"]',
            ":4 sources[0].urls[0]: 'file:///etc/passwd' is no URL of a page; write https://",
        ),
        (
            '[[sources]]\nkind = "web"\nname = "w"\nurls = ["http://u:p@h/"]',
            ":4 sources[0].urls[0]: 'http://u:p@h/' is no URL of a page",
        ),
        (
            '[[sources]]\nkind = "web"\nname = "w"\nurls = ["https://h/"]\nevery_s = 60\n'
            "adaptive = { looks_per_hour = 9 }",
            ":1 sources[0]: has both every_s and adaptive; leave one of them out.",
        ),
        (
            '[[sources]]\nkind = "web"\nname = "w"\nurls = ["https://h/"]\nadaptive = { looks_per_hour = 0 }',
            ":5 sources[0].adaptive.looks_per_hour: should be greater than or equal to 1. It is 0.",
        ),
        (
            '[[sources]]\nroot = "a"\nadaptive = { looks_per_hour = 9 }',
            ":1 sources[0]: cannot be adaptive: its documents are not looked at one by one; the schedules of "
            "this kind are scan_every_s and cron.",
        ),
        (
            '[[sources]]\nkind = "push"\nname = "p"\nadaptive = { looks_per_hour = 9 }',
            ":1 sources[0]: cannot be adaptive: its documents are not looked at one by one; it needs none.",
        ),
        (
            '[[sources]]\nkind = "feed"\nname = "f"\nurls = ["https://h/"]\nevery_s = 60\ncron = "0 2 * * *"',
            ":1 sources[0]: has both every_s and cron; leave one of them out.",
        ),
        (
            '[[sources]]\nkind = "web"\nname = "v"\nurls = ["http://h"]\n'
            '[[sources]]\nkind = "web"\nname = "w"\nurls = ["http://H:80"]',
            ":8 sources[1].urls: http://H:80 is in sources[0] already, and its pages would be found twice",
        ),
        (
            '[[sources]]\nkind = "web"\nname = "v"\nsitemaps = ["http://h/s"]\n'
            '[[sources]]\nkind = "web"\nname = "w"\nsitemaps = ["http://i/s", "http://h:80/s"]',
            ":8 sources[1].sitemaps: http://h:80/s is in sources[0] already",
        ),
        ('[[sources]]\nkind = "push"', ":1 sources[0].name: is missing; add it."),
        (
            '[[sources]]\nkind = "git"\nname = "g"\nrepository = "ext::sh -c x"',
            ":4 sources[0].repository: 'ext::sh -c x' is no repository",
        ),
        (
            '[[sources]]\nkind = "git"\nname = "g"\nrepository = "ext://h/x"',
            ":4 sources[0].repository: is no URL of a repository; write one of https, ssh or file.",
        ),
        (
            '[[sources]]\nkind = "git"\nname = "g"\nrepository = "--upload-pack=x"',
            ":4 sources[0].repository: is no repository; write a path",
        ),
        (
            '[[sources]]\nkind = "git"\nname = "g"\nrepository = "ssh://-oProxyCommand=x/y"',
            ":4 sources[0].repository: is no URL of a repository; write https://host/path",
        ),
        (
            '[[sources]]\nkind = "git"\nname = "g"\nrepository = "https://u:hidden@h/x"',
            ":4 sources[0].repository: holds a password; write it to a file",
        ),
        (
            '[[sources]]\nkind = "git"\nname = "g"\nrepository = "/x"\nbranch = "--exec=x"',
            ":5 sources[0].branch: '--exec=x' is no name of a branch.",
        ),
        (
            '[[sources]]\nkind = "git"\nname = "g"\nrepository = "/x"\nsubfolder = "a/../b"',
            ":5 sources[0].subfolder: 'a/../b' is no folder of a repository",
        ),
        (
            '[[sources]]\nkind = "git"\nname = "g"\nrepository = "http://h/x"\npassword_file = "/p"',
            ":1 sources[0]: has a password_file, which is for a repository by https.",
        ),
        (
            '[[sources]]\nkind = "git"\nname = "g"\nrepository = "/x"\ncron = "0 2 * * *"\nlist_every_s = 5',
            ":1 sources[0]: has both list_every_s and cron; leave one of them out.",
        ),
        (
            '[[sources]]\nkind = "objects"\nname = "o"\nbucket = "b/c"',
            ":4 sources[0].bucket: 'b/c' is no name of a bucket; folders in it go into prefix.",
        ),
        (
            '[[sources]]\nkind = "objects"\nname = "o"\nbucket = "bucket"\nendpoint_url = "http://h:1"',
            ":1 sources[0]: has an endpoint_url that begins with http://, which everybody",
        ),
        (
            '[[sources]]\nkind = "objects"\nname = "o"\nbucket = "bucket"\nendpoint_url = "https://u:hidden@h"',
            ":5 sources[0].endpoint_url: is no address of a server; write https://host:port, without",
        ),
        (
            '[[sources]]\nkind = "objects"\nname = "o"\nbucket = "bucket"\naccess_key_id = "AKIA"',
            ":1 sources[0]: has one of access_key_id and secret_access_key_file without the other.",
        ),
        (
            '[[sources]]\nkind = "objects"\nname = "o"\nbucket = "bucket"\naccess_key_id = "A"\n'
            'secret_access_key_file = "/s"\nanonymous = true',
            ":1 sources[0]: has a key, and is anonymous; leave one of them out.",
        ),
        (
            '[[sources]]\nkind = "objects"\nname = "o"\nbucket = "bucket"\nprefix = "/docs"',
            ":5 sources[0].prefix: '/docs' is no folder of a bucket; write it as docs/manual.",
        ),
        ('[ledger]\nurl = "sqlite:///x"', ":2 ledger.url: begins with something else than postgresql://"),
        ("daemon = 5", ":1 daemon: should be a table with keys of its own. It is 5."),
        ('[sources]\nroot = "a"', ":1 sources: should be a list"),
        (
            '[[sources]]\nroot = "a"\n[sources.objective]\nshare = 1.0',
            ":4 sources[0].objective.share: should be less",
        ),
        (
            '[[sources]]\nroot = "a"\n[sources.objective]\nwithin = 5',
            ":4 sources[0].objective.within: is an unknown key; did you mean within_s?",
        ),
        (
            '[[sources]]\nroot = "a"\nobjective = 5',
            ":3 sources[0].objective: should be a table with keys of its own. It is 5.",
        ),
        (
            '[[sources]]\nroot = "a"\n[sources.objective]\nover_days = 91',
            ":4 sources[0].objective.over_days: should",
        ),
        ("sources = [1]", ":1 sources[0]: should be a table with keys of its own. It is 1."),
        ("[daemon]\nport = true", ":2 daemon.port: should be a number, not true or false."),
        ('[daemon]\ndata = ""', ":2 daemon.data: is no folder that can be found"),
        ('[daemon]\ndata = "~nobody-of-this-name/x"', ":2 daemon.data: is no folder that can be found"),
        ('[daemon]\ndata = "a\\u0000b"', ":2 daemon.data: holds a zero byte"),
        ('[parsing]\nocr = "eng deu"', ":2 parsing.ocr: 'eng deu' names no languages; write them as"),
        ('[parsing]\nocr = ""', ":2 parsing.ocr: '' names no languages"),
        ('[daemon]\nhost = ""', ":2 daemon.host: '' is no host"),
        ('[daemon]\nhost = "http://127.0.0.1"', ":2 daemon.host: 'http://127.0.0.1' is no host"),
        (
            '[[sources]]\nroot = "a"\nscan_every_s = nan',
            ":3 sources[0].scan_every_s: should be a finite number",
        ),
        ('[[sources]]\nroot = "a"\nscan_every_s = 0', ":3 sources[0].scan_every_s: should be greater"),
        ('[[sources]]\nroot = "a"\nname = "../up"', ":3 sources[0].name: '../up' is no name"),
        ('[[sources]]\nroot = "a"\ninclude = "*.md"', ":3 sources[0].include: should be a list: [...]."),
    ],
)
def test_what_is_said_of_a_wrong_value(tmp_path: Path, text: str, said: str) -> None:
    path = written(tmp_path, text)
    found = faults(path)
    assert len(found) == 1
    assert found[0].startswith(f"{path}{said}")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"[daemon]\nport = \n", ":2: is not TOML: Invalid value in column 8. Nothing in the file was used."),
        (b"[daemon]\nport = 1\nport = 2\n", ":3: is not TOML: Cannot overwrite a value"),
        (b"[daemon]\n\nhost = '\xff'", ":3: is not UTF-8 text"),
        (b"x = " + b"[" * 100_000, ": brackets are nested too deeply"),
        (b"#" * (1024 * 1024 + 1), ": cannot be read (it is larger than"),
        (b"x = " + b"9" * 5000, ": is not TOML: Exceeds the limit"),
    ],
)
def test_a_file_that_cannot_be_read_does_not_hide_other_faults(
    tmp_path: Path, body: bytes, said: str
) -> None:
    path = tmp_path / "headwater.toml"
    path.write_bytes(body)
    found = faults(path, environ={"HEADWATER_DAEMON__PORT": "-1", "HEADWATER_DAEMON__HOST": "0.0.0.0"})
    assert found[0].startswith(f"{path}{said}")
    assert found[1:] == [
        "HEADWATER_DAEMON__PORT daemon.port: should be greater than or equal to 0. It is '-1'."
    ]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert faults(tmp_path / "none.toml") == [
        f"{tmp_path}/none.toml: cannot be read (No such file or directory); name another with --config."
    ]
    assert "Is a directory" in faults(tmp_path)[0]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("HEADWATER_DAEMON_PORT", "sets nothing; the name has two underscores: HEADWATER_DAEMON__PORT."),
        ("HEADWATER_DEAMON__PORT", "sets nothing; did you mean HEADWATER_DAEMON__PORT?"),
        ("HEADWATER_XYZZY__QUUX", "sets nothing; unset it."),
        ("HEADWATER_DAEMON__PROT", "daemon.prot: is an unknown key; did you mean port?"),
    ],
)
def test_variables_that_set_nothing_are_named(name: str, said: str) -> None:
    assert [
        line.removeprefix(f"{name}:").removeprefix(name).strip() for line in faults(environ={name: "1"})
    ] == [said]


def test_variables_of_others_and_empty_ones_are_passed_over() -> None:
    environ = {
        "HEADWATER_SERVICE_HOST": "10.0.0.1",
        "HEADWATER_DAEMON_PORT": "tcp://10.0.0.1:7878",
        "HEADWATER_DAEMON__PORT": " ",
        "PORT": "1",
    }
    assert load(environ=environ) == Settings()


@pytest.mark.parametrize("value", ["notes", "{", "[" * 100_000, "5"])
def test_sources_from_the_environment_are_a_json_list(value: str) -> None:
    found = faults(environ={"HEADWATER_SOURCES": value})
    assert len(found) == 1
    assert found[0].startswith("HEADWATER_SOURCES sources: should be a list: [...].")
    assert len(found[0]) < 200


def test_a_key_in_the_file_is_stored_hashed(tmp_path: Path) -> None:
    path = written(tmp_path, f'[daemon]\nhost = "0.0.0.0"\n[api]\nkeys = ["{hash_key(KEY)}"]\n')
    settings = load(path, environ={})
    assert settings.api.keys == (hash_key(KEY),)
    assert settings.in_force()["api.keys"] == {"value": 1, "from": f"{path}:4"}


def test_a_plain_key_in_the_file_is_refused_and_never_shown(tmp_path: Path) -> None:
    path = written(tmp_path, f'[api]\nkeys = ["{KEY}", 5]\nkey = "{KEY}"')
    found = faults(path)
    assert any(
        line.startswith(f"{path}:2 api.keys[0]: should be the hash of a key, not the key.") for line in found
    )
    assert any(line.startswith(f"{path}:3 api.key: is an unknown key; did you mean keys?") for line in found)
    assert KEY not in "".join(found)


def test_the_command_that_is_told_makes_the_hash() -> None:
    with pytest.raises(WrongSettings) as caught:
        load(environ={"HEADWATER_DAEMON__HOST": "0.0.0.0"})
    told = str(caught.value).split("Make the hash of a key with: headwater ")[1]
    made = CliRunner().invoke(headwater, told.split(), input=f"{KEY}\n")
    assert made.output.strip() == hash_key(KEY)


@pytest.mark.parametrize("value", [KEY, f"{KEY}, {KEY}2", json.dumps([KEY]), hash_key(KEY)])
def test_keys_from_the_environment_may_be_plain_and_are_hashed(value: str) -> None:
    settings = load(environ={"HEADWATER_API__KEYS": value, "HEADWATER_DAEMON__HOST": "0.0.0.0"})
    assert settings.api.keys[0] == hash_key(KEY)
    assert KEY not in repr(settings)


def test_a_short_key_is_refused() -> None:
    found = faults(environ={"HEADWATER_API__KEYS": "hunter2"})
    assert found[0].startswith("HEADWATER_API__KEYS api.keys[0]: is shorter than 16 characters.")
    assert "hunter2" not in found[0]


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        *((host, True) for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost")),
        *(
            (host, False)
            for host in ("0.0.0.0", "::", "192.168.1.2", "localhost.example.org", "::ffff:10.0.0.1")
        ),
    ],
)
def test_other_machines_need_a_key(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
    environ = {"HEADWATER_DAEMON__HOST": host}
    if loopback:
        assert load(environ=environ).daemon.host == host
    else:
        assert faults(environ=environ)[0].startswith("HEADWATER_DAEMON__HOST daemon.host: ")
        assert load(environ={**environ, "HEADWATER_API__KEYS": KEY}).daemon.host == host


def test_sources_are_called_after_their_folders(tmp_path: Path) -> None:
    sources = sources_from_folders([tmp_path / "a/docs", tmp_path / "b/docs", tmp_path / "Über uns!"])
    assert [source.name for source in sources] == ["docs", "docs-2", "Über-uns"]
    assert [source.kind for source in sources] == ["files"] * 3
    assert sources_from_folders(["/"])[0].name == "root"


def test_a_name_that_was_given_is_not_taken_by_another(tmp_path: Path) -> None:
    path = written(tmp_path, '[[sources]]\nroot = "x/docs"\n[[sources]]\nname = "docs"\nroot = "y"\n')
    assert [source.name for source in load(path, environ={}).sources] == ["docs-2", "docs"]


def test_names_and_folders_given_twice_are_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    path = written(
        tmp_path,
        '[[sources]]\nname = "a"\nroot = "real"\n[[sources]]\nname = "a"\nroot = "other"\n'
        '[[sources]]\nname = "c"\nroot = "link"\n',
    )
    assert faults(path) == [
        f"{path}:5 sources[1].name: 'a' is sources[0] already; rename one.",
        f"{path}:9 sources[2].root: {tmp_path}/link is sources[0] already; give it once.",
    ]


def test_folders_inside_one_another_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WrongSettings, match=r"sources\[1\].root: .*/in lies in sources\[0\]"):
        sources_from_folders([tmp_path, tmp_path / "in"])
    with pytest.raises(WrongSettings, match=r"sources\[1\].root: .* holds sources\[0\]"):
        sources_from_folders([tmp_path / "in", tmp_path])
    inner = FilesSettings(name="in", root=tmp_path / "in")
    outer = FilesSettings(name="out", root=tmp_path, exclude=("/in/",))
    assert load(environ={}, arguments={"sources": [outer, inner]}).sources == (outer, inner)


def test_a_folder_may_be_missing_but_not_a_file(tmp_path: Path) -> None:
    (tmp_path / "file.md").touch()
    assert sources_from_folders([tmp_path / "later"])[0].root == tmp_path / "later"
    with pytest.raises(WrongSettings, match="is a file; name the folder that holds it"):
        sources_from_folders([tmp_path / "file.md"])


def test_the_data_folder_is_left_out_of_a_source_that_holds_it(tmp_path: Path) -> None:
    arguments = {"daemon.data": tmp_path / "of [me]", "sources": [tmp_path]}
    (source,) = load(environ={}, arguments=arguments).sources
    assert isinstance(source, FilesSettings)
    assert source.exclude == (r"/of\ \[me\]/",)
    assert "is the data folder" in faults(arguments={"daemon.data": tmp_path, "sources": [tmp_path]})[0]


def test_importing_reads_nothing_and_is_quick() -> None:
    code = (
        "import sys, time; start = time.process_time(); import ops.settings; "
        "assert 'pydantic_settings' not in sys.modules; print(time.process_time() - start)"
    )
    environ = {**os.environ, "HEADWATER_DAEMON__PORT": "no number"}
    runs = [
        subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
        for _ in range(3)
    ]
    assert min(float(run.stdout) for run in runs) < 0.6
