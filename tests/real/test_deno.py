"""Deno behind the walls: real servers offline, listed hosts reached in every way, and what a program tries beside that.

Deno's permissions are one wall and the sandbox another; each attack says what it got, and none may get anything.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from tests.real.egress_door import Internet
from tests.real.inner import END_S, OPENING, call, read_all, talk

from sekisho.assembly.runtimes import with_broker, within_runtime
from sekisho.egress import EgressEvent, EgressSettings, send_gate, serve
from sekisho.plugin_server.permission_broker import permission_broker
from sekisho.policy import NetworkGrant
from sekisho.policy.grants import FileGrant, Grants, LimitGrant
from sekisho.sandbox import Bubblewrap, SandboxSpec, probe
from sekisho.sandbox.deno.access import DenoAccess
from sekisho.wire import DenialFrame

pytestmark = pytest.mark.real

ROOT: Final = Path(__file__).parents[2]
DENO: Final = ROOT / ".cache" / "deno" / "bin" / "deno"
FILESYSTEM: Final = ROOT / ".cache" / "demo" / "filesystem"
NETWORK: Final = NetworkGrant(
    allowed_domains=("api.example.com", "*.listed.example"), blocked_domains=("*", "bad.listed.example")
)

if not DENO.exists():
    pytest.skip("Deno is not installed; dev.py test installs it", allow_module_level=True)
if probe().missing:
    pytest.skip("no walls here: " + "; ".join(probe().missing), allow_module_level=True)

TRY: Final = """
const found: Record<string, string> = {};
const attempt = async (name: string, act: () => unknown) => {
  try { const got = await act(); found[name] = "ok " + String(got).slice(0, 60); }
  catch (error) { found[name] = (error as Error).name + ": " + (error as Error).message.slice(0, 160); }
};
const read = (path: string) => Deno.readTextFileSync(path);
"""
TELL: Final = "\nconsole.log(JSON.stringify(found));\n"


@dataclass(frozen=True, slots=True)
class Place:
    """Folders of one test: what is granted, and what lies beside it."""

    data: Path
    fixed: Path
    secret: Path
    code: Path

    @classmethod
    def made(cls, folder: Path) -> Place:
        place = cls(*(folder.resolve() / name for name in ("data", "fixed", "secret", "code")))
        for path in (place.data, place.fixed, place.secret, place.code):
            path.mkdir()
            path.chmod(0o777)
            (path / "x.txt").write_text(path.name)
        (place.data / "link").symlink_to(place.secret / "x.txt")
        (place.data / "hidden").mkdir()
        (place.data / "hidden" / "x.txt").write_text("hidden")
        return place

    def spec(self, program: str, *, network: NetworkGrant | None = None, **more: Any) -> SandboxSpec:
        script = self.code / "main.ts"
        script.write_text(TRY + program + TELL)
        files = FileGrant(
            read_only_paths=(str(self.fixed),),
            writable_paths=(str(self.data),),
            blocked_paths=(str(self.data / "hidden"),),
        )
        limits = LimitGrant(max_memory_mb=1024, max_pids=64)
        grants = Grants(files=files, network=network or NetworkGrant(), limits=limits)
        given = SandboxSpec(
            name="deno",
            argv=(str(DENO), "run", "--quiet", str(script)),
            grants=grants,
            wants_network=not grants.network.is_closed,
            **more,
        )
        return within_runtime(given, "auto")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place.made(tmp_path)


async def run(wanted: SandboxSpec, gate: Path | None = None) -> dict[str, str]:
    """What a program found, behind the walls."""
    async with asyncio.timeout(END_S), Bubblewrap() as driver:
        sandbox = await driver.launch(await driver.plan(wanted))
        line = None
        try:
            if gate is not None and sandbox.gate_sockets is not None:
                line = await send_gate(gate, sandbox.gate_sockets.fds)  # the gate serves while this is open
            out, err = await asyncio.gather(read_all(sandbox.stdout_fd), read_all(sandbox.stderr_fd))
            ended = await sandbox.wait()
        finally:
            sandbox.close_fds()
            if line is not None:
                line.close()
    assert ended.code == 0, (ended, err.decode())
    found: dict[str, str] = json.loads(out)
    return found


TWINS = """
await attempt("read", () => read("{data}/x.txt"));
await attempt("read fixed", () => read("{fixed}/x.txt"));
await attempt("write", () => Deno.writeTextFileSync("{data}/y.txt", "y"));
await attempt("list", () => [...Deno.readDirSync("{data}")].length);
await attempt("scratch", () => Deno.writeTextFileSync("/tmp/y.txt", "y"));
await attempt("temp", () => Deno.makeTempFileSync());
await attempt("env", () => Deno.env.get("HOME"));
await attempt("env unknown", () => String(Deno.env.get("SECRET_OF_THE_HOST")));
await attempt("timer", () => new Promise((done) => setTimeout(() => done("late"), 5)));
await attempt("crypto", () => crypto.randomUUID());
await attempt("worker", () => new Worker("data:text/javascript,self.close()", {{ type: "module" }}));
await attempt("wasm", () => new WebAssembly.Module(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0])));
"""

ATTACKS = """
await attempt("read shadow", () => read("/etc/shadow"));
await attempt("read passwd", () => read("/etc/passwd"));
await attempt("read secret", () => read("{secret}/x.txt"));
await attempt("read hidden", () => read("{data}/hidden/x.txt"));
await attempt("climb", () => read("{data}/../secret/x.txt"));
await attempt("file url", () => Deno.readTextFileSync(new URL("file://{secret}/x.txt")));
await attempt("link that lies there", () => read("{data}/link"));
await attempt("make a link", () => {{ Deno.symlinkSync("{secret}", "{data}/made"); return read("{data}/made/x.txt"); }});
await attempt("hard link", () => Deno.linkSync("{secret}/x.txt", "{data}/hard"));
await attempt("rename out", () => Deno.renameSync("{data}/x.txt", "{secret}/x.txt"));
await attempt("copy in", () => Deno.copyFileSync("{secret}/x.txt", "{data}/copy"));
await attempt("write fixed", () => Deno.writeTextFileSync("{fixed}/x.txt", "changed"));
await attempt("remove fixed", () => Deno.removeSync("{fixed}/x.txt"));
await attempt("write its code", () => Deno.writeTextFileSync("{code}/main.ts", "changed"));
await attempt("write a shell's file", () => Deno.writeTextFileSync("/home/you/.bashrc", "x"));
await attempt("proc environ", () => read("/proc/1/environ"));
await attempt("proc root", () => read("/proc/1/root/etc/shadow"));
await attempt("proc fd", () => read("/proc/self/fd/3"));
await attempt("own memory", () => Deno.openSync("/proc/self/mem", {{ read: true, write: true }}));
await attempt("kernel setting", () => Deno.writeTextFileSync("/proc/sys/kernel/core_pattern", "x"));
await attempt("device", () => Deno.openSync("/dev/sda", {{ read: true }}));
await attempt("run", () => new Deno.Command("/bin/sh", {{ args: ["-c", "id"] }}).outputSync().success);
await attempt("node run", async () => (await import("node:child_process")).execSync("id"));
await attempt("run itself", () => new Deno.Command(Deno.execPath(), {{ args: ["eval", "1"] }}).outputSync().success);
await attempt("ffi", () => Deno.dlopen("libc.so.6", {{ getpid: {{ parameters: [], result: "i32" }} }}));
await attempt("node addon", async () => (await import("node:process")).dlopen({{ exports: {{}} }}, "/lib/x.node"));
await attempt("host name", () => Deno.hostname());
await attempt("memory of the host", () => Deno.systemMemoryInfo().total);
await attempt("interfaces", () => Deno.networkInterfaces().length);
await attempt("kill", () => Deno.kill(1, "SIGTERM"));
await attempt("remote module", () => import("https://api.example.com/x.js"));
await attempt("npm from afar", () => import("npm:left-pad"));
await attempt("loopback", () => Deno.connect({{ hostname: "127.0.0.1", port: 22 }}));
await attempt("metadata", () => Deno.connect({{ hostname: "169.254.169.254", port: 80 }}));
await attempt("dns", () => Deno.resolveDns("example.com", "A", {{ nameServer: {{ ipAddr: "8.8.8.8" }} }}));
await attempt("unix socket", () => Deno.connect({{ transport: "unix", path: "/run/docker.sock" }}));
await attempt("listen", () => Deno.listen({{ hostname: "0.0.0.0", port: 8000 }}));
await attempt("node socket", async () => {{
  const net = await import("node:net");
  await new Promise((done, fail) => net.connect(22, "127.0.0.1").on("connect", done).on("error", fail));
}});
await attempt("ask for more", () => {{
  if (Deno.permissions.requestSync({{ name: "run" }}).state !== "granted") throw new Error("not granted");
}});
await attempt("inspector", async () => (await import("node:inspector")).open(9229, "0.0.0.0"));
"""


def filled(text: str, place: Place) -> str:
    return text.format(data=place.data, fixed=place.fixed, secret=place.secret, code=place.code)


@pytest.mark.parametrize("said_by", ["flags", "broker"])
async def test_what_an_honest_program_does_works(place: Place, said_by: str) -> None:
    wanted = place.spec(filled(TWINS, place))
    found = await run(wanted) if said_by == "flags" else (await brokered(place, wanted))[0]
    assert {name: said for name, said in found.items() if not said.startswith("ok")} == {}
    assert found["env unknown"] == "ok undefined"
    assert (place.data / "y.txt").read_text() == "y"


@pytest.mark.requirement("B8")
@pytest.mark.threat("T-READ-HOST")
@pytest.mark.parametrize("said_by", ["flags", "broker"])
async def test_what_a_dishonest_program_tries_fails(place: Place, said_by: str) -> None:
    wanted = place.spec(filled(ATTACKS, place))
    found = await run(wanted) if said_by == "flags" else (await brokered(place, wanted))[0]
    assert len(found) >= 36
    assert {name: said for name, said in found.items() if said.startswith("ok")} == {}
    assert (place.fixed / "x.txt").read_text() == "fixed"
    assert (place.secret / "x.txt").read_text() == "secret"
    assert (place.code / "main.ts").read_text() != "changed"
    assert not (place.data / "hard").exists()


async def brokered(place: Place, wanted: SandboxSpec) -> tuple[dict[str, str], list[DenialFrame]]:
    """What a program found whose Deno asked the broker, and what the broker refused."""
    denials: list[DenialFrame] = []
    access = DenoAccess(grants=wanted.grants, code=(str(place.code / "main.ts"),))
    async with permission_broker(place.code.parent / "b", access, denials.append) as path:
        return await run(with_broker(wanted, path)), denials


async def test_what_the_broker_refuses_is_told_with_its_rule(place: Place) -> None:
    program = filled(
        """
