from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcaccept.config import settings as settings_module
from hpcaccept.config.settings import Settings, load_settings
from hpcaccept.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home and project; the system file lies in it too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(settings_module, "SYSTEM_FILE", tmp_path / "system.toml")
    (tmp_path / ".config" / "hpcaccept").mkdir(parents=True)
    return tmp_path


def user_file(home: Path) -> Path:
    return home / ".config" / "hpcaccept" / "config.toml"


def load(home: Path, options: dict[str, Any] | None = None, **environ: str) -> settings_module.Layered:
    return load_settings(options or {}, {"HOME": str(home), **environ})


def test_without_any_layer_everything_is_a_default(home: Path) -> None:
    layered = load(home)
    assert layered.settings == Settings()
    assert set(layered.origin.values()) == {"default"}


def test_later_layers_win_and_each_value_names_its_origin(home: Path) -> None:
    (home / "system.toml").write_text('nodes = 2\npartition = "s"\naccount = "s"\nsuite = "full"\nmpi = "s"\n')
    user_file(home).write_text('partition = "u"\naccount = "u"\nsuite = "ddp"\nmpi = "u"\n')
    (home / "hpcaccept.toml").write_text('account = "p"\nsuite = "burn"\nmpi = "p"\n')
    layered = load(home, {"mpi": "o"}, HPCACCEPT_SUITE="cpu", HPCACCEPT_MPI="e")
    found = layered.settings
    assert (found.nodes, found.partition, found.account, found.suite, found.mpi) == (2, "u", "p", "cpu", "o")
    assert layered.origin["nodes"] == str(home / "system.toml")
    assert layered.origin["partition"] == str(user_file(home))
    assert layered.origin["account"] == "hpcaccept.toml"
    assert layered.origin["suite"] == "environment"
    assert layered.origin["mpi"] == "command line"
    assert layered.origin["time"] == "default"


def test_xdg_config_home_is_where_the_users_file_is_looked_for(home: Path) -> None:
    (home / "xdg" / "hpcaccept").mkdir(parents=True)
    (home / "xdg" / "hpcaccept" / "config.toml").write_text("nodes = 9\n")
    assert load(home, XDG_CONFIG_HOME=str(home / "xdg")).settings.nodes == 9


def test_an_option_that_was_not_given_sets_nothing(home: Path) -> None:
    layered = load(home, {"nodes": None, "slurm": {}, "partition": "gpu"})
    assert layered.origin["nodes"] == layered.origin["slurm"] == "default"
    assert layered.settings.partition == "gpu"


def test_an_empty_text_on_the_command_line_overrides_a_file(home: Path) -> None:
    (home / "hpcaccept.toml").write_text('partition = "gpu"\n')
    assert load(home, {"partition": ""}).settings.partition == ""


def test_dashes_in_a_file_mean_underscores(home: Path) -> None:
    (home / "hpcaccept.toml").write_text("gpus-per-node = 8\n")
    assert load(home).settings.gpus_per_node == 8


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("node = 4\n", ["hpcaccept.toml", "'node'", "Did you mean 'nodes'?"]),
        ('partitoin = "gpu"\n', ["hpcaccept.toml", "'partitoin'", "Did you mean 'partition'?"]),
        ("wibble = 1\n", ["hpcaccept.toml", "'wibble'", "Known: account,"]),
        ('nodes = "four"\n', ["hpcaccept.toml", "'nodes' is 'four'", "expected int"]),
        ("nodes = true\n", ["hpcaccept.toml", "'nodes' is True", "expected int"]),
        ("nodes = 1.5\n", ["'nodes' is 1.5", "expected int"]),
        ("partition = 5\n", ["'partition' is 5", "expected str"]),
        ('start_timeout_s = "soon"\n', ["'start_timeout_s' is 'soon'", "expected float"]),
        ('slurm = "qos=high"\n', ["'slurm' is 'qos=high'", "expected dict"]),
        ("[cheks]\n", ["hpcaccept.toml", "'cheks'"]),
    ],
)
def test_a_mistake_in_a_file_names_file_key_and_what_is_right(home: Path, text: str, words: list[str]) -> None:
    (home / "hpcaccept.toml").write_text(text)
    with pytest.raises(UsageError) as fault:
        load(home)
    for word in words:
        assert word in str(fault.value)


