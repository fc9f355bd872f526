//! A connection that is asked again and again, for as long as the program runs.
//!
//! One that was dropped on the way without a word looks like a server that takes its time. So what takes longer than usual is asked on
//! another connection as well, and whichever answers first is the one in use from then on.

use std::{pin::pin, time::Duration};

use futures::future::BoxFuture;
use sqlx::PgConnection;
use tokio::time::{Instant, timeout};

use super::Login;
use crate::error::Chain;

/// How long an answer may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// After this, another connection is asked as well.
    pub(super) doubt: Duration,
    /// After this, the server is taken to be gone.
    pub(super) limit: Duration,
}

impl Patience {
    /// For a look that finds next to nothing.
    pub const LOOK: Self = Self { doubt: Duration::from_millis(250), limit: Duration::from_secs(5) };
    /// For all that there is.
    pub const ALL: Self = Self { doubt: Duration::from_secs(2), limit: Duration::from_secs(30) };
}

/// No connection answers.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// The server refuses, or the connection broke.
    #[error("the connection to Postgres")]
    Database(#[from] sqlx::Error),
    /// Nothing came.
    #[error("Postgres did not answer within {0:?}")]
    TooSlow(Duration),
}

/// The connection.
#[derive(Debug)]
pub struct Watch {
    login: Login,
    connection: PgConnection,
    renewed: bool,
}

impl Watch {
    /// Connects.
    ///
    /// # Errors
    /// When Postgres does not answer, or refuses.
    pub async fn begin(login: &Login) -> Result<Self, Lost> {
        let limit = Patience::LOOK.limit;
        let connection = timeout(limit, login.connect()).await.map_err(|_| Lost::TooSlow(limit))??;
        Ok(Self { login: login.clone(), connection, renewed: false })
    }

    /// Whether another connection took the place of the one before since the last time that this was asked. It may lead to
    /// another server, so what is known has to be read anew.
    pub fn was_renewed(&mut self) -> bool {
        std::mem::take(&mut self.renewed)
    }

    /// The answer to `question`, which may be asked twice.
    ///
    /// # Errors
    /// When no connection answers.
    pub async fn ask<T>(
        &mut self,
        patience: Patience,
        question: impl for<'c> Fn(&'c mut PgConnection) -> BoxFuture<'c, sqlx::Result<T>>,
    ) -> Result<T, Lost> {
        let Patience { doubt, limit } = patience;
        let (login, began) = (&self.login, Instant::now());
        let (connection, answer) = {
            let mut first = pin!(timeout(limit, question(&mut self.connection)));
            if let Ok(answer) = timeout(doubt, first.as_mut()).await {
                return Ok(answer.map_err(|_| Lost::TooSlow(limit))??);
            }
            let second = async {
                let mut connection = login.connect().await?;
                let answer = question(&mut connection).await?;
                Ok::<_, sqlx::Error>((connection, answer))
            };
            tokio::select! {
                answer = first => return Ok(answer.map_err(|_| Lost::TooSlow(limit))??),
                // One that fails says nothing of the one that is waited for.
                Ok(second) = second => second,
            }
        };
        let silent = Chain(&Lost::TooSlow(began.elapsed())).to_string();
        tracing::warn!(cause = silent, "a connection that does not answer was replaced");
        self.connection = connection;
        self.renewed = true;
        Ok(answer)
    }
}
