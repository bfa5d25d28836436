"""Walls around a process: what a plugin may touch, drawn as a plan, raised by bubblewrap, held by the
kernel.
"""

from sekisho.sandbox.doctor import Row, doctor
from sekisho.sandbox.driver import Driver, Offer, choose
from sekisho.sandbox.host.closure import survey
from sekisho.sandbox.host.obstacles import APPARMOR_PROFILE
from sekisho.sandbox.host.probe import glance, probe
from sekisho.sandbox.launched.driver import Launched
from sekisho.sandbox.launched.kinds import Bubblewrap, Landlock, Native, UnsafeNone
from sekisho.sandbox.mount import Mount
from sekisho.sandbox.plans.allowance import Limits
from sekisho.sandbox.plans.describe import describe, describe_text
from sekisho.sandbox.plans.plan import Plan, plan
from sekisho.sandbox.plans.spec import CERTIFICATE_PATH, Capabilities, Closure, Link, SandboxSpec
from sekisho.sandbox.raising import driver_for, offers
from sekisho.sandbox.running.forked import ForkedLauncher
from sekisho.sandbox.running.limits import Usage
from sekisho.sandbox.running.sandbox import Exit, GateSockets, Sandbox
from sekisho.sandbox.running.violations import Denied, Violation
from sekisho.sandbox.warm.preparation import make_ready
from sekisho.sandbox.warm.start import Running, Warm

__all__ = [
    "APPARMOR_PROFILE",
    "CERTIFICATE_PATH",
    "Bubblewrap",
    "Capabilities",
    "Closure",
    "Denied",
    "Driver",
    "Exit",
    "ForkedLauncher",
    "GateSockets",
    "Landlock",
    "Launched",
    "Limits",
    "Link",
    "Mount",
    "Native",
    "Offer",
    "Plan",
    "Row",
    "Running",
    "Sandbox",
    "SandboxSpec",
    "UnsafeNone",
    "Usage",
    "Violation",
    "Warm",
    "choose",
    "describe",
    "describe_text",
    "doctor",
    "driver_for",
    "glance",
    "make_ready",
    "offers",
    "plan",
    "probe",
    "survey",
]
