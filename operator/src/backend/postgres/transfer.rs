//! A tenant's rows on their way out and in: the statements, and the session that runs them.
//!
//! It is a session of the tenant's migrator: a cast, a policy or a trigger that an app's SQL planted runs in it.
//!
//! Rows travel as one JSON object a line. `COPY` in CSV with a quote and a delimiter that no JSON text holds sends a line as it
//! is; the text format would double its backslashes.

use bytes::Bytes;
use futures::stream::BoxStream;
use sqlx::AssertSqlSafe;
use tenantry_crds::names::{RelationKind, RelationName, TableName};
use tenantry_migrations::{
    layout::Column,
    sql::{Ident, Literal},
};

use super::{
    change::Identity,
    ddl,
    dial::{Connected, Owner},
};
use crate::{
    error::Error,
    killpoint::killpoint,
    snapshot::format::{ColumnStructure, PrimaryKey, Sequence, TableStructure},
};

const RAW: &str = "(FORMAT csv, QUOTE E'\\x01', DELIMITER E'\\x02')";
/// Where the lines of a table are before they become its rows. No document type can be called so.
const LINES: &str = "snapshot-lines";

/// A transaction that moves rows of one tenant, in a session of its migrator.
pub struct Transfer<'a> {
    connection: Connected<Owner>,
    tenant: &'a Identity,
}

impl<'a> Transfer<'a> {
    /// Opens a transaction in which all tables show the same moment, in which nobody writes: it waits for the writers that are
    /// there, so nothing that was acknowledged is missing.
    ///
    /// The tenant's role loses its rights before: a transaction that took the role while it was let in keeps the role, and what
    /// waits for our locks would otherwise be written behind the snapshot.
    ///
    /// # Errors
    /// When Postgres refuses, or a writer stays for longer than the lock timeout.
    pub async fn reading(mut connection: Connected<Owner>, tenant: &'a Identity) -> Result<Self, Error> {
        // The moment is that of the first query after the locks, not that of BEGIN.
        let tables = table_names(&mut connection, tenant).await?;
        let hidden = tables_that_hide_rows(&mut connection, tenant).await?;
        let mut transfer = Self { connection, tenant };
        let (schema, role) = (Ident(tenant.schema.as_str()), Ident(tenant.role.as_str()));
        for what in ["ALL TABLES IN SCHEMA", "ALL SEQUENCES IN SCHEMA", "SCHEMA"] {
            let revoke = format!("REVOKE ALL ON {what} {schema} FROM {role}");
            killpoint!("snapshot.revoke", transfer.run(revoke).await)?;
        }
        for table in &hidden {
            let table = transfer.qualified(table);
            transfer.run(format!("ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")).await?;
        }
        transfer.run("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY".to_owned()).await?;
        if !tables.is_empty() {
            let tables: Vec<String> = tables.iter().map(|table| transfer.qualified(table)).collect();
            transfer.run(format!("LOCK TABLE {} IN SHARE MODE", tables.join(", "))).await?;
        }
        Ok(transfer)
    }

    /// Opens a transaction that fills tables, and tells how Postgres counts it. Nothing of it is there before [`Self::commit`].
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn writing(
        connection: Connected<Owner>,
        tenant: &'a Identity,
    ) -> Result<(Self, String), Error> {
        let mut transfer = Self { connection, tenant };
        transfer.run("BEGIN".to_owned()).await?;
        let transaction = sqlx::query_scalar("SELECT pg_catalog.pg_current_xact_id()::text")
            .fetch_one(&mut *transfer.connection)
            .await
            .map_err(Error::database("beginning a restore"))?;
        Ok((transfer, transaction))
    }

