"""Which MPI start-up a Slurm has, and which of them is taken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcaccept.parse.slurm.mpi import best_mpi_type, parse_mpi_types

#: Recorded: Slurm 22.05 of Debian 12.
DEBIAN = """MPI plugin types are...
\tpmix
\tnone
\tcray_shasta
\tpmi2
specific pmix plugin versions available: pmix_v4
"""
#: In our own words after Slurm 20.11, which lists on standard error.
OLD = "srun: MPI types are...\nsrun: cray_shasta\nsrun: none\nsrun: pmi2\nsrun: pmix_v3\nsrun: pmix_v2\n"


def test_the_types_are_those_that_are_listed() -> None:
    assert parse_mpi_types(DEBIAN) == ("pmix", "none", "cray_shasta", "pmi2", "pmix_v4")
    assert parse_mpi_types(OLD) == ("cray_shasta", "none", "pmi2", "pmix_v3", "pmix_v2")
    assert parse_mpi_types("srun: error: something else\n") == ()


@pytest.mark.parametrize(
    ("types", "best"),
    [(("none", "pmi2", "pmix"), "pmix"), (("pmi2", "pmix_v2", "pmix_v10"), "pmix_v10"), (("none", "pmi2"), "pmi2"), (("none", "cray_shasta"), ""), ((), "")],
)  # fmt: skip
def test_pmix_is_taken_where_there_is_one(types: tuple[str, ...], best: str) -> None:
    assert best_mpi_type(types) == best


TYPES = st.sampled_from(["none", "pmi2", "pmix", "pmix_v4", "openmpi", "cray_shasta"])


@given(st.lists(TYPES), st.lists(TYPES, min_size=1), st.text(st.characters(codec="ascii", categories=["L", "P", "Zs"])))
def test_every_type_is_read_out_of_any_text(listed: list[str], specific: list[str], text: str) -> None:
    last = f"specific pmix plugin versions available: {','.join(specific)}"
    found = parse_mpi_types(
        "\n".join(["MPI plugin types are...", *(f"\t{name}" for name in listed), f"x {text}", last])
    )
    assert found == tuple(dict.fromkeys([*listed, *specific]))


@given(st.text())
def test_no_text_is_too_strange(text: str) -> None:
    assert all(name.strip() for name in parse_mpi_types(text))
