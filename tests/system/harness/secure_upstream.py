"""nginx with TLS and HTTP/2 in front of the simulator, as an upstream: what the simulator itself does not speak."""

import re
from pathlib import Path

from .process import Process, free_port
from .tls import certificate

CONFIGURATION = """
daemon off;
worker_processes 1;
pid {directory}/h2.pid;
error_log {directory}/h2.error;
events {{ worker_connections 1024; }}
http {{
    log_format way '$server_protocol $connection $request_method $request_uri $status';
    access_log {directory}/h2.access way;
    client_body_temp_path {directory}/h2-body;
    proxy_temp_path {directory}/h2-proxy;
    fastcgi_temp_path {directory}/h2-fastcgi;
    uwsgi_temp_path {directory}/h2-uwsgi;
    scgi_temp_path {directory}/h2-scgi;
    upstream sim {{ server {sim}; keepalive 32; }}
    server {{
        listen 127.0.0.1:{port} ssl {http2};
        ssl_certificate {tls.certificate};
        ssl_certificate_key {tls.key};
        client_max_body_size 0;
        location / {{
            proxy_pass http://sim;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_buffering off;
            proxy_request_buffering off;
            proxy_max_temp_file_size 0;
            proxy_read_timeout 60s;
        }}
    }}
}}
"""


class SecureUpstream:
    def __init__(self, sim, http2=True):
        self.directory = Path(sim.process.log).parent
        self.port = free_port()
        self.base_url = f"https://localhost:{self.port}/v1"
        configuration = self.directory / "h2.conf"
        configuration.write_text(CONFIGURATION.format(
            directory=self.directory, port=self.port, sim=sim.origin.removeprefix("http://"), tls=certificate(),
            http2="http2" if http2 else ""))
        self.process = Process("upstream", ["nginx", "-e", self.directory / "h2.error", "-c", configuration],
                               self.directory / "h2.log")

    def ways(self):
        """What nginx logged: (protocol, connection, method, path, status)."""
        path = self.directory / "h2.access"
        lines = path.read_text().splitlines() if path.exists() else []
        return [re.fullmatch(r"(\S+) (\S+) (\S+) (\S+) (\S+)", line).groups() for line in lines]

    def stop(self):
        return self.process.stop()
