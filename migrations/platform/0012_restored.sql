-- The tables of a restore are filled by a login that can reach nothing of the registry, so what the registry says of it has a
-- transaction of its own. A row is written before the tables are committed, with their transaction; whether that one was,
-- Postgres knows after any crash. Absent once the registry knows what the tables are at.
ALTER TABLE tenantry.restored ADD COLUMN transaction xid8;
GRANT UPDATE ON tenantry.restored TO tenantry_provisioners;
