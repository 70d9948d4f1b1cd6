"""The web servers in front of Sluice, each with the configuration that deploy/ ships.

A front writes only the site's own part: ports, paths, certificate. A new one is a class with start(), and a line in
FRONTS. Each serves plain HTTP at `port` and HTTPS at `tls_port`, on 127.0.0.1; a few tests ask it to listen on every
address.
"""

import os

from .process import ROOT, Process, free_port, has_ipv6
from .sluice import Sluice, SpawnedSluice
from .tls import certificate

DEPLOY = ROOT / "deploy"
AS_ROOT = os.geteuid() == 0
WEB_USER = "www-data" if AS_ROOT else None
"""Whom a web server that root started works as."""


class Front:
    """A web server that speaks FastCGI to a Sluice that runs already."""

    name = None
    listen = "unix"
    kept_connections = False
    user = None
    sees_departure = True
    """Whether the departure of a client is seen without anything being written to it."""
    takes_unknown_length_over_http2 = True

    @classmethod
    def make_sluice(cls, directory, env_file, **settings):
        if cls.user:
            settings.setdefault("LISTEN_GROUP", cls.user)
            directory.chmod(0o711)
        return Sluice(directory, env_file, listen=cls.listen, **settings)

    def __init__(self, directory, sluice, host="127.0.0.1"):
        self.directory, self.sluice, self.host = directory, sluice, host
        self.port, self.tls_port = free_port(), free_port()
        self.origin = f"http://127.0.0.1:{self.port}"
        self.tls_origin = f"https://127.0.0.1:{self.tls_port}"
        self.process = self.start()

    def start(self):
        raise NotImplementedError

    def write(self, name, *lines):
        path = self.directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(lines) + "\n")
        return path

    def stop(self):
        return self.process.stop()


# ---- lighttpd -------------------------------------------------------------------------------------------------------


class Lighttpd(Front):
    name = "lighttpd"
    variant = "sluice.conf"
    takes_unknown_length_over_http2 = False  # 1.4.69 resets the stream

    def where(self):
        return [f'var.sluice_socket = "{self.sluice.socket}"']

    def start(self):
        deploy = DEPLOY / "lighttpd"
        configuration = self.write(
            "lighttpd.conf",
            'server.compat-module-load = "disable"',
            f'server.document-root = "{self.directory}"',
            f'server.upload-dirs = ( "{self.directory}" )',
            f'server.bind = "{self.host}"',
            f"server.port = {self.port}",
            f'$SERVER["socket"] == "[::1]:{self.port}" {{ }}' if has_ipv6() else "",
            "server.max-fds = 4096",
            *self.where(),
            f'var.sluice_errors = "{deploy}/errors"',
            f'include "{deploy}/{self.variant}"',
            f'var.sluice_tls_address = "{self.host}:{self.tls_port}"',
            f'var.sluice_certificate = "{certificate().both}"',
            f'include "{deploy}/tls.conf"',
        )
        return Process("lighttpd", ["lighttpd", "-D", "-f", configuration], self.directory / "lighttpd.log")


class LighttpdTcp(Lighttpd):
    name = "lighttpd-tcp"
    listen = "tcp"
    variant = "sluice-tcp.conf"

    def where(self):
        return ['var.sluice_host = "127.0.0.1"', f"var.sluice_port = {self.sluice.port}"]


class LighttpdSpawn(Lighttpd):
    name = "lighttpd-spawn"
    listen = None
    variant = "sluice-spawn.conf"

    @classmethod
    def make_sluice(cls, directory, env_file, **settings):
        return SpawnedSluice(directory, env_file, **settings)

    def where(self):
        return [f'var.sluice_command = "{self.sluice.command}"', f'var.sluice_state = "{self.sluice.state}"',
                f'var.sluice_socket = "{self.directory}/spawned.sock"']


# ---- nginx ----------------------------------------------------------------------------------------------------------


