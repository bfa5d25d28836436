"""The page a person reads before approving a plugin.

Guarantees: everything that would be pinned is shown, whole (nothing is clipped), with every invisible,
control or direction-changing character made visible, so the page is safe for a terminal and what is read is
what the model reads. A changed definition is shown as a difference between the old and the new text. The
page judges nothing. Below: `surface`, `drift`; above: `cli`, which prints `lines()` or the JSON of
`as_json()`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum

from sekisho.detect.difference import difference
from sekisho.detect.hidden import hidden_characters, visible, visible_json
from sekisho.errors import RemoteProtocolError
from sekisho.policy.grants import Grants, NetworkGrant
from sekisho.protocol.json_text import JsonValue
from sekisho.protocol.names import PluginName
from sekisho.registry.drift import Drift
from sekisho.registry.schema import compile_schema
from sekisho.registry.surface import Item, ItemId, ItemKind, Surface

__all__ = ["ItemState", "ReviewPage", "ReviewedItem", "render"]


class ItemState(StrEnum):
    """How an item stands against the lock."""

    NEW = "new"
    CHANGED = "changed"
    REMOVED = "removed"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewedItem:
    """One definition as a person should see it; all texts are already made visible."""

    kind: str
    name: str
    state: ItemState
    digest: str
    text: str
    difference: tuple[str, ...] = ()
    hidden: int = 0
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewPage:
    """Everything an approval would pin."""

    plugin: str
    state: str
    summary: str
    root: str
    argv: tuple[str, ...]
    argv_changed: bool
    grants: Grants
    grants_changed: bool
    items: tuple[ReviewedItem, ...]

    @property
    def hidden(self) -> int:
        """How many invisible characters the definitions contain."""
        return sum(item.hidden for item in self.items)

    def as_json(self) -> dict[str, object]:
        """The page as plain values, for `--json`."""
        return {**asdict(self), "hidden": self.hidden}

    def lines(self) -> Iterator[str]:
        """The page as text for a terminal."""
        yield f"plugin      {self.plugin}"
        yield f"state       {self.state}: {self.summary}"
        yield f"surface     {self.root}"
        yield f"launcher    {' '.join(self.argv)}{_mark(self.argv_changed)}"
        yield from _grant_lines(self.grants, self.grants_changed)
        yield from self._uncalled_lines()
        if self.hidden:
            yield f"WARNING     {self.hidden} hidden characters, shown as ⟨U+…⟩ below"
        for item in self.items:
            yield ""
            yield from _item_lines(item)

    def _uncalled_lines(self) -> Iterator[str]:
        """What the plugin offers and nobody may call, ready to be copied into the configuration."""
        allowed = self.grants.allowed_operations
        tools = [item.name for item in self.items if item.kind == ItemKind.TOOL and item.digest]
        if set(tools) <= set(allowed):
            return
        names = ", ".join(f'"{name}"' for name in tools)
        yield "not allowed " + ", ".join(name for name in tools if name not in allowed)
        yield f"            to allow every tool: allowed_operations = [{names}]"


def render(
    *,
    plugin: PluginName,
    grants: Grants,
    argv: Sequence[str],
    surface: Surface,
    locked_surface: Surface | None,
    drift: Drift,
) -> ReviewPage:
    """Make the page. `locked_surface` is the approved one, when it is still on the shelf."""
    old = {} if locked_surface is None else locked_surface.items
    states = _states(surface, drift)
    return ReviewPage(
        plugin=visible(plugin),
        state=drift.state.value,
        summary=drift.summary(),
        root=surface.root,
        argv=tuple(visible(word) for word in argv),
        argv_changed=drift.argv_changed,
        grants=grants,
        grants_changed=drift.grants_changed,
        items=tuple(
            _reviewed(key, state, surface.items.get(key), old.get(key))
            for key, state in sorted(states.items(), key=lambda pair: (_ORDER.index(pair[1]), pair[0]))
        ),
    )


_ORDER = (ItemState.CHANGED, ItemState.NEW, ItemState.REMOVED, ItemState.UNCHANGED)


def _states(surface: Surface, drift: Drift) -> dict[ItemId, ItemState]:
    states = dict.fromkeys(surface.items, ItemState.UNCHANGED)
    states.update(dict.fromkeys(drift.added, ItemState.NEW))
    states.update(dict.fromkeys(drift.changed, ItemState.CHANGED))
    states.update(dict.fromkeys(drift.removed, ItemState.REMOVED))
    return states


def _reviewed(key: ItemId, state: ItemState, now: Item | None, then: Item | None) -> ReviewedItem:
    shown = now or then
    new_text = "" if now is None else _readable(now.value())
    old_text = "" if then is None else _readable(then.value())
    return ReviewedItem(
        kind=key.kind.value,
        name=visible(key.name),
        state=state,
        digest="" if now is None else now.digest,
        text=new_text if now is not None else old_text,
        difference=_difference(old_text, new_text) if state is ItemState.CHANGED and then is not None else (),
        hidden=0 if shown is None else sum(len(hidden_characters(text)) for text in _texts(shown.value())),
        problems=_problems(key, now),
    )


def _readable(value: JsonValue) -> str:
    return visible(value, keep="\n\t") if isinstance(value, str) else visible_json(value)


def _difference(old: str, new: str) -> tuple[str, ...]:
    whole = 1 << 20  # every line of context: a reviewer sees the definition, not a keyhole
    lines = tuple(difference(old.splitlines(), new.splitlines(), context=whole))
    return ("--- approved", "+++ now", *lines) if lines else ()


def _problems(key: ItemId, item: Item | None) -> tuple[str, ...]:
    """Why this tool would not be callable even when approved."""
    value = None if item is None else item.value()
    if key.kind is not ItemKind.TOOL or not isinstance(value, dict):
        return ()
    found = []
    for word in ("inputSchema", "outputSchema"):
        try:
            if word in value:
                compile_schema(value[word])
        except RemoteProtocolError as error:
            found.append(f"{word}: {error.message}")
    return tuple(found)


def _texts(value: JsonValue) -> Iterator[str]:
    waiting = [value]
    while waiting:
        match waiting.pop():
            case str() as text:
                yield text
            case list() as members:
                waiting.extend(members)
            case dict() as fields:
                yield from fields
                waiting.extend(fields.values())


def _mark(is_changed: bool) -> str:
    return "   (CHANGED since approval)" if is_changed else ""


_LEARNS = ("EVERY public host, by name, while mode = learn",)


_PERSISTENCE = {"direct": "at once", "review": "when you say so (sekisho changes)", "discard": "never"}


def _grant_lines(grants: Grants, is_changed: bool) -> Iterator[str]:
    network, files = grants.network, grants.files
    rows = (
        ("operations", grants.allowed_operations),
        (
            "network",
            (*network.allowed_domains, *_LEARNS) if network.mode == "learn" else network.allowed_domains,
        ),
        ("  ports", _ports(network)),
        ("  never", network.blocked_domains),
        ("  localhost", network.localhost_ports if network.allow_localhost else ()),
        ("  TLS", ("opened by the gate",) if network.intercept_tls else ()),
        ("reads", files.read_only_paths),
        ("writes", files.writable_paths),
        ("  kept", (_PERSISTENCE[files.persist],) if files.writable_paths else ()),
        ("  never", files.blocked_paths),
        ("environment", grants.environment),
        ("secrets", tuple(one.reach for one in grants.secrets)),
        ("widened by", grants.widened),
        ("walls", ("NONE (unsafe-none)" if grants.isolation == "unsafe-none" else grants.isolation,)),
    )
    yield f"may touch{_mark(is_changed)}"
    for label, values in rows:
        yield f"  {label:<12}{visible(', '.join(str(value) for value in values)) or 'nothing'}"


def _ports(network: NetworkGrant) -> tuple[object, ...]:
    if network.endpoints:
        return tuple(f"{host}:{port}" for host, port in network.endpoints)
    if network.mode == "learn" and not network.allowed_domains:
        return (80, 443)
    return network.allowed_ports if network.allowed_domains else ()


def _item_lines(item: ReviewedItem) -> Iterator[str]:
    yield f"{item.state.value.upper()} {item.kind} {item.name}"
    if item.hidden:
        yield f"  WARNING {item.hidden} hidden characters"
    for problem in item.problems:
        yield f"  UNUSABLE {problem}"
    yield from (f"  {line}" for line in item.difference or item.text.splitlines())
