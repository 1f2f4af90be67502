"""The tables in PostgreSQL, as migrations, and the statements on them.

A released migration is never changed, and migrations only add. So a gateway works with a schema that is newer than
itself, and gateways can be upgraded one after the other.
"""

IS_NEW = "SELECT to_regclass('gateway_schema') IS NULL"
CREATE_VERSIONS = """
    CREATE TABLE gateway_schema (
        version integer PRIMARY KEY,
        applied_at timestamptz NOT NULL DEFAULT now()
    )
"""
"""The migrations that were applied."""

MIGRATIONS = (
    # 1: decisions, and the keys of the batches that have been added to them.
    """
    CREATE TABLE gateway_batches (
        key uuid PRIMARY KEY,
        minute timestamptz NOT NULL
    );
    CREATE INDEX gateway_batches_minute ON gateway_batches (minute);
    CREATE TABLE gateway_decisions (
        minute timestamptz NOT NULL,
        endpoint text NOT NULL,
        limit_name text NOT NULL,
        tier text NOT NULL,
        outcome text NOT NULL,
        count bigint NOT NULL,
        PRIMARY KEY (minute, endpoint, limit_name, tier, outcome)
    );
    """,
    # 2: the callers that were refused most.
    """
    CREATE TABLE gateway_refused_callers (
        minute timestamptz NOT NULL,
        limit_name text NOT NULL,
        caller text NOT NULL,
        count bigint NOT NULL,
        PRIMARY KEY (minute, limit_name, caller)
    );
    """,
    # 3: the callers that were charged most; all others have an empty name.
    """
    CREATE TABLE gateway_callers (
        minute timestamptz NOT NULL,
        endpoint text NOT NULL,
        limit_name text NOT NULL,
        caller text NOT NULL,
        cost bigint NOT NULL,
        PRIMARY KEY (minute, endpoint, limit_name, caller)
    );
    """,
)
"""Migration n turns version n - 1 into version n."""

LOCK = 0x6761_7465_7761_79
"""The advisory lock under which migrations are applied: "gateway" in ASCII."""

GET_VERSION = "SELECT coalesce(max(version), 0) FROM gateway_schema"
ADD_VERSION = "INSERT INTO gateway_schema (version) VALUES ($1)"

ADD_BATCH = "INSERT INTO gateway_batches (key, minute) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING key"
"""Returns no row if the batch has been added before."""

ADD_DECISIONS = """
    INSERT INTO gateway_decisions AS kept (minute, endpoint, limit_name, tier, outcome, count)
    SELECT $1, * FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[])
    ON CONFLICT (minute, endpoint, limit_name, tier, outcome) DO UPDATE SET count = kept.count + excluded.count
"""
ADD_HITS = """
    INSERT INTO gateway_refused_callers AS kept (minute, limit_name, caller, count)
    SELECT $1, * FROM unnest($2::text[], $3::text[], $4::bigint[])
    ON CONFLICT (minute, limit_name, caller) DO UPDATE SET count = kept.count + excluded.count
"""
ADD_SPENT = """
    INSERT INTO gateway_callers AS kept (minute, endpoint, limit_name, caller, cost)
    SELECT $1, * FROM unnest($2::text[], $3::text[], $4::text[], $5::bigint[])
    ON CONFLICT (minute, endpoint, limit_name, caller) DO UPDATE SET cost = kept.cost + excluded.cost
"""
DELETE_BEFORE = tuple(
    f"DELETE FROM {table} WHERE minute < $1"  # noqa: S608 - the names are constants
    for table in ("gateway_batches", "gateway_decisions", "gateway_refused_callers", "gateway_callers")
)

READ_DECISIONS = """
    SELECT ($1 + floor((extract(epoch FROM minute) - $1) / $3) * $3)::bigint AS step,
           endpoint, limit_name, tier, outcome, sum(count)::bigint AS count
    FROM gateway_decisions
    WHERE minute >= to_timestamp($1) AND minute < to_timestamp($2)
    GROUP BY step, endpoint, limit_name, tier, outcome
"""
READ_HITS = """
    SELECT limit_name, caller, sum(count)::bigint AS count
    FROM gateway_refused_callers
    WHERE minute >= to_timestamp($1) AND minute < to_timestamp($2)
    GROUP BY limit_name, caller
"""
READ_SPENT = """
    SELECT endpoint, limit_name, caller, sum(cost)::bigint AS cost
    FROM gateway_callers
    WHERE minute >= to_timestamp($1) AND minute < to_timestamp($2)
    GROUP BY endpoint, limit_name, caller
"""
