"""A plugin that keeps state between calls: one process for each client or session, all of them bounded.

Guarantees
- a call is carried out by the process of the client or session it names, and by no other; one that names none is
  refused;
- the listed instance carries no calls; what it shows is what is reviewed, and an instance that shows anything else is
  ended before it takes a call, or as soon as it does so;
- there are never more processes than configured, those that are ending included; when there is no room, the one that
  was not used for longest ends, unless each has a call under way: then the call is refused;
- a process that was not used for a while ends, unless its client listens for news of a resource or a task;
- each has walls, limits, parked calls, questions and subscriptions of its own, and dies alone.

What a call goes through is its instance's `desk`; a plugin that all clients share has no such pool in front of it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import msgspec

from sekisho.errors import Unavailable
from sekisho.plugin_server.face import Face
from sekisho.plugin_server.instance import Instance, SlotConnector
from sekisho.plugin_server.opening import EraMemory
from sekisho.plugin_server.warden import Publisher, Warden, WardenRules
from sekisho.wire import AnswerFrame, DenialFrame, Inbound, StateFrame, SurfaceFrame

__all__ = ["InstanceRules", "Instances"]

MAX_KNOWN: Final = 4_096  # clients and sessions of which something is known, 6 KB each; few have a process
LOOKS: Final = 8  # at idle instances, in the time after which they end


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceRules:
    """How many processes there may be beside the listed one, and after how long without calls one ends."""

    most: int
    idle_s: float


class _Named(msgspec.Struct):
    instance: str = ""


class _Wish(msgspec.Struct):
    scope: bool = False


_named: Final = msgspec.json.Decoder(_Named)
_wishes: Final = msgspec.json.Decoder(_Wish)


class Instances:
    """The pool. Takes what a warden takes: calls, withdrawals and answers."""

    def __init__(
        self,
        *,
        connect: SlotConnector,
        publisher: Publisher,
        rules: WardenRules,
        bounds: InstanceRules,
        log: Callable[..., None],
    ) -> None:
        self._connect = connect
        self._publisher = publisher
        self._rules = rules
        self._bounds = bounds
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._era = EraMemory()
        self._face = Face(self._end_all)
        self._known: OrderedDict[str, Instance] = OrderedDict()  # the one called least recently comes first
        self._free = deque(range(1, bounds.most + 1))
        self._next: dict[Instance, None] = {}  # to be started as soon as there is a slot
        self._group: asyncio.TaskGroup | None = None
        self._listed = Warden(
            connect=partial(connect, 0), publisher=self, rules=rules, log=log, era=self._era
        )

    @property
    def running(self) -> int:
        """Processes beside the listed one."""
        return self._bounds.most - len(self._free)

    async def run(self) -> None:
        """Keep the listed instance running, and the others as long as they are used, until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                group.create_task(self._look_after())
                try:
                    await self._listed.run()
                finally:
                    self._group = None  # before the others are cancelled: none of them is started again
        finally:
            for instance in self._known.values():
                instance.refuse(Unavailable("plugin_exited", "the plugin server ends"))
                instance.desk.close()

    def call(self, inbound: Inbound) -> None:
        """Carry out one call at the instance it names, which may have to be started first."""
        instance = self._instance_of(inbound)
        if instance is None:
            return
        if instance.takes_calls:
            instance.used_at = self._loop.time()
            instance.desk.call(inbound)
        elif _needs_no_plugin(inbound):
            instance.desk.remember(inbound)
        else:
            self._start_for(instance, inbound)

    def cancel(self, inbound: Inbound) -> None:
        """The core no longer waits for this call."""
        instance = self._known.get(_name_in(inbound))
        if instance is not None:
            instance.cancel(inbound)
            self._forget_empty(instance)

    def answer(self, frame: AnswerFrame) -> None:
        """A client answered a question of its instance; an answer to none is counted."""
        for instance in self._known.values():
            if instance.desk.asks(frame.ask):
                instance.desk.answer(frame)
                return
        self._listed.answer(frame)

    # what the listed instance tells

    def publish_surface(self, frame: SurfaceFrame) -> None:
        """The core sees what the listed instance shows, and all others are held to it."""
        self._face.show(frame)
        self._publisher.publish_surface(frame)

    def publish_state(self, frame: StateFrame) -> None:
        """The state of the plugin is that of its listed instance."""
        self._publisher.publish_state(frame)

    def publish_denial(self, denial: DenialFrame) -> None:
        """Walls refuse one instance as they refuse all."""
        self._publisher.publish_denial(denial)

    # instances

    def _instance_of(self, inbound: Inbound) -> Instance | None:
        """Whose call it is; None if it was refused."""
        name = _name_in(inbound)
        if not name:
            inbound.fail(
                "config_invalid", "core and plugin server do not agree whether clients share the plugin"
            )
            return None
        found = self._known.get(name)
        if found is None:
            if len(self._known) >= MAX_KNOWN and not self._forget_one():
                inbound.fail("busy", "the plugin serves too many clients")
                return None
            found = self._known[name] = Instance(
                name,
                connect=self._connect,
                rules=self._rules,
                face=self._face,
                era=self._era,
                log=self._log,
                publish_denial=self.publish_denial,
            )
        else:
            self._known.move_to_end(name)
        return found

    def _start_for(self, instance: Instance, inbound: Inbound) -> None:
        problem = instance.problem
        if problem is not None:
            inbound.fail(problem.code, problem.message)
        elif not self._face.is_known or self._group is None:
            inbound.fail("plugin_unavailable", "the plugin is not running")
        elif self._has_begun(instance) or self._has_room():
            instance.wait(inbound)
            self._begin(instance)
            return
        else:
            inbound.fail("busy", "the plugin serves as many clients as it may")
        self._forget_empty(instance)

    def _has_begun(self, instance: Instance) -> bool:
        return instance in self._next or (instance.slot > 0 and not instance.is_ending)

    def _has_room(self) -> bool:
        """There is a slot, or one will be free in a moment, if need be because the idlest instance ends for it."""
        self._leave_out_withdrawn()
        ending = sum(one.is_ending for one in self._known.values())
        if len(self._free) + ending > len(self._next):
            return True
        idle = [one for one in self._known.values() if one.is_idle]
        if not idle:
            return False
        idlest = min(idle, key=lambda one: one.used_at)
        idlest.end("makes room for another client")
        return True

    def _leave_out_withdrawn(self) -> None:
        """Whose calls were withdrawn, or waited too long, needs no slot any more."""
        for instance in [one for one in self._next if not one.is_waited_for]:
            del self._next[instance]
            self._forget_empty(instance)

    def _begin(self, instance: Instance) -> None:
        if not self._has_begun(instance):
            self._next[instance] = None
            self._fill()

    def _fill(self) -> None:
        """Give free slots to those that wait for one; one whose last process is still ending waits for that too."""
        self._leave_out_withdrawn()
        for instance in [one for one in self._next if not one.slot]:
            if not self._free or self._group is None:
                return
            del self._next[instance]
            instance.start(self._group, self._free.popleft(), self._ended)
            self._log("plugin_instance_started", slot=instance.slot, running=self.running)

    def _ended(self, instance: Instance, slot: int) -> None:
        """Nothing of its process is left. Calls that came meanwhile are for the next one."""
        self._free.append(slot)
        if instance.is_waited_for:
            self._next.setdefault(instance)
        self._loop.call_soon(self._fill)  # not within its own end, which may be that of all
        self._forget_empty(instance)

    def _end_all(self) -> None:
        """The listed instance shows another face: none of them is what was compared."""
        for instance in self._known.values():
            instance.end("the plugin shows another face")

    # what is forgotten

    async def _look_after(self) -> None:
        while True:
            await asyncio.sleep(self._bounds.idle_s / LOOKS)
            now = self._loop.time()
            for instance in [*self._known.values()]:
                if instance.desk.is_busy:
                    instance.used_at = now
                elif self._is_over(instance, now):
                    instance.end("was not used")
                self._forget_empty(instance)

    def _is_over(self, instance: Instance, now: float) -> bool:
        is_used = instance.desk.is_followed or now - instance.used_at < self._bounds.idle_s
        return instance.is_idle and not is_used

    def _forget_empty(self, instance: Instance) -> None:
        if instance.can_be_forgotten and instance not in self._next:
            self._known.pop(instance.name, None)
            instance.close()

    def _forget_one(self) -> bool:
        """Make room in the table: who has no process and was not heard of for longest."""
        for instance in self._known.values():
            if not (instance.slot or instance.is_waited_for or instance.desk.is_busy):
                del self._known[instance.name]
                instance.close()
                return True
        return False


def _name_in(inbound: Inbound) -> str:
    """The instance a call names. The rest of its context is read by the desk."""
    try:
        return _named.decode(inbound.frame.context or b"{}").instance
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return ""


def _needs_no_plugin(inbound: Inbound) -> bool:
    """A level of logs, and a stream on which a session hears what concerns it, wait for the plugin's next start."""
    match inbound.frame.tool:
        case "logging/setLevel":
            return True
        case "subscriptions/listen":
            try:
                return _wishes.decode(inbound.frame.arguments).scope
            except (msgspec.MsgspecError, UnicodeError, RecursionError):
                return False
        case _:
            return False