class Nginx(Front):
    name = "nginx"
    user = WEB_USER

    def where(self):
        return f"unix:{self.sluice.socket}"

    def start(self):
        tls = certificate()
        keep = "on" if self.kept_connections else "off"
        self.write("sluice/backend.conf", f"server {self.where()};", "keepalive 64;" if self.kept_connections else "")
        self.write("sluice/site.conf", f"listen {self.host}:{self.port} backlog=4096;",
                   f"listen [::1]:{self.port};" if has_ipv6() else "",
                   f"listen {self.host}:{self.tls_port} ssl http2;", f"ssl_certificate {tls.certificate};",
                   f"ssl_certificate_key {tls.key};", f"fastcgi_keep_conn {keep};")
        (self.directory / "sluice" / "location.conf").symlink_to(DEPLOY / "nginx" / "sluice" / "location.conf")
        temporary = "".join(f"{kind}_temp_path {self.directory}/{kind};\n"
                            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        configuration = self.write(
            "nginx.conf",
            f"user {self.user} {self.user};" if self.user else "",
            f"pid {self.directory}/nginx.pid;",
            f"error_log {self.directory}/nginx.log warn;",
            "worker_processes 2; worker_rlimit_nofile 8192;",
            "events { worker_connections 4096; }",
            # What a site may have for its other pages; Sluice's part must not be touched by it.
            "http { access_log off; gzip on; gzip_types *; gzip_min_length 1;", temporary,
            f"include {DEPLOY}/nginx/sluice.conf; }}",
        )
        command = ["nginx", "-c", configuration, "-g", "daemon off;", "-e", self.directory / "nginx.log"]
        return Process("nginx", command, self.directory / "nginx.out.log")


class NginxKept(Nginx):
    name = "nginx-kept"
    kept_connections = True


class NginxTcp(Nginx):
    name = "nginx-tcp"
    listen = "tcp"

    def where(self):
        return f"127.0.0.1:{self.sluice.port}"


class NginxTcpKept(NginxTcp):
    name = "nginx-tcp-kept"
    kept_connections = True


# ---- Apache ---------------------------------------------------------------------------------------------------------


class Apache(Front):
    """Debian's modules; the rest is what deploy/ ships, once for plain HTTP and once for HTTPS."""

    user = WEB_USER
    sees_departure = False
    folder = "apache-proxy-fcgi"
    modules = ("mpm_event", "authz_core", "authz_host", "headers", "setenvif", "env", "ssl", "socache_shmcb", "http2",
               "reqtimeout", "filter", "deflate", "rewrite", "alias")
    own_modules = ("proxy", "proxy_fcgi")
    module_folder = "/usr/lib/apache2/modules"

    def where(self):
        raise NotImplementedError

    def start(self):
        tls = certificate()
        include = f'Include "{DEPLOY}/{self.folder}/sluice.conf"'
        configuration = self.write(
            "apache.conf",
            f'ServerRoot "{self.directory}"', f"DefaultRuntimeDir {self.directory}", "ServerName localhost",
            f"PidFile {self.directory}/apache.pid", f"ErrorLog {self.directory}/apache.log", "LogLevel warn",
            *(f"LoadModule {name}_module {self.module_folder}/mod_{name}.so" for name in self.modules + self.own_modules),
            f"User {self.user}\nGroup {self.user}" if self.user else "",
            # What a site may have for its other pages; Sluice's part must not be touched by it.
            "AddOutputFilterByType DEFLATE application/json text/event-stream text/html",
            *self.module_settings(),
            f"Listen {self.host}:{self.port}", f"Listen [::1]:{self.port}" if has_ipv6() else "",
            f"Listen {self.host}:{self.tls_port}", *self.where(),
            f"Define SLUICE_CERTIFICATE {tls.certificate}", f"Define SLUICE_CERTIFICATE_KEY {tls.key}",
            f'Define SLUICE_ADDRESS "*:{self.port}"', "Define SLUICE_PLAIN", include,
            f'Define SLUICE_ADDRESS "*:{self.tls_port}"', "UnDefine SLUICE_PLAIN", include,
        )
        return Process("apache", ["apache2", "-D", "FOREGROUND", "-f", configuration], self.directory / "apache.out.log")

    def module_settings(self):
        return []


class ApacheProxy(Apache):
    name = "apache-proxy"

    def where(self):
        return [f'Define SLUICE_BACKEND "unix:{self.sluice.socket}|fcgi://sluice"', 'Define SLUICE_WORKER "fcgi://sluice"']


class ApacheProxyTcp(Apache):
    name = "apache-proxy-tcp"
    listen = "tcp"

    def where(self):
        url = f"fcgi://127.0.0.1:{self.sluice.port}"
        return [f'Define SLUICE_BACKEND "{url}"', f'Define SLUICE_WORKER "{url}"']


class ApacheFcgid(Apache):
    name = "apache-fcgid"
    listen = None
    takes_unknown_length_over_http2 = False  # 2.3.9 sends an empty STDIN record, the end, within the body
    folder = "apache-mod-fcgid"
    own_modules = ("fcgid",)

    @classmethod
    def make_sluice(cls, directory, env_file, **settings):
        directory.chmod(0o711)
        settings["WORKERS"] = 0
        return SpawnedSluice(directory, env_file, owner=cls.user, **settings)

    def module_settings(self):
        # Where the module keeps its sockets is a directory of its own user.
        return [f"FcgidIPCDir {self.sluice.runtime}", f"FcgidProcessTableFile {self.sluice.runtime}/table"]

    def where(self):
        return [f'Define SLUICE_COMMAND "{self.sluice.command}"', f'Define SLUICE_STATE_DIR "{self.sluice.state}"']


FRONTS = {
    front.name: front
    for front in (Lighttpd, LighttpdTcp, LighttpdSpawn, Nginx, NginxKept, NginxTcp, NginxTcpKept, ApacheProxy,
                  ApacheProxyTcp, ApacheFcgid)
}