    /// What the tables are made of, by name.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn structure(&mut self) -> Result<Vec<TableStructure>, Error> {
        let doing = "reading the structure of the tables";
        let columns: Vec<(String, String, String, bool)> = sqlx::query_as(
            "SELECT c.relname::text, a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull \
             FROM pg_catalog.pg_class c \
             JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
                  AND a.attgenerated = '' \
             WHERE c.relnamespace = $1::pg_catalog.regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition \
             ORDER BY c.relname COLLATE \"C\", a.attname COLLATE \"C\"",
        )
        .bind(Ident(self.tenant.schema.as_str()).to_string())
        .fetch_all(&mut *self.connection)
        .await
        .map_err(Error::database(doing))?;
        let keys: Vec<(String, String, Vec<String>)> = sqlx::query_as(
            "SELECT c.relname::text, k.conname::text, ARRAY( \
                 SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY AS p (attnum, at) \
                 JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = p.attnum ORDER BY p.at) \
             FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid \
             WHERE k.contype = 'p' AND c.relnamespace = $1::pg_catalog.regnamespace",
        )
        .bind(Ident(self.tenant.schema.as_str()).to_string())
        .fetch_all(&mut *self.connection)
        .await
        .map_err(Error::database(doing))?;
        let names = table_names(&mut self.connection, self.tenant).await?;
        Ok(names
            .into_iter()
            .map(|name| TableStructure {
                columns: columns
                    .iter()
                    .filter(|(table, ..)| *table == name)
                    .map(|(_, column, sql_type, not_null)| ColumnStructure {
                        name: column.clone(),
                        sql_type: sql_type.clone(),
                        not_null: *not_null,
                    })
                    .collect(),
                primary_key: keys
                    .iter()
                    .find(|(table, ..)| *table == name)
                    .map(|(_, name, columns)| PrimaryKey { name: name.clone(), columns: columns.clone() }),
                name,
            })
            .collect())
    }

    /// The sequences, by name.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn sequences(&mut self) -> Result<Vec<Sequence>, Error> {
        let doing = "reading the sequences";
        let names: Vec<String> = sqlx::query_scalar(
            "SELECT relname::text FROM pg_catalog.pg_class \
             WHERE relnamespace = $1::pg_catalog.regnamespace AND relkind = 'S' ORDER BY relname COLLATE \"C\"",
        )
        .bind(Ident(self.tenant.schema.as_str()).to_string())
        .fetch_all(&mut *self.connection)
        .await
        .map_err(Error::database(doing))?;
        let mut sequences = Vec::new();
        for name in names {
            let state = format!("SELECT last_value, is_called FROM {}", self.qualified(&name));
            let (last_value, is_called) = sqlx::query_as(AssertSqlSafe(state))
                .fetch_one(&mut *self.connection)
                .await
                .map_err(Error::database(doing))?;
            sequences.push(Sequence { name, last_value, is_called });
        }
        Ok(sequences)
    }

    /// The rows of a table as lines, in an order that depends on nothing but them.
    ///
    /// # Errors
    /// When Postgres refuses; the stream fails when it does so later.
    pub async fn rows(
        &mut self,
        table: &TableStructure,
    ) -> Result<BoxStream<'_, sqlx::Result<Bytes>>, Error> {
        let statement = format!("COPY ({}) TO STDOUT WITH {RAW}", self.lines_of(table));
        self.connection.copy_out_raw(&statement).await.map_err(Error::database("reading a table's rows"))
    }

    /// Makes a table with what its rows need.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn make_table(&mut self, table: &TableStructure) -> Result<(), Error> {
        let name = self.qualified(&table.name);
        self.run(format!("CREATE TABLE {name} ({})", columns(&table.columns))).await?;
        if let Some(key) = &table.primary_key {
            let columns: Vec<String> = key.columns.iter().map(|column| Ident(column).to_string()).collect();
            let constraint = Ident(&key.name);
            self.run(format!(
                "ALTER TABLE {name} ADD CONSTRAINT {constraint} PRIMARY KEY ({})",
                columns.join(", ")
            ))
            .await?;
        }
        Ok(())
    }

    /// Allows a column only the texts that its field has. The rows that are there are not looked at.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn add_check(&mut self, table: &TableName, column: &Column) -> Result<(), Error> {
        let check = ddl::check(&RelationName::of(table, &column.name, RelationKind::Check), column);
        let table = self.qualified(table.as_str());
        self.run(format!("ALTER TABLE {table} ADD{check} NOT VALID")).await
    }

    /// Fills a table with lines.
    ///
    /// # Errors
    /// When a part of `lines` is an error, or Postgres refuses a row.
    pub async fn fill(
        &mut self,
        table: &TableStructure,
        mut lines: BoxStream<'static, Result<Bytes, Error>>,
    ) -> Result<u64, Error> {
        use futures::StreamExt as _;
        let doing = "loading a table's rows";
        let staged = self.qualified(LINES);
        self.run(format!("CREATE UNLOGGED TABLE {staged} (line json NOT NULL)")).await?;
        let statement = format!("COPY {staged} (line) FROM STDIN WITH {RAW}");
        let mut copy = self.connection.copy_in_raw(&statement).await.map_err(Error::database(doing))?;
        while let Some(part) = lines.next().await {
            match part {
                Ok(part) => {
                    copy.send(part).await.map_err(Error::database(doing))?;
                }
                Err(error) => {
                    copy.abort("the snapshot cannot be read").await.map_err(Error::database(doing))?;
                    return Err(error);
                }
            }
        }
        copy.finish().await.map_err(Error::database(doing))?;
        let names: Vec<String> = table.columns.iter().map(|column| Ident(&column.name).to_string()).collect();
        let target = self.qualified(&table.name);
        let into = if names.is_empty() { String::new() } else { format!("({})", names.join(", ")) };
        let values: Vec<String> = names.iter().map(|name| format!("r.{name}")).collect();
        let insert = format!(
            "INSERT INTO {target} {into} OVERRIDING SYSTEM VALUE SELECT {} \
             FROM {staged} s, LATERAL pg_catalog.json_populate_record(NULL::{target}, s.line) r",
            values.join(", ")
        );
        let filled = sqlx::raw_sql(AssertSqlSafe(insert))
            .execute(&mut *self.connection)
            .await
            .map_err(Error::database(doing))?;
        self.run(format!("DROP TABLE {staged}")).await?;
        Ok(filled.rows_affected())
    }

    /// Makes a sequence that goes on where this one was.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn make_sequence(&mut self, sequence: &Sequence) -> Result<(), Error> {
        let name = self.qualified(&sequence.name);
        self.run(format!("CREATE SEQUENCE {name}")).await?;
        self.run(format!(
            "SELECT pg_catalog.setval({}, {}, {})",
            Literal(&name),
            sequence.last_value,
            sequence.is_called
        ))
        .await
    }

    /// Ends the transaction.
    ///
    /// # Errors
    /// When Postgres refuses: then nothing of it has happened, or its answer was lost.
    pub async fn commit(mut self) -> Result<(), Error> {
        self.run("COMMIT".to_owned()).await
    }

    /// Runs one statement.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn run(&mut self, statement: String) -> Result<(), Error> {
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(&mut *self.connection)
            .await
            .map(|_| ())
            .map_err(Error::database("moving a tenant's rows"))
    }

    fn lines_of(&self, table: &TableStructure) -> String {
        let columns: Vec<String> =
            table.columns.iter().map(|column| Ident(&column.name).to_string()).collect();
        let source = self.qualified(&table.name);
        // A `json` column keeps the line breaks it was given; outside of its strings, which have none, they mean nothing.
        let line = "pg_catalog.translate(pg_catalog.row_to_json(r)::text, E'\\n\\r', '  ')";
        let columns = columns.join(", ");
        match &table.primary_key {
            Some(key) => {
                let order: Vec<String> = key.columns.iter().map(|column| Ident(column).to_string()).collect();
                let order = order.join(", ");
                format!("SELECT {line} FROM (SELECT {columns} FROM {source} ORDER BY {order}) r")
            }
            None => format!(
                "SELECT l.line FROM (SELECT {line} AS line FROM (SELECT {columns} FROM {source}) r) l \
                 ORDER BY l.line COLLATE \"C\""
            ),
        }
    }

    fn qualified(&self, relation: &str) -> String {
        format!("{}.{}", Ident(self.tenant.schema.as_str()), Ident(relation))
    }
}

fn columns(columns: &[ColumnStructure]) -> String {
    let line = |column: &ColumnStructure| {
        let not_null = if column.not_null { " NOT NULL" } else { "" };
        format!("{} {}{not_null}", Ident(&column.name), column.sql_type)
    };
    columns.iter().map(line).collect::<Vec<_>>().join(", ")
}

async fn table_names(connection: &mut Connected<Owner>, tenant: &Identity) -> Result<Vec<String>, Error> {
    sqlx::query_scalar(
        "SELECT c.relname::text FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY c.relname COLLATE \"C\"",
    )
    .bind(tenant.schema.as_str())
    .fetch_all(&mut **connection)
    .await
    .map_err(Error::database("reading the names of the tables"))
}

/// Those whose policies hold for their owner, too.
async fn tables_that_hide_rows(
    connection: &mut Connected<Owner>,
    tenant: &Identity,
) -> Result<Vec<String>, Error> {
    sqlx::query_scalar(
        "SELECT c.relname::text FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = $1 AND c.relforcerowsecurity ORDER BY c.relname COLLATE \"C\"",
    )
    .bind(tenant.schema.as_str())
    .fetch_all(&mut **connection)
    .await
    .map_err(Error::database("looking for policies"))
}
