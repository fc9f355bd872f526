//! Opens a connection: start-up, SCRAM, and the statements that every group uses.

use std::{io, time::Duration};

use bytes::BytesMut;
use postgres_protocol::{
    authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256},
    message::{
        backend::{ERROR_RESPONSE_TAG, Message},
        frontend,
    },
};
use secrecy::{ExposeSecret, SecretString};
use tenantry_migrations::logins::LoginName;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    Address,
    error::ServerError,
    pipeline::PREPARED,
    wire::{self, Answer},
};

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("talking to the server")]
    Io(#[from] io::Error),
    #[error("the server refused the login")]
    Refused(#[source] ServerError),
    #[error("the server asks for an authentication other than SCRAM-SHA-256")]
    Authentication,
    #[error("the server sent a message that does not belong into a start-up")]
    Protocol,
}

/// A connection that is ready for groups.
pub(super) struct Connected {
    pub stream: TcpStream,
    /// Bytes that came after the start-up.
    pub rest: BytesMut,
}

/// Opens a connection. Whoever calls bounds the time.
pub(super) async fn open(
    address: &Address,
    login: &LoginName,
    password: &SecretString,
    statement_timeout: Duration,
) -> Result<Connected, ConnectError> {
    let stream = TcpStream::connect((address.host.as_str(), address.port)).await?;
    // A group is one write, so there is nothing to gather.
    stream.set_nodelay(true)?;
    let mut start = Startup { stream, input: BytesMut::with_capacity(16 * 1024), output: BytesMut::new() };
    frontend::startup_message(
        [
            ("user", login.as_str()),
            ("database", address.database.as_str()),
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
            ("statement_timeout", &statement_timeout.as_millis().to_string()),
        ],
        &mut start.output,
    )?;
    start.authenticate(password).await?;
    start.until_ready().await?;
    for (name, sql) in PREPARED {
        wire::parse(&mut start.output, name, sql)?;
    }
    wire::sync(&mut start.output);
    start.until_ready().await?;
    Ok(Connected { stream: start.stream, rest: start.input })
}

struct Startup {
    stream: TcpStream,
    input: BytesMut,
    output: BytesMut,
}

impl Startup {
    async fn authenticate(&mut self, password: &SecretString) -> Result<(), ConnectError> {
        let mut scram = match self.next().await? {
            Message::AuthenticationOk => return Ok(()),
            // Without TLS the one mechanism there is.
            Message::AuthenticationSasl(_) => {
                ScramSha256::new(password.expose_secret().as_bytes(), ChannelBinding::unsupported())
            }
            _ => return Err(ConnectError::Authentication),
        };
        frontend::sasl_initial_response(SCRAM_SHA_256, scram.message(), &mut self.output)?;
        let Message::AuthenticationSaslContinue(body) = self.next().await? else {
            return Err(ConnectError::Protocol);
        };
        scram.update(body.data())?;
        frontend::sasl_response(scram.message(), &mut self.output)?;
        let Message::AuthenticationSaslFinal(body) = self.next().await? else {
            return Err(ConnectError::Protocol);
        };
        // The server proves here that it knows the password, too.
        scram.finish(body.data())?;
        match self.next().await? {
            Message::AuthenticationOk => Ok(()),
            _ => Err(ConnectError::Protocol),
        }
    }

    async fn until_ready(&mut self) -> Result<(), ConnectError> {
        loop {
            match self.next().await? {
                Message::ReadyForQuery(_) => return Ok(()),
                Message::ParameterStatus(_) | Message::BackendKeyData(_) | Message::ParseComplete => {}
                _ => return Err(ConnectError::Protocol),
            }
        }
    }

    /// Sends what is to be sent and takes the next message.
    async fn next(&mut self) -> Result<Message, ConnectError> {
        self.stream.write_all_buf(&mut self.output).await?;
        loop {
            if self.input.first() == Some(&ERROR_RESPONSE_TAG)
                && let Some(Answer::Error(body)) = wire::decode(&mut self.input)?
            {
                return Err(ConnectError::Refused(ServerError::parse(&body)));
            }
            match Message::parse(&mut self.input)? {
                Some(Message::NoticeResponse(_)) => {}
                Some(message) => return Ok(message),
                None if self.stream.read_buf(&mut self.input).await? == 0 => {
                    return Err(ConnectError::Io(io::ErrorKind::UnexpectedEof.into()));
                }
                None => {}
            }
        }
    }
}
