"""Simulator, Sluice and web server together, as a client sees them."""

import httpx
import openai

from . import keys, secrets
from .front import FRONTS
from .process import short_directory, wait_until
from .sim import Simulator


class Stack:
    """Settings are Sluice's own options; what is not given is fit for most tests."""

    def __init__(self, front, env_file="", host="127.0.0.1", **settings):
        self.directory = short_directory()
        self._parts = []
        try:
            self.sim = self._start(Simulator(self.directory))
            values = {
                "OPENAI_BASE_URL": self.sim.base_url,
                "OPENAI_API_KEY": keys.UPSTREAM,
                "CLIENT_API_KEYS": f"{keys.CLIENT},{keys.OTHER_CLIENT}",
            }
            values.update(settings)
            front_class = FRONTS[front]
            self.sluice = self._start(front_class.make_sluice(self.directory, env_file, **values))
            self.front = self._start(front_class(self.directory, self.sluice, host))
            self.origin = self.front.origin
            self.base_url = self.origin + "/v1"
            self.http = httpx.Client(base_url=self.origin, trust_env=False, timeout=60)
            wait_until(self._is_healthy, "a good answer to /health", 20)
        except BaseException:
            self.stop(check=False)
            raise

    def _start(self, part):
        self._parts.append(part)
        return part

    def _is_healthy(self):
        for part in self._parts:
            part.process.must_live()
        try:
            return self.http.get("/health").status_code == 200
        except httpx.HTTPError:
            return False

    def client(self, base_url=None, key=keys.CLIENT, **options):
        """The official Python client; it does not try again by itself, so that a test sees each answer."""
        options.setdefault("max_retries", 0)
        options.setdefault("timeout", 60)
        options.setdefault("http_client", openai.DefaultHttpxClient(trust_env=False))
        return openai.OpenAI(base_url=base_url or self.base_url, api_key=key, **options)

    def direct(self, **options):
        """The same client, straight to the simulator."""
        return self.client(base_url=self.sim.base_url, **options)

    def async_client(self, **options):
        options.setdefault("max_retries", 0)
        limits = httpx.Limits(max_connections=1000)
        options.setdefault("http_client", openai.DefaultAsyncHttpxClient(trust_env=False, limits=limits))
        return openai.AsyncOpenAI(base_url=self.base_url, api_key=keys.CLIENT, **options)

    def post(self, path="/v1/chat/completions", key=keys.CLIENT, headers=None, **arguments):
        """One request by hand, with a client key unless it is None."""
        headers = dict(headers or {})
        if key is not None:
            headers.setdefault("Authorization", f"Bearer {key}")
        return self.http.request(arguments.pop("method", "POST"), path, headers=headers, **arguments)

    def stop(self, check=True):
        """Front first, so that no request is under way; then looks for keys in what is left."""
        failures = []
        for part in reversed(self._parts):
            try:
                part.stop()
            except AssertionError as failure:
                failures.append(str(failure))
        if hasattr(self, "http"):
            self.http.close()
        try:
            secrets.remove_directory(self.directory)
        except AssertionError as failure:
            failures.append(str(failure))
        assert not check or not failures, "\n".join(failures)
