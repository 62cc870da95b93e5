"""The way to a real Redis: what it has lost, who is let in, TLS, and that no sender waits for it."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery
from celery.exceptions import CPendingDeprecationWarning
from celery.worker.consumer.consumer import CANCEL_TASKS_BY_DEFAULT
from kombu import pools

from ingestion.clock import SystemClock
from ingestion.errors import BrokerUnavailable, Misconfigured
from ingestion.records import Lane
from ops.settings import load
from ops.workshop import make_shared_app
from tests.acceptance.roles import until
from tests.servers.certificates import Tls, certified
from tests.servers.process import NotInstalled, free_port, missing
from tests.servers.redis import IN_URL, PASSWORD, Redis, serving
from workers.app import make_app, send_refresh
from workers.no_work import NoWork
from workers.redis_broker import RedisBroker
from workers.sending import Sender

SHOWN = "redis://the-broker"


@contextlib.contextmanager
def broker_of(url: str, prefix: str) -> Iterator[RedisBroker]:
    broker = RedisBroker(url, prefix=prefix, shown=SHOWN)
    try:
        yield broker
    finally:
        broker.close()


def test_an_emptied_redis_has_lost_messages_and_is_told_of_once(redis: Redis) -> None:
    with broker_of(redis.url, "emptied") as one, broker_of(redis.url, "emptied") as other:
        assert one.lost_messages()  # nobody was here before
        assert not one.lost_messages()
        assert not other.lost_messages()
        redis.empty()
        assert other.lost_messages()
        assert not one.lost_messages()


def test_how_full_it_is_is_known_where_it_has_a_limit(own_redis: Redis) -> None:
    with broker_of(own_redis.url, "full") as broker, contextlib.closing(own_redis.client()) as client:
        client.config_set("maxmemory", 0)
        assert broker.memory_ratio() is None
        client.config_set("maxmemory", 64 * 2**20)
        used = broker.memory_ratio()
        assert used is not None and 0.0 < used < 1.0
        client.set("much", b"x" * 16 * 2**20)
        more = broker.memory_ratio()
        assert more is not None and more >= used + 0.2


def test_a_redis_that_was_restarted_has_lost_messages(own_redis: Redis) -> None:
    assert own_redis.server is not None
    with broker_of(own_redis.url, "again") as broker:
        broker.lost_messages()
        own_redis.server.kill()
        with pytest.raises(BrokerUnavailable, match="does not answer"):
            broker.check()
        with pytest.raises(BrokerUnavailable):
            broker.lost_messages()
        own_redis.server.start()
        assert broker.lost_messages()


def test_installations_on_one_redis_are_kept_apart(redis: Redis) -> None:
    with contextlib.ExitStack() as stack:
        for prefix, number in (("left", 3), ("right", 1)):
            app = make_app(NoWork(), broker=redis.url, prefix=prefix)
            stack.callback(app.close)
            for _ in range(number):
                send_refresh(app, Lane.FRESH, [1])
        left, right = (stack.enter_context(broker_of(redis.url, one)) for one in ("left", "right"))
        assert (left.waiting(Lane.FRESH), right.waiting(Lane.FRESH)) == (3, 1)
        assert left.waiting(Lane.BULK) == 0


@pytest.mark.parametrize("wrong", ["wrong-secret", ""])
def test_a_wrong_password_is_no_outage(redis: Redis, wrong: str) -> None:
    if redis.server is None:
        pytest.skip("the password of the Redis that is named is not known")
    url = redis.url.replace(f":{IN_URL}@", f":{wrong}@" if wrong else "")
    with broker_of(url, "x") as broker, pytest.raises(Misconfigured) as told:
        broker.check()
    assert told.value.message == f"The broker {SHOWN} refuses the user or the password."
    assert "broker.password_file" in told.value.hint
    assert "wrong-secret" not in str(told.value)


def test_the_password_is_not_shown_with_the_application(redis: Redis) -> None:
    if redis.server is None:
        pytest.skip("the password of the Redis that is named is not known")
    settings = load(environ={"HEADWATER_BROKER__URL": redis.url})
    app = make_shared_app(settings, NoWork())
    assert IN_URL in app.conf.broker_url
    assert IN_URL not in repr(app.conf)
    app.close()


def test_nobody_waits_for_a_redis_that_hangs(own_redis: Redis) -> None:
    """Sending returns at once; what was dropped is told to the ledger once, when it answers again."""
    assert own_redis.server is not None
    app = make_app(NoWork(), broker=own_redis.url, prefix="hangs")
    forgotten: list[float] = []
    with broker_of(own_redis.url, "hangs") as broker:
        sender = Sender(
            broker,
            lambda lane, ids, edition_id: send_refresh(app, lane, ids, edition_id),
            SystemClock(),
            forget_messages=lambda: forgotten.append(time.monotonic()),
        )
        sender.start()
        sender.send(Lane.FRESH, [1])
        until(lambda: broker.waiting(Lane.FRESH) == 1, "the first is sent")
        own_redis.server.pause()
        began = time.monotonic()
        for number in range(1000):
            sender.send(Lane.FRESH, [number])
        assert time.monotonic() - began < 1.0
        until(lambda: sender.away is not None, "it is noticed")
        sender.send(Lane.FRESH, [7])
        assert not forgotten
        own_redis.server.resume()
        until(lambda: forgotten, "the ledger is told")
        assert sender.away is None
        waiting = broker.waiting(Lane.FRESH)
        sender.send(Lane.FRESH, [8])
        until(lambda: broker.waiting(Lane.FRESH) == waiting + 1, "it goes on")
        assert len(forgotten) == 1
        sender.close()
    app.close()


def test_a_message_after_a_restart_takes_a_new_connection(own_redis: Redis) -> None:
    assert own_redis.server is not None
    app = make_app(NoWork(), broker=own_redis.url, prefix="restarted")
    send_refresh(app, Lane.FRESH, [1])
    own_redis.server.kill()
    own_redis.server.start()
    send_refresh(app, Lane.FRESH, [2])
    with broker_of(own_redis.url, "restarted") as broker:
        assert broker.waiting(Lane.FRESH) == 1
    app.close()


def test_a_broker_that_is_not_there_costs_a_sender_a_moment() -> None:
    app = make_app(NoWork(), broker=f"redis://127.0.0.1:{free_port()}/0")
    began = time.monotonic()
    with pytest.raises(Exception, match=r"(?i)connect|refused"):
        send_refresh(app, Lane.FRESH, [1])
    assert time.monotonic() - began < 10.0
    app.close()


def test_tls_with_an_authority_of_ones_own(tmp_path: Path) -> None:
    tls = certified(tmp_path)
    try:
        with serving(tmp_path, tls=tls) as secured:
            _is_served(secured.url, tls)
    except NotInstalled as fault:
        missing(fault)


def _is_served(url: str, tls: Tls) -> None:
    checked = f"{url}&ssl_cert_reqs=required"
    unknown = checked.replace(f"ssl_ca_certs={tls.authority}&", "")
    app: Celery = make_app(NoWork(), broker=unknown, prefix="tls")
    with pytest.raises(Exception, match=r"(?i)certificate"):
        send_refresh(app, Lane.FRESH, [1])
    app.close()
    # Applications of one process share their connections by the address alone.
    pools.reset()  # type: ignore[no-untyped-call]
    with broker_of(unknown, "tls") as broker, pytest.raises(Misconfigured, match="No TLS connection") as told:
        broker.check()
    assert "ssl_ca_certs" in told.value.hint
    assert PASSWORD not in str(told.value)
    app = make_app(NoWork(), broker=checked, prefix="tls")
    send_refresh(app, Lane.FRESH, [1])
    app.close()
    with broker_of(checked, "tls") as broker:
        assert broker.waiting(Lane.FRESH) == 1


def test_a_redis_that_goes_away_under_a_message_ends_no_worker(own_redis: Redis) -> None:
    """Celery lets go of a lost connection in two steps, with what is worked on still to be acknowledged."""
    assert own_redis.server is not None
    app = make_app(NoWork(), broker=own_redis.url, prefix="under")
    with contextlib.closing(app), app.connection_for_read() as connection:
        send_refresh(app, Lane.FRESH, [1])
        send_refresh(app, Lane.FRESH, [2])
        channel = connection.default_channel
        taken = [channel.basic_get(Lane.FRESH.value) for _ in range(2)]
        assert None not in taken
        own_redis.server.kill()
        taken[0].ack()
        with contextlib.suppress(*connection.connection_errors):  # as Celery does
            connection.collect(socket_timeout=1)
        taken[1].ack()
        connection.close()


def test_a_decision_that_is_taken_is_not_advised_at_every_loss(redis: Redis) -> None:
    app = make_app(NoWork(), broker=redis.url, prefix="advised")
    with contextlib.closing(app), warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", CPendingDeprecationWarning)  # as Celery's own set-up does
        with app.connection_for_read() as connection:
            connection.ensure_connection()
            warnings.warn(CANCEL_TASKS_BY_DEFAULT, CPendingDeprecationWarning, stacklevel=1)
            warnings.warn("other advice", CPendingDeprecationWarning, stacklevel=1)
    assert [str(one.message) for one in told] == ["other advice"]


def test_a_redis_tells_of_its_memory(own_redis: Redis) -> None:
    with broker_of(own_redis.url, "told") as broker, contextlib.closing(own_redis.client()) as client:
        unlimited = broker.condition()
        assert unlimited.version == client.info("server")["redis_version"]
        assert unlimited.used_bytes > 0
        assert (unlimited.limit_bytes, unlimited.eviction) == (None, "noeviction")
        client.config_set("maxmemory", "100mb")
        client.config_set("maxmemory-policy", "allkeys-lru")
        limited = broker.condition()
        assert (limited.limit_bytes, limited.eviction) == (100 * 2**20, "allkeys-lru")
