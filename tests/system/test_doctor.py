"""`sluice doctor`: nothing is found in what is shipped, and each of many planted faults is, with its directive."""

import re
import socket
import subprocess
import time

import httpx
import pytest

from harness import keys, secrets
from harness.doctor import findings, run_doctor
from harness.fault_fronts import FAULTY_FRONTS
from harness.process import Process, clean_environment, free_port, short_directory, wait_until
from harness.sluice import BINARY, Sluice, sanitizer_environment

INNER = """server { listen unix:{directory}/inner.sock; client_max_body_size 64m;
    location / { include /etc/nginx/fastcgi_params; fastcgi_buffering off; fastcgi_pass unix:{socket}; } }"""
STRIP = r'map $request_uri $stripped { "~^/outer(?<rest>.*)$" $rest; }'


@pytest.fixture(scope="module")
def sluice():
    """One Sluice behind all of the faulty fronts."""
    directory = short_directory()
    directory.chmod(0o755)
    running = Sluice(directory, OPENAI_API_KEY=keys.UPSTREAM, CLIENT_API_KEYS=keys.CLIENT, LISTEN_MODE="0666",
                     MAX_BODY_BYTES="2MiB", WORKERS=2)
    yield running
    running.stop()
    secrets.remove_directory(directory)


@pytest.fixture
def make_front(sluice):
    """Starts a front server with changes of its configuration."""
    directory = short_directory()
    directory.chmod(0o755)
    fronts = []

    def make(name, host="127.0.0.1", **changes):
        front = FAULTY_FRONTS[name](directory / f"{name}-{len(fronts)}", sluice.socket, changes, host)
        fronts.append(front)

        def answers():
            front.process.must_live()
            try:
                return httpx.get(front.origin + "/health", trust_env=False, timeout=20).status_code
            except httpx.RemoteProtocolError:
                return True
            except httpx.HTTPError:
                return False

        wait_until(answers, "an answer of the front server", 20)
        return front

    yield make
    for front in fronts:
        front.stop()
    secrets.remove_directory(directory)


# ---- what is right --------------------------------------------------------------------------------------------------


def test_nothing_is_found_in_what_is_shipped(stack, tmp_path):
    found = findings(stack.origin, cwd=tmp_path)
    assert found.wrong() == {} and found.status == 0
    assert found.report["server"] != "unknown"


def test_nothing_is_found_over_tls(stack, tmp_path):
    if not hasattr(stack.front, "tls_origin"):
        pytest.skip("this front is tested without TLS")
    found = findings(stack.front.tls_origin, "--quick", "--insecure", cwd=tmp_path)
    assert found.wrong() == {} and found.status == 0


@pytest.mark.parametrize("name", FAULTY_FRONTS)
def test_nothing_is_found_where_no_fault_is_planted(make_front, tmp_path, name):
    found = findings(make_front(name).origin, "--silence", "2", cwd=tmp_path)
    assert found.wrong() == {} and found.status == 0
    assert {"health", "authorization", "key", "http", "path", "query", "body", "stream", "compression", "departure",
            "silent-departure", "silence", "metrics", "status", "tls", "error-pages"} == set(found.checks)


# ---- one fault each -------------------------------------------------------------------------------------------------