await attempt("read", () => read("/etc/shadow"));
await attempt("write", () => Deno.writeTextFileSync("{fixed}/x.txt", "changed"));
await attempt("net", () => Deno.connect({{ hostname: "evil.example", port: 443 }}));
await attempt("run", () => new Deno.Command("/bin/id").outputSync());
const path = Deno.env.get("DENO_PERMISSION_BROKER_PATH")!;
await attempt("own broker", () => Deno.connect({{ transport: "unix", path }}));
await attempt("its folder", () => Deno.removeSync(path));
await attempt("relative", () => {{ Deno.chdir("{fixed}"); Deno.writeTextFileSync("x.txt", "changed"); }});
""",
        place,
    )
    found, denials = await brokered(place, place.spec(program))
    assert "sekisho: filesystem_policy does not grant it" in found["read"]
    told = {(one.kind, one.rule, one.target) for one in denials}
    assert {
        ("path", "filesystem_policy", "/etc/shadow"),
        ("path", "filesystem_policy", f"{place.fixed}/x.txt"),
        ("connect", "network_policy", "evil.example:443"),
        ("permission", "runtime = deno", "/bin/id"),
    } <= told
    assert not [name for name, said in found.items() if said.startswith("ok")]


async def test_without_its_broker_deno_does_nothing(place: Place) -> None:
    wanted = place.spec('await attempt("env", () => Deno.env.get("HOME"));')
    gone = place.code.parent / "b" / "broker.sock"
    gone.parent.mkdir()
    async with asyncio.timeout(END_S), Bubblewrap() as driver:
        sandbox = await driver.launch(await driver.plan(with_broker(wanted, gone)))
        try:
            out = await read_all(sandbox.stdout_fd)
            ended = await sandbox.wait()
        finally:
            sandbox.close_fds()
    assert ended.code
    assert out == b""


class Chained(Internet):
    """Its hosts show a certificate of an authority: rustls takes no authority for a host."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.authority = folder / "ca.pem"
        ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        ca = _signed("authority", ca_key, "authority", ca_key, is_authority=True)
        host = _signed("authority", ca_key, "api.example.com", key, is_authority=False)
        self.authority.write_bytes(ca.public_bytes(Encoding.PEM))
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        self.certificate.write_bytes(pem + host.public_bytes(Encoding.PEM))


