//! Connections for what takes longer than a lane has time for. Each holds one request at a time, so it can be cancelled, and what
//! was answered with a time-out does not go on running.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::{Instant, sleep_until, timeout, timeout_at},
};

use super::{
    connect::Connected,
    dial::{CancelKey, Class, Dialler},
    error::DatabaseError,
    job::{Job, Outcome},
    pipeline::Pipeline,
    wire,
};
use crate::error::Chain;

/// How long an idle connection is kept.
const IDLE: Duration = Duration::from_secs(5);
/// How long a statement may go on after it was cancelled, before its connection is closed.
const CANCELLED: Duration = Duration::from_secs(2);
/// Prepared statements that such a connection keeps. It does not live for long.
const STATEMENTS: usize = 50;

/// The connections for slow statements of an instance.
#[derive(Debug)]
pub(super) struct Slow {
    dialler: Arc<Dialler>,
    places: Arc<Semaphore>,
    /// The ways to idle connections. One whose connection has ended is closed.
    idle: Mutex<HashMap<Class, Vec<oneshot::Sender<Errand>>>>,
}

/// A place for a slow statement, among its tenant's and among all.
#[derive(Debug)]
pub(super) struct Place {
    _of_tenant: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

/// A request and who waits for it.
#[derive(Debug)]
struct Errand {
    job: Job,
    answer: oneshot::Receiver<Outcome>,
    caller: oneshot::Sender<Outcome>,
    /// When it is cancelled.
    until: Instant,
    place: Place,
}

/// What became of a connection.
enum Carried {
    /// It can take the next request when this one was handed on.
    Usable(Box<Session>, Box<Done>),
    /// It was closed.
    Ended,
    /// It broke, and the request can be sent on another one.
    Unfinished(Box<Errand>),
}

impl Slow {
    /// No connection is opened yet.
    pub fn new(dialler: Arc<Dialler>, places: usize) -> Arc<Self> {
        Arc::new(Self { dialler, places: Arc::new(Semaphore::new(places.max(1))), idle: Mutex::default() })
    }

    /// A place, as soon as there is one, until `deadline`. `of_tenant` are the tenant's.
    pub async fn place(&self, of_tenant: &Arc<Semaphore>, deadline: Instant) -> Option<Place> {
        // The tenant's first: so no more of one tenant wait for the others' than it could use.
        let of_tenant = timeout_at(deadline, Arc::clone(of_tenant).acquire_owned()).await.ok()?.ok()?;
        let of_all = timeout_at(deadline, Arc::clone(&self.places).acquire_owned()).await.ok()?.ok()?;
        Some(Place { _of_tenant: of_tenant, _of_all: of_all })
    }

    /// Runs `job` in a connection of `class`. It is cancelled when its caller has gone, or at `until`.
    pub fn run(self: &Arc<Self>, class: Class, mut job: Job, place: Place, until: Instant) {
        let (reply, answer) = oneshot::channel();
        let caller = std::mem::replace(&mut job.reply, reply);
        let mut errand = Errand { job, answer, caller, until, place };
        while let Some(connection) = self.take_idle(&class) {
            match connection.send(errand) {
                Ok(()) => return,
                Err(unsent) => errand = unsent,
            }
        }
        self.make_room();
        tokio::spawn(serve(Arc::clone(self), class, errand));
    }

    /// Carries out requests in one connection for as long as they come. Yields the one that it broke under.
    async fn keep(&self, mut session: Session, mut errand: Errand, class: &Class) -> Option<Errand> {
        loop {
            let (usable, done) = match session.carry(errand, &self.dialler).await {
                Carried::Usable(session, done) => (*session, done),
                Carried::Ended => return None,
                Carried::Unfinished(errand) => return Some(*errand),
            };
            session = usable;
            match self.rest(class, &session.connected.stream, *done).await {
                Some(next) => errand = next,
                None => {
                    session.say_goodbye().await;
                    return None;
                }
            }
        }
    }

    fn take_idle(&self, class: &Class) -> Option<oneshot::Sender<Errand>> {
        self.idle().get_mut(class)?.pop()
    }

    /// Closes idle connections, of any class, so that with one more there are no more than places. Whoever asks has a place, whose
    /// connection is not opened yet.
    fn make_room(&self) {
        let mut idle = self.idle();
        let mut too_many =
            idle.values().map(Vec::len).sum::<usize>().saturating_sub(self.places.available_permits());
        for ways in idle.values_mut() {
            let closed = too_many.min(ways.len());
            ways.truncate(ways.len() - closed);
            too_many -= closed;
        }
    }

    /// The ways to idle connections that are still open.
    fn idle(&self) -> MutexGuard<'_, HashMap<Class, Vec<oneshot::Sender<Errand>>>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|_, ways| {
            ways.retain(|way| !way.is_closed());
            !ways.is_empty()
        });
        idle
    }

    /// Waits for the next request of the same class. Whoever waits for the place of what is `done` finds the connection, too.
    async fn rest(&self, class: &Class, stream: &TcpStream, done: Done) -> Option<Errand> {
        let (sender, mut next) = oneshot::channel();
        self.idle().entry(class.clone()).or_default().push(sender);
        done.pass_on();
        let errand = tokio::select! {
            errand = &mut next => errand.ok(),
            // Nothing is asked, so nothing can be answered: the server closes it, or has something to say that nobody wants.
            () = spoken(stream) => None,
            () = tokio::time::sleep(IDLE) => None,
        };
        // One that was handed over at this moment is not lost.
        next.close();
        errand.or_else(|| next.try_recv().ok())
    }
}

