//! Opens a connection: start-up, SCRAM, and the statements that every group uses.

use std::io;

use bytes::BytesMut;
use postgres_protocol::{
    authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256},
    message::{
        backend::{ERROR_RESPONSE_TAG, Header, Message},
        frontend,
    },
};
use secrecy::{ExposeSecret, SecretString};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    begin::PREPARED,
    error::{ServerError, SqlState},
    metrics::Open,
    wire::{self, Answer, Decoder},
};

/// Bytes of one message of a start-up. A login's own settings can make the server say something about each of them.
const MAX_MESSAGE: i32 = 64 * 1024;

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

impl ConnectError {
    /// Whether the server is there and does not let this login in: it does not exist, may not log in, or has another password.
    pub fn is_not_let_in(&self) -> bool {
        matches!(self, Self::Refused(error) if error.state.class() == "28"
            || matches!(error.state, SqlState::UNDEFINED_DATABASE | SqlState::INSUFFICIENT_PRIVILEGE))
    }
}

/// A connection that is ready for groups.
pub(super) struct Connected {
    pub stream: TcpStream,
    /// Bytes that came after the start-up.
    pub rest: BytesMut,
    /// Counts it while it is there.
    pub open: Open,
}

/// What the server wants to see of whoever asks it to end what a session works on.
#[derive(Debug, Clone, Copy)]
pub(super) struct SessionKey {
    pub process: i32,
    pub secret: i32,
}

/// Begins a session on `stream`. The caller bounds the time.
pub(super) async fn open(
    stream: TcpStream,
    settings: &[(&str, &str)],
    password: &SecretString,
    open: Open,
) -> Result<(Connected, Option<SessionKey>), ConnectError> {
    let mut start =
        Startup { stream, input: BytesMut::with_capacity(16 * 1024), output: BytesMut::new(), key: None };
    frontend::startup_message(settings.iter().copied(), &mut start.output)?;
    start.authenticate(password).await?;
    start.until_ready().await?;
    for (name, sql) in PREPARED {
        wire::parse(&mut start.output, name, sql)?;
    }
    wire::sync(&mut start.output);
    start.until_ready().await?;
    Ok((Connected { stream: start.stream, rest: start.input, open }, start.key))
}

struct Startup {
    stream: TcpStream,
    input: BytesMut,
    output: BytesMut,
    key: Option<SessionKey>,
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
                Message::BackendKeyData(body) => {
                    self.key = Some(SessionKey { process: body.process_id(), secret: body.secret_key() });
                }
                Message::ParameterStatus(_) | Message::ParseComplete => {}
                _ => return Err(ConnectError::Protocol),
            }
        }
    }

    /// Sends what is to be sent and takes the next message.
    async fn next(&mut self) -> Result<Message, ConnectError> {
        self.stream.write_all_buf(&mut self.output).await?;
        loop {
            if self.input.first() == Some(&ERROR_RESPONSE_TAG)
                && let Some(Answer::Error(body)) = Decoder::default().next(&mut self.input)?
            {
                return Err(ConnectError::Refused(ServerError::parse(&body)));
            }
            if Header::parse(&self.input)?.is_some_and(|header| header.len() > MAX_MESSAGE) {
                return Err(ConnectError::Protocol);
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
