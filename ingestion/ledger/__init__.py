"""The ledger is the truth: what exists, what is wanted, who works on it, and what is live.

The state machine of a publication (one document in one edition)::

    (none) ── want ──▶ PENDING ── publish ──▶ LIVE ── want, reindex, mark_repair ──▶ PENDING
                       PENDING ── publish of what is outdated by now ──▶ PENDING, the published revision live
                       PENDING ── release, to_bulk, isolate, fail, reap ──▶ PENDING, unclaimed
                       PENDING ── fail (terminal, or attempts ran out), reap ──▶ FAILED (dead letter)
                       FAILED ── replay, want ──▶ PENDING
                       FAILED ── drop ──▶ LIVE if something is live, else WITHDRAWN
                       any ── retire, skip ──▶ WITHDRAWN ── want (revival) ──▶ PENDING

A PENDING publication is *claimed* while it has a lease; ``claim`` gives a new token. Each arrow that ends
an attempt is conditional on that token and spends it, so that an attempt ends once; only ``reap`` leaves
the token, so that a slow worker may still publish until the next claim. An attempt is outdated by a newer
edit, of which its failure says nothing, and by a repair mark it did not know of. Where two editions read one
generation differently, the one that is not live goes from LIVE to PENDING. HELD documents, and those
of sources that are not configured, are neither sent nor claimed.

The standing of a document::

    (unknown) ── want ──▶ PRESENT ── skip ──▶ SKIPPED ── want ──▶ PRESENT
                          │  ▲  │
                 retire   │  │  └── hold ──▶ HELD ── touch, want, move ──▶ PRESENT
                          ▼  │                │
                        RETIRED ◀── approve, retire
                             └── want (came back) ──▶ PRESENT

The state machine of a chunk: *staged* (neither born nor died) ── publish ──▶ *live* (born) ──
publish, retire, skip ──▶ *dead* (died) ── swept ──▶ no row. A staged chunk that the publishing attempt
does not want dies with it. ``retire`` and ``skip`` take the birth tick of all of a document's chunks: no
search, whenever it began, serves them again. A dead id never comes back.

The state machine of an edition, and what two of them mean for all this, is in ``editions``.
"""
