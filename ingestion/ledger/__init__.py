"""The ledger is the truth: what exists, what is wanted, who works on it, and what is live.

The state machine of a publication (one document in one edition)::

                 want (a change was observed)
      ┌──────────────────────────────────────────────┐
      │                                              ▼
    (none) ── want ──▶ PENDING ── publish ──▶ LIVE ── want, reindex, repair ──▶ PENDING
                       │  ▲  ▲  │               │
         fail, attempts│  │  │  │fail, release, │ retire, skip
         ran out, or   │  │  │  │to_bulk, reap: │ (from any state)
         terminal      │  │  │  └▶ PENDING      ▼
                       ▼  │  │                WITHDRAWN
                    FAILED┘  └── want (revival) ──┘
                     replay, want

A PENDING publication is *claimed* while it has a lease; ``claim`` gives a new token. Each arrow that ends
an attempt is conditional on that token. ``publish`` of an older generation than is wanted by then leaves
the publication PENDING with the published revision live.

The standing of a document::

    (unknown) ── want ──▶ PRESENT ── skip ──▶ SKIPPED ── want ──▶ PRESENT
                          │  ▲  │
                 retire   │  │  └── hold ──▶ HELD ── touch, want, move ──▶ PRESENT
                          ▼  │                │
                        RETIRED ◀── approve, retire
                             └── want (came back) ──▶ PRESENT

The state machine of a chunk: *staged* (neither born nor died) ── publish ──▶ *live* (born) ──
publish, retire, skip ──▶ *dead* (died) ── swept ──▶ no row. A staged chunk that the publishing attempt
does not want dies with it. A dead id never comes back.
"""
