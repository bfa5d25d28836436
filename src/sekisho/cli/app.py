"""The table of commands, and the one place where an error becomes a line and an exit status.

Guarantees a quick start: a command's module is imported when that command is typed. The help lines stand here
for the same reason. Above this there is only the person.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Final

from cyclopts import App, CycloptsError, Group, UnusedCliTokensError

from sekisho.cli.saying import say_error, say_trouble
from sekisho.cli.streams import open_missing
from sekisho.errors import Misconfigured, SekishoError, Unavailable

__all__ = ["COMMANDS", "app_for", "main"]

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130  # 128 + SIGINT, as shells have it
NO_ROOM: Final = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))

_RUN: Final = Group("Run", sort_key=1)
_REVIEW: Final = Group("Review", sort_key=2)
_INSPECT: Final = Group("Inspect", sort_key=3)

# name → (module:function, one line, group); a name of two words is a command of a family.
COMMANDS: Final[dict[str, tuple[str, str, Group]]] = {
    "up": ("run:up", "Start everything on this machine.", _RUN),
    "core": ("run:core", "Run the core: the gate, the keys, the log.", _RUN),
    "plugin": ("run:plugin", "Run one plugin server and its plugin behind walls.", _RUN),
    "egress": ("run:egress", "Run the only door out for plugins.", _RUN),
    "egress log": ("egress:log", "Show what a plugin sent out and what it was refused.", _INSPECT),
    "egress propose": ("egress:propose", "Print the allow-list a plugin seems to need.", _INSPECT),
    "connect": ("run:connect", "Speak MCP on standard input and output, to a running gateway.", _RUN),
    "install": ("install:install", "Install the package of a plugin.", _RUN),
    "rollback": ("install:rollback", "Let a plugin use the package it used before.", _RUN),
    "login": ("login:login", "Log in to the server of a plugin at a URL.", _RUN),
    "plugins": ("review:plugins", "List the plugins and whether they are approved.", _REVIEW),
    "review": ("review:review", "Show what a plugin says and what changed.", _REVIEW),
    "approve": ("review:approve", "Approve what plugins say now.", _REVIEW),
    "changes": ("changes:changes", "Show what a plugin wrote, and keep it or throw it away.", _REVIEW),
    "lock verify": ("lock:verify", "Check sekisho.lock and the stored definitions.", _REVIEW),
    "config show": ("configuration:show", "Print the configuration in effect.", _INSPECT),
    "config check": ("configuration:check", "Check a configuration file and the paths it names.", _INSPECT),
    "audit verify": ("audit:verify", "Check the audit log against its signed checkpoint.", _INSPECT),
    "audit tail": ("audit:tail", "Print the last records of the audit log.", _INSPECT),
    "audit prove": ("audit:prove", "Print the proof that a record is in the log.", _INSPECT),
    "audit export": ("audit:export", "Write the signed part of the log as static files.", _INSPECT),
    "scan": ("scan:scan", "Say which content rules the lines of a file meet.", _INSPECT),
    "sandbox plan": ("sandbox:plan", "Print the walls a plugin gets.", _INSPECT),
    "token show": ("token:show", "Print a client's token and where it lies.", _INSPECT),
    "token rotate": ("token:rotate", "Replace a client's token.", _INSPECT),
    "doctor": ("doctor:doctor", "Try what this machine can enforce.", _INSPECT),
    "version": ("version:version", "Print the version.", _INSPECT),
}

_FAMILIES: Final = {
    "egress": ("Run the only door out for plugins.", _RUN),
    "lock": ("The lock file.", _REVIEW),
    "config": ("The configuration.", _INSPECT),
    "audit": ("The audit log.", _INSPECT),
    "sandbox": ("The walls.", _INSPECT),
    "token": ("The tokens of clients.", _INSPECT),
}


def app_for(words: Sequence[str]) -> App:
    """The parser for one command line.

    Every command is known by its line here; only the one that `words` names says more, in its own docstring,
    and only its module is imported.
    """
    chosen = " ".join(list(words)[:2])
    root = App(
        name="sekisho",
        help="Use any MCP server without trusting it.",
        version_flags=["--version"],
        version=_version,
        help_format="plaintext",
    )
    families = {name: App(name=name, help=line, group=group) for name, (line, group) in _FAMILIES.items()}
    for family in families.values():
        root.command(family)
    for command, (place, line, group) in COMMANDS.items():
        if command in families:  # a family that is a command too: imported when it is typed
            if words[:1] == [command] or words[:1] == (command,):
                families[command].default(_function(place))
            continue
        family_name, _, name = command.rpartition(" ")
        owner = families[family_name] if family_name else root
        # Inside a family the family's own group has said it already.
        is_chosen = chosen == command or chosen.startswith(f"{command} ")
        owner.command(
            f"sekisho.cli.{place}",
            name=name,
            help=None if is_chosen else line,
            group=None if family_name else group,
        )
    return root


def _function(place: str) -> Callable[..., object]:
    module, _, name = place.partition(":")
    found: Callable[..., object] = getattr(import_module(f"sekisho.cli.{module}"), name)
    return found


def _version() -> str:
    from sekisho import __version__  # noqa: PLC0415 - only when asked

    return __version__


def main(words: Sequence[str] | None = None) -> int:
    """Run one command line; returns its exit status, and never raises."""
    open_missing()
    typed = list(sys.argv[1:] if words is None else words)
    as_json = "--json" in typed[: typed.index("--")] if "--" in typed else "--json" in typed
    try:
        result = app_for(typed)(typed, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
    except SystemExit as ending:  # the parser ends --help and interrupts this way
        if isinstance(ending.__context__, BrokenPipeError):
            return DONE  # so does rich for it, with a status that says otherwise, when the reader has seen enough
        return ending.code if isinstance(ending.code, int) else USAGE
    except CycloptsError as mistake:
        return say_error(_usage(mistake, typed), USAGE, as_json=as_json)
    except SekishoError as error:
        return say_error(error, USAGE if error.code == "config_invalid" else FAILED, as_json=as_json)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _forget_output()  # the reader (head, less) has seen enough
        return DONE
    except Exception as trouble:  # noqa: BLE001 - the top of the process: a line and a status, no traceback
        return _troubled(trouble, as_json=as_json)
    return result if isinstance(result, int) else DONE


def _usage(mistake: CycloptsError, typed: Sequence[str]) -> SekishoError:
    command = next((words for words in (" ".join(typed[:2]), " ".join(typed[:1])) if _is_known(words)), "")
    sentence = " ".join(str(mistake).split())
    if isinstance(mistake, UnusedCliTokensError):
        unused = " ".join(mistake.unused_tokens or ())
        sentence = f"sekisho {command} takes no more words, and these stand there: {unused}"
    remedy = f"type sekisho {command} --help" if command else "type sekisho --help, or sekisho COMMAND --help"
    return Misconfigured("config_invalid", sentence, remedy=remedy)


def _is_known(words: str) -> bool:
    return words in COMMANDS or words in _FAMILIES


def _troubled(trouble: Exception, *, as_json: bool) -> int:
    """A full disk is no fault of ours, whoever met it; other errors are translated where they arise."""
    if not isinstance(trouble, OSError) or trouble.errno not in NO_ROOM:
        return say_trouble(trouble, FAILED, as_json=as_json)
    if trouble.filename is None:
        _forget_output()
    where = "what is to be printed" if trouble.filename is None else str(trouble.filename)
    return say_error(
        Unavailable("no_room", f"{where} cannot be written: {trouble.strerror}"), FAILED, as_json=as_json
    )


def _forget_output() -> None:
    """Nobody takes what is left to be printed; Python would complain once more when it closes the stream."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
