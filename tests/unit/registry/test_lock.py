"""The lock file reads back what it wrote, and nothing else."""

from __future__ import annotations

import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sekisho.errors import Misconfigured, Tampered
from sekisho.protocol.names import PluginName
from sekisho.registry import (
    ItemId,
    ItemKind,
    Listing,
    LockedPlugin,
    LockFile,
    load_lock,
    lock_entry,
    parse_lock,
    render_lock,
    root_of,
    save_lock,
    surface_of,
    update_lock,
)

# a busy machine is not a failure: no assertion about the wall clock
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

texts = st.text(st.characters(codec="utf-8"), max_size=20)
item_ids = st.builds(ItemId, st.sampled_from(ItemKind), texts.filter(bool))


@st.composite
def entries(draw: st.DrawFn) -> LockedPlugin:
    items = draw(st.dictionaries(item_ids, texts, max_size=4))
    return LockedPlugin(
        name=PluginName(draw(st.from_regex(r"[a-z0-9](-?[a-z0-9]){0,9}", fullmatch=True))),
        argv=tuple(draw(st.lists(texts, max_size=3))),
        grants=draw(texts),
        root=root_of(items),
        items=items,
        approved_by=draw(texts),
        approved_at=draw(texts),
    )


def example_lock() -> LockFile:
    surface = surface_of(Listing(tools=(b'{"name":"a"}', b'{"name":"b"}'), instructions="x"))
    lock = LockFile()
    for name in ("second", "first"):
        lock = lock.with_plugin(
            lock_entry(
                name=PluginName(name),
                argv=("python", "-m", "server"),
                grants="sha256:00",
                surface=surface,
                approved_by="aya",
                approved_at="2026-11-21T12:00:00Z",
            )
        )
    return lock


@PATIENT
@given(st.lists(entries(), max_size=3))
def test_a_written_lock_reads_back_as_the_same_value(plugins: list[LockedPlugin]) -> None:
    lock = LockFile(plugins={entry.name: entry for entry in plugins})
    text = render_lock(lock)
    assert parse_lock(text) == lock
    assert text.isascii()


@pytest.mark.threat("T-RUGPULL")
@PATIENT
@given(position=st.integers(0, len(render_lock(example_lock())) - 1), character=st.characters(codec="utf-8"))
def test_any_character_edited_by_hand_is_refused(position: int, character: str) -> None:
    text = render_lock(example_lock())
    edited = text[:position] + character + text[position + 1 :]
    if edited == text:
        return
    with pytest.raises(Tampered) as refusal:
        parse_lock(edited)
    assert refusal.value.code == "lock_invalid"


@PATIENT
@given(line=st.integers(0, render_lock(example_lock()).count("\n") - 1))
def test_a_removed_line_is_refused(line: int) -> None:
    lines = render_lock(example_lock()).splitlines(keepends=True)
    with pytest.raises(Tampered):
        parse_lock("".join(lines[:line] + lines[line + 1 :]))


def test_one_line_holds_one_digest_and_plugins_are_sorted() -> None:
    text = render_lock(example_lock())
    assert text.index("[plugins.first]") < text.index("[plugins.second]")
    assert all(line.count("sha256:") <= 1 for line in text.splitlines())
    assert tomllib.loads(text)["version"] == 1


def test_a_change_of_one_tool_changes_few_lines() -> None:
    before = example_lock()
    entry = before.plugins[PluginName("first")]
    surface = surface_of(Listing(tools=(b'{"name":"a"}', b'{"name":"b","description":""}'), instructions="x"))
    after = before.with_plugin(
        lock_entry(
            name=entry.name,
            argv=entry.argv,
            grants=entry.grants,
            surface=surface,
            approved_by=entry.approved_by,
            approved_at=entry.approved_at,
        )
    )
    changed = set(render_lock(after).splitlines()) - set(render_lock(before).splitlines())
    assert sorted(line.split(" = ")[0] for line in changed) == ['"tool b"', "check", "root"]


def test_a_hidden_character_in_a_name_is_written_as_an_escape() -> None:
    items = {ItemId(ItemKind.RESOURCE, "file:///\u202egpj.exe\x1b[2J"): "sha256:00"}
    entry = LockedPlugin(
        name=PluginName("p"),
        argv=(),
        grants="",
        root=root_of(items),
        items=items,
        approved_by="",
        approved_at="",
    )
    text = render_lock(LockFile().with_plugin(entry))
    assert r'"resource file:///\u202Egpj.exe\u001B[2J"' in text


def test_line_endings_of_another_system_are_refused_with_the_place() -> None:
    with pytest.raises(Tampered, match="line 1"):
        parse_lock(render_lock(example_lock()).replace("\n", "\r\n"))


def test_a_consistent_but_reordered_file_is_refused() -> None:
    lines = render_lock(example_lock()).splitlines(keepends=True)
    place = next(index for index, line in enumerate(lines) if line.startswith('"tool a"'))
    lines[place], lines[place + 1] = lines[place + 1], lines[place]
    with pytest.raises(Tampered, match="edited"):
        parse_lock("".join(lines))


def test_an_item_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(Tampered, match="does not name an item"):
        parse_lock(render_lock(example_lock()).replace('"tool a"', '"toad a"', 1))


def test_a_missing_file_approves_nothing(tmp_path: Path) -> None:
    assert load_lock(tmp_path / "sekisho.lock") == LockFile()


def test_a_saved_lock_loads_and_leaves_no_draft(tmp_path: Path) -> None:
    path = tmp_path / "sekisho.lock"
    save_lock(path, LockFile())
    save_lock(path, example_lock())
    assert load_lock(path) == example_lock()
    assert [entry.name for entry in tmp_path.iterdir()] == ["sekisho.lock"]


def test_a_lock_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sekisho.lock"
    path.write_bytes(b"version = 1 # \xff\n")
    with pytest.raises(Tampered, match="UTF-8"):
        load_lock(path)


def test_a_lock_that_is_a_folder_is_an_operators_matter(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="cannot be read"):
        load_lock(tmp_path)


def test_a_lock_that_cannot_be_written_is_an_operators_matter(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="cannot be written"):
        save_lock(tmp_path / "absent" / "sekisho.lock", LockFile())


def test_a_draft_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / ".sekisho.lock.new").symlink_to(victim)
    with pytest.raises(Misconfigured):
        save_lock(tmp_path / "sekisho.lock", LockFile())
    assert victim.read_text() == "precious"


def test_a_plugin_can_be_taken_out_again() -> None:
    lock = example_lock().without(PluginName("first"))
    assert lock.get(PluginName("first")) is None
    assert lock.get(PluginName("second")) is not None


@pytest.mark.threat("T-RUGPULL")
def test_approvals_of_one_moment_are_all_kept(tmp_path: Path) -> None:
    path = tmp_path / "sekisho.lock"
    one = next(iter(example_lock().plugins.values()))
    entries = [replace(one, name=PluginName(f"plugin-{number}")) for number in range(8)]

    def approve(entry: LockedPlugin) -> None:
        update_lock(path, lambda lock: lock.with_plugin(entry))

    with ThreadPoolExecutor(len(entries)) as people:
        list(people.map(approve, entries))
    assert {entry.name for entry in entries} <= set(load_lock(path).plugins)
