"""Beside hundreds of open streams a request finds a kept connection to the upstream, as it does beside none."""

from harness import fastcgi, keys
from harness.bodies import chat
from harness.process import short_directory, wait_until
from harness.sim import Simulator
from harness.sluice import Sluice

FULL_LANES = 5 * 64
"""So many streams fill the lanes that are never closed (TRANSFER_LANES_KEPT) and one more (TRANSFER_LANE_SIZE)."""


def _ask(connection, body):
    connection.send(fastcgi.request(body, flags=fastcgi.KEEP))
    answer = connection.answer()
    assert answer.status == 200 and answer.complete, answer


def test_a_request_beside_full_lanes_keeps_its_connection():
    directory = short_directory()
    simulator = Simulator(directory)
    sluice = Sluice(directory, OPENAI_BASE_URL=simulator.base_url, OPENAI_API_KEY=keys.UPSTREAM, CLIENT_API_KEYS=keys.CLIENT)
    streams = [fastcgi.Connection(sluice.socket) for _ in range(FULL_LANES)]
    try:
        for stream in streams:
            stream.send(fastcgi.request(chat("hang=body", stream=True)))
        wait_until(lambda: simulator.stats()["active"] == FULL_LANES, "streams under way", 60)
        with fastcgi.Connection(sluice.socket) as connection:
            _ask(connection, chat())
            before = simulator.stats()["connections_accepted"]
            for _ in range(10):
                _ask(connection, chat())
            assert simulator.stats()["connections_accepted"] == before
    finally:
        for stream in streams:
            stream.close()
        sluice.stop()
        simulator.stop()