# (what, front, changes, the check that finds it, the directive it names)
FAULTS = [
    ("held to the end", "nginx", {"buffering": "fastcgi_ignore_headers X-Accel-Buffering;"}, "stream",
     "fastcgi_buffering off;"),
    ("body limit", "nginx", {"size": "client_max_body_size 1m;"}, "body", "client_max_body_size 2097152;"),
    ("no authorization", "nginx", {"location": 'fastcgi_param HTTP_AUTHORIZATION "";'}, "authorization",
     "fastcgi_param HTTP_AUTHORIZATION $http_authorization;"),
    ("decoded path", "nginx", {"first": "fastcgi_param REQUEST_URI $uri$is_args$args;"}, "path",
     "fastcgi_param REQUEST_URI $request_uri;"),
    ("another path", "nginx", {"first": "fastcgi_param REQUEST_URI /x$request_uri;"}, "path", "BASE_PATH"),
    ("unmapped", "nginx", {"server": "location /v1 { return 404; }"}, "path", "location /"),
    ("departure unseen", "nginx", {"location": "fastcgi_ignore_client_abort on;"}, "silent-departure",
     "fastcgi_ignore_client_abort off;"),
    ("no chunks", "nginx", {"location": "chunked_transfer_encoding off;"}, "chunked", "chunked_transfer_encoding on;"),
    ("no backend", "nginx", {"pass": "fastcgi_pass unix:{directory}/nothing.sock;"}, "health", "fastcgi_pass"),
    ("redirection", "nginx", {"server": "location = /health { return 301 https://example.org/health; }"}, "health",
     "URL of the redirection"),
    ("a login", "nginx", {"server": 'location /v1 { return 401 "no"; }'}, "authorization", "authentication"),
    ("held to the end", "lighttpd", {"stream": "server.stream-response-body = 0"}, "stream",
     "server.stream-response-body = 2"),
    ("body limit", "lighttpd", {"size": "server.max-request-size = 1024"}, "body", "server.max-request-size = 2048"),
    ("departure unseen", "lighttpd", {"backend": ""}, "silent-departure", '"tcp-fin-propagate" => "enable"'),
    ("HTTP/1.0", "lighttpd", {"extra": 'server.protocol-http11 = "disable"'}, "http",
     'server.protocol-http11 = "enable"'),
    ("no authorization", "lighttpd",
     {"extra": 'server.modules += ( "mod_setenv" )\nsetenv.set-request-header = ( "Authorization" => "" )'},
     "authorization", "setenv.set-request-header"),
    ("no authorization", "apache-proxy-fcgi", {"auth": ""}, "authorization", "CGIPassAuth On"),
    ("held to the end", "apache-proxy-fcgi", {"worker": ""}, "stream", "flushpackets=on"),
    ("encoded slashes", "apache-proxy-fcgi", {"slashes": ""}, "path", "AllowEncodedSlashes NoDecode"),
    ("HTTP/1.0", "apache-proxy-fcgi", {"extra": "SetEnvIf User-Agent . nokeepalive downgrade-1.0 force-response-1.0"},
     "http", "force-response-1.0"),
    ("no authorization", "apache-mod-fcgid", {"auth": ""}, "authorization", "CGIPassAuth On"),
    ("body limit", "apache-mod-fcgid", {"body": ""}, "body", "FcgidMaxRequestLen 2097152"),
    ("cut body", "apache-mod-fcgid", {"location": "LimitRequestBody 1048576"}, "body", "LimitRequestBody 2097152"),
    ("held to the end", "apache-mod-fcgid", {"output": ""}, "stream", "FcgidOutputBufferSize 0"),
]


def identity(fault):
    return f"{fault[1]}: {fault[0]}"


@pytest.mark.parametrize("fault", FAULTS, ids=identity)
def test_a_fault_is_found(make_front, tmp_path, fault):
    _, name, changes, check, directive = fault
    found = findings(make_front(name, **changes).origin, cwd=tmp_path)
    assert found.status == 1
    wrong = found.wrong()
    wrong.pop("health", None) if check == "path" else None  # another path may be the health check's too
    assert wrong == {check: "FAIL"}, found.report
    assert directive in found[check]["change"]


# What does not break anything yet.
WARNINGS = [
    ("compression", "nginx", {"location": "gzip on; gzip_types text/event-stream; gzip_min_length 1;"}, "compression",
     "gzip off;"),
    ("no health", "nginx", {"server": "location = /health { return 404; }"}, "health", "location /"),
    ("compression", "apache-proxy-fcgi", {"location": "SetOutputFilter DEFLATE"}, "compression", "SetEnv no-gzip 1"),
    ("compression", "apache-mod-fcgid", {"location": "SetOutputFilter DEFLATE"}, "compression", "SetEnv no-gzip 1"),
]


@pytest.mark.parametrize("fault", WARNINGS, ids=identity)
def test_a_weakness_is_a_warning(make_front, tmp_path, fault):
    _, name, changes, check, directive = fault
    found = findings(make_front(name, **changes).origin, cwd=tmp_path)
    assert found.status == 0 and found.wrong() == {check: "warn"}, found.report
    assert directive in found[check]["change"]


# Limits of two seconds. lighttpd and Apache look at theirs once in a few seconds only.
SILENCES = [
    ("read timeout", "nginx", {"timeout": "fastcgi_read_timeout 2s;"}, "fastcgi_read_timeout 900s;"),
    ("write idle", "lighttpd", {"extra": "server.max-write-idle = 2"}, "server.max-write-idle = 900"),
    ("timeout", "apache-proxy-fcgi", {"timeout": "TimeOut 2"}, "ProxyTimeout 900"),
    ("I/O timeout", "apache-mod-fcgid", {"io": "FcgidIOTimeout 2"}, "FcgidIOTimeout 900"),
]


