"""What a secret's reference leads to: the value, read where it is used and nowhere else.

- `env:` is a variable of `sekisho`'s own environment; `file:` a file that its owner alone may read; `keyring:` an entry
  of the desktop's or server's keyring (the extra `sekisho[keyring]`); `credential:` a file that systemd hands to the
  service (`LoadCredential=`), in `$CREDENTIALS_DIRECTORY`.
- A value that is missing, empty, readable by others or not text is refused with the reference and a remedy. No message
  ever holds the value, or any part of it.
- One line break at the end of a file is not part of the value.

Knows nothing of plugins, and keeps nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from sekisho.errors import Misconfigured
from sekisho.keys.files import read_private, read_public
from sekisho.policy import SecretReference

__all__ = ["Keyring", "read_reference", "variables_of"]

Keyring = Callable[[str, str], "str | None"]

CREDENTIALS_DIRECTORY: Final = "CREDENTIALS_DIRECTORY"
# How a keyring's own service is found from a process that inherits nothing else.
KEYRING_VARIABLES: Final = (
    "DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR", "XDG_DATA_HOME", "HOME", "PYTHON_KEYRING_BACKEND",
)  # fmt: skip


def read_reference(
    reference: SecretReference, environment: Mapping[str, str], *, keyring: Keyring | None = None
) -> str:
    """The value itself. May wait for a keyring's service, so it is called from a thread.

    Raises:
        Misconfigured: `key_unavailable`; there is no value to be had.
    """
    match reference.kind:
        case "env":
            value = environment.get(reference.where)
            remedy = f"set {reference.where} in the environment of sekisho"
        case "file":
            value = _text(reference, read_private, Path(reference.where))
            remedy = f"write the secret into {reference.where}, and let its owner alone read it (chmod 600)"
        case "credential":
            value = _credential(reference, environment)
            remedy = f"add LoadCredential={reference.where}:/path to the unit of sekisho"
        case "keyring":
            service, _, user = reference.where.partition("/")
            value = (keyring or _system_keyring)(service, user)
            remedy = f"store it: keyring set {service} {user}"
    if not value:
        raise _unavailable(f"there is no value at {reference}", remedy)
    if "\0" in value:
        raise _unavailable(f"the value at {reference} holds a NUL character", "store it as text")
    return value


def variables_of(references: tuple[SecretReference, ...]) -> frozenset[str]:
    """The variables that a process needs to follow these references."""
    names = {one.where for one in references if one.kind == "env"}
    kinds = {one.kind for one in references}
    if "credential" in kinds:
        names.add(CREDENTIALS_DIRECTORY)
    if "keyring" in kinds:
        names.update(KEYRING_VARIABLES)
    return frozenset(names)


def _credential(reference: SecretReference, environment: Mapping[str, str]) -> str:
    folder = environment.get(CREDENTIALS_DIRECTORY)
    if not folder or not Path(folder).is_absolute():
        raise _unavailable(
            f"{reference} needs systemd, which did not start this process",
            "start sekisho as a systemd service, or keep the secret in a file",
        )
    # systemd keeps the folder for the service's user alone, in memory, and a service of another user cannot enter it;
    # the mode of the files inside differs between its versions.
    return _text(reference, read_public, Path(folder) / reference.where)


def _text(reference: SecretReference, read: Callable[[Path], bytes], path: Path) -> str:
    try:
        data = read(path)
    except Misconfigured as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return ""
        raise _unavailable(f"{reference}: {error.message}", _file_remedy(path)) from error
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        # without the bytes: the exception would carry them
        raise _unavailable(f"the value at {reference} is not text", "store it as UTF-8") from _bare(error)
    return text.removesuffix("\n").removesuffix("\r")


def _bare(error: UnicodeDecodeError) -> Exception:
    return ValueError(error.reason)


def _file_remedy(path: Path) -> str:
    return f"let its owner, the user of sekisho, alone read it: chmod 600 {path}"


def _system_keyring(service: str, user: str) -> str | None:
    try:
        import keyring  # noqa: PLC0415  # an extra: only who uses a keyring needs it
        from keyring.errors import KeyringError  # noqa: PLC0415
    except ImportError as error:
        raise _unavailable(
            "keyring references need the library keyring", "install sekisho[keyring]"
        ) from error
    try:
        return keyring.get_password(service, user)
    except (KeyringError, OSError, RuntimeError) as error:
        raise _unavailable(
            f"the keyring does not give out {service}/{user} ({type(error).__name__})",
            "unlock it, or give sekisho a backend it can use (keyring --list-backends)",
        ) from error


def _unavailable(what: str, remedy: str) -> Misconfigured:
    return Misconfigured("key_unavailable", what, remedy=remedy)
