"""A bucket of a real S3 server, kept searchable by `headwater up`."""

from __future__ import annotations

from pathlib import Path

import httpx

from tests.acceptance.program import Program
from tests.servers.objects import ObjectServer

SETTINGS = """
[[sources]]
name = "papers"
kind = "objects"
bucket = "{bucket}"
endpoint_url = "{url}"
allow_http = true
region = "us-east-1"
prefix = "docs"
access_key_id = "{key}"
secret_access_key_file = "secret"
every_s = 3600
"""
FERRY = "# Ferry {n}\n\nThe ferry number {n} leaves at {time} in the morning.\n"


def test_objects_become_searchable_and_follow_their_bucket(objects: ObjectServer, tmp_path: Path) -> None:
    bucket = objects.bucket(versions=True)

    def put(n: int, time: str) -> None:
        body = FERRY.format(n=n, time=time).encode()
        objects.client.put_object(Bucket=bucket, Key=f"docs/{n}.md", Body=body)

    for n in range(4):
        put(n, "nine")
    (tmp_path / "secret").write_text(f"{objects.secret}\n")
    (tmp_path / "secret").chmod(0o600)
    config = tmp_path / "headwater.toml"
    config.write_text(SETTINGS.format(bucket=bucket, url=objects.url, key=objects.key))

    def hinted(*uris: str) -> None:
        address = f"{program.listening()}/v1/sources/papers/hints"
        response = httpx.post(address, json={"uris": uris} if uris else {}, trust_env=False)
        assert response.status_code == 202, response.text

    def shown(words: str) -> set[str]:
        hits = program.search("when does the ferry leave", top_k=50)
        return {hit["uri"] for hit in hits if words in hit["text"]}

    with Program(tmp_path / "data", "--config", config) as program:
        program.start().ready()
        assert shown("leaves at nine") == {f"{n}.md" for n in range(4)}
        put(3, "seven")
        objects.client.delete_object(Bucket=bucket, Key="docs/2.md")
        hinted("3.md", "2.md")
        program.until(lambda: shown("leaves at seven") == {"3.md"}, what="the edit is found")
        program.until(lambda: not shown("number 2"), what="the deletion is found")
        embedded = program.texts_embedded()
        objects.client.copy_object(Bucket=bucket, Key="docs/new.md", CopySource=f"{bucket}/docs/0.md")
        objects.client.delete_object(Bucket=bucket, Key="docs/0.md")
        hinted()
        program.until(lambda: shown("number 0") == {"new.md"}, what="the rename is found")
        assert program.texts_embedded() == embedded
        (tmp_path / "secret").write_text("another")
        said = program.command("sync", "--config", config)
        assert "cannot be looked at" in said.stdout
        assert objects.secret not in said.stdout + said.stderr + program.said()
        assert shown("leaves at seven") == {"3.md"}, "what is refused takes nothing with it"
