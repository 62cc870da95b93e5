"""Roles as processes of their own: in any number and order, killed and ended at any moment."""

from __future__ import annotations

import itertools
import json
import re
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import CompletedProcess

import httpx
import psutil
import pytest

from tests.acceptance.roles import (
    API,
    BULK,
    DEADLINE_S,
    EVERYTHING,
    FRESH,
    LISTEN_AGAIN_S,
    SCHEDULE,
    WATCH,
    Deployment,
    RoleProcess,
    until,
)
from tests.documents import pdf
from tests.endpoint import KEY, Asked, Endpoint, endpoint
from tests.servers.process import free_port
from tests.servers.redis import IN_URL, PASSWORD, Redis

GRACE_S = 20.0


@pytest.fixture
def place(tmp_path: Path) -> Path:
    folder = tmp_path / "place"
    folder.mkdir()
    return folder


def chunks_embedded(deployment: Deployment) -> list[int]:
    """Of every attempt that was published, over all documents."""
    found = deployment.get("/v1/documents?limit=1000").json()["documents"]
    return [
        step["embedded"]
        for one in found
        for step in deployment.get(f"/v1/documents/{one['document_id']}").json()["history"]
        if step["outcome"] == "published"
    ]


def embedded_by(provider: Endpoint) -> dict[str, str]:
    return {
        "EMBEDDING__RUNTIME": "openai",
        "EMBEDDING__URL": provider.url,
        "EMBEDDING__MODEL": "remote",
        "EMBEDDING__API_KEY": KEY,
    }


def summed_up(roles: Iterable[RoleProcess]) -> int:
    """Documents that these say they have indexed."""
    said = "".join(role.said() for role in roles)
    return sum(int(number) for number in re.findall(r"^indexed (\d+) documents? in ", said, re.MULTILINE))


@pytest.mark.timeout(500)
def test_an_edit_goes_through_four_processes(redis: Redis, place: Path, notes: Path) -> None:
    sources = [
        {"root": str(notes), "scan_every_s": LISTEN_AGAIN_S},
        {"name": "tickets", "kind": "push"},
    ]
    with Deployment(place, notes, redis.url, SOURCES=json.dumps(sources)) as deployment:
        deployment.write("leave.md", "twenty-seven days of holiday")
        deployment.write("pay.md", "paid on the last day of each month")
        (notes / "travel.pdf").write_bytes(pdf([[("Travel", ["By train, in the second class."])]]))
        watch, fresh, _, schedule, api = deployment.start(*EVERYTHING)
        deployment.shows("twenty-seven days")
        until(lambda: deployment.get("/readyz").status_code == 200, "the api is ready")
        fresh.says("fresh lane")
        deployment.write("leave.md", "thirty days of holiday")
        deployment.shows("thirty days")
        (notes / "travel.pdf").write_bytes(pdf([[("Travel", ["By train, in the first class."])]]))
        deployment.shows("in the first class", "travel.pdf")
        children = psutil.Process(fresh.process.pid).children()
        assert children  # that parse
        assert not deployment.finds("twenty-seven")
        (notes / "leave.md").unlink()
        until(lambda: not deployment.finds("thirty days"), "what is deleted is not served")
        assert deployment.finds("each month")
        ticket = "/v1/sources/tickets/documents/2026/first"
        deployment.send("PUT", ticket, "a ticket about the printer")
        deployment.shows("about the printer", "2026/first")
        deployment.send("DELETE", ticket)
        assert not deployment.finds("about the printer")
        for role in (watch, fresh, schedule, api):
            assert role.end() == 0
            assert "nothing is lost" in role.said()
        assert not [child for child in children if child.is_running()]
        assert PASSWORD not in deployment.said()
        assert IN_URL not in deployment.said()


@pytest.mark.timeout(500)
def test_whatever_starts_first_waits_for_nobody(redis: Redis, place: Path, notes: Path) -> None:
    with Deployment(place, notes, redis.url) as deployment:
        deployment.write("a.md", "the first words")
        for one in deployment.start(API, FRESH, BULK):
            one.says("Headwater ")
        deployment.start(SCHEDULE)
        deployment.start(WATCH)
        deployment.shows("the first words")


@pytest.mark.timeout(500)
def test_two_of_everything_do_no_harm(redis: Redis, place: Path, notes: Path) -> None:
    with Deployment(place, notes, redis.url) as deployment:
        for number in range(20):
            deployment.write(f"{number}.md", f"document number {number}, as it was")
        started = deployment.start(*EVERYTHING, WATCH, FRESH, BULK, SCHEDULE)
        for number in range(20):
            deployment.shows(f"number {number}, as it was", f"{number}.md")
        deployment.settled()
        until(lambda: summed_up(started) == 20, "the workers say what they indexed")
        for number in range(20):
            deployment.write(f"{number}.md", f"document number {number}, as it is")
        for number in range(20):
            deployment.shows(f"number {number}, as it is", f"{number}.md")
        deployment.settled()
        hits = deployment.answers("document number")
        assert sorted(hit["uri"] for hit in hits) == sorted(f"{number}.md" for number in range(20))
        assert sum(chunks_embedded(deployment)) == 40  # each revision once, however many saw it


