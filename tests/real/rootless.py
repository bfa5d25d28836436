"""What an ordinary user's walls hold, in a scene that makes that user: `python -m tests.real.rootless limits|doctor`.

`limits DRIVER` (podman, unless one is named) reads `{name: [program, limits]}` and prints `{name: how it ended and what
it printed}`. `doctor` prints the row about container engines for a user to whom no range is lent, and again after what
that row proposes was done. Needs root, to make the scene.
"""

from __future__ import annotations

import json
import re
import sys

from tests.real.escape.stage import Scene, open_scene

__all__ = ["main"]

ASK = (
    "import json, dataclasses\nfrom sekisho.sandbox.doctor import doctor\n"
    "print(json.dumps([dataclasses.asdict(row) for row in doctor() if row.what == 'container engine']))"
)


def limits(scene: Scene) -> object:
    """Each program within its limits."""
    driver = sys.argv[2] if len(sys.argv) > 2 else "oci"
    return {
        name: scene.run_driver(driver, (scene.inner_python, "-Ic", program), b"", limits=granted)
        for name, (program, granted) in json.load(sys.stdin).items()
    }


def asked(scene: Scene, lent: str) -> list[dict[str, object]]:
    """What the doctor says when this is lent."""
    for name in ("subuid", "subgid"):
        (scene.base / name).write_text(lent)  # what lies over the host's own files
    code, out, err = scene.run([scene.python, "-c", ASK], b"")
    if code != 0:
        raise RuntimeError(err.decode())
    rows: list[dict[str, object]] = json.loads(out)
    return rows


def advised(scene: Scene) -> object:
    """Without a range, and with the one that was proposed."""
    before = asked(scene, "somebody:100000:65536\n")
    first, last = map(int, re.findall(r"--add-subuids (\d+)-(\d+)", str(before[0]["fix"]))[0])
    return before + asked(scene, f"somebody:100000:65536\nprisoner:{first}:{last - first + 1}\n")


def main() -> None:
    """One scene for all of them."""
    with open_scene("user") as scene:
        found = {"limits": limits, "doctor": advised}[sys.argv[1]](scene)
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
