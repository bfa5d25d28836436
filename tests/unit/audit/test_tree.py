"""RFC 6962 against its published vectors, an independent definition, and random trees."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.audit.tree import (
    EMPTY_ROOT,
    Frontier,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)

# The leaves and roots that Certificate Transparency implementations share.
VECTOR_LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
VECTOR_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
VECTOR_PATH_0_OF_8 = [
    "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
    "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
]


def leaves(count: int) -> list[bytes]:
    return [leaf_hash(b"%d" % i) for i in range(count)]


def by_definition(nodes: list[bytes]) -> bytes:
    """MTH as RFC 6962 section 2.1 writes it down."""
    if not nodes:
        return sha256(b"").digest()
    if len(nodes) == 1:
        return nodes[0]
    k = 1
    while k * 2 < len(nodes):
        k *= 2
    return sha256(b"\x01" + by_definition(nodes[:k]) + by_definition(nodes[k:])).digest()


def test_roots_equal_the_published_vectors() -> None:
    frontier = Frontier()
    for leaf, root in zip(VECTOR_LEAVES, VECTOR_ROOTS, strict=True):
        frontier.append(leaf_hash(leaf))
        assert frontier.root().hex() == root


def test_the_empty_tree_has_the_hash_of_nothing() -> None:
    assert Frontier().root() == EMPTY_ROOT == sha256(b"").digest()


def test_an_inclusion_proof_equals_the_published_vector() -> None:
    hashes = [leaf_hash(leaf) for leaf in VECTOR_LEAVES]
    assert [node.hex() for node in inclusion_proof(hashes, 0)] == VECTOR_PATH_0_OF_8


@pytest.mark.parametrize("size", [0, 1, 2, 255, 256, 257, 511, 512, 65_535, 65_536, 65_537, 65_793])
def test_the_frontier_agrees_with_the_definition_around_tile_borders(size: int) -> None:
    frontier = Frontier()
    hashes = leaves(size)
    for leaf in hashes:
        frontier.append(leaf)
    assert frontier.size == size
    assert frontier.root() == root_of(hashes) == by_definition(hashes)


@pytest.mark.requirement("A2.3")
@given(st.integers(1, 600), st.data())
def test_every_leaf_has_a_proof_and_no_other_leaf_has_it(size: int, data: st.DataObject) -> None:
    hashes = leaves(size)
    index = data.draw(st.integers(0, size - 1))
    root, proof = root_of(hashes), inclusion_proof(hashes, index)
    assert verify_inclusion(leaf=hashes[index], index=index, size=size, proof=proof, root=root)
    other = data.draw(st.integers(-1, size + 1))
    if other != index:
        assert not verify_inclusion(leaf=hashes[index], index=other, size=size, proof=proof, root=root)
    assert not verify_inclusion(leaf=leaf_hash(b"other"), index=index, size=size, proof=proof, root=root)
    assert not verify_inclusion(leaf=hashes[index], index=index, size=size, proof=[*proof, root], root=root)
    if proof:
        at, bit = data.draw(st.integers(0, len(proof) - 1)), data.draw(st.integers(0, 255))
        broken = [*proof[:at], flipped(proof[at], bit), *proof[at + 1 :]]
        assert not verify_inclusion(leaf=hashes[index], index=index, size=size, proof=broken, root=root)
        assert not verify_inclusion(leaf=hashes[index], index=index, size=size, proof=proof[:-1], root=root)


@pytest.mark.requirement("A2.3")
@given(st.integers(1, 600), st.data())
def test_a_later_tree_proves_that_it_only_grew(size: int, data: st.DataObject) -> None:
    hashes = leaves(size)
    old = data.draw(st.integers(1, size))
    proof, old_root, new_root = consistency_proof(hashes, old), root_of(hashes[:old]), root_of(hashes)
    assert verify_consistency(old_size=old, new_size=size, old_root=old_root, new_root=new_root, proof=proof)
    changed = data.draw(st.integers(0, old - 1))
    forged = [*hashes[:changed], leaf_hash(b"forged"), *hashes[changed + 1 :]]
    assert not verify_consistency(
        old_size=old,
        new_size=size,
        old_root=old_root,
        new_root=root_of(forged),
        proof=consistency_proof(forged, old),
    )
    if proof:
        at, bit = data.draw(st.integers(0, len(proof) - 1)), data.draw(st.integers(0, 255))
        broken = [*proof[:at], flipped(proof[at], bit), *proof[at + 1 :]]
        for wrong in (broken, proof[:-1], [*proof, new_root]):
            assert not verify_consistency(
                old_size=old, new_size=size, old_root=old_root, new_root=new_root, proof=wrong
            )


def test_all_small_trees_prove_each_other() -> None:
    for size in range(1, 34):
        hashes = leaves(size)
        for old in range(1, size + 1):
            assert verify_consistency(
                old_size=old,
                new_size=size,
                old_root=by_definition(hashes[:old]),
                new_root=by_definition(hashes),
                proof=consistency_proof(hashes, old),
            )


def test_an_empty_or_larger_old_tree_is_no_prefix() -> None:
    for old in (0, -1, 3):
        assert not verify_consistency(
            old_size=old, new_size=2, old_root=EMPTY_ROOT, new_root=root_of(leaves(2)), proof=[]
        )


def test_proofs_of_absent_leaves_cannot_be_asked_for() -> None:
    with pytest.raises(ValueError, match="no leaf"):
        inclusion_proof(leaves(3), 3)
    with pytest.raises(ValueError, match="no proof"):
        consistency_proof(leaves(3), 0)


@settings(max_examples=20)
@given(st.integers(0, 1200))
def test_tiles_hold_every_leaf_once_and_in_order(size: int) -> None:
    frontier = Frontier(keep_tiles=True)
    hashes = leaves(size)
    for leaf in hashes:
        frontier.append(leaf)
    rows = frontier.take_tiles() + frontier.partial_tiles()
    bottom = sorted((row for row in rows if row.level == 0), key=lambda row: row.index)
    assert b"".join(row.hashes for row in bottom) == b"".join(hashes)
    assert [row.index for row in bottom] == list(range(-(-size // 256)))
    upper = b"".join(row.hashes for row in rows if row.level == 1)
    assert upper == b"".join(root_of(hashes[i : i + 256]) for i in range(0, size - size % 256, 256))
    assert frontier.take_tiles() == []


def flipped(node: bytes, bit: int) -> bytes:
    changed = bytearray(node)
    changed[bit // 8] ^= 1 << (bit % 8)
    return bytes(changed)