def test_what_is_not_toml_is_told_with_its_place(home: Path) -> None:
    (home / "hpcaccept.toml").write_text("nodes = 4\npartition = gpu\n")
    with pytest.raises(UsageError, match=r"hpcaccept\.toml is not TOML: .*line 2"):
        load(home)


def test_what_is_not_utf8_is_told(home: Path) -> None:
    (home / "hpcaccept.toml").write_bytes(b'partition = "\xff"\n')
    with pytest.raises(UsageError, match=r"hpcaccept\.toml is not TOML"):
        load(home)


@pytest.mark.parametrize(
    ("name", "text", "key", "value"),
    [
        ("NODES", "16", "nodes", 16),
        ("GPUS_PER_NODE", "0", "gpus_per_node", 0),
        ("START_TIMEOUT_S", "90", "start_timeout_s", 90.0),
        ("PARTITION", "gpu", "partition", "gpu"),
        ("PARTITION", "", "partition", ""),
        ("SLURM", "qos=high,reservation=maint", "slurm", {"qos": "high", "reservation": "maint"}),
        ("SLURM", "constraint=a=b", "slurm", {"constraint": "a=b"}),
    ],
)
def test_the_environment_sets(home: Path, name: str, text: str, key: str, value: object) -> None:
    layered = load(home, None, **{f"HPCACCEPT_{name}": text})
    assert getattr(layered.settings, key) == value
    assert layered.origin[key] == "environment"


@pytest.mark.parametrize(("name", "text"), [("NODES", "four"), ("START_TIMEOUT_S", "soon"), ("SLURM", "qos")])
def test_a_wrong_environment_variable_is_named(home: Path, name: str, text: str) -> None:
    with pytest.raises(UsageError, match=f"HPCACCEPT_{name} is '{text}'"):
        load(home, None, **{f"HPCACCEPT_{name}": text})


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("GPU_PER_NODE", "GPUS_PER_NODE"),
        ("NODE_LIST", "NODELIST"),
        ("START_TIMEOUT", "START_TIMEOUT_S"),
        ("SUIT", "SUITE"),
    ],
)
def test_a_variable_that_is_nearly_a_setting_is_not_passed_over(home: Path, name: str, meant: str) -> None:
    with pytest.raises(UsageError, match=f"Did you mean HPCACCEPT_{meant}"):
        load(home, None, **{f"HPCACCEPT_{name}": "8"})


@pytest.mark.parametrize("name", ["NODE", "IMAGE", "IMAGE_DIGEST", "PREFER_SITE_MPI", "WEBHOOK_URL", "OURS"])
def test_variables_that_are_no_settings_are_left_alone(home: Path, name: str) -> None:
    assert load(home, None, **{f"HPCACCEPT_{name}": "8"}).settings == load(home, None).settings


def test_an_int_may_stand_for_seconds(home: Path) -> None:
    (home / "hpcaccept.toml").write_text("queue_timeout_s = 60\n[slurm]\nqos = 1\n")
    found = load(home).settings
    assert isinstance(found.queue_timeout_s, float)
    assert found.slurm == {"qos": "1"}


@given(st.dictionaries(st.text(min_size=1), st.integers() | st.text() | st.booleans() | st.none(), max_size=3))
def test_any_options_are_settings_or_a_usage_error(options: dict[str, Any]) -> None:
    with contextlib.suppress(UsageError):
        assert isinstance(load_settings(options, {"HOME": "/nonexistent"}).settings, Settings)


def test_tables_that_change_suites_are_no_settings_and_keep_their_file(home: Path) -> None:
    (home / "system.toml").write_text("nodes = 2\n[checks.burn]\nduration_s = 60\n")
    (home / "hpcaccept.toml").write_text("[peers]\nretests = 1\n")
    layered = load_settings({}, {"HOME": str(home)}, {"burn": {"enabled": False}})
    assert layered.settings == Settings(nodes=2)
    assert [(o.file.name, o.tables) for o in layered.overrides] == [
        ("system.toml", {"checks": {"burn": {"duration_s": 60}}}),
        ("hpcaccept.toml", {"peers": {"retests": 1}}),
        ("command line", {"checks": {"burn": {"enabled": False}}}),
    ]
