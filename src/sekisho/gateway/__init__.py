"""gateway: the road of a call, from the HTTP front through the gate to the sealed line and back."""

from sekisho.gateway.checkpoint import Approvals, House, Standing, judge, release
from sekisho.gateway.desk import Desk, Dossier
from sekisho.gateway.door import Door, DoorRules
from sekisho.gateway.front import Front, FrontLimits, Room
from sekisho.gateway.guard import loopback_names
from sekisho.gateway.ids import CallIds
from sekisho.gateway.road import Road
from sekisho.gateway.sessions import Sessions
from sekisho.gateway.stages import (
    Answered,
    Approved,
    Arrived,
    Call,
    Identified,
    Inspected,
    Permitted,
    Refusal,
    Sealed,
)
from sekisho.gateway.status import StatusPage

__all__ = [
    "Answered",
    "Approvals",
    "Approved",
    "Arrived",
    "Call",
    "CallIds",
    "Desk",
    "Door",
    "DoorRules",
    "Dossier",
    "Front",
    "FrontLimits",
    "House",
    "Identified",
    "Inspected",
    "Permitted",
    "Refusal",
    "Road",
    "Room",
    "Sealed",
    "Sessions",
    "Standing",
    "StatusPage",
    "judge",
    "loopback_names",
    "release",
]
