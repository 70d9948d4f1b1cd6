"""The command line: --check-config, --print-config, --help, --version, and settings that stop the start."""

import json

import pytest

from harness import keys, secrets
from harness.process import Process, clean_environment, short_directory, wait_until
from harness.sluice import BINARY, run, sanitizer_environment

GOOD = {"OPENAI_API_KEY": keys.UPSTREAM, "CLIENT_API_KEYS": keys.CLIENT}


def test_good_settings(tmp_path):
    result = run("--check-config", cwd=tmp_path, **GOOD)
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_mistake_is_reported_at_once(tmp_path):
    bad = {
        "WORKERS": "many",
        "MAX_BODY_BYTES": "-1",
        "LOG_LEVEL": "loud",
        "OPENAI_BASE_URL": "ftp://example.com",
        "UPSTREAM__IDLE_SECONDS": "soon",
        "API_KEY_MAPPING": "{not json",
        "LISTEN": "nowhere",
        "DEBUG": "perhaps",
    }
    result = run("--check-config", cwd=tmp_path, **{**GOOD, **bad})
    text = result.stdout + result.stderr
    assert result.returncode == 2, text
    missing = [name for name in bad if name not in text]
    assert not missing, text
    assert keys.UPSTREAM not in text and keys.CLIENT not in text


def test_no_key_at_all_is_a_mistake(tmp_path):
    result = run("--check-config", cwd=tmp_path, CLIENT_API_KEYS=keys.CLIENT)
    assert result.returncode == 2
    assert "OPENAI_API_KEY" in result.stdout + result.stderr


def test_an_unknown_name_is_a_warning_with_the_nearest_known(tmp_path):
    result = run("--check-config", cwd=tmp_path, **GOOD, CACHE__TTL_SECOND="5")
    assert result.returncode == 0
    text = result.stdout + result.stderr
    assert "CACHE__TTL_SECOND" in text and "CACHE__TTL_SECONDS" in text


def test_the_file_of_the_working_directory_is_read(tmp_path):
    (tmp_path / ".env").write_text("WORKERS=none\n")
    assert run("--check-config", cwd=tmp_path, **GOOD).returncode == 2
    assert run("--check-config", cwd=tmp_path, **GOOD, WORKERS="2").returncode == 0


def test_print_config_masks_secrets(tmp_path):
    mapping = json.dumps({keys.MAPPED_CLIENT: keys.MAPPED_UPSTREAM})
    result = run("--print-config", cwd=tmp_path, **GOOD, WORKERS="3", API_KEY_MAPPING=mapping)
    assert result.returncode == 0
    assert "WORKERS" in result.stdout and "3" in result.stdout and "OPENAI_BASE_URL" in result.stdout
    for secret in keys.ALL:
        assert secret not in result.stdout + result.stderr


def test_help_names_every_option(tmp_path):
    result = run("--help", cwd=tmp_path)
    assert result.returncode == 0
    for name in ("--check-config", "--listen", "OPENAI_API_KEY", "CLIENT_API_KEYS", "MAX_BODY_BYTES"):
        assert name in result.stdout


def test_version(tmp_path):
    result = run("--version", cwd=tmp_path)
    assert result.returncode == 0 and any(character.isdigit() for character in result.stdout)


@pytest.mark.parametrize("arguments", [["--no-such-option"], ["--listen"], ["surplus"]], ids=" ".join)
def test_a_wrong_argument(tmp_path, arguments):
    result = run(*arguments, cwd=tmp_path, **GOOD)
    assert result.returncode == 2 and result.stderr


@pytest.mark.parametrize("settings", [{"WORKERS": "x"}, {"OPENAI_API_KEY": ""}], ids=["a bad value", "no key"])
def test_bad_settings_stop_the_start(tmp_path, settings):
    result = run("--listen", f"unix:{tmp_path}/s", cwd=tmp_path, **{**GOOD, **settings})
    assert result.returncode == 2
    assert next(iter(settings)) in result.stderr


def test_a_start_without_a_socket_says_what_to_do(tmp_path):
    result = run(cwd=tmp_path, **GOOD)
    assert result.returncode != 0 and "listen" in result.stderr.lower()


def test_a_socket_in_use_is_refused(tmp_path):
    directory = short_directory()
    arguments = ["--listen", f"unix:{directory}/s"]
    first = Process("sluice", [BINARY, *arguments], directory / "log",
                    clean_environment(**GOOD, **sanitizer_environment(directory)), cwd=directory)
    try:
        wait_until((directory / "s").exists, "the socket")
        second = run(*arguments, cwd=directory, **GOOD)
        assert second.returncode != 0
        assert first.status is None and (directory / "s").exists()
    finally:
        first.stop()
        secrets.remove_directory(directory)
