"""The ledger's tables. ``migrations/`` holds how a file got here; a test keeps the two equal."""

from __future__ import annotations

import sqlalchemy as sa

from ingestion.ledger.words import Name, Words

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite gives out row ids only to INTEGER keys; elsewhere 32 bits would be too few.
Key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

# Tokens where claims take no turn: a counter's row would make each wait for all writers. (SQLite has none.)
tokens = sa.Sequence("tokens", metadata=metadata, data_type=sa.BigInteger)

# The token of a publication that nobody may publish: every attempt that ends spends its token, so that
# what it sends twice finds nothing to do.
NO_TOKEN = 0

# One row a number: generation, tick, and where there is no sequence, token.
counters = sa.Table(
    "counters",
    metadata,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("value", sa.BigInteger, nullable=False),
)

sources = sa.Table(
    "sources",
    metadata,
    sa.Column("name", Name, primary_key=True),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("location", Name, nullable=False),
    sa.Column("active", sa.Boolean, nullable=False),  # in service: its documents are served
    sa.Column("kept_at", sa.Float),  # when a process last said that it is in its settings
    sa.Column("devices", sa.JSON),  # number of the device it lies on, by machine
    sa.Column("listed_at", sa.Float),  # start of the last complete listing
    sa.Column("listing_generation", sa.BigInteger),  # of the last complete listing
    sa.Column("heartbeat_at", sa.Float),  # every event before this has been observed
    sa.Column("fault", Words),  # why it cannot be looked at, or what the last listing could not see
    sa.Column("asked_generation", sa.BigInteger),  # a listing begun since is asked for
    sa.Column("event_at", sa.Float),  # when its watcher was last told of a change
    sa.Column("looked_at", sa.Float),  # when whoever lists it on schedule last began to
    sa.Column("next_look_at", sa.Float),  # and when that is due again
    # Its objective, as the settings name it
    sa.Column("share", sa.Float, nullable=False, server_default="0.99"),
    sa.Column("within_s", sa.Float, nullable=False, server_default="60"),
    sa.Column("deletions_within_s", sa.Float, nullable=False, server_default="5"),
    sa.Column("over_days", sa.Integer, nullable=False, server_default="30"),
)

documents = sa.Table(
    "documents",
    metadata,
    sa.Column("id", Key, primary_key=True),
    sa.Column("source", Name, nullable=False),
    sa.Column("uri", Name, nullable=False),
    sa.Column("fingerprint", sa.String, nullable=False),
    sa.Column("identity", sa.String),  # of the published look
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("racy", sa.Boolean, nullable=False),
    sa.Column("standing", sa.String, nullable=False),
    sa.Column("reason", Words, nullable=False),
    sa.Column("wanted", sa.BigInteger, nullable=False),
    sa.Column("observed", sa.BigInteger, nullable=False),  # generation of the last observation
    sa.Column("pending_since", sa.Float),
    sa.Column("changed_at", sa.Float, nullable=False),
    sa.Column("observed_at", sa.Float, nullable=False),
    sa.Column("retired_at", sa.Float),  # on evidence alone: an approved retirement leaves it empty
    sa.UniqueConstraint("source", "uri"),
    sqlite_autoincrement=True,  # an id never comes back
)
sa.Index("ix_documents_wanted", documents.c.wanted)
sa.Index("ix_documents_source_identity", documents.c.source, documents.c.identity)
sa.Index("ix_documents_source_standing", documents.c.source, documents.c.standing)
_waiting = documents.c.pending_since.is_not(None)
sa.Index(
    "ix_documents_source_pending_since",
    documents.c.source,
    documents.c.pending_since,
    sqlite_where=_waiting,
    postgresql_where=_waiting,
)

