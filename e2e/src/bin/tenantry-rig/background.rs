//! `up` and `down`: a stack in the background, known by the files in its folder.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tenantry_e2e::checkout::{apply_samples, samples_are_ready};
use tenantry_rig::process::tail;
use tenantry_rig::toolchain::Toolchain;
use tenantry_rig::{RigError, eventually};
use tokio::signal::unix::{SignalKind, signal};

use crate::{Lifetime, What};

/// How long the background process may take to start everything; the tools are there before it starts.
const START_LIMIT: Duration = Duration::from_secs(180);

/// How often a stack looks whether the process is there that it is for.
const LOOK: Duration = Duration::from_millis(500);

struct Files {
    env: PathBuf,
    pid: PathBuf,
    log: PathBuf,
}

impl Files {
    fn of(folder: &Path) -> Self {
        Self { env: folder.join("env"), pid: folder.join("pid"), log: folder.join("log") }
    }

    /// The background process, when it is still there.
    fn holder(&self) -> Option<Pid> {
        let pid: i32 = std::fs::read_to_string(&self.pid).ok()?.trim().parse().ok()?;
        // The id may belong to a stranger by now: only a process that is this program counts.
        let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let mut arguments = arguments.split(|byte| *byte == 0);
        let program = arguments.next()?;
        (program.ends_with(b"tenantry-rig") && arguments.next()? == b"hold")
            .then(|| Pid::from_raw(pid))
            .flatten()
    }

    fn remove(&self) -> Result<(), RigError> {
        for file in [&self.env, &self.pid] {
            match std::fs::remove_file(file) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(RigError::io("removing", file)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

pub async fn up(folder: &Path, what: What, lifetime: Lifetime) -> Result<ExitCode, RigError> {
    std::fs::create_dir_all(folder).map_err(RigError::io("creating", folder))?;
    let files = Files::of(folder);
    if files.holder().is_some() {
        eprintln!("rig: it runs already; its env file is {}", files.env.display());
        return Ok(ExitCode::SUCCESS);
    }
    files.remove()?;
    // Here and not in the background, so that the user sees the progress.
    Toolchain::ensure().await?;

    let failed = |source| RigError::Spawn { name: "the background process".to_owned(), source };
    let program = std::env::current_exe().map_err(failed)?;
    let log = File::create(&files.log).map_err(RigError::io("creating", &files.log))?;
    let errors = log.try_clone().map_err(RigError::io("opening", &files.log))?;
    let mut child = Command::new(program)
        .args(["hold", "--folder"])
        .arg(folder)
        .args(what.stack_only.then_some("--stack-only"))
        .args(what.durable.then_some("--durable"))
        .args(lifetime.until.map(|process| format!("--until={process}")))
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        // Its own group: a Ctrl-C in this terminal is not meant for it.
        .process_group(0)
        .spawn()
        .map_err(failed)?;
    std::fs::write(&files.pid, format!("{}\n", child.id())).map_err(RigError::io("writing", &files.pid))?;

    let started = eventually("the stack in the background is up", START_LIMIT, || {
        let state = match child.try_wait() {
            Ok(Some(status)) => Ok(Err(status)),
            _ if files.env.exists() => Ok(Ok(())),
            _ => Err("starting"),
        };
        async move { state }
    });
    let interrupted = async {
        // Without a handler for Ctrl-C this process ends by it, and `down` stops the rest.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let outcome = tokio::select! {
        started = started => started,
        () = interrupted => Err(RigError::Refused("interrupted".to_owned())),
    };
    match outcome {
        Ok(Ok(())) => {
            eprintln!("rig: up; use it with `. {}`, stop it with `make down`", files.env.display());
            Ok(ExitCode::SUCCESS)
        }
        Ok(Err(_)) => {
            files.remove()?;
            eprintln!("{}", tail(&files.log, 40));
            Ok(ExitCode::FAILURE)
        }
        Err(error) => {
            down(folder).await?;
            Err(error)
        }
    }
}

pub async fn hold(folder: &Path, what: What, lifetime: Lifetime) -> Result<ExitCode, RigError> {
    let files = Files::of(folder);
    let failed = |source| RigError::Spawn { name: "the signal handlers".to_owned(), source };
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    // The terminal may close: that is no reason to stop.
    let _hangup = signal(SignalKind::hangup()).map_err(failed)?;
    let mut bereft = pin!(lifetime.ended());
    let work = async {
        let started = what.start().await?;
        if !what.stack_only {
            let endpoints = started.endpoints();
            let ready = async {
                apply_samples(endpoints).await?;
                samples_are_ready(endpoints).await
            };
            ready.await.inspect_err(|_| started.keep_logs())?;
        }
        started.endpoints().write(&files.env)?;
        Ok::<_, RigError>(started)
    };
    let started = tokio::select! {
        started = work => Some(started?),
        _ = interrupt.recv() => None,
        _ = terminate.recv() => None,
        () = &mut bereft => None,
    };
    if started.is_some() {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            () = &mut bereft => {}
        }
    }
    drop(started);
    files.remove()?;
    Ok(ExitCode::SUCCESS)
}

impl Lifetime {
    /// Waits for the end of the process that the stack is for; for ever when there is none.
    async fn ended(self) {
        let Some(process) = self.until else { return std::future::pending().await };
        let entry = PathBuf::from(format!("/proc/{process}"));
        // It is nobody's parent or child, so it can only be looked for.
        while entry.exists() {
            tokio::time::sleep(LOOK).await;
        }
    }
}

pub async fn down(folder: &Path) -> Result<ExitCode, RigError> {
    let files = Files::of(folder);
    match files.holder() {
        None => eprintln!("rig: nothing runs"),
        Some(holder) => {
            // Errors mean that it has just ended.
            let _ = kill_process(holder, Signal::TERM);
            let gone = async || if files.holder().is_none() { Ok(()) } else { Err("still running") };
            if eventually("the stack stops", Duration::from_secs(30), gone).await.is_err() {
                // Its watchdogs end whatever it leaves behind.
                let _ = kill_process(holder, Signal::KILL);
                eventually("the stack is gone", Duration::from_secs(10), gone).await?;
            }
            eprintln!("rig: down");
        }
    }
    files.remove()?;
    Ok(ExitCode::SUCCESS)
}