@pytest.mark.timeout(500)
def test_a_worker_that_is_ended_hands_back_what_it_has(redis: Redis, place: Path, notes: Path) -> None:
    """In the middle of a document: another goes on from there at once, and embeds little twice."""
    paragraphs = [f"Paragraph {number} has words of its own. " * 25 for number in range(200)]
    (notes / "large.md").write_text("# Large\n\n" + "\n\n".join(paragraphs) + "\n")
    with endpoint() as provider:
        provider.script = _slowly
        settings = {"EMBEDDING__BATCH_TEXTS": "8", "EMBEDDING__CONCURRENCY": "1"}
        with Deployment(place, notes, redis.url, **embedded_by(provider), **settings) as deployment:
            bulk, *_ = deployment.start(BULK, API, SCHEDULE, WATCH)
            until(lambda: len(provider.texts()) > 30, "it is in the middle")
            asked = time.monotonic()
            assert bulk.end() == 0
            assert time.monotonic() - asked < GRACE_S
            done = len(provider.texts())
            assert done < len(paragraphs)
            assert not deployment.finds("Paragraph 199")
            deployment.start(BULK)
            deployment.shows("Paragraph 199")
            twice = [text for text in provider.twice() if "Paragraph" in text]
            assert len(twice) <= 2 * 8, twice  # the calls under way
            assert KEY not in deployment.said()


def _slowly(asked: Asked) -> None:
    time.sleep(0.4)


@pytest.mark.timeout(500)
def test_a_worker_that_is_killed_delays_its_documents_by_a_lease(
    redis: Redis, place: Path, notes: Path
) -> None:
    """In the middle of embedding: what it had claimed is another's once the lease has run out."""
    with (
        endpoint() as provider,
        Deployment(place, notes, redis.url, LEDGER__LEASE_S="5", **embedded_by(provider)) as deployment,
    ):
        deployment.write("a.md", "as it was")
        _, fresh, *_ = deployment.start(*EVERYTHING)
        deployment.shows("as it was")
        fresh.says("fresh lane")
        goes_on = threading.Event()

        def hold(asked: Asked) -> None:
            goes_on.wait(DEADLINE_S)

        provider.script = hold
        for number in range(10):
            deployment.write(f"{number}.md", f"edit number {number}")
        until(lambda: any("edit number" in text for text in provider.texts()), "some are being embedded")
        fresh.kill()
        goes_on.set()
        deployment.start(FRESH)
        for number in range(10):
            deployment.shows(f"edit number {number}")


@pytest.mark.timeout(600)
def test_a_broker_that_is_emptied_stopped_or_killed_loses_nothing(
    own_redis: Redis, place: Path, notes: Path
) -> None:
    server = own_redis.server
    assert server is not None
    with Deployment(place, notes, own_redis.url) as deployment:
        numbers = itertools.count()

        def edit() -> str:
            words = f"edit number {next(numbers)}x"
            deployment.write("a.md", words)
            return words

        first = edit()
        watch, fresh, *_ = deployment.start(*EVERYTHING)
        deployment.shows(first)
        fresh.says("fresh lane")
        deployment.shows(edit())

        for _ in range(2):
            words = edit()
            own_redis.empty()
            deployment.shows(words)

        server.pause()
        words = edit()
        until(lambda: "does not answer" in watch.said(), "the watcher says so")
        assert deployment.get("/readyz").json()["ready"] is True  # degraded, not unready
        assert deployment.answers("edit")  # and searches wait for no broker
        server.resume()
        assert deployment.shows(words) < 30.0
        until(lambda: "answers again" in watch.said(), "and that it is back")

        server.kill()
        words = edit()
        until(lambda: watch.said().count("does not answer") == 2, "it says so once more")
        server.start()
        assert deployment.shows(words) < 30.0
        until(lambda: watch.said().count("answers again") == 2, "and that it is back")
        assert watch.said().count("does not answer") <= 2  # once for each outage


@pytest.mark.timeout(300)
def test_a_wrong_password_is_said_and_ends_the_process(redis: Redis, place: Path, notes: Path) -> None:
    if redis.server is None:
        pytest.skip("the password of the Redis that is named is not known")
    wrong = redis.url.replace(IN_URL, "wrong-secret")
    with Deployment(place, notes, wrong) as deployment:
        for command in (FRESH, SCHEDULE):
            result = deployment.run("ops.cli", *command)
            assert result.returncode == 1
            assert "refuses the user or the password" in result.stderr
            assert "broker.password_file" in result.stderr
            assert "wrong-secret" not in result.stdout + result.stderr


