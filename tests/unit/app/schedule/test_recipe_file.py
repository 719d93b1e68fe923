from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hpcaccept.app.schedule.recipe_file import parse_recipe, read_recipe, recipe_text, write_recipe
from hpcaccept.errors import UsageError
from hpcaccept.model.schedule.recipe import MetricRule, Recipe, Rental, StopRules

if TYPE_CHECKING:
    from pathlib import Path

FULL = Recipe(
    "python train.py --name \"x\" && echo 'done' \\\n\t# ü",
    send=(".", "../data set"),
    exclude=("*.tmp",),
    slurm={"partition": "gpu", "exclusive": ""},
    restart=True,
    rental=Rental(image="a/b:1", max_price=0.5, premium=0.1),
    stop=StopRules(
        "2026-12-02T08:00+01:00", 2.0, 5.0, 30.0, MetricRule("val_loss", pattern=r"(?P<value>\d+)", patience=7)
    ),
)


@pytest.mark.parametrize("recipe", [Recipe("true"), FULL])
def test_what_is_written_is_read_again(recipe: Recipe, tmp_path: Path) -> None:
    file = tmp_path / ".hpcaccept" / "run.toml"
    write_recipe(file, recipe)
    assert read_recipe(file) == recipe
    assert (file.parent / ".gitignore").read_text() == "/runs/\n"


def test_options_of_slurm_may_be_numbers_and_flags() -> None:
    found = parse_recipe('command = "x"\n[slurm]\nnodes = 2\nexclusive = true\n', "here")
    assert found.slurm == {"nodes": "2", "exclusive": ""}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "command"),
        ('command = " "', "command is empty"),
        ('command = "x"\ncolour = "red"', "colour"),
        ('command = "x"\nsend = []', "send is empty"),
        ('command = "x"\ngrace_s = -1', "grace_s is -1"),
        ('command = "x"\n[stop]\ndeadline = "tomorrow"', "stop.deadline"),
        ('command = "x"\n[stop]\ndeadline = "2026-12-01 08:00"', "offset"),
        ('command = "x"\n[stop]\nmax_usd = -3', "stop.max_usd"),
        ('command = "x"\n[stop.metric]\nname = "loss"\npattern = "("', "pattern"),
        ('command = "x"\n[stop.metric]\nname = "loss"\npattern = "loss"', "no group 'value'"),
        ('command = "x"\n[stop.metric]\nname = "loss"\nformat = "xml"', "format"),
        ("command = ", "not TOML"),
    ],
)
def test_a_mistake_is_named(text: str, words: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_recipe(text, "run.toml")
    assert words in str(refused.value)


def test_the_text_of_a_recipe_has_what_differs_from_the_defaults_alone() -> None:
    assert recipe_text(Recipe("true")).splitlines()[2:] == ['command = "true"']