@pytest.mark.parametrize("fault", SILENCES, ids=identity)
def test_a_time_limit_is_found(make_front, tmp_path, fault):
    _, name, changes, directive = fault
    found = findings(make_front(name, **changes).origin, "--silence", "6", cwd=tmp_path)
    assert found.status == 1 and "silence" in found.wrong(), found.report
    assert directive in found["silence"]["change"]
    assert set(found.wrong()) <= {"silence", "silent-departure"}  # the same limit may end the other's stream


def test_a_lost_query_is_found(make_front, tmp_path):
    found = findings(make_front("nginx", first="fastcgi_param REQUEST_URI $uri;").origin, cwd=tmp_path)
    assert found.wrong() == {"path": "FAIL", "query": "FAIL"}
    assert "fastcgi_param REQUEST_URI $request_uri;" in found["query"]["change"]


def test_a_proxy_with_http_1_0_in_front_is_found(make_front, tmp_path):
    changes = {"pass": "proxy_pass http://unix:{directory}/inner.sock;", "http": INNER}
    found = findings(make_front("nginx", **changes).origin, cwd=tmp_path)
    assert found.wrong() == {"http": "FAIL", "stream": "FAIL"}
    assert "proxy_http_version 1.1;" in found["http"]["change"]
    assert "proxy_buffering off;" in found["stream"]["change"]


def test_a_prefix_that_is_stripped_is_a_warning(make_front, tmp_path):
    front = make_front("nginx", first="fastcgi_param REQUEST_URI $stripped;", http=STRIP,
                       server="location = /health { include /etc/nginx/fastcgi_params; fastcgi_pass unix:{socket}; }")
    found = findings(front.origin + "/outer/v1", cwd=tmp_path)
    assert found.status == 0 and found.wrong() == {"path": "warn"}, found.report
    assert "BASE_PATH" in found["path"]["change"]


