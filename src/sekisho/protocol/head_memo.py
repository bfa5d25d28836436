"""Heads of requests that were read before, under their exact bytes.

It answers only for bytes that hold exactly one whole request at a point where one may begin, so the reader (`http1`)
stays the only one that joins pieces. Nothing is kept unless somebody who has judged the request asks for it.
"""

from __future__ import annotations

from typing import Final

from sekisho.protocol.http_values import HttpRequest, KeptHead

__all__ = ["MAX_KEPT_HEAD_BYTES", "HeadMemo"]

MAX_KEPT_HEADS: Final = 1024  # a client that sends ever new heads costs their reading, not our memory
MAX_KEPT_HEAD_BYTES: Final = 4 << 10
PROVEN_PART: Final = 0.75  # of all: those that come again must not keep new ones out for ever either
_END: Final = b"\r\n\r\n"


class HeadMemo:
    """Heads that were read before, by their exact bytes; the connections of one listener share it.

    Nothing is kept unless somebody who has judged the request asks for it, so strangers cannot fill it. A head that came
    again is not forgotten for those that never do, as where each request has an id of its own in a header.
    """

    __slots__ = ("_heads", "_max_heads", "_max_proven", "_new", "_usual_end")

    def __init__(self, max_heads: int = MAX_KEPT_HEADS) -> None:
        self._heads: dict[bytes, KeptHead] = {}  # that came again
        self._new: dict[bytes, KeptHead] = {}
        self._max_heads = max_heads
        self._max_proven = max(1, int(max_heads * PROVEN_PART))
        self._usual_end = 0

    def __len__(self) -> int:
        return len(self._heads) + len(self._new)

    def keep(self, request: HttpRequest, note: object) -> None:
        """Remember the head of this request, if it is of the kind that may be kept, and what it was found to be."""
        head = request.head
        if not head:
            return
        kept = KeptHead(request.target, request.headers, len(request.body), note)
        if head in self._heads:  # what it was found to be is old
            self._heads[head] = kept
            return
        self._new.pop(head, None)
        while len(self) >= self._max_heads:
            _forget_oldest(self._new or self._heads)
        self._new[head] = kept

    def recall(self, data: bytes) -> HttpRequest | None:
        """The one request these bytes are, when its head is kept and its body is exactly the rest."""
        # Most heads are as long as the one before. A kept head ends where its only empty line does, so that bytes which
        # equal it hold no earlier one.
        end = self._usual_end
        head = data[:end]
        kept = self._heads.get(head)
        if kept is None:
            end = data.find(_END) + 4
            head = data[:end]
            kept = self._heads.get(head) or self._proven(head)
            if kept is not None:
                self._usual_end = end
        if kept is None or len(data) - end != kept.length:
            return None
        return HttpRequest(
            method="POST",
            target=kept.target,
            headers=kept.headers,
            body=data[end:],
            head=head,
            note=kept.note,
        )

    def _proven(self, head: bytes) -> KeptHead | None:
        """This head came again, if it is one of the new ones."""
        kept = self._new.pop(head, None)
        if kept is not None:
            if len(self._heads) >= self._max_proven:
                _forget_oldest(self._heads)
            self._heads[head] = kept
        return kept


def _forget_oldest(heads: dict[bytes, KeptHead]) -> None:
    del heads[next(iter(heads))]
