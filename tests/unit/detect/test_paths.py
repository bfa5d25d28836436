"""Climbing paths and inward addresses are found where they are the value, not where they are talked about."""

from __future__ import annotations

import pytest
from tests.unit.detect.judging import SCANNER, argument

from sekisho.detect import CLEAN, Place


@pytest.mark.parametrize(
    ("text", "rule_id"),
    [
        ("docs/../../../x", "traversal.climb"),
        ("..\\..\\x", "traversal.climb"),
        ("%2e%2e/%2e%2e/x", "traversal.climb"),
        ("%252e%252e%252f", "traversal.climb_disguised"),
        ("..%c0%af..%c0%afx", "traversal.climb_disguised"),
        ("/etc/passwd", "traversal.sensitive_file"),
        ("/home/you/.ssh/id_ed25519", "traversal.sensitive_file"),
        ("C:\\Windows\\win.ini", "traversal.windows_system"),
        ("http://metadata.google.internal/computeMetadata/v1/", "address.metadata"),
        ("http://[::ffff:169.254.169.254]/", "address.metadata"),
        ("http://localhost:8080/admin", "address.inside"),
        ("http://10.0.0.5/", "address.inside"),
        ("http://[::1]/", "address.inside"),
        ("file:///srv/x", "address.odd_scheme"),
        ("https://shop.example@0x7f000001/", "address.disguised_host"),
    ],
)
def test_a_value_of_the_kind_is_found(text: str, rule_id: str) -> None:
    assert rule_id in SCANNER.scan(argument(text), Place.ARGUMENTS).rule_ids


@pytest.mark.parametrize(
    "text",
    [
        "src/app/main.py",
        "../sibling/file.txt",
        'import { a } from "../../lib/a";\n',
        "C:\\Users\\me\\report.docx",
        "Read /etc/passwd in the lesson about Unix.",
        "https://docs.example/guide?next=%2Fhome",
        "https://user@host.example/inbox",
        "The address 127.0.0.1 is called localhost.",
        "/srv/project/etc/settings.toml",
    ],
)
def test_ordinary_values_are_left_alone(text: str) -> None:
    assert SCANNER.scan(argument(text), Place.ARGUMENTS) is CLEAN
