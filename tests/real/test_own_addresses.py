"""Which addresses are this machine's own, by its kernel, in a network namespace with every kind of them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from functools import cache

import pytest

pytestmark = [pytest.mark.real, pytest.mark.threat("T-REBIND")]

_LAY = """
set -e
ip link set lo up
ip link add here type veth peer name there
ip link set here up
ip link set there up
ip addr add 9.9.9.1/24 dev here
ip addr add 9.9.9.2/24 dev here
ip -6 addr add 2a01::1/64 dev here nodad
ip -6 addr add 2a01::2/64 dev here nodad
ip route add default via 9.9.9.254
ip route add local 8.8.4.0/24 dev lo
ip route add unreachable 8.8.5.0/24
exec "$@"
"""
_ASK = """
import json, sys
from ipaddress import ip_address
from sekisho.egress.outlet import is_outside
print(json.dumps({text: is_outside(ip_address(text)) for text in sys.argv[1:]}))
"""
OWN = (
    "9.9.9.1",
    "9.9.9.2",  # packets to a second address come from the first one
    "64:ff9b::909:902",
    "2a01::1",
    "2a01::2",
    "8.8.4.7",  # no interface has it: a local route takes it in
    "9.9.9.255",
)
AWAY = ("9.9.9.3", "2a01::3", "8.8.8.8", "64:ff9b::808:808", "2606:4700::1111", "8.8.5.1")


@cache
def judged() -> dict[str, bool]:
    words = ["unshare", "--net", *(() if os.geteuid() == 0 else ("--map-root-user",))]
    if shutil.which("unshare") is None or shutil.which("ip", path="/usr/sbin:/sbin:/usr/bin:/bin") is None:
        pytest.skip("unshare or ip is not here")
    if subprocess.run([*words, "true"], check=False, capture_output=True, timeout=20).returncode != 0:
        pytest.skip("this machine allows no namespaces of our own")
    done = subprocess.run(
        [*words, "sh", "-c", _LAY, "sh", sys.executable, "-c", _ASK, *OWN, *AWAY],
        env=os.environ | {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"},
        check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, bool] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("address", OWN)
def test_an_address_of_this_machine_is_never_outside(address: str) -> None:
    assert not judged()[address]


@pytest.mark.parametrize("address", AWAY)
def test_a_neighbour_and_the_internet_are_outside(address: str) -> None:
    assert judged()[address]