def _signed(
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    name: str,
    key: ec.EllipticCurvePrivateKey,
    *,
    is_authority: bool,
) -> x509.Certificate:
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
    )
    if not is_authority:
        made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    return made.sign(issuer_key, hashes.SHA256())


@asynccontextmanager
async def gated(
    folder: Path, network: NetworkGrant
) -> AsyncIterator[tuple[Path, Chained, list[EgressEvent]]]:
    """The gate's socket, the internet behind it, and what the gate reports."""
    path = folder / "gate.sock"
    events: list[EgressEvent] = []
    internet = Chained(folder)
    ready = asyncio.Event()
    settings = EgressSettings(sockets={"deno": (path, network)}, log_folder=folder / "log")
    async with asyncio.timeout(END_S), internet.running(), asyncio.TaskGroup() as group:
        task = group.create_task(
            serve(settings, ready=ready.set, on_event=events.append, outlet_for=internet.outlet)
        )
        await ready.wait()
        yield path, internet, events
        task.cancel()


REACH = """
const caCerts = [read("{fixed}/ca.pem")];
const proxied = Deno.createHttpClient({{ caCerts }});
const size = async (url: string, client = proxied) => {{
  const answer = await fetch(url, {{ client }});
  const text = await answer.text();
  if (!answer.ok) throw new Error(text);
  return text.length;
}};
await attempt("https proxy", () => size("https://api.example.com/"));
await attempt("http proxy", () => size("http://api.example.com/"));
await attempt("other proxy", () => size("https://evil.example/"));
await attempt("metadata name", () => size("http://metadata.listed.example/"));
await attempt("lan name", () => size("https://lan.listed.example/"));
await attempt("loopback name", () => size("http://me.listed.example/"));
await attempt("blocked name", () => size("https://bad.listed.example/"));
await attempt("literal", () => size("http://93.184.216.34/"));
await attempt("other port", () => size("https://api.example.com:8443/"));
await fetch("http://api.example.com/", {{ headers: {{ Host: "evil.example" }} }}).then((one) => one.text());
for (const name of Object.keys(Deno.env.toObject())) if (/proxy/i.test(name)) Deno.env.delete(name);
const direct = Deno.createHttpClient({{ caCerts }});
await attempt("https direct", () => size("https://api.example.com/", direct));
await attempt("http direct", () => size("http://api.example.com/", direct));
const listed = {{ hostname: "api.example.com", port: 443, caCerts }};
await attempt("tls direct", async () => (await Deno.connectTls(listed)).close());
await attempt("other direct", () => size("https://evil.example/", direct));
await attempt("lan name direct", () => size("https://lan.listed.example/", direct));
"""


