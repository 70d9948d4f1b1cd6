"""/metrics is read again and again while streams are open, by the process that serves them: no stream minds."""

import asyncio
import threading
import time

import httpx

from harness import keys
from harness.bodies import chat
from harness.exposition import Page, scrape
from harness.process import wait_until
from harness.sse import contents_of, data_of, words
from harness.traffic import Connection, Job

MODELS, STREAMS, EVENTS, PACE_MS = 500, 250, 40, 50
HEADERS = {"Authorization": f"Bearer {keys.CLIENT}"}


def fill(stack):
    """A thousand sets of labels: the tokens of 500 models in and out."""
    connection = Connection(stack.front.port)
    for number in range(MODELS):
        assert connection.ask(Job("fill", body=chat(model=f"model-{number}"))).status == 200
    connection.close()


class Scraper:
    """Reads /metrics fifty times a second until it is told to stop."""

    def __init__(self, stack):
        self.connection = Connection(stack.front.port)
        self.pages, self.stopped = [], False
        self.thread = threading.Thread(target=self._work)
        self.thread.start()

    def _work(self):
        while not self.stopped:
            reply = self.connection.ask(Job("scrape", "/metrics", key=None, method="GET"))
            self.pages.append(reply.body.decode() if reply.status == 200 else None)
            time.sleep(0.02)

    def stop(self):
        self.stopped = True
        self.thread.join()
        self.connection.close()
        return self.pages


async def open_streams(stack):
    """The events of each stream."""
    body = chat(f"events={EVENTS};pace={PACE_MS}", stream=True)
    limits = httpx.Limits(max_connections=STREAMS)
    async with httpx.AsyncClient(base_url=stack.origin, headers=HEADERS, trust_env=False, timeout=60, limits=limits) as client:
        answers = await asyncio.gather(*(client.post("/v1/chat/completions", json=body) for _ in range(STREAMS)))
    return [data_of(answer.content) for answer in answers]


def test_no_stream_minds_a_scrape(make_stack):
    stack = make_stack(WORKERS=1, LOG_LEVEL="info", METRICS__MAX_MODELS=MODELS)
    fill(stack)
    before = scrape(stack)
    assert sum(len(samples) for name, samples in before.samples.items() if name == "sluice_tokens_total") >= 2 * MODELS
    scraper = Scraper(stack)
    try:
        streams = asyncio.run(open_streams(stack))
    finally:
        pages = scraper.stop()
    assert all(contents_of(events) == words(EVENTS) for events in streams)
    after = wait_until(lambda: (page := scrape(stack)).sum("sluice_requests_in_progress") == 1 and page, "the end of all")
    counted = after.sum("sluice_stream_events_total") - before.sum("sluice_stream_events_total")
    assert counted == sum(map(len, streams))
    assert after.sum("sluice_time_to_first_token_seconds_count") == STREAMS
    assert after.sum("sluice_streams_open") == 0

    assert None not in pages
    pages = [Page(text) for text in pages[::max(1, len(pages) // 20)]]
    assert max(page.sum("sluice_streams_open") for page in pages) == STREAMS
    seen = [page.sum("sluice_requests_total") for page in pages]
    assert seen == sorted(seen)