@pytest.mark.timeout(500)
def test_a_broker_that_is_not_there_yet_is_waited_for(own_redis: Redis, place: Path, notes: Path) -> None:
    server = own_redis.server
    assert server is not None
    server.kill()
    with Deployment(place, notes, own_redis.url) as deployment:
        deployment.write("a.md", "written before")
        port = free_port()
        worker = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False)
        watch, fresh, *_ = deployment.start(WATCH, (*FRESH, "--port", str(port)), BULK, SCHEDULE, API)
        fresh.says("waiting: The broker redis://***@127.0.0.1")
        assert worker.get("/healthz").json() == {"alive": True}
        waiting = worker.get("/readyz")
        assert waiting.status_code == 503
        assert "does not answer" in waiting.json()["detail"]
        watch.says("watch: 1 source")
        server.start()
        deployment.shows("written before")
        fresh.says("4 threads")
        assert fresh.said().count("waiting: The broker") == 1
        assert worker.get("/readyz").json() == {"ready": True}
        server.kill()
        until(lambda: worker.get("/readyz").status_code == 503, "it says that something is missing")
        assert "broker: " in worker.get("/readyz").json()["detail"]
        server.start()
        until(lambda: worker.get("/readyz").status_code == 200, "it is there again")
        counted = worker.get("/metrics").text
        worker.close()
        assert "headwater_texts_embedded_total" in counted
        for others in (counted, deployment.get("/metrics").text):  # the states are the exporter's
            assert "headwater_exporter_up" not in others
            assert "headwater_broker_up" not in others


@pytest.mark.timeout(500)
def test_the_exporter_shows_the_states_of_all(own_redis: Redis, place: Path, notes: Path) -> None:
    server, port = own_redis.server, free_port()
    assert server is not None
    with (
        Deployment(place, notes, own_redis.url) as deployment,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as exporter,
    ):
        deployment.write("a.md", "written before")
        *_, shows = deployment.start(*EVERYTHING, ("exporter", "--port", str(port)))
        shows.says("exporter: broker redis://:***@127.0.0.1")
        deployment.shows("written before")

        def tells(line: str) -> bool:
            return f"{line}\n" in exporter.get("/metrics").text

        until(lambda: tells('headwater_documents{source="notes",state="live"} 1.0'), "a document is live")
        assert tells("headwater_exporter_up 1.0")
        assert tells("headwater_broker_up 1.0")
        assert tells('headwater_broker_messages{lane="fresh"} 0.0')
        assert tells('headwater_objective_within_seconds{kind="change",source="notes"} 60.0')
        server.kill()
        until(lambda: tells("headwater_broker_up 0.0"), "the broker is seen to be away")
        assert tells("headwater_exporter_up 1.0")
        assert exporter.get("/readyz").json() == {"ready": True}
        assert shows.end() == 0


@pytest.mark.timeout(500)
def test_a_worker_without_the_folder_leaves_its_documents_to_others(
    redis: Redis, place: Path, notes: Path
) -> None:
    """What an engine makes of a missing mount is an empty folder: nothing is gone for that."""
    with Deployment(place, notes, redis.url) as deployment:
        for number in range(5):
            deployment.write(f"{number}.md", f"number {number}, as it was")
        deployment.start(WATCH, BULK, SCHEDULE, API)
        for number in range(5):
            deployment.shows(f"number {number}, as it was")
        deployment.settled()
        theirs = deployment.environment["HEADWATER_SOURCES"]
        folder = place / notes.name
        folder.mkdir()
        deployment.environment["HEADWATER_SOURCES"] = json.dumps([{"root": str(folder)}])
        (blind,) = deployment.start(FRESH)
        blind.says("4 threads")
        deployment.write("3.md", "number 3, as it is")
        blind.says(f"does not see the folder {folder}")
        assert deployment.finds("number 3, as it was")
        deployment.environment["HEADWATER_SOURCES"] = theirs
        deployment.start(FRESH)
        deployment.shows("number 3, as it is")
        deployment.settled()
        assert deployment.status()["sources"][0]["documents"]["held"] == 0
        assert blind.said().count("does not see the folder") == 1
        blind.end()


@pytest.mark.timeout(500)
def test_celery_sees_the_workers_and_is_one(redis: Redis, place: Path, notes: Path) -> None:
    with Deployment(place, notes, redis.url) as deployment:
        deployment.write("a.md", "as it was")
        deployment.start(WATCH, BULK, SCHEDULE, API)
        plain = deployment.celery("worker", "-P", "threads", "-Q", "fresh", "-l", "warning")
        deployment.shows("as it was")
        deployment.write("a.md", "by a plain worker")
        deployment.shows("by a plain worker")

        def inspected(word: str) -> CompletedProcess[str]:
            return deployment.run("celery", "-A", "ops.celery_app", "inspect", word, "--timeout", "5")

        with ThreadPoolExecutor() as terminals:  # each waits for all of its time: somebody may yet answer
            results = list(terminals.map(inspected, ["ping", "active", "registered", "conf"]))
        for result in results:
            assert result.returncode == 0, result.stderr
            assert "bulk-" in result.stdout
            assert IN_URL not in result.stdout + result.stderr
        assert plain.end() == 0
        assert IN_URL not in plain.said()
