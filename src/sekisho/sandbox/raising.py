"""From a plugin's wish to a driver: looks at what this host offers, in the order of strength, and makes the first that
will do.

Guarantees that the driver that is usual here costs nothing to find (bwrap is looked at, not tried: its first launch
tries it), and that one which this host is likely to refuse is tried before it is chosen. `driver.choose` decides.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from sekisho.errors import Misconfigured
from sekisho.sandbox.driver import AUTO_ORDER, Driver, Offer, choose
from sekisho.sandbox.host.obstacles import confined, obstacle, read_settings
from sekisho.sandbox.host.probe import glance, probe, run_trial
from sekisho.sandbox.launched.kinds import LAUNCHED
from sekisho.sandbox.oci.driver import Oci
from sekisho.sandbox.oci.engine import COMMAND_S, NOTHING, Engine, find_engine
from sekisho.sandbox.oci.words import GVISOR
from sekisho.sandbox.plans.spec import DriverName, SandboxSpec, unavailable
from sekisho.sandbox.running.forked import ForkedLauncher

__all__ = ["asked", "driver_for", "offer_of", "offers"]


def driver_for(
    spec: SandboxSpec, forked: ForkedLauncher | None = None, environment: Mapping[str, str] = NOTHING
) -> Driver:
    """The driver for one plugin; `forked` is a launcher that runs already, `environment` ours, for a container engine.

    Raises:
        Misconfigured: this host cannot give what the plugin wants.
    """
    name = choose(spec, offers(spec, environment))
    if name == "oci":
        if forked is not None:
            forked.dismiss()  # an engine starts what there is to start
        return Oci(spec.engine, spec.image, spec.oci_runtime, environment, has_reserve=True)
    return next(kind for kind in LAUNCHED if kind.name == name)(forked=forked)


def offers(spec: SandboxSpec, environment: Mapping[str, str] = NOTHING) -> Iterator[Offer]:
    """What this host offers, each driver looked at only when those before would not do."""
    if spec.isolation == "unsafe-none" and spec.driver != "auto":
        raise unavailable(
            f'plugin {spec.name!r} wants driver = "{spec.driver}" and no walls',
            'take one of the two out: isolation = "unsafe-none" has no driver',
        )
    wanted = (
        AUTO_ORDER if spec.driver == "auto" else tuple(name for name in AUTO_ORDER if name == spec.driver)
    )
    for name in wanted:
        if name == "oci":
            yield oci_offer(spec.engine, spec.oci_runtime, environment, is_tried=_is_doubtful())
            continue
        yield offer_of(name, is_tried=name != "landlock" and (name != "bubblewrap" or _is_doubtful()))


def offer_of(name: DriverName, *, is_tried: bool = True) -> Offer:
    """What one driver gives here."""
    if name == "oci":
        return oci_offer("auto", "")
    found = probe(name) if is_tried else glance(name)
    return Offer(driver=name, level=found.level, missing=found.missing, has_gate=name != "landlock")


def oci_offer(
    engine: str, runtime: str, environment: Mapping[str, str] = NOTHING, *, is_tried: bool = False
) -> Offer:
    """What containers give here. An engine that is not tried and does not work says so itself, at the first start."""
    missing: tuple[str, ...] = ()
    try:
        found = find_engine(engine, runtime, environment)
        missing = asked(found) if is_tried else ()
    except Misconfigured as error:
        missing = (f"{error.message} ({error.remedy})",)
    is_gvisor = runtime == GVISOR
    return Offer(
        driver="oci", level="standard" if is_gvisor else "strict", missing=missing, has_gate=not is_gvisor
    )


def asked(engine: Engine) -> tuple[str, ...]:
    """What an engine complains of that stands on the same namespaces as our own walls; one of root's does not."""
    if not engine.is_rootless:
        return ()
    ended = run_trial([*engine.question], timeout_s=COMMAND_S, environment=engine.environment)
    said = ended.stderr.strip().splitlines()[-1:] or ["it says nothing"]
    return (f"{engine.name}: {obstacle(said[0][:200])}",) if ended.returncode else ()


def _is_doubtful() -> bool:
    """Whether something about this host makes it likely that namespaces are refused to us."""
    settings = read_settings()
    if settings.get("user/max_user_namespaces") == "0" or confined():
        return True
    return os.geteuid() != 0 and (
        settings.get("kernel/unprivileged_userns_clone") == "0"
        or settings.get("kernel/apparmor_restrict_unprivileged_userns") == "1"
    )
