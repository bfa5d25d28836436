"""How a plugin's server at a URL is reached."""

from __future__ import annotations

from pathlib import Path

import pytest

from sekisho.config.upstream import header_references
from sekisho.errors import Misconfigured

FOLDER = Path("/etc/sekisho")


def test_a_reference_is_a_variable_or_a_file_from_the_folder_of_the_configuration() -> None:
    read = header_references().read
    table = {"Authorization": "env:NOTES_TOKEN", "X-Key": "file:keys/notes", "X-Other": "file:/run/secrets/x"}
    assert dict(read(table, FOLDER)) == table | {"X-Key": "file:/etc/sekisho/keys/notes"}


@pytest.mark.threat("T-PASSTHROUGH")
@pytest.mark.parametrize(
    "table",
    [
        {"Authorization": "Bearer very-secret"},
        {"Authorization": "env:very-secret"},
        {"Authorization": "file:"},
        {"Authorization": "file:~/very-secret"},
        {"Authorization": 7},
        {"X Y": "env:A"},
        {"X-Y": "env:A", "x-y": "env:B"},
        "env:A",
    ],
)
def test_what_is_no_reference_is_refused_and_never_repeated(table: object) -> None:
    with pytest.raises(Misconfigured) as caught:
        header_references().read(table, FOLDER)
    assert "very-secret" not in str(caught.value)
