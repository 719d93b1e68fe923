"""Which GPUs and how many: a number, or TYPE:N, wherever it is set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hpcaccept.config.gpu_request import split_gpus
from hpcaccept.config.settings import load_settings
from hpcaccept.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


def loaded(tmp_path: Path, file: str = "", environ: dict[str, str] | None = None, **options: Any) -> tuple[int, str]:
    (tmp_path / "hpcaccept").mkdir()
    (tmp_path / "hpcaccept" / "config.toml").write_text(file)
    found = load_settings(options, {"XDG_CONFIG_HOME": str(tmp_path), **(environ or {})}).settings
    return found.gpus_per_node, found.gpu_type


@pytest.mark.parametrize(
    ("text", "count", "kind"),
    [
        ("8", 8, ""),
        ("h100:8", 8, "h100"),
        ("1g.10gb:28", 28, "1g.10gb"),
        ("nvidia_h100_80gb_hbm3_1g.10gb.me:7", 7, "nvidia_h100_80gb_hbm3_1g.10gb.me"),
    ],
)
def test_a_number_or_a_type_and_a_number(text: str, count: int, kind: str) -> None:
    assert split_gpus(text, "-g") == (count, kind)


@pytest.mark.parametrize(
    "text", ["", "h100", "-1", "h100:", ":8", "h100:-8", "a b:8", "gpu:h100:8", "8,9", "1e3", "h100:9999999999"]
)
def test_another_form_is_refused_with_one_that_would_do(text: str) -> None:
    with pytest.raises(UsageError, match="expected a number, or TYPE:N") as refused:
        split_gpus(text, "-g")
    assert "h100:8" in refused.value.remedy


def test_file_environment_and_command_line_take_both_forms(tmp_path: Path) -> None:
    assert loaded(tmp_path, 'gpus_per_node = "1g.10gb:28"\n') == (28, "1g.10gb")


def test_a_number_alone_takes_back_the_type_of_a_layer_below(tmp_path: Path) -> None:
    assert loaded(tmp_path, 'gpus_per_node = "a100:4"\n', {"HPCACCEPT_GPUS_PER_NODE": "8"}) == (8, "")


def test_the_last_layer_says_both(tmp_path: Path) -> None:
    assert loaded(tmp_path, "gpus_per_node = 4\n", {"HPCACCEPT_GPUS_PER_NODE": "a100:8"}, gpus_per_node="h100:2") == (
        2,
        "h100",
    )
