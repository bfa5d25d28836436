"""Walls around a process: what a plugin may touch, drawn as a plan, raised by bubblewrap, held by the
kernel.
"""

from sekisho.sandbox.bubblewrap import Bubblewrap, Driver
from sekisho.sandbox.closure import survey
from sekisho.sandbox.describe import describe, describe_text
from sekisho.sandbox.forked import ForkedLauncher
from sekisho.sandbox.limits import Usage
from sekisho.sandbox.plan import Limits, Mount, Plan, plan
from sekisho.sandbox.probe import Row, doctor, probe
from sekisho.sandbox.running import Exit, GateSockets, Sandbox
from sekisho.sandbox.spec import Capabilities, Closure, Link, SandboxSpec
from sekisho.sandbox.warm import Running, Warm, make_ready

__all__ = [
    "Bubblewrap",
    "Capabilities",
    "Closure",
    "Driver",
    "Exit",
    "ForkedLauncher",
    "GateSockets",
    "Limits",
    "Link",
    "Mount",
    "Plan",
    "Row",
    "Running",
    "Sandbox",
    "SandboxSpec",
    "Usage",
    "Warm",
    "describe",
    "describe_text",
    "doctor",
    "make_ready",
    "plan",
    "probe",
    "survey",
]
