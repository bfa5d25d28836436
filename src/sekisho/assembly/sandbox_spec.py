"""The walls of one plugin, as its configuration states them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sekisho.assembly.enclosed import Enclosed, sketched
from sekisho.assembly.runtimes import within_runtime
from sekisho.assembly.telling import told
from sekisho.config import Workload
from sekisho.errors import Misconfigured
from sekisho.sandbox import SandboxSpec
from sekisho.sandbox.host.closure import brought
from sekisho.sandbox.host.services import services_within

__all__ = ["sandbox_spec", "sockets_in_reach"]


def sockets_in_reach(workload: Workload, spec: SandboxSpec) -> tuple[str, ...]:
    """Why it gets no Unix sockets, unless it has them always: the sockets it could find, or the configuration's word."""
    if workload.unix_sockets == "never":
        return ('unix_sockets = "never"',)
    try:
        shown = brought(spec)
    except Misconfigured:
        shown = ()  # whoever raises these walls is told why they cannot be
    return services_within(spec.grants.files, shown)


def sandbox_spec(
    workload: Workload, environment: Mapping[str, str], inside: Enclosed | None = None
) -> SandboxSpec:
    """The wall of one plugin, as its configuration states it; `environment` is ours, of which it gets named parts.

    `inside`: what stands for its secrets; without it, walls are drawn to be read, with the names of secrets alone.
    """
    passed = {key: environment[key] for key in workload.grants.environment if key in environment}
    inside = inside or sketched(workload)
    stated = SandboxSpec(
        name=workload.name,
        argv=workload.command,
        grants=workload.grants,
        environment={
            **passed,
            **workload.settings_environment,
            **told(workload),
            **inside.environment,
        },
        certificate=inside.certificate,
        cwd=str(workload.working_directory) if workload.working_directory is not None else None,
        runtime_paths=tuple(str(path) for path in workload.runtime_paths),
        isolation=workload.isolation,
        driver=workload.driver,
        engine=workload.engine,
        image=workload.image,
        oci_runtime=workload.oci_runtime,
        told_paths=workload.told_paths,
        wants_network=not workload.grants.network.is_closed,
        search_path=environment.get("PATH"),
    )
    spec = within_runtime(stated, workload.runtime)
    return replace(
        spec, unix_sockets=workload.unix_sockets == "always" or not sockets_in_reach(workload, spec)
    )
