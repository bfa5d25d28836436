"""What poisoned packages really do: steal the tokens of developers, and plant what the next shell or tool runs."""

from __future__ import annotations

from functools import partial

from tests.real.escape.inside.kit import There, probe

READ = {
    "M01": ("steal the npm token (~/.npmrc)", ".npmrc"),
    "M02": ("steal cloud credentials (~/.aws)", ".aws/credentials"),
    "M03": ("steal the forge's token (~/.config/gh)", ".config/gh/hosts.yml"),
    "M04": ("steal registry and cluster logins (~/.docker, ~/.kube)", ".docker/config.json"),
    "M05": ("steal the browser's profile", ".mozilla/firefox/default/logins.json"),
    "M06": ("read the shell's history", ".bash_history"),
    "M07": ("read the password store and key rings", ".local/share/keyrings/login.keyring"),
    "M08": ("read the environment file of a project (.env)", "project/.env"),
}
WRITE = {
    "M09": ("change npm's settings (~/.npmrc)", ".npmrc"),
    "M10": ("put a program in front of others (~/.local/bin)", ".local/bin/git"),
    "M11": ("plant a tool in a project (node_modules/.bin)", "project/node_modules/.bin/tsc"),
    "M12": ("plant a git hook", "project/.git/hooks/post-checkout"),
    "M13": ("change git's settings (~/.gitconfig)", ".gitconfig"),
    "M14": (
        "plant a start file of Python (usercustomize)",
        ".local/lib/python3.11/site-packages/usercustomize.py",
    ),
    "M15": ("plant a user service or autostart", ".config/systemd/user/planted.service"),
    "M16": ("let somebody log in (~/.ssh/authorized_keys)", ".ssh/authorized_keys"),
    "M17": ("add an MCP server to a client's settings", ".cursor/mcp.json"),
    "M18": ("plant an editor's task (.vscode)", "project/.vscode/tasks.json"),
    "M19": ("publish with a stolen name (change package.json)", "project/package.json"),
}


def _enter() -> None:
    for id_, (title, path) in READ.items():
        probe(id_, title)(partial(_read, path))
    for id_, (title, path) in WRITE.items():
        probe(id_, title, outside=True)(partial(_write, path))


def _read(path: str, there: There) -> str:
    return there.read(f"{there.at['home']}/{path}")


def _write(path: str, there: There) -> str:
    return there.write(f"{there.at['home']}/{path}")


_enter()


@probe("M20", "steal tokens from the environment (NPM_TOKEN and kin)")
def _(there: There) -> str:
    return there.leaked(_environment())


@probe("M21", "plant a job (cron)", outside=True)
def _(there: There) -> str:
    return there.write(there.at["cron"])


def _environment() -> bytes:
    with open("/proc/self/environ", "rb") as file:  # noqa: PTH123
        return file.read()
