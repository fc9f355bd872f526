//! Makes every connection of tenants' traffic, each for a class.

use std::{io, time::Duration};

use tenantry_crds::names::TrafficLogin;
use tenantry_migrations::logins::{LoginKey, LoginName, LoginShard};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{
    Address, DatabaseMetrics,
    connect::{self, ConnectError, Connected, SessionKey},
    metrics::Use,
    pipeline::Pace,
    wire,
};

/// How long opening a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long asking for a cancellation may take.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a statement in a connection for slow ones may wait for a lock. Below every timeout of a statement that gets there with
/// the default settings, so that the answer says what it waited for.
const SLOW_LOCK_TIMEOUT: Duration = Duration::from_secs(2);
/// Milliseconds between two looks of a server process at its client while a statement runs. What its client has left it ends,
/// whatever the code in it makes of a cancellation.
const CLIENT_CHECK: &str = "2000";

/// What every session relies on. A login can have settings of its own, and the tenant's login can give itself any; what is in the
/// startup packet comes before those.
const SETTINGS: [(&str, &str); 17] = [
    ("application_name", "tenantry-controlplane"),
    ("client_encoding", "UTF8"),
    // Text forms must be the same for every server: they become JSON.
    ("TimeZone", "UTC"),
    ("DateStyle", "ISO, YMD"),
    ("IntervalStyle", "iso_8601"),
    ("extra_float_digits", "1"),
    ("bytea_output", "hex"),
    // Fixed, because another path would make every cached statement be planned again.
    ("search_path", "pg_catalog"),
    // A group sets the role itself, and is refused where the login may not.
    ("role", "none"),
    // A group is one transaction, acknowledged when it is on disk.
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_read_only", "off"),
    ("synchronous_commit", "on"),
    ("plan_cache_mode", "auto"),
    // How statements are read.
    ("standard_conforming_strings", "on"),
    ("transform_null_equals", "off"),
    // With `off`, a journal's policy is an error instead of a filter.
    ("row_security", "on"),
    // Nobody reads notices.
    ("client_min_messages", "error"),
];

/// Whose login a connection has, and so whom it may serve.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Class {
    /// That of a shard, which may become each of the shard's tenants. None of them can have code that runs in it.
    Shared(LoginShard),
    /// That of one tenant, whose code may run in it.
    Dedicated(TrafficLogin),
}

impl Class {
    pub fn login(&self) -> LoginName {
        match self {
            Self::Shared(shard) => shard.traffic(),
            Self::Dedicated(login) => LoginName::of_tenant(login),
        }
    }

    pub fn is_dedicated(&self) -> bool {
        matches!(self, Self::Dedicated(_))
    }

    /// As metrics name it.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Shared(_) => "shared",
            Self::Dedicated(_) => "dedicated",
        }
    }
}

/// Makes connections.
#[derive(Debug)]
pub(super) struct Dialler {
    pub address: Address,
    pub key: LoginKey,
    /// How long the server may work on a statement on a lane.
    pub slice: Duration,
    /// How long it may work on one in a connection for slow statements.
    pub statement_timeout: Duration,
    pub metrics: DatabaseMetrics,
}

/// The right to cancel what a connection works on. Only a connection that holds one request has it: on a lane, a cancellation
/// could meet a neighbour's group.
#[derive(Debug)]
pub(super) struct CancelKey(SessionKey);

impl Dialler {
    /// How lanes of this class divide their time.
    pub fn pace(&self, class: &Class) -> Pace {
        Pace::Slices { slice: milliseconds(self.slice), always_set: class.is_dedicated() }
    }

    /// How a connection for slow statements does.
    pub fn unhurried(&self, class: &Class) -> Pace {
        let set = class.is_dedicated().then_some(milliseconds(self.statement_timeout));
        Pace::Unhurried { set }
    }

    /// A connection for a lane.
    pub async fn lane(&self, class: &Class) -> Result<Connected, ConnectError> {
        // A lane does not wait for a lock longer than it works on anything.
        let (connected, _) = self.open(class, Use::Lane, self.slice, self.slice).await?;
        Ok(connected)
    }

    /// A connection for one request at a time.
    pub async fn alone(&self, class: &Class) -> Result<(Connected, CancelKey), ConnectError> {
        let lock_timeout = SLOW_LOCK_TIMEOUT.min(self.statement_timeout);
        let opened = self.open(class, Use::Slow, self.statement_timeout, lock_timeout).await?;
        let (connected, Some(key)) = opened else { return Err(ConnectError::Protocol) };
        Ok((connected, CancelKey(key)))
    }

    /// Asks the server to cancel what the connection of `key` works on. It has been told to when this ends without an error.
    pub async fn cancel(&self, key: &CancelKey) -> io::Result<()> {
        let asking = async {
            let mut stream = self.reach().await?;
            stream.write_all(&wire::cancel(key.0.process, key.0.secret)).await?;
            // The server answers nothing. It closes the connection when it has passed the request on.
            stream.read(&mut [0]).await.map(drop)
        };
        timeout(CANCEL_TIMEOUT, asking).await?
    }

    async fn reach(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect((self.address.host.as_str(), self.address.port)).await?;
        // A group is one write, so there is nothing to gather.
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    async fn open(
        &self,
        class: &Class,
        purpose: Use,
        statement_timeout: Duration,
        lock_timeout: Duration,
    ) -> Result<(Connected, Option<SessionKey>), ConnectError> {
        let login = class.login();
        let password = self.key.password(&login);
        let statement_timeout = milliseconds(statement_timeout).to_string();
        let lock_timeout = milliseconds(lock_timeout).to_string();
        let mut settings = Vec::with_capacity(SETTINGS.len() + 5);
        settings.extend([
            ("user", login.as_str()),
            ("database", self.address.database.as_str()),
            ("statement_timeout", &statement_timeout),
            ("lock_timeout", &lock_timeout),
        ]);
        settings.extend(SETTINGS);
        if class.is_dedicated() || purpose == Use::Slow {
            settings.push(("client_connection_check_interval", CLIENT_CHECK));
        }
        let open = self.metrics.opened(class.label(), purpose);
        let opening = async { connect::open(self.reach().await?, &settings, &password, open).await };
        let opened = timeout(CONNECT_TIMEOUT, opening)
            .await
            .unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()));
        if opened.is_err() {
            self.metrics.failed.inc();
        }
        opened
    }
}

fn milliseconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
