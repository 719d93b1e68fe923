from __future__ import annotations

from pathlib import Path

import pytest

from hpcaccept.config.matrix import combinations, filled, read_matrix
from hpcaccept.errors import UsageError
from hpcaccept.model.matrix.matrix import ImageSpec
from hpcaccept.plan.matrix.cells import cells_of

GOOD = """
[images.torch]
container = "./torch.sqsh"
env = { A = "1" }
[images.venv]
venv = "envs/{python}"
[machines.here]
[machines.gpu]
partition = "gpu"
features = ["a100"]
[factors]
python = ["3.11", "3.12"]
[tests.imports]
imports = ["torch"]
versions = { torch = ">=2.5,<3" }
"""


def write(folder: Path, text: str) -> Path:
    file = folder / "nightly-images.toml"
    file.write_text(text)
    return file


def test_a_file_is_read_with_its_paths_beside_it_and_its_stem_for_a_name(tmp_path: Path) -> None:
    matrix, digest = read_matrix(write(tmp_path, GOOD))
    assert matrix.name == "nightly-images"
    assert digest.startswith("sha256:")
    assert matrix.images[0].container == f"{tmp_path}/torch.sqsh"
    assert matrix.images[1].venv == f"{tmp_path}/envs/{{python}}"
    assert [machine.where for machine in matrix.machines] == ["here", "queue"]
    assert matrix.tests[0].kind == "imports"


def test_a_reference_of_a_registry_is_no_path(tmp_path: Path) -> None:
    matrix, _ = read_matrix(write(tmp_path, GOOD.replace("./torch.sqsh", "nvcr.io#nvidia/pytorch:25.01-py3")))
    assert matrix.images[0].container == "nvcr.io#nvidia/pytorch:25.01-py3"


def test_factors_are_put_into_every_text_of_an_image() -> None:
    image = ImageSpec("x", venv="/envs/{python}", modules=("cuda/{cuda}",), env={"V": "{python}-{other}"})
    there = filled(image, {"python": "3.12", "cuda": "12.4"})
    assert (there.venv, there.modules, there.env) == ("/envs/3.12", ("cuda/12.4",), {"V": "3.12-{other}"})


def test_every_choice_of_the_factors_is_a_combination(tmp_path: Path) -> None:
    matrix, _ = read_matrix(write(tmp_path, GOOD))
    assert combinations(matrix) == [{"python": "3.11"}, {"python": "3.12"}]


@pytest.mark.parametrize(
    ("was", "becomes", "said"),
    [
        ("[images.torch]", "[image.torch]", "unknown key 'image'. Did you mean 'images'?"),
        (
            'container = "./',
            'containr = "./',
            "[images.torch] has an unknown key 'containr'. Did you mean 'container'?",
        ),
        ('container = "./torch.sqsh"', 'container = "a"\nvenv = "b"', "has both container and venv"),
        ('partition = "gpu"', 'partition = "gpu"\ngpu_model = "H100"', "it has keys of several"),
        ('partition = "gpu"\nfeatures = ["a100"]', 'gpu_model = "H100"', "says no usd_per_hour"),
        ('partition = "gpu"', 'partition = "gpu"\ndriver = "new"', "driver is 'new', expected a version such as 12.4"),
        ('partition = "gpu"', 'partition = "gpu"\ngpus = -1', "gpus is -1, expected 0 or more"),
        ('">=2.5,<3"', '"~2"', "versions.torch is '~2', expected such as \">=2.5,<3\""),
        ('imports = ["torch"]', 'imports = ["torch"]\nsuite = "quick"', "has suite and imports, expected one of"),
        ('imports = ["torch"]\nversions = { torch = ">=2.5,<3" }', "limit_s = 3", "has nothing, expected one of"),
        ('imports = ["torch"]', 'imports = ["torch"]\nlimit_s = 0', "limit_s and cell_s must be more than 0"),
        ('imports = ["torch"]', 'imports = ["torch"]\noutput = "("', "output is not a regular expression"),
        ('imports = ["torch"]', 'imports = ["torch"]\nimages = ["jax*"]', "'jax*' matches none of them"),
        ('imports = ["torch"]', 'imports = ["torch"]\nfrom_content = true', "has no table [content]"),
        ('imports = ["torch"]\nversions = { torch = ">=2.5,<3" }', 'script = "no.py"', "script: there is no file"),
        ("[images.torch]", '[images."../up"]', "images '../up': letters, digits"),
        ('"3.11"', '"3/11"', "factors.python has the value '3/11'"),
        ('python = ["3.11", "3.12"]', "python = []", "factors.python has no values"),
        ("[machines.here]\n", "", ""),
        ("\n[images.torch]", "parallel = 0\n[images.torch]", "parallel is 0, expected 1 or more"),
        ("\n[images.torch]", "nights = true\n[images.torch]", "$.nights"),
    ],
)
def test_a_mistake_names_its_place(tmp_path: Path, was: str, becomes: str, said: str) -> None:
    assert was in GOOD
    file = write(tmp_path, GOOD.replace(was, becomes, 1))
    if not said:
        read_matrix(file)
        return
    with pytest.raises(UsageError, match=r"nightly-images\.toml") as fault:
        read_matrix(file)
    assert said in str(fault.value)


def test_a_repository_that_git_takes_for_an_option_is_refused(tmp_path: Path) -> None:
    text = f'{GOOD}\n[content]\nrepository = "--upload-pack=touch x"\nbranch = "main"\n'
    with pytest.raises(UsageError, match="which git takes for an option"):
        read_matrix(write(tmp_path, text))


def test_a_product_beyond_reason_is_refused(tmp_path: Path) -> None:
    values = ", ".join(f'"{number}"' for number in range(3000))
    with pytest.raises(UsageError, match="has 12,000 cells, expected at most 10,000"):
        read_matrix(write(tmp_path, GOOD.replace('"3.11", "3.12"', values)))


def test_the_file_of_the_how_to_is_read(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs/how-to/matrix.md").read_text("utf-8")
    text = page.partition("```toml\n")[2].partition("```")[0]
    for name in ("tests/train.py", "notebooks/tutorial.ipynb"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    matrix, _ = read_matrix(write(tmp_path, text))
    cells = {cell.id: cell.impossible for cell in cells_of(matrix)}
    assert cells["site@h100"] == "no licence for this partition"
    assert cells["torch26@h100"] == ""
    assert len(cells) == 6
