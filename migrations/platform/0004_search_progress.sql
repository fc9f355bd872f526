-- Which indexes have the documents that were there before them. The worker's own record, unlike the rows it refers to: it goes
-- with them, so an index that is made again is filled again.
CREATE TABLE tenantry.search_progress (
    tenant text NOT NULL,
    app text NOT NULL,
    doc_type text NOT NULL,
    index_uid text NOT NULL,
    backfilled_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, app, doc_type),
    FOREIGN KEY (tenant, app, doc_type) REFERENCES tenantry.search_binding ON DELETE CASCADE
);
GRANT SELECT, INSERT, UPDATE, DELETE ON tenantry.search_progress TO tenantry_controlplane;
