//! The epoch: the fence in Postgres behind the Lease.

use sqlx::{PgPool, Postgres, Transaction};

use crate::{error::Error, killpoint::killpoint};

/// Opens the next epoch and says which it is. From then on every transaction of an older leader fails.
///
/// Waits for the transactions that the older leader has under way, whose statement and idle timeouts bound them; the lease must
/// be renewed meanwhile.
///
/// # Errors
/// When Postgres fails.
pub async fn open(database: &PgPool, holder: &str) -> Result<i64, Error> {
    let opened = sqlx::query_scalar(
        "UPDATE tenantry.leader_epoch SET epoch = epoch + 1, holder = $1, since = now() RETURNING epoch",
    )
    .bind(holder)
    .fetch_one(database);
    killpoint!("epoch.open", opened.await).map_err(Error::database("opening an epoch"))
}

/// A transaction that only the leader of `epoch` can commit.
///
/// # Errors
/// [`Error::Fenced`] when a newer epoch is open.
pub async fn fenced(database: &PgPool, epoch: i64) -> Result<Transaction<'static, Postgres>, Error> {
    let doing = "opening a fenced transaction";
    let mut transaction = database.begin().await.map_err(Error::database(doing))?;
    sqlx::query("SELECT tenantry.fence($1)")
        .bind(epoch)
        .execute(&mut *transaction)
        .await
        .map_err(Error::database(doing))?;
    Ok(transaction)
}