editions = sa.Table(
    "editions",
    metadata,
    sa.Column("id", Key, primary_key=True),
    sa.Column("name", sa.String, nullable=False, unique=True),
    sa.Column("fingerprint", sa.String, nullable=False),
    sa.Column("description", sa.String, nullable=False),
    sa.Column("dimensions", sa.Integer, nullable=False),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("model", sa.JSON(none_as_null=True)),  # the settings of its embedder, without secrets
    sa.Column("since", sa.Float),  # when it came into its state; empty: when it was created
    sa.Column("keep_s", sa.Float, nullable=False, server_default="0"),  # the one before it, once it is live
    sa.Column("kept_until", sa.Float),  # of a retiring one
    # Of a building one
    sa.Column("paused", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("worked_s", sa.Float, nullable=False, server_default="0"),  # before ``working_since``
    sa.Column("working_since", sa.Float),
    sa.Column("fault", sa.Text),
    sa.Column("gate", sa.JSON(none_as_null=True)),
    sa.Column("accept_failed", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("removed_at", sa.Float),  # of a retired one: nothing of it is left
)
# One of each: what two processes begin at once, one of them begins.
_one_of_each = sa.text("state != 'retired'")
sa.Index(
    "ix_editions_state",
    editions.c.state,
    unique=True,
    sqlite_where=_one_of_each,
    postgresql_where=_one_of_each,
)

publications = sa.Table(
    "publications",
    metadata,
    sa.Column("document_id", Key, sa.ForeignKey("documents.id"), primary_key=True),
    sa.Column("edition_id", Key, sa.ForeignKey("editions.id"), primary_key=True),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("lane", sa.String, nullable=False),
    # What is live
    sa.Column("live_generation", sa.BigInteger),
    sa.Column("digest", sa.String),
    sa.Column("pipeline", sa.String),
    sa.Column("changed_at", sa.Float),
    sa.Column("published_at", sa.Float),
    sa.Column("published_tick", sa.BigInteger),
    # The work
    sa.Column("token", sa.BigInteger, nullable=False, server_default=str(NO_TOKEN)),
    sa.Column("lease_until", sa.Float),
    sa.Column("claimed_at", sa.Float),
    # When a message about it was last sent, 0 if none is on its way
    sa.Column("sent_at", sa.Float, nullable=False, server_default="0"),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("not_before", sa.Float, nullable=False, server_default="0"),
    sa.Column("alone", sa.Boolean, nullable=False, server_default=sa.false()),  # claimed one by one
    sa.Column("repair", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("error", Words),
    sa.Column("failed_at", sa.Float),
)
# Only pending work is indexed, by when it was last sent: the dispatcher's look costs the same with a
# million documents, and does not read through what is on its way. SQLite uses the index only for queries
# that hold this very condition, as a literal.
is_pending = publications.c.state == sa.literal_column("'pending'")
sa.Index(
    "ix_publications_pending",
    publications.c.edition_id,
    publications.c.lane,
    publications.c.sent_at,
    sqlite_where=is_pending,
    postgresql_where=is_pending,
)
is_failed = publications.c.state == sa.literal_column("'failed'")
sa.Index(
    "ix_publications_failed",
    publications.c.edition_id,
    sqlite_where=is_failed,
    postgresql_where=is_failed,
)
_leased = publications.c.lease_until.is_not(None)
sa.Index(
    "ix_publications_lease_until",
    publications.c.lease_until,
    sqlite_where=_leased,
    postgresql_where=_leased,
)

chunks = sa.Table(
    "chunks",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("document_id", Key, sa.ForeignKey("documents.id"), nullable=False),
    sa.Column("edition_id", Key, sa.ForeignKey("editions.id"), nullable=False),
    sa.Column("digest", sa.String, nullable=False),
    sa.Column("ordinal", sa.Integer, nullable=False),
    sa.Column("start", sa.BigInteger, nullable=False),
    sa.Column("end", sa.BigInteger, nullable=False),
    sa.Column("heading_path", sa.JSON, nullable=False),
    sa.Column("born", sa.BigInteger),  # staged: neither; live: born; dead: died
    sa.Column("died", sa.BigInteger),
    sa.Column("died_at", sa.Float),
    sa.Column("repair", sa.Boolean, nullable=False, server_default=sa.false()),
)
sa.Index("ix_chunks_document_id_edition_id", chunks.c.document_id, chunks.c.edition_id)
_dead = chunks.c.died.is_not(None)
sa.Index("ix_chunks_died_at", chunks.c.died_at, sqlite_where=_dead, postgresql_where=_dead)
# Those whose vector must not be used again, by the text that it may be asked for.
is_marked = chunks.c.repair.is_(sa.true())
sa.Index(
    "ix_chunks_repair",
    chunks.c.edition_id,
    chunks.c.digest,
    sqlite_where=is_marked,
    postgresql_where=is_marked,
)

attempts = sa.Table(
    "attempts",
    metadata,
    sa.Column("id", Key, primary_key=True),
    sa.Column("document_id", Key, sa.ForeignKey("documents.id"), nullable=False),
    sa.Column("edition_id", Key, sa.ForeignKey("editions.id")),
    sa.Column("generation", sa.BigInteger, nullable=False),
    sa.Column("lane", sa.String, nullable=False),
    sa.Column("outcome", sa.String, nullable=False),
    sa.Column("changed_at", sa.Float),
    sa.Column("observed_at", sa.Float),
    sa.Column("claimed_at", sa.Float),
    sa.Column("staged_at", sa.Float),
    sa.Column("finished_at", sa.Float, nullable=False),
    sa.Column("chunks", sa.Integer, nullable=False, server_default="0"),
    sa.Column("embedded", sa.Integer, nullable=False, server_default="0"),
    sa.Column("reused", sa.Integer, nullable=False, server_default="0"),
    sa.Column("detail", Words, nullable=False),
)
sa.Index("ix_attempts_document_id", attempts.c.document_id)

# How many changes and deletions of a source were finished in a span of time, and how many of them within its
# objective. ``took`` is the size of the time (``ingestion.objectives``) in rows of a minute, else 0.
punctuality = sa.Table(
    "punctuality",
    metadata,
    sa.Column("span_s", sa.Integer, primary_key=True),
    sa.Column("since", sa.BigInteger, primary_key=True),
    sa.Column("source", Name, primary_key=True),
    sa.Column("kind", sa.String, primary_key=True),
    sa.Column("took", sa.Integer, primary_key=True),
    sa.Column("met", sa.BigInteger, nullable=False),
    sa.Column("missed", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

# What each audit of an edition found and mended, by kind; the latest ones are kept.
audits = sa.Table(
    "audits",
    metadata,
    sa.Column("id", Key, primary_key=True),
    sa.Column("edition", sa.String, nullable=False),
    sa.Column("started_at", sa.Float, nullable=False),
    sa.Column("finished_at", sa.Float, nullable=False),
    sa.Column("chunks", sa.BigInteger, nullable=False),  # live ones that were compared
    sa.Column("deep", sa.Boolean, nullable=False),
    sa.Column("repair", sa.Boolean, nullable=False),
    sa.Column("contents_to", sa.String, nullable=False),  # texts and vectors were checked up to this id
    sa.Column("found", sa.JSON, nullable=False),
    sa.Column("mended", sa.JSON, nullable=False),
    sa.Column("faults", sa.JSON, nullable=False),
)

# The canary of each kind of sources: its last round, and who has one under way.
canaries = sa.Table(
    "canaries",
    metadata,
    sa.Column("kind", sa.String, primary_key=True),
    sa.Column("round", sa.BigInteger, nullable=False),  # number of the last one that was begun
    sa.Column("begun_at", sa.Float, nullable=False),
    sa.Column("lease_until", sa.Float),  # empty: none is under way
    sa.Column("silent_at", sa.Float, nullable=False),  # unless somebody writes here before
    sa.Column("finished_at", sa.Float),  # the last one that ended; from here on all is that one's
    sa.Column("took", sa.JSON, nullable=False),  # seconds by step
    sa.Column("failed", sa.String),  # the step that did; empty: it succeeded
    sa.Column("detail", Words, nullable=False),
    sa.Column("succeeded_at", sa.Float),  # when one last did
)

# Bodies that their source may not hand out again, compressed, each once.
bodies = sa.Table(
    "bodies",
    metadata,
    sa.Column("digest", sa.String, primary_key=True),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),  # as it was handed out
    sa.Column("packed", sa.LargeBinary, nullable=False),
    sa.Column("kept_at", sa.Float, nullable=False),  # when somebody last gave it
)

# What the documents of such a source last were.
kept = sa.Table(
    "kept",
    metadata,
    sa.Column("source", Name, primary_key=True),
    sa.Column("uri", Name, primary_key=True),
    sa.Column("digest", sa.String, sa.ForeignKey("bodies.digest")),  # empty: it was deleted
    sa.Column("media_type", sa.String),
    sa.Column("title", Words),
    sa.Column("changed_at", sa.Float, nullable=False),  # judged plausible
    sa.Column("received_at", sa.Float, nullable=False),
    sa.Column("notes", sa.JSON, nullable=False),  # what its source will want to know at the next look
)
sa.Index("ix_kept_digest", kept.c.digest)

# Places that somebody says have changed, on their way to whoever watches.
hints = sa.Table(
    "hints",
    metadata,
    sa.Column("source", Name, primary_key=True),
    sa.Column("place", Name, primary_key=True),
)

# What looks have taught of how often a document changes: a gamma distribution (``ingestion.adaptive``).
rhythms = sa.Table(
    "rhythms",
    metadata,
    sa.Column("source", Name, primary_key=True),
    sa.Column("uri", Name, primary_key=True),
    sa.Column("looked_at", sa.Float, nullable=False),
    sa.Column("shape", sa.Float, nullable=False),
    sa.Column("span_s", sa.Float, nullable=False),
)

# Which process looks at a source that several could look at.
turns = sa.Table(
    "turns",
    metadata,
    sa.Column("source", Name, primary_key=True),
    sa.Column("holder", sa.String, nullable=False),
    sa.Column("until", sa.Float, nullable=False),
)

# One row.
installation = sa.Table(
    "installation",
    metadata,
    sa.Column("ledger_id", sa.String, primary_key=True),  # random: tells this ledger from any other
    sa.Column("audit_begun_at", sa.Float),  # by the schedule, or kept since; empty: none is under way
)
