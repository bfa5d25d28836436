"""The build step: compiles the modules that every call passes, so that an installation runs them as machine code.

The same `.py` files are in every wheel, and run as they are where nothing was compiled: without a C compiler, without
Python's headers, on another interpreter than CPython, in an editable installation, and with `HATCH_BUILD_NO_HOOKS=true`.
`sekisho version` and `sekisho doctor` say which it is. What may stand in such a module says docs/decisions/0029-*.md,
and tests/house/test_compiled.py looks after it. Which modules they are, pyproject.toml lists.
"""

from __future__ import annotations

import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

TOOLS: Final = ["mypy>=2.4,<3", "setuptools>=80,<90"]  # asked for only where they can be of use
TYPED: Final = "msgspec"  # the base class of most values; without it mypy understands none of them
LIBRARY: Final = "sekisho.compiled"  # inside the package: walls show a plugin that folder and no other
# No other library calls our functions: they may be inlined, and are reached without a table of addresses.
OPTIONS: Final = ["-fvisibility=hidden", "-fno-plt"]


class CompileHook(BuildHookInterface[Any]):
    """Adds the compiled modules to a wheel."""

    def dependencies(self) -> list[str]:
        """What compiling needs beside a compiler."""
        if not _can_compile():
            return []
        return TOOLS + [one for one in self.metadata.core.dependencies if one.startswith(TYPED)]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, if this machine can; a wheel without is as good, and slower."""
        if version == "editable" or not _can_compile():
            return
        self._folder = tempfile.TemporaryDirectory(prefix="sekisho-build-")
        try:
            built = _compiled(Path(self.root), self.config["modules"], Path(self._folder.name))
        except (Exception, SystemExit) as error:  # noqa: BLE001  # whatever a compiler has: the modules run without it
            self.app.display_warning(f"sekisho is installed uncompiled, which is slower: {error}")
            return
        build_data["pure_python"], build_data["infer_tag"] = False, True
        build_data["force_include"].update(built)

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Leave nothing behind."""
        del version, build_data, artifact_path
        if hasattr(self, "_folder"):
            self._folder.cleanup()


def _can_compile() -> bool:
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    headers = Path(sysconfig.get_path("include"), "Python.h")
    return sys.implementation.name == "cpython" and shutil.which(compiler) is not None and headers.exists()


def _compiled(root: Path, modules: list[str], folder: Path) -> dict[str, str]:
    """Each library that was built, and where in the wheel it belongs."""
    from mypyc.build import mypycify  # noqa: PLC0415  # only there when `dependencies` asked for it
    from setuptools import Distribution  # noqa: PLC0415

    config = folder / "mypy.ini"
    # Strictness is the business of `dev.py check`, which has the packages that we use; here nearly all are unknown.
    config.write_text(
        f"[mypy]\npython_version = {sys.version_info.major}.{sys.version_info.minor}\nmypy_path = {root / 'src'}\n"
        f"explicit_package_bases = true\nignore_missing_imports = true\ncache_dir = {folder / 'cache'}\n"
    )
    paths = [str(root / "src" / "sekisho" / f"{name.replace('.', '/')}.py") for name in modules]
    extensions = mypycify(
        ["--config-file", str(config), *paths],
        debug_level="0",
        target_dir=str(folder / "c"),
        group_name=LIBRARY,
    )
    for extension in extensions:
        extension.extra_compile_args += OPTIONS
    command = Distribution({"name": "sekisho", "ext_modules": extensions}).get_command_obj("build_ext")
    command.build_lib, command.build_temp = str(folder / "lib"), str(folder / "temp")
    command.ensure_finalized()
    command.run()
    return {path: str(Path(path).relative_to(folder / "lib")) for path in command.get_outputs()}
