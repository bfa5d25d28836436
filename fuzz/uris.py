"""URI templates of plugins and URIs of clients: places as bits of a number say what places one by one say."""

from __future__ import annotations

from fuzz.values import hold
from sekisho.errors import SekishoError
from sekisho.protocol import UriTemplate, UriText

__all__ = ["OneByOne", "uri_template"]


class OneByOne(UriText):
    """Moves each place for itself, character after character."""

    def after_literal(self, places: int, literal: bytes) -> int:
        """Where one is after this literal."""
        at = [n for n in range(len(self.text) + 1) if places >> n & 1 and self.text[n:].startswith(literal)]
        return sum(1 << (n + len(literal)) for n in at)

    def after_run(self, places: int, table: bytes) -> int:
        """Where one may be after characters of a class."""
        reached = set()
        for start in range(len(self.text) + 1):
            if places >> start & 1:
                reached.add(start)
                end = start
                while end < len(self.text) and table[self.text[end]] == ord("1"):
                    end += 1
                    reached.add(end)
        return sum(1 << n for n in reached)


def uri_template(data: bytes) -> None:
    """Any template is refused or matched; both ways of matching agree. The URI is the first line."""
    uri, _, text = data[:400].decode("utf-8", "replace").partition("\n")
    try:
        template = UriTemplate.parse(text)
    except SekishoError as error:
        hold(error.code == "plugin_protocol", "a template is refused as something else")
        return
    hold(template.matches(uri) is template.matches(OneByOne(uri)), "two ways of matching differ")
