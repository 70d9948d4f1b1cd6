"""Small web server configurations that are right, each with room for one line that is not, for `sluice doctor` to find.

A configuration is a template with slots. A fault replaces the lines of slots by others; a slot without a replacement
keeps its right lines.
"""

import os
import re
import shutil

from . import keys
from .process import Process, clean_environment, free_port
from .sluice import BINARY, sanitizer_environment, sanitizer_reports

MODULES = "/usr/lib/apache2/modules"

LIGHTTPD = """
server.compat-module-load = "disable"
server.modules = ( "mod_fastcgi" )
server.document-root = "{directory}"
server.upload-dirs = ( "{directory}" )
server.bind = "{host}"
server.port = {port}
{parse:server.http-parseopts = ( "method-get-body" => "enable", "url-normalize" => "disable" )}
{size:server.max-request-size = 1048576}
{stream:server.stream-response-body = 2}
{extra:}
fastcgi.server = ( "" => (( "socket" => "{socket}", "check-local" => "disable", "disable-time" => 0,
    {backend:"tcp-fin-propagate" => "enable"} )) )
"""

NGINX = """
{user}
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {directory}/nginx-body;
    fastcgi_temp_path {directory}/nginx-fastcgi;
    proxy_temp_path {directory}/nginx-proxy;
    uwsgi_temp_path {directory}/nginx-uwsgi;
    scgi_temp_path {directory}/nginx-scgi;
    default_type text/plain;
    server {{
        {listen:listen {host}:{port};}
        {size:client_max_body_size 64m;}
        {server:}
        location / {{
            include /etc/nginx/fastcgi_params;
            {first:}
            {buffering:fastcgi_buffering off;}
            {timeout:fastcgi_read_timeout 900s;}
            {location:}
            {pass:fastcgi_pass unix:{socket};}
        }}
    }}
    {http:}
}}
"""

APACHE = """
ServerRoot {directory}
DefaultRuntimeDir {directory}
PidFile {directory}/apache.pid
ServerName localhost
Listen {host}:{port}
ErrorLog {directory}/apache-error.log
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule alias_module {modules}/mod_alias.so
LoadModule env_module {modules}/mod_env.so
LoadModule setenvif_module {modules}/mod_setenvif.so
LoadModule filter_module {modules}/mod_filter.so
LoadModule deflate_module {modules}/mod_deflate.so
LoadModule headers_module {modules}/mod_headers.so
{user}
{slashes:AllowEncodedSlashes NoDecode}
{timeout:TimeOut 900}
{extra:}
{module}
"""

APACHE_PROXY_FCGI = APACHE.replace("{module}", """
LoadModule proxy_module {modules}/mod_proxy.so
LoadModule proxy_fcgi_module {modules}/mod_proxy_fcgi.so
<Proxy "fcgi://sluice/">
    {worker:ProxySet flushpackets=on}
</Proxy>
<Location "/">
    SetHandler "proxy:unix:{socket}|fcgi://sluice"
    {auth:CGIPassAuth On}
    {location:}
</Location>
""")

APACHE_FCGID = APACHE.replace("{module}", """
LoadModule fcgid_module {modules}/mod_fcgid.so
FcgidIPCDir {directory}/fcgid
FcgidProcessTableFile {directory}/fcgid/shm
{body:FcgidMaxRequestLen 67108864}
{output:FcgidOutputBufferSize 0}
{io:FcgidIOTimeout 900}
AliasMatch "^/" "{directory}/sluice.fcgi"
<Directory "{directory}">
    Require all granted
    Options +ExecCGI
    SetHandler fcgid-script
    {auth:CGIPassAuth On}
    {location:}
</Directory>
""")

SLOT = re.compile(r"\{(\w+):((?:[^{}]|\{\w+\})*)\}")
WORD = re.compile(r"\{(\w+)\}")


def fill(template, changes, words):
    """The template with each slot's changed or own lines, and then each word's value."""
    unknown = set(changes) - {match[1] for match in SLOT.finditer(template)}
    assert not unknown, unknown
    text = SLOT.sub(lambda match: changes.get(match[1], match[2]), template)
    return WORD.sub(lambda match: str(words[match[1]]), text).replace("{{", "{").replace("}}", "}")


class FaultyFront:
    """A front server with a template's configuration and these changes of its slots. The directory is its own."""

    name = template = None

    def __init__(self, directory, socket, changes=None, host="127.0.0.1"):
        self.host = host
        self.changes = changes or {}
        self.port = free_port()
        self.origin = f"http://{host}:{self.port}"
        directory.mkdir()
        directory.chmod(0o777)
        self.directory = directory
        self.process = self.start(directory, socket)

    def stop(self):
        self.process.stop()
        reports = sanitizer_reports(self.directory)
        assert not reports, reports

    def user(self):
        return ""

    def start(self, directory, socket):
        words = {"directory": directory, "socket": socket, "port": self.port, "host": self.host, "modules": MODULES,
                 "user": self.user()}
        configuration = directory / f"{self.name}.conf"
        configuration.write_text(fill(self.template, self.changes, words))
        return Process(self.name, self.command(configuration), directory / f"{self.name}.log",
                       clean_environment(**sanitizer_environment(directory)))


class FaultyLighttpd(FaultyFront):
    name = "lighttpd"
    template = LIGHTTPD

    def command(self, configuration):
        return ["lighttpd", "-D", "-f", configuration]


class FaultyNginx(FaultyFront):
    name = "nginx"
    template = NGINX

    def user(self):
        return "user root;" if os.geteuid() == 0 else ""

    def command(self, configuration):
        return ["nginx", "-e", "stderr", "-c", configuration]


class FaultyApache(FaultyFront):
    name = "apache-proxy-fcgi"
    template = APACHE_PROXY_FCGI

    def user(self):
        return "User www-data\nGroup www-data" if os.geteuid() == 0 else ""

    def command(self, configuration):
        return ["apache2", "-DFOREGROUND", "-f", configuration]


class FaultyFcgid(FaultyApache):
    """Starts processes of its own: the socket is not used."""

    name = "apache-mod-fcgid"
    template = APACHE_FCGID

    def start(self, directory, socket):
        script = directory / "sluice.fcgi"
        settings = {"OPENAI_API_KEY": keys.UPSTREAM, "CLIENT_API_KEYS": keys.CLIENT, "WORKERS": 0,
                    "MAX_BODY_BYTES": "2MiB", "STATE_DIR": f"{directory}/state",
                    **sanitizer_environment(directory)}
        lines = [f"export {name}='{value}'" for name, value in settings.items()]
        binary = shutil.copy(BINARY, directory / "sluice")  # the web server's user may not enter where it was built
        script.write_text("\n".join(["#!/bin/sh", f"cd {directory}", *lines, f"exec {binary} --env-file /dev/null"]) + "\n")
        script.chmod(0o755)
        return super().start(directory, socket)


FAULTY_FRONTS = {front.name: front for front in (FaultyLighttpd, FaultyNginx, FaultyApache, FaultyFcgid)}
