from __future__ import annotations

import pytest
from tests.issuing import Issuer, as_json

from sekisho.errors import Unavailable
from sekisho.keys.jwks import read_key_set

ONE, TWO = Issuer(), Issuer(kid="k2")


def test_a_token_finds_the_key_it_names() -> None:
    keys = read_key_set(ONE.jwks(TWO.jwk()))
    first, second = keys.find("k1", "ES256"), keys.find("k2", "ES256")
    assert first is not None
    assert second is not None
    assert (first.kid, second.kid) == ("k1", "k2")
    assert keys.find("k3", "ES256") is None
    assert keys.find("k1", "RS256") is None


def test_without_a_name_only_the_one_key_that_fits_is_meant() -> None:
    alone = read_key_set(ONE.jwks(Issuer.of("RS256", kid="r").jwk()))
    assert alone.find(None, "ES256") is not None
    assert read_key_set(ONE.jwks(TWO.jwk())).find(None, "ES256") is None


@pytest.mark.threat("T-TOKEN-FORGED")
def test_a_name_that_two_keys_share_names_none() -> None:
    keys = read_key_set(ONE.jwks(Issuer(kid="k1").jwk()))
    assert keys.find("k1", "ES256") is None


@pytest.mark.threat("T-ISSUER")
def test_ten_thousand_keys_are_refused_and_sixty_four_are_not() -> None:
    key = ONE.jwk()
    with pytest.raises(Unavailable) as caught:
        read_key_set(as_json({"keys": [{"kty": "oct"}] * 10_000}))
    assert caught.value.code == "issuer_unavailable"
    assert len(read_key_set(as_json({"keys": [key | {"kid": f"k{n}"} for n in range(64)]}))) == 64
    with pytest.raises(Unavailable):
        read_key_set(as_json({"keys": [key | {"kid": f"k{n}"} for n in range(65)]}))


@pytest.mark.threat("T-ISSUER")
@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b"{}",
        b'{"keys":{}}',
        b'{"keys":[]}',
        b'{"keys":[{"kty":"oct","k":"AAAA","kid":"k1"}]}',
        b'{"keys":[],"keys":[]}',
        b"<html>",
        b'{"keys":["' + b"x" * 300_000 + b'"]}',
    ],
)
def test_a_document_that_is_no_key_set_is_refused(document: bytes) -> None:
    with pytest.raises(Unavailable) as caught:
        read_key_set(document)
    assert caught.value.code == "issuer_unavailable"


def test_two_sets_differ_when_a_name_or_a_key_does() -> None:
    same = read_key_set(ONE.jwks())
    assert same.thumbprints == read_key_set(ONE.jwks()).thumbprints
    assert same.thumbprints != read_key_set(Issuer(kid="k1").jwks()).thumbprints
    assert same.thumbprints != read_key_set(as_json({"keys": [ONE.jwk(kid="k9")]})).thumbprints
