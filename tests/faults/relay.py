"""Stands between the program and Weaviate, and misbehaves as it is told."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from weaviate.proto.v1 import batch_pb2

BATCH = "/weaviate.v1.Weaviate/BatchObjects"
MOST_BYTES = 100 * 2**20
CALL_S = 60.0


class Manners:
    """How it misbehaves now; both relays read it at each call."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.delay_s = 0.0
        self.failing_share = 0.0  # of the objects of a batch
        self.failed = 0
        self.cut = False  # every connection, at its next byte

    def sound(self) -> None:
        self.delay_s, self.failing_share, self.cut = 0.0, 0.0, False


class RestRelay:
    """Bytes from here to there and back, late if so told."""

    def __init__(self, target: int, manners: Manners) -> None:
        self._target = target
        self._manners = manners
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Ends what is accepted, which ends the threads of each connection."""
        self._listener.close()
        for one in list(self._open):
            _shut(one)

    def _accept(self) -> None:
        while True:
            try:
                here, _ = self._listener.accept()
            except OSError:
                return
            try:
                there = socket.create_connection(("127.0.0.1", self._target), timeout=10)
            except OSError:
                here.close()
                continue
            there.settimeout(None)
            threading.Thread(target=self._both_ways, args=(here, there), daemon=True).start()

    def _both_ways(self, here: socket.socket, there: socket.socket) -> None:
        with here, there:
            self._open.update((here, there))
            back = threading.Thread(target=self._pump, args=(there, here), daemon=True)
            back.start()
            self._pump(here, there)
            back.join()
            self._open.difference_update((here, there))

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while (some := source.recv(65_536)) and not self._manners.cut:
                time.sleep(self._manners.delay_s)
                sink.sendall(some)
        for one in (source, sink):
            _shut(one)


class GrpcRelay(grpc.GenericRpcHandler):  # type: ignore[misc]  # it has no types
    """Every call of one answer, passed on as it is; some objects of a batch may be refused."""

    def __init__(self, target: int, manners: Manners) -> None:
        self._manners = manners
        options = [
            ("grpc.max_receive_message_length", MOST_BYTES),
            ("grpc.max_send_message_length", MOST_BYTES),
        ]
        # Tries again at once when the server is back, instead of after its own growing pauses.
        backoff = [("grpc.max_reconnect_backoff_ms", 500), ("grpc.initial_reconnect_backoff_ms", 100)]
        self._channel = grpc.insecure_channel(f"127.0.0.1:{target}", options=[*options, *backoff])
        self._server = grpc.server(ThreadPoolExecutor(32), handlers=(self,), options=options)
        self.port: int = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def close(self) -> None:
        self._server.stop(0)
        self._channel.close()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        method: str = handler_call_details.method

        def call(request: bytes, context: grpc.ServicerContext) -> bytes:
            return self._call(method, request, context)

        return grpc.unary_unary_rpc_method_handler(call)

    def _call(self, method: str, request: bytes, context: grpc.ServicerContext) -> bytes:
        time.sleep(self._manners.delay_s)
        if self._manners.cut:
            context.abort(grpc.StatusCode.UNAVAILABLE, "cut")
        if method != BATCH or not self._manners.failing_share:
            return self._passed_on(method, request, context)
        batch = batch_pb2.BatchObjectsRequest.FromString(request)
        dice, share = self._manners.dice, self._manners.failing_share
        kept = [number for number in range(len(batch.objects)) if dice.random() >= share]
        self._manners.failed += len(batch.objects) - len(kept)
        answer = self._passed_on(method, _only(batch, kept), context)
        return _with_errors(answer, kept, len(batch.objects))

    def _passed_on(self, method: str, request: bytes, context: grpc.ServicerContext) -> bytes:
        remaining = context.time_remaining()
        metadata = [(key, value) for key, value in context.invocation_metadata() if key == "authorization"]
        try:
            answer: bytes = self._channel.unary_unary(method)(
                request, metadata=metadata, timeout=min(CALL_S, remaining or CALL_S)
            )
        except grpc.RpcError as error:
            told: Any = error
            context.abort(told.code(), told.details())
            raise AssertionError("abort raises") from error
        return answer


def _shut(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)


def _only(batch: Any, kept: Sequence[int]) -> bytes:
    """The request with these of its objects."""
    request = batch_pb2.BatchObjectsRequest()
    request.CopyFrom(batch)
    del request.objects[:]
    request.objects.extend(batch.objects[number] for number in kept)
    encoded: bytes = request.SerializeToString()
    return encoded


def _with_errors(answer: bytes, kept: Sequence[int], objects: int) -> bytes:
    """The answer to the whole batch: what the server refused under its number, what never came to it too."""
    reply = batch_pb2.BatchObjectsReply.FromString(answer)
    for error in reply.errors:
        error.index = kept[error.index]
    for number in sorted(set(range(objects)) - set(kept)):
        reply.errors.add(index=number, error="no room for this one")
    encoded: bytes = reply.SerializeToString()
    return encoded


@contextlib.contextmanager
def relays(rest: int, grpc_port: int, manners: Manners) -> Iterator[tuple[RestRelay, GrpcRelay]]:
    """Both, to a Weaviate on these ports."""
    first, second = RestRelay(rest, manners), GrpcRelay(grpc_port, manners)
    try:
        yield first, second
    finally:
        first.close()
        second.close()
