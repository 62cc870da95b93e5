"""What a role's process says of itself while it starts."""

from __future__ import annotations

from fastapi.testclient import TestClient

from ops.roles.health import Health
from ops.settings import Settings


def test_a_process_is_not_ready_before_it_is_opened() -> None:
    health = Health(Settings(), host="127.0.0.1", port=None)
    client = TestClient(health, base_url="http://127.0.0.1")
    health.wait_for(["The ledger does not answer."])
    assert "The ledger does not answer." in client.get("/readyz").json()["detail"]
    health.wait_for([])  # which is there now; what comes after it may take a while
    assert client.get("/readyz").status_code == 503
    assert client.post("/v1/search").status_code == 503
    health.opened()
    assert client.get("/readyz").status_code == 200