async fn spoken(stream: &TcpStream) {
    // Readiness can be that of what was read before.
    while stream.readable().await.is_ok() {
        let mut byte = [0];
        match stream.try_read(&mut byte) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            _ => return,
        }
    }
}

/// Carries `errand` out, and what comes after it.
async fn serve(slow: Arc<Slow>, class: Class, mut errand: Errand) {
    loop {
        let session = match slow.dialler.alone(&class).await {
            Ok((connected, key)) => {
                let pace = slow.dialler.unhurried(&class);
                Session { connected, key, pipeline: Pipeline::new(STATEMENTS, pace, Instant::now()) }
            }
            Err(error) => {
                tracing::warn!(login = %class.login(), error = %Chain(&error), "cannot connect to Postgres");
                errand.refuse(class.is_dedicated() && error.is_not_let_in());
                return;
            }
        };
        match slow.keep(session, errand, &class).await {
            Some(unfinished) => errand = unfinished,
            None => return,
        }
    }
}

impl Errand {
    /// Nothing ran: there is no connection.
    fn refuse(self, not_let_in: bool) {
        let Self { job, answer, caller, place, .. } = self;
        if not_let_in {
            job.not_let_in(DatabaseError::Unavailable);
        } else {
            job.finish(Err(DatabaseError::Unavailable));
        }
        Done { answer, caller, place }.pass_on();
    }
}

/// What is left to do for a request that came to its end.
struct Done {
    answer: oneshot::Receiver<Outcome>,
    caller: oneshot::Sender<Outcome>,
    place: Place,
}

impl Done {
    /// Gives the place back and hands the outcome on, in this order: a caller that comes again finds the place.
    fn pass_on(mut self) {
        drop(self.place);
        if let Ok(outcome) = self.answer.try_recv() {
            drop(self.caller.send(outcome));
        }
    }
}

/// A connection with one request, or none.
struct Session {
    connected: Connected,
    key: CancelKey,
    pipeline: Pipeline,
}

impl Session {
    async fn carry(mut self, errand: Errand, dialler: &Dialler) -> Carried {
        let Errand { mut job, answer, mut caller, until, place } = errand;
        // From here on it is `until` that counts.
        job.deadline = until;
        self.pipeline.push(job);
        match self.exchange(&mut caller, until, dialler).await {
            Ok(true) => {
                return Carried::Usable(Box::new(self), Box::new(Done { answer, caller, place }));
            }
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "lost a connection for slow statements");
                match self.pipeline.into_unfinished().pop() {
                    Some(job) if job.is_due(Instant::now()) && !caller.is_closed() => {
                        return Carried::Unfinished(Box::new(Errand { job, answer, caller, until, place }));
                    }
                    Some(job) => job.finish(Err(DatabaseError::Expired)),
                    None => {}
                }
            }
        }
        Done { answer, caller, place }.pass_on();
        Carried::Ended
    }

    /// Carries out what was pushed. Yields whether the connection can be used again.
    async fn exchange(
        &mut self,
        caller: &mut oneshot::Sender<Outcome>,
        until: Instant,
        dialler: &Dialler,
    ) -> io::Result<bool> {
        let Connected { stream, rest: input, .. } = &mut self.connected;
        let (mut reader, mut writer) = stream.split();
        // After a cancellation the connection is not used again: it could come late and meet the next request.
        let mut given_up = None;
        loop {
            self.pipeline.pump(Instant::now())?;
            if self.pipeline.is_idle() {
                return Ok(given_up.is_none());
            }
            tokio::select! {
                biased;
                read = reader.read_buf(input) => {
                    if read? == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    self.pipeline.receive(input, Instant::now())?;
                    continue;
                }
                wrote = writer.write_buf(&mut self.pipeline.out), if !self.pipeline.out.is_empty() => {
                    wrote?;
                    continue;
                }
                () = caller.closed(), if given_up.is_none() => {}
                () = sleep_until(until), if given_up.is_none() => {}
                () = sleep_until(given_up.unwrap_or(until)), if given_up.is_some() => {
                    return Err(io::ErrorKind::TimedOut.into());
                }
            }
            given_up = Some(Instant::now() + CANCELLED);
            // A commit is left to end: its outcome counts, if only for whoever looks later.
            if !self.pipeline.is_committing() {
                dialler.cancel(&self.key).await?;
            }
        }
    }

    async fn say_goodbye(mut self) {
        let mut goodbye = BytesMut::new();
        wire::terminate(&mut goodbye);
        // The server closes the connection with or without it.
        drop(timeout(IDLE, self.connected.stream.write_all_buf(&mut goodbye)).await);
    }
}
