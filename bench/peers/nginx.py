"""nginx as a plain reverse proxy: the floor that no gateway which reads its messages is expected to reach."""

from __future__ import annotations

import shutil

from bench.processes import BenchFailed, free_port, running, wait_port
from bench.stage import Stage, Start
from bench.way import Way

__all__ = ["STARTS"]


def _config(folder: str, listen: str, upstream: int, workers: int) -> str:
    return f"""\
daemon off; worker_processes {workers}; pid {folder}/pid; error_log {folder}/error.txt error;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 100000000; keepalive_timeout 600; client_max_body_size 64m;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream plugin {{ server 127.0.0.1:{upstream}; keepalive 512; keepalive_requests 100000000; }}
  server {{
    {listen}
    location / {{
      proxy_pass http://plugin; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering off; proxy_buffer_size 64k; proxy_buffers 8 64k; proxy_busy_buffers_size 128k;
    }}
  }}
}}
"""


def _start(stage: Stage, name: str, upstream: int, *, tls: bool = False, workers: int = 1) -> Way:
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    if program is None:
        raise BenchFailed("not installed: apt-get install nginx-light")
    folder, port = stage.make_folder(name), free_port()
    listen, ca_file = f"listen 127.0.0.1:{port}{' reuseport' if workers > 1 else ''};", None
    if tls:
        ours, ca_file = stage.credentials, stage.credentials.ca_file
        listen = f"""listen 127.0.0.1:{port} ssl; ssl_protocols TLSv1.3;
    ssl_certificate {ours.cert_file}; ssl_certificate_key {ours.key_file};"""
    config, log = folder / "nginx.conf", folder / "log.txt"
    config.write_text(_config(str(folder), listen, upstream, workers))
    process = stage.stack.enter_context(running([program, "-p", folder, "-c", config], log))
    wait_port(process, port, log)
    return Way(port=port, root=process.pid, ca_file=ca_file, upstream_port=upstream)


STARTS: dict[str, Start] = {
    "nginx": lambda stage: _start(stage, "nginx", stage.upstream()),
    "nginx-workers": lambda stage: _start(stage, "nginx-workers", stage.upstream(), workers=2),
    "nginx-tls": lambda stage: _start(stage, "nginx-tls", stage.upstream(), tls=True),
    "nginx-many": lambda stage: _start(stage, "nginx-many", stage.upstream(tools=500, groups=10)),
}
