"""Which plugin is meant by a resource, a template or a prompt that a client names at the endpoint of all plugins.

Guarantees:
- only approved definitions count; a plugin that does not stand claims nothing;
- a URI goes to the one plugin that lists it, else to the one whose template makes it: a listed URI was read by the
  person who approved it, a template only stands for what nobody wrote down;
- what two plugins claim with equal right goes to neither (`resource_ambiguous`), since any choice would let one plugin
  answer in the place of another. With a client given, plugins that it may not use for this do not count.

Built once for a house. At the endpoint of one plugin nobody is asked: that plugin is meant.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sekisho.errors import Refused
from sekisho.gateway.checkpoint import House
from sekisho.policy import AccessPolicy
from sekisho.protocol import PluginName, UriText, split_any
from sekisho.registry import Definitions

__all__ = ["Claims", "Owners", "prompt_target"]

Claims = Mapping[str, tuple[PluginName, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Owners:
    """Everything that approved plugins claim."""

    access: AccessPolicy
    resources: Claims
    templates: Claims
    makers: tuple[Definitions, ...]

    @classmethod
    def of(cls, house: House) -> Owners:
        """The claims of all approved plugins of this house."""
        standing = sorted(
            (name, one.definitions) for name, one in house.standings.items() if one.definitions is not None
        )
        approved = [definitions for _, definitions in standing]
        return cls(
            access=house.access,
            resources=_claims((one.plugin, one.resources) for one in approved),
            templates=_claims((one.plugin, one.templates) for one in approved),
            makers=tuple(one for one in approved if one.templates),
        )

    def of_resource(self, uri: str, client: str | None = None) -> PluginName:
        """The plugin that is asked for this URI.

        Raises:
            Refused: `resource_unknown`, `resource_ambiguous`.
        """
        listed = self._permitted(self.resources.get(uri, ()), uri, client)
        if listed:
            return _only(listed, uri)
        text = UriText(uri)
        return _only(
            self._permitted([one.plugin for one in self.makers if one.makes(text)], uri, client), uri
        )

    def of_template(self, text: str, client: str | None = None) -> PluginName:
        """The plugin that completes this template, or this URI, named as in its list.

        Raises:
            Refused: `resource_unknown`, `resource_ambiguous`.
        """
        claims = self.templates.get(text) or self.resources.get(text, ())
        return _only(self._permitted(claims, text, client), text)

    def is_contested(self, claims: Claims, uri: str, client: str) -> bool:
        """True when a client could not use this item of `resources` or `templates`, as several plugins claim it."""
        claimants = claims.get(uri, ())
        return len(claimants) > 1 and len(self._permitted(claimants, uri, client)) > 1

    def _permitted(self, claimants: Iterable[PluginName], uri: str, client: str | None) -> list[PluginName]:
        if client is None:
            return list(claimants)
        return [name for name in claimants if self.access.permits_resource(client, name, uri)]


def prompt_target(name: str) -> tuple[PluginName, str]:
    """The plugin and its own name for a prompt of the endpoint of all plugins.

    Raises:
        Refused: `prompt_unknown`, no such name is ever listed there.
    """
    found = split_any(name)
    if found is None:
        raise Refused("prompt_unknown", "prompts at this endpoint are called <plugin>__<prompt>")
    return found


def _claims(listed: Iterable[tuple[PluginName, Iterable[str]]]) -> Claims:
    claims: defaultdict[str, list[PluginName]] = defaultdict(list)
    for plugin, names in listed:
        for name in names:
            claims[name].append(plugin)
    return {name: tuple(plugins) for name, plugins in claims.items()}


def _only(claimants: list[PluginName], uri: str) -> PluginName:
    if not claimants:
        raise Refused("resource_unknown", "no plugin here has this resource", facts={"uri": uri})
    if len(claimants) > 1:
        raise Refused("resource_ambiguous", f"{len(claimants)} plugins have this resource")
    return claimants[0]
