"""gateway: the road of a call, from the HTTP front through the gate to the sealed line and back."""

from sekisho.gateway.approvals import Approvals, Decision
from sekisho.gateway.berths import BerthLimits, Berths, LocalBerths, SharedBerths
from sekisho.gateway.budgets import SharedBudget
from sekisho.gateway.checkpoint import House, Limiter, Standing, judge
from sekisho.gateway.door import Door
from sekisho.gateway.freight import Freight, FreightLimits
from sekisho.gateway.front import Front
from sekisho.gateway.guard import loopback_names
from sekisho.gateway.guest import Guest
from sekisho.gateway.ids import CallIds
from sekisho.gateway.occupancy import FrontLimits
from sekisho.gateway.reception import DoorRules
from sekisho.gateway.request_ids import SharedRequestIds
from sekisho.gateway.returns import GATE, Gate, release
from sekisho.gateway.road import Road
from sekisho.gateway.sayings import Journal as RoadJournal
from sekisho.gateway.seats import SharedSeats
from sekisho.gateway.sessions import Endings, LocalEndings, Sessions, SharedEndings
from sekisho.gateway.shared_limits import SharedLimiter
from sekisho.gateway.shared_memory import SharedMemory
from sekisho.gateway.shared_replay import SharedReplay
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
from sekisho.gateway.standings import Dossier, Standings
from sekisho.gateway.status import StatusPage
from sekisho.gateway.visit import Visit

__all__ = [
    "GATE",
    "Answered",
    "Approvals",
    "Approved",
    "Arrived",
    "BerthLimits",
    "Berths",
    "Call",
    "CallIds",
    "Decision",
    "Door",
    "DoorRules",
    "Dossier",
    "Endings",
    "Freight",
    "FreightLimits",
    "Front",
    "FrontLimits",
    "Gate",
    "Guest",
    "House",
    "Identified",
    "Inspected",
    "Limiter",
    "LocalBerths",
    "LocalEndings",
    "Permitted",
    "Refusal",
    "Road",
    "RoadJournal",
    "Sealed",
    "Sessions",
    "SharedBerths",
    "SharedBudget",
    "SharedEndings",
    "SharedLimiter",
    "SharedMemory",
    "SharedReplay",
    "SharedRequestIds",
    "SharedSeats",
    "Standing",
    "Standings",
    "StatusPage",
    "Visit",
    "judge",
    "loopback_names",
    "release",
]
