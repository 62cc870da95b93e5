"""From an edition to what embeds for it: its model's settings, kept in the ledger, and those in force.

The ledger's live edition wins over the settings: what the index was made with is what can be asked. The
settings say what is wanted; ``headwater rebuild`` makes that so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ingestion.clock import Clock
from ingestion.errors import HeadwaterError, Misconfigured, WrongEdition
from ingestion.ledger.ledger import Ledger
from ingestion.ledger.values import Edition, EditionState, EditionView
from ingestion.parsing.ocr import Scans
from ingestion.parsing.sandbox import Sandbox
from ingestion.records import Lane
from ingestion.turns import Turns
from ops.remote import remote_embedder
from ops.settings import EmbeddingSettings
from ops.settings_embedding import host_of, is_file
from retrieval.embedding.batching import MicroBatcher
from retrieval.embedding.models import make_embedder
from retrieval.embedding.port import Embedder
from retrieval.embedding.remote.embedder import RemoteEmbedder
from workers.drafting import Drafter
from workers.equipment import Equipped
from workers.slow import Slow
from workers.staging import SLICE_TEXTS

NEVER_KEPT = {"api_key", "api_key_file", "price_per_million_tokens"}


@dataclass(frozen=True)
class Fitted(Equipped):
    """With the embedder itself and its batcher."""

    embedder: Embedder = field(kw_only=True)
    batcher: MicroBatcher = field(kw_only=True)


def embedder_of(settings: EmbeddingSettings, *, clock: Clock | None = None) -> Embedder:
    """The endpoint, or what computes here. Raises Misconfigured and its kind; loads no model."""
    remote = remote_embedder(settings, clock=clock)
    return remote or make_embedder(settings.model, settings.runtime, precision=settings.precision)


def close_embedder(embedder: Embedder) -> None:
    if isinstance(embedder, RemoteEmbedder):
        embedder.close()


def slice_texts(embedder: Embedder) -> int:
    """Texts embedded between two commits. With an endpoint, a call's; of small calls as many as are made at
    once, up to the usual number: a commit for each text would cost more than its embedding."""
    limits = embedder.call_limits
    if limits is None:
        return SLICE_TEXTS
    return max(limits.texts, min(limits.at_once * limits.texts, SLICE_TEXTS))


def kept(settings: EmbeddingSettings) -> dict[str, Any]:
    """What the ledger keeps of them: enough to make the embedder again, without any secret."""
    values = settings.model_dump(mode="json", exclude=NEVER_KEPT, exclude_defaults=True)
    file = settings.api_key_file
    if file is not None and is_file(file):  # what is no file may be the key itself
        values["api_key_file"] = str(file)
    return {**values, "model": settings.model}


def as_kept(model: Mapping[str, Any], current: EmbeddingSettings) -> EmbeddingSettings:
    """Settings that were kept; the key is the current one where the endpoint's host is the same.

    Raises Misconfigured for what this version does not understand, and where the key in the kept file may
    be another provider's by now.
    """
    try:
        own = EmbeddingSettings.model_validate(dict(model))
    except ValidationError as error:
        raise Misconfigured(
            f"The settings of the model {model.get('model')} that the ledger keeps cannot be read: "
            f"{error.error_count()} of them are not known here.",
            hint="They are of another version of Headwater: run that one.",
        ) from None
    if own.url is None or current.url is None:
        return own
    if host_of(own.url) == host_of(current.url):
        return own.model_copy(update={"api_key": current.api_key, "api_key_file": current.api_key_file})
    if own.api_key_file is not None:
        _refuse_anothers_key(own.url, own.api_key_file, current)
    return own


def _refuse_anothers_key(url: str, file: Path, current: EmbeddingSettings) -> None:
    """Raises Misconfigured unless the settings, which name another endpoint, keep its key elsewhere.

    Else what is in the file now may well be the key of that one.
    """
    theirs = current.api_key_file
    if theirs is None or theirs.resolve() == file.resolve():
        raise Misconfigured(
            f"The key for {url} is not known any more: the one in {file} may be that of {current.url}.",
            hint=f"Put the key for {current.url} into a file of its own (embedding.api_key_file), and leave "
            f"that for {url} in {file}.",
        )


def embedder_of_live(
    settings: EmbeddingSettings, wanted: Embedder, ledger: Ledger, *, clock: Clock | None = None
) -> tuple[Embedder, EmbeddingSettings]:
    """What the live edition was made with, where the settings name another model; else ``wanted``, theirs.

    Raises WrongEdition where the live one's model cannot be had.
    """
    view = ledger.editions.in_state(EditionState.LIVE)
    if view is None or view.edition.fingerprint == wanted.fingerprint or view.model is None:
        return wanted, settings
    described = wanted.description
    try:
        own = as_kept(view.model, settings)
        embedder = embedder_of(own, clock=clock)
    except HeadwaterError as error:
        raise _without_its_model(view.edition, described, str(error)) from error
    if embedder.fingerprint != view.edition.fingerprint:
        close_embedder(embedder)
        raise _without_its_model(view.edition, described, "its files are not the same any more.")
    close_embedder(wanted)
    return embedder, own


def _without_its_model(edition: Edition, wanted: str, why: str) -> WrongEdition:
    return WrongEdition(
        f"The index was made with {edition.description}, the settings name {wanted}, and the model of the "
        f"index cannot be had: {why}",
        hint="Bring it back: then headwater rebuild makes an index with the other one beside it. Or start "
        "with another data folder (--data).",
    )


Embedded = Callable[[Lane, int, int, float], None]  # lane, texts, tokens, seconds


@dataclass
class Hearing:
    """Who hears of what embedders of editions beside the live one do."""

    embedded: Callable[[Embedder], Embedded] | None = None  # what is told of the batches of one
    billed: Callable[[int], None] | None = None
    load: bool = False  # a model is loaded as soon as its edition is there


class Fitter:
    """Fits editions with embedders; those that compute here take turns."""

    def __init__(
        self, settings: EmbeddingSettings, clock: Clock, sandbox: Sandbox, scans: Scans | None = None
    ) -> None:
        self._sandbox = sandbox
        self._scans = scans
        self._slow = Slow()
        self._settings = settings
        self._clock = clock
        self._turns = Turns()
        self.hearing = Hearing()

    def fit(self, edition: Edition, embedder: Embedder) -> Fitted:
        batcher = MicroBatcher(embedder, turns=self._turns)

        def close() -> None:
            batcher.close()
            close_embedder(embedder)

        return Fitted(
            edition,
            embedder.fingerprint,
            Drafter(
                embedder.max_tokens,
                embedder.count_tokens,
                self._clock,
                sandbox=self._sandbox,
                slow=self._slow,
                scans=self._scans,
            ),
            batcher.embed,
            batcher.embed_query,
            lambda: batcher.ready,
            close,
            slice_texts(embedder),
            embedder=embedder,
            batcher=batcher,
        )

    def equip(self, view: EditionView) -> Fitted:
        """For an edition beside the live one. Raises Misconfigured where its model cannot be had."""
        model = view.model or {"model": self._settings.model}
        embedder = embedder_of(as_kept(model, self._settings), clock=self._clock)
        fitted = self.fit(view.edition, embedder)
        if self.hearing.embedded is not None:
            fitted.batcher.on_embedded = self.hearing.embedded(embedder)
        if isinstance(embedder, RemoteEmbedder):
            embedder.on_billed = self.hearing.billed
        if self.hearing.load:
            fitted.batcher.start_loading()
        return fitted
