//! Moves bytes between one connection and its pipeline.

use std::{io, time::Duration};

use bytes::BytesMut;
use rand::RngExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
    task::yield_now,
    time::{Instant, MissedTickBehavior, interval},
};

use super::{
    connect::Connected,
    job::Job,
    pipeline::{Pace, Pipeline},
    wire,
};

/// A connection without work for this long is closed.
const IDLE: Duration = Duration::from_secs(60);
/// A server's process gathers memory for every table that it touches, so a connection is replaced after about this long.
const LIFETIME: Duration = Duration::from_secs(30 * 60);
/// A connection whose server owes the end of a group for this long is dead. A group on a lane ends within a second
/// (`share`), so the rest is time for a disk that is slow to commit.
const SILENCE: Duration = Duration::from_secs(20);
/// How often the limits above are looked at.
const TICK: Duration = Duration::from_secs(1);
/// Groups taken from the queue at once.
const TAKE: usize = 32;

/// Bytes of room for a read.
const READ: usize = 16 * 1024;

/// How a session ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// In good order: unused or old.
    Closed,
    /// Nobody can send groups any more.
    Abandoned,
    /// The connection broke; these groups can be sent on another one.
    Lost(io::Error, Vec<Job>),
}

/// Serves `queue` over one connection until the connection ends.
pub(super) async fn serve(
    connected: Connected,
    queue: &mut mpsc::Receiver<Job>,
    first: Vec<Job>,
    statements: usize,
    pace: Pace,
) -> Ended {
    let mut pipeline = Pipeline::new(statements, pace, Instant::now());
    for job in first {
        pipeline.push(job);
    }
    match run(connected, queue, &mut pipeline).await {
        Ok(ended) => ended,
        Err(error) => Ended::Lost(error, pipeline.into_unfinished()),
    }
}

async fn run(
    connected: Connected,
    queue: &mut mpsc::Receiver<Job>,
    pipeline: &mut Pipeline,
) -> io::Result<Ended> {
    let Connected { mut stream, rest: mut input, open: _open } = connected;
    let retire_at = Instant::now() + LIFETIME.mul_f64(rand::rng().random_range(0.9..1.1));
    let mut used_at = Instant::now();
    let mut abandoned = false;
    let mut taken = Vec::with_capacity(TAKE);
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut reader, mut writer) = stream.split();
    loop {
        let now = Instant::now();
        pipeline.pump(now)?;
        let retiring = now >= retire_at;
        if pipeline.is_idle() && (abandoned || retiring || now.duration_since(used_at) >= IDLE) {
            break;
        }
        if input.capacity() - input.len() < READ / 4 {
            input.reserve(READ);
        }
        // All that come are taken: how many there are is bounded for each tenant, and who is next is for the pipeline to say.
        let open = !abandoned && !retiring;
        tokio::select! {
            biased;
            read = reader.read_buf(&mut input) => {
                if read? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                pipeline.receive(&mut input, Instant::now())?;
            }
            wrote = writer.write_buf(&mut pipeline.out), if !pipeline.out.is_empty() => {
                wrote?;
            }
            count = queue.recv_many(&mut taken, TAKE), if open => {
                abandoned = count == 0;
                used_at = Instant::now();
                // Requests that are ready hand their groups in first: then one write takes all of them.
                yield_now().await;
                while taken.len() < TAKE && let Ok(job) = queue.try_recv() {
                    taken.push(job);
                }
                for job in taken.drain(..) {
                    pipeline.push(job);
                }
            }
            _ = ticks.tick() => {
                let now = Instant::now();
                pipeline.expire(now);
                if pipeline.silence(now) > SILENCE {
                    return Err(io::ErrorKind::TimedOut.into());
                }
            }
        }
    }
    let mut goodbye = BytesMut::new();
    wire::terminate(&mut goodbye);
    // The server closes the connection with or without it.
    drop(writer.write_all_buf(&mut goodbye).await);
    Ok(if abandoned { Ended::Abandoned } else { Ended::Closed })
}
