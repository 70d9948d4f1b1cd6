"""A certificate for the tests, made once a process by openssl."""

import functools
import shutil
import ssl
import subprocess

from .process import short_directory


class Certificate:
    def __init__(self, directory):
        self.directory = directory
        self.certificate, self.key, self.both = (directory / name for name in ("cert.pem", "key.pem", "both.pem"))
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
             "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
             "-keyout", self.key, "-out", self.certificate],
            check=True, capture_output=True,
        )
        self.both.write_text(self.certificate.read_text() + self.key.read_text())

    def context(self):
        """What a client needs in order to trust it."""
        return ssl.create_default_context(cafile=str(self.certificate))


@functools.cache
def certificate():
    return Certificate(short_directory())


def forget_certificate():
    """Removes the files, at the end."""
    if certificate.cache_info().currsize:
        shutil.rmtree(certificate().directory, ignore_errors=True)
        certificate.cache_clear()


def trusted_environment():
    """The variables by which other programs' HTTP libraries trust it."""
    names = ("REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")
    return dict.fromkeys(names, certificate().certificate)
