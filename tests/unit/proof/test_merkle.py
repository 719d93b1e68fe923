from __future__ import annotations

import hashlib

import pytest

from hpcaccept.proof import merkle


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 8, 33, 100])
def test_every_leaf_leads_to_the_root_and_to_no_other_place(size: int) -> None:
    leaves = [merkle.leaf(1, row, b"row %d" % row) for row in range(size)]
    tree = merkle.levels(leaves)
    (root,) = tree[-1]
    for index, digest in enumerate(leaves):
        siblings = merkle.path(tree, index)
        assert len(siblings) == merkle.path_length(index, size)
        assert merkle.root_of(digest, index, size, siblings) == root
        other = (index + 1) % size
        if other != index and merkle.path_length(other, size) == len(siblings):
            assert merkle.root_of(digest, other, size, siblings) != root


def test_a_leaf_binds_checkpoint_row_and_content() -> None:
    right = merkle.leaf(1, 2, b"x")
    assert (
        len({right, merkle.leaf(2, 2, b"x"), merkle.leaf(1, 3, b"x"), merkle.leaf(1, 2, b"y"), merkle.leaf(2, 1, b"x")})
        == 5
    )


def test_an_inner_node_is_no_leaf() -> None:
    """Without domains a prover could show 64 bytes of digests as a row."""
    leaves = [merkle.leaf(0, row, b"") for row in range(4)]
    inner = merkle.levels(leaves)[1]
    assert inner[0] == hashlib.sha256(b"\x01" + leaves[0] + leaves[1]).digest()
    assert hashlib.sha256(b"\x00" + leaves[0] + leaves[1]).digest() not in inner


def test_lists_of_different_length_share_no_root() -> None:
    """Trees that double an odd leaf do: CVE-2012-2459."""
    leaves = [merkle.leaf(0, row, b"") for row in range(3)]
    assert merkle.levels(leaves)[-1] != merkle.levels([*leaves, leaves[-1]])[-1]


@pytest.mark.parametrize("length", [0, 1, 3, 60])
def test_a_path_of_another_length_is_none(length: int) -> None:
    with pytest.raises(ValueError, match="siblings"):
        merkle.root_of(b"\0" * 32, 0, 4, [b"\0" * 32] * length)
