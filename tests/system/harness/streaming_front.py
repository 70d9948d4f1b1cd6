"""nginx that passes bodies on as they come, which its configuration in deploy/ does not do: the way to see a body arrive
in pieces, and a client leave in its middle."""

from .front import DEPLOY, FRONTS, NginxKept

NAME = "nginx-streaming"


class NginxStreaming(NginxKept):
    name = NAME

    def write(self, name, *lines):
        if name == "nginx.conf":  # the last file: the one about the location is there
            location = self.directory / "sluice" / "location.conf"
            text = (DEPLOY / "nginx" / "sluice" / "location.conf").read_text()
            assert text.count("fastcgi_request_buffering on;") == 1
            location.unlink()
            location.write_text(text.replace("fastcgi_request_buffering on;", "fastcgi_request_buffering off;"))
        return super().write(name, *lines)


FRONTS[NAME] = NginxStreaming
