"""What commands send to a running daemon."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

from ops.asking import ask


def test_an_argument_that_is_no_text_is_sent_as_question_marks() -> None:
    """As from a terminal that is not UTF-8, or in the C locale."""
    bodies: list[bytes] = []

    class Echo(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Echo) as server:
        threading.Thread(target=server.handle_request).start()
        ask(f"http://127.0.0.1:{server.server_port}", "POST", "/", body={"query": "caf\udce9 é"})
    assert json.loads(bodies[0]) == {"query": "caf? é"}