@pytest.mark.requirement("B8")
@pytest.mark.threat("T-EGRESS")
@pytest.mark.threat("T-REBIND")
async def test_listed_hosts_are_reached_with_and_without_a_proxy_and_nothing_else_is(
    place: Place, tmp_path: Path
) -> None:
    async with gated(tmp_path, NETWORK) as (gate, internet, events):
        (place.fixed / "ca.pem").write_bytes(internet.authority.read_bytes())
        found = await run(place.spec(filled(REACH, place), network=NETWORK), gate)
    reached = {"https proxy", "http proxy", "https direct", "http direct"}
    assert {name for name, said in found.items() if said == "ok 300000"} == reached, found
    assert {name for name, said in found.items() if said.startswith("ok")} == {*reached, "tls direct"}, found
    assert not [head for head in internet.seen if b"evil.example" in head]
    # the names are allowed to Deno, which looks up no address: the outer gate stops them
    refused = {event.host for event in events if not event.allowed}
    assert {"metadata.listed.example", "lan.listed.example", "me.listed.example"} <= refused


@pytest.mark.parametrize("named", ["path", "npm"])
async def test_a_server_of_npm_runs_offline_unchanged(place: Place, named: str) -> None:
    if not FILESYSTEM.exists():
        pytest.skip("server-filesystem is not installed; dev.py test installs it")
    package = "@modelcontextprotocol/server-filesystem"
    script = f"npm:{package}" if named == "npm" else f"{FILESYSTEM}/node_modules/{package}/dist/index.js"
    grants = Grants(files=FileGrant(writable_paths=(str(place.data),)), limits=LimitGrant(max_memory_mb=1024))
    given = SandboxSpec(
        name="deno",
        argv=(str(DENO), "run", script, str(place.data)),
        grants=grants,
        cwd=str(FILESYSTEM) if named == "npm" else None,
        runtime_paths=(str(FILESYSTEM),) if named == "npm" else (),
    )
    opened, listed, own, foreign, written = await talk(
        within_runtime(given, "auto"),
        *OPENING,
        call(3, "read_text_file", path=str(place.data / "x.txt")),
        call(4, "read_text_file", path=str(place.secret / "x.txt")),
        call(5, "write_file", path=str(place.data / "z.txt"), content="z"),
    )
    assert opened["result"]["serverInfo"]["name"] == "secure-filesystem-server"
    assert len(listed["result"]["tools"]) >= 10
    assert own["result"]["content"][0]["text"] == "data"
    assert foreign["result"]["isError"]
    assert not written["result"].get("isError")
    assert (place.data / "z.txt").read_text() == "z"


HOG: Final = """
const kept: Uint8Array[] = [];
while (true) kept.push(new Uint8Array(16 << 20).fill(1));
"""


async def test_a_hog_is_ended_by_the_outer_wall(place: Place) -> None:
    limits = LimitGrant(max_memory_mb=256)
    wanted = place.spec(HOG)
    wanted = replace(wanted, grants=replace(wanted.grants, limits=limits))
    async with asyncio.timeout(END_S), Bubblewrap() as driver:
        sandbox = await driver.launch(await driver.plan(wanted))
        try:
            ended = await sandbox.wait()
        finally:
            sandbox.close_fds()
    assert ended.reason == "oom"
