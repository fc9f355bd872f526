-- A snapshot that was verified, written before the first table of its tenant goes. Without it a pass that finds half of the
-- tables would export that half over the whole. No reference to the tenant: the data can outlive its row.
CREATE TABLE tenantry.snapshot (
    uid uuid PRIMARY KEY,
    tenant text NOT NULL,
    location text NOT NULL,
    manifest_sha256 text NOT NULL,
    rows bigint NOT NULL,
    bytes bigint NOT NULL,
    taken_at timestamptz NOT NULL DEFAULT now()
);
GRANT SELECT, INSERT, DELETE ON tenantry.snapshot TO tenantry_provisioners;

-- A tenant whose tables were filled from a snapshot, written in the transaction that filled them: never twice.
CREATE TABLE tenantry.restored (
    tenant text PRIMARY KEY REFERENCES tenantry.tenant ON DELETE CASCADE,
    snapshot text NOT NULL,
    rows bigint NOT NULL,
    restored_at timestamptz NOT NULL DEFAULT now()
);
GRANT SELECT, INSERT ON tenantry.restored TO tenantry_provisioners;

-- What a deletion was told to leave behind because its backend is gone. Rows are for people: nothing removes them.
CREATE TABLE tenantry.orphan (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant text NOT NULL,
    uid uuid NOT NULL,
    backend text NOT NULL CHECK (backend IN ('postgres', 'redis', 'search')),
    what jsonb NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    by text NOT NULL
);
GRANT INSERT ON tenantry.orphan TO tenantry_provisioners;
