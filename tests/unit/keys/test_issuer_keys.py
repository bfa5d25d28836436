from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from tests.issuing import Issuer

from sekisho.errors import SekishoError, Unavailable
from sekisho.keys.issuer_keys import Fetched, IssuerKeys

START = 1_800_000_000.0


@dataclass
class Scene:
    now: float = START
    waiting: list[Callable[[Fetched], None]] = field(default_factory=list)
    fetches: int = 0
    changes: int = 0

    def __post_init__(self) -> None:
        self.keys = IssuerKeys(self._fetch, lambda: self.now, self._changed, refresh_s=300, max_age_s=3600)

    def _fetch(self, then: Callable[[Fetched], None]) -> None:
        self.fetches += 1
        self.waiting.append(then)

    def _changed(self) -> None:
        self.changes += 1

    def deliver(self, document: bytes | SekishoError) -> None:
        for then in (waiting := self.waiting)[:]:
            waiting.remove(then)
            then(document)

    def has(self, kid: str) -> bool:
        return self.keys.find(kid, "ES256", self.now) is not None


ISSUER = Issuer()
DOWN = Unavailable("issuer_unavailable", "down")


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_all_who_wait_for_keys_wait_for_one_fetch(scene: Scene) -> None:
    heard: list[int] = []
    for number in range(3):
        assert scene.keys.may_ask(scene.now)
        scene.keys.wait(lambda number=number: heard.append(number), scene.now)  # type: ignore[misc]  # a bound default
    assert scene.fetches == 1
    scene.deliver(ISSUER.jwks())
    assert heard == [0, 1, 2]
    assert scene.has("k1")
    assert not scene.has("k2")


@pytest.mark.threat("T-ISSUER")
def test_invented_key_ids_cost_the_issuer_one_fetch_in_ten_seconds(scene: Scene) -> None:
    scene.keys.wait(lambda: None, scene.now)
    scene.deliver(ISSUER.jwks())
    for _ in range(99):
        scene.now += 0.1
        assert not scene.keys.may_ask(scene.now)
    scene.now += 0.2
    assert scene.keys.may_ask(scene.now)
    assert scene.fetches == 1


def test_a_new_key_is_found_and_a_withdrawn_one_is_gone(scene: Scene) -> None:
    scene.keys.wait(lambda: None, scene.now)
    scene.deliver(ISSUER.jwks())
    scene.now += 10
    scene.keys.wait(lambda: None, scene.now)
    scene.deliver(Issuer(kid="k2").jwks())
    assert scene.has("k2")
    assert not scene.has("k1")
    assert scene.changes == 2


def test_the_same_keys_again_change_nothing(scene: Scene) -> None:
    for _ in range(2):
        scene.now += 10
        scene.keys.wait(lambda: None, scene.now)
        scene.deliver(ISSUER.jwks())
    assert scene.changes == 1


@pytest.mark.threat("T-ISSUER")
def test_an_issuer_that_is_down_is_believed_until_its_keys_are_too_old(scene: Scene) -> None:
    scene.keys.look(scene.now)
    scene.deliver(ISSUER.jwks())
    scene.now += 3599
    scene.keys.look(scene.now)
    scene.deliver(DOWN)
    assert scene.has("k1")
    assert scene.keys.problem is DOWN
    scene.now += 1
    assert not scene.has("k1")
    assert not scene.keys.is_usable(scene.now)


def test_keys_are_renewed_in_time_and_not_more_often(scene: Scene) -> None:
    for _ in range(900):
        scene.keys.look(scene.now)
        scene.deliver(ISSUER.jwks())
        scene.now += 1
    assert scene.fetches == 3
    assert scene.keys.problem is None


def test_an_issuer_that_is_down_is_asked_every_ten_seconds(scene: Scene) -> None:
    for _ in range(30):
        scene.keys.look(scene.now)
        scene.deliver(DOWN)
        scene.now += 1
    assert scene.fetches == 3


@pytest.mark.threat("T-ISSUER")
def test_a_document_that_is_no_key_set_replaces_nothing(scene: Scene) -> None:
    scene.keys.look(scene.now)
    scene.deliver(ISSUER.jwks())
    scene.now += 300
    heard: list[bool] = []
    scene.keys.wait(lambda: heard.append(True), scene.now)
    scene.deliver(b'{"keys":[]}')
    assert heard == [True]
    assert scene.has("k1")
    assert scene.keys.problem is not None


def test_those_who_wait_are_bounded(scene: Scene) -> None:
    for _ in range(256):
        scene.keys.wait(lambda: None, scene.now)
    assert not scene.keys.may_ask(scene.now)
    scene.deliver(ISSUER.jwks())
    scene.now += 10
    assert scene.keys.may_ask(scene.now)