def own_address():
    """An address of this machine that others may reach, or None. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("198.51.100.1", 9))
        except OSError:
            return None
        address = probe.getsockname()[0]
    return None if address.startswith("127.") else address


def test_what_is_open_to_others_is_found(make_front, tmp_path):
    address = own_address()
    if not address:
        pytest.skip("this machine has the loopback address only")
    pages = 'location ~ ^/(metrics|status)$ { return 200 "open"; }'
    found = findings(make_front("nginx", host=address, server=pages).origin, cwd=tmp_path)
    assert found.wrong() == {"tls": "FAIL", "metrics": "FAIL", "status": "FAIL"}
    assert "deny all;" in found["metrics"]["change"] and "ssl" in found["tls"]["change"]


def test_open_pages_are_only_noted_from_this_machine(make_front, tmp_path):
    front = make_front("nginx", server='location = /metrics { return 200 "open"; }')
    found = findings(front.origin, cwd=tmp_path, key=None)
    assert found.status == 0 and found["metrics"]["status"] == "note"


# ---- TLS ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def tls_front(make_front, tmp_path):
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-subj", "/CN=localhost", "-days", "2", "-keyout", key, "-out", certificate],
                   check=True, capture_output=True)
    port = free_port()
    front = make_front("nginx", listen=f"listen {{host}}:{{port}}; listen 127.0.0.1:{port} ssl http2; "
                                       f"ssl_certificate {certificate}; ssl_certificate_key {key};")
    front.tls_origin = f"https://127.0.0.1:{port}"
    return front


def test_a_certificate_that_is_not_good(tls_front, sluice, tmp_path):
    before = len(sluice.request_lines())
    found = findings(tls_front.tls_origin, cwd=tmp_path)
    assert found.status == 1 and found.wrong() == {"tls": "FAIL"}
    assert "ssl_certificate" in found["tls"]["change"] or "TLS" in found["tls"]["change"]
    assert len(sluice.request_lines()) == before, "the key went to a server that was not trusted"


def test_insecure_asks_nevertheless_and_over_http2(tls_front, tmp_path):
    found = findings(tls_front.tls_origin, "--insecure", "--quick", cwd=tmp_path)
    assert found.wrong() == {} and found["tls"]["status"] == "note"
    assert found["http"]["explanation"] == "HTTP/2"


# ---- keys -----------------------------------------------------------------------------------------------------------


def test_a_wrong_key(stack, tmp_path):
    found = findings(stack.origin, cwd=tmp_path, key=keys.WRONG_CLIENT)
    assert found.wrong() == {"key": "FAIL"} and found["authorization"]["status"] == "ok"
    assert "CLIENT_API_KEYS" in found["key"]["change"]


def test_without_a_key_what_needs_none_is_asked(stack, tmp_path):
    found = findings(stack.origin, cwd=tmp_path, key=None)
    assert found.status == 0 and found["key"]["status"] == "note" and found["authorization"]["status"] == "ok"
    assert "stream" not in found.checks


def test_a_key_from_a_file(stack, tmp_path):
    file = tmp_path / "key"
    file.write_text(keys.CLIENT + "\n")
    found = findings(stack.origin, "--quick", f"--key-file={file}", cwd=tmp_path, key=keys.WRONG_CLIENT)
    assert found["key"]["status"] == "ok"


def test_a_key_from_standard_input(stack, tmp_path):
    found = findings(stack.origin, "--quick", "--key", "-", cwd=tmp_path, key=None, text=keys.CLIENT + "\n")
    assert found["key"]["status"] == "ok"


def test_a_key_on_the_command_line_is_accepted_with_a_warning(stack, tmp_path):
    result = run_doctor(stack.origin, "--quick", "--key", keys.CLIENT, cwd=tmp_path, key=None)
    assert result.returncode == 0 and "ok   key: " in result.stdout
    assert "--key-file" in result.stderr


def test_a_key_on_the_command_line_is_overwritten(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        doctor = Process("doctor", [BINARY, "doctor", url, "--key", keys.CLIENT], tmp_path / "doctor.log",
                         clean_environment(**sanitizer_environment(tmp_path)))
        try:
            connection, _ = silent.accept()
            with connection, open(f"/proc/{doctor.pid}/cmdline", encoding="utf-8") as arguments:
                line = arguments.read()
            assert "--key" in line and keys.CLIENT not in line
        finally:
            doctor.stop(9)


# ---- the command ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments, complaint", [
    ([], "URL"),
    (["ftp://example.org"], "ftp"),
    (["example.org:port"], "example.org"),
    (["http://user:secret@example.org/"], "URL"),
    (["http://example.org/?query"], "URL"),
    (["http://one.example", "http://two.example"], "two.example"),
    (["http://example.org", "--silence", "0"], "--silence"),
    (["http://example.org", "--silence", "901"], "--silence"),
    (["http://example.org", "--silence"], "--silence"),
    (["http://example.org", "--silent"], "--silent"),
    (["http://example.org", "--key-file", "/nonexistent/key"], "/nonexistent/key"),
    (["http://example.org", "--key-file", "/dev/null"], "/dev/null"),
    (["http://example.org", "--key", "two words"], "--key"),
], ids=lambda value: " ".join(value) if isinstance(value, list) else None)
def test_a_wrong_command_line(tmp_path, arguments, complaint):
    result = run_doctor(*arguments, cwd=tmp_path)
    assert result.returncode == 2 and result.stdout == ""
    assert complaint in result.stderr and "--help" in result.stderr


def test_help(tmp_path):
    result = run_doctor("--help", cwd=tmp_path)
    assert result.returncode == 0
    for word in ("--key-file", "SLUICE_DOCTOR_KEY", "--silence", "--quick", "--json"):
        assert word in result.stdout


def test_no_settings_are_needed(tmp_path):
    (tmp_path / ".env").write_text("WORKERS=wrong\n")
    assert run_doctor("--help", cwd=tmp_path, key=None).returncode == 0


def test_nobody_listens(tmp_path):
    found = findings(f"http://127.0.0.1:{free_port()}", cwd=tmp_path)
    assert found.wrong() == {"health": "FAIL"} and list(found.checks) == ["health"]


def test_lines_for_people(stack, tmp_path):
    result = run_doctor(stack.base_url + "/", "--quick", cwd=tmp_path)
    assert result.returncode == 0 and result.stderr == ""
    *lines, last = result.stdout.splitlines()
    assert len(lines) >= 15
    for line in lines:
        assert re.match(r"(ok  |note|warn|FAIL) [a-z-]+: \S", line), line
    assert last.startswith(f"0 faults, 0 warnings at {stack.origin} (")


def test_a_base_path(make_stack, tmp_path):
    stack = make_stack(BASE_PATH="/ai")
    assert findings(stack.origin + "/ai/v1", cwd=tmp_path).wrong() == {}
    found = findings(stack.origin, cwd=tmp_path)
    assert found.wrong() == {"path": "FAIL"} and "BASE_PATH" in found["path"]["change"]


def test_a_server_that_never_answers_is_given_up(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        begun = time.monotonic()
        found = findings(f"http://127.0.0.1:{silent.getsockname()[1]}", cwd=tmp_path)
        assert found.wrong() == {"health": "FAIL"} and time.monotonic() - begun < 60
