"""The web servers in front of Sluice. A new one is a class with start(directory, socket) and a line in FRONTS."""

from .process import ROOT, Process, free_port, has_ipv6


class Front:
    """A web server that serves `port` and speaks FastCGI to a socket."""

    name = None

    def __init__(self, directory, socket):
        self.port = free_port()
        self.origin = f"http://127.0.0.1:{self.port}"
        self.process = self.start(directory, socket)

    def start(self, directory, socket):
        raise NotImplementedError

    def stop(self):
        return self.process.stop()


class Lighttpd(Front):
    name = "lighttpd"

    def start(self, directory, socket):
        deploy = ROOT / "deploy" / "lighttpd"
        lines = [
            'server.compat-module-load = "disable"',
            f'server.document-root = "{directory}"',
            f'server.upload-dirs = ( "{directory}" )',
            'server.bind = "127.0.0.1"',
            f"server.port = {self.port}",
            f'$SERVER["socket"] == "[::1]:{self.port}" {{ }}' if has_ipv6() else "",
            "server.max-fds = 4096",
            f'var.sluice_socket = "{socket}"',
            f'var.sluice_errors = "{deploy}/errors"',
            f'include "{deploy}/sluice.conf"',
        ]
        configuration = directory / "lighttpd.conf"
        configuration.write_text("\n".join(lines) + "\n")
        return Process("lighttpd", ["lighttpd", "-D", "-f", configuration], directory / "lighttpd.log")


FRONTS = {front.name: front for front in (Lighttpd,)}
