use std::fs::{DirBuilder, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError, Weak};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use super::{Identity, Launch, Process};
use crate::RigError;

/// A scratch folder with the child processes that live in it.
///
/// Guarantee: when the sandbox is dropped, or this process ends in any way (return, panic, signal, SIGKILL), a
/// watchdog ends every child and removes the folder. After a panic anywhere in this process, or [`Sandbox::keep`], the
/// `logs` folder stays.
#[derive(Debug)]
pub struct Sandbox {
    folder: PathBuf,
    line: Arc<Line>,
    watchdog: Mutex<Child>,
    processes: Mutex<Vec<Arc<Process>>>,
}

/// The pipe to the watchdog. Its closing is what ends the children.
#[derive(Debug)]
struct Line {
    pipe: Mutex<Option<ChildStdin>>,
    logs: PathBuf,
    kept: AtomicBool,
}

impl Sandbox {
    /// A new empty folder `tenantry-{label}-*` under `parent` (the system's temporary folder by default).
    pub fn create(label: &str, parent: Option<&Path>) -> Result<Self, RigError> {
        let folder = unused_folder(label, parent.unwrap_or(&std::env::temp_dir()))?;
        let logs = folder.join("logs");
        make_folder(&logs)?;
        let mut watchdog = Command::new("/bin/sh")
            .args(["-c", include_str!("watchdog.sh"), "tenantry-rig-watchdog"])
            .arg(&folder)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(|source| RigError::Spawn { name: "the watchdog".to_owned(), source })?;
        let pipe = Mutex::new(watchdog.stdin.take());
        let line = Arc::new(Line { pipe, logs, kept: AtomicBool::new(false) });
        keep_on_panic(&line);
        Ok(Self { folder, line, watchdog: Mutex::new(watchdog), processes: Mutex::new(Vec::new()) })
    }

    /// The scratch folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder of the logs, one per process.
    pub fn logs(&self) -> &Path {
        &self.line.logs
    }

    /// Makes a private folder in the sandbox, for `owner` when there is one.
    pub fn subfolder(&self, name: &str, owner: Option<Identity>) -> Result<PathBuf, RigError> {
        let path = self.folder.join(name);
        make_folder(&path)?;
        if let Some(owner) = owner {
            owner.own(&path)?;
        }
        Ok(path)
    }

    /// Keeps the logs when the sandbox ends.
    pub fn keep(&self) {
        self.line.keep();
    }

    /// Starts a child that cannot outlive this process.
    pub fn spawn(&self, launch: &Launch) -> Result<Arc<Process>, RigError> {
        let log = self.line.logs.join(format!("{}.log", launch.name));
        let output =
            File::options().create(true).append(true).open(&log).map_err(RigError::io("opening", &log))?;
        let errors = output.try_clone().map_err(RigError::io("opening", &log))?;
        let spawn_error = |source| RigError::Spawn { name: launch.name.clone(), source };

        // The shell waits for a word before it becomes the program. If this process dies before the watchdog knows
        // the child, no word comes and the shell ends: there is no moment in which a child can be left behind.
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", r#"read -r _ && exec "$@" </dev/null"#, &launch.name])
            .arg(&launch.program)
            .args(&launch.args)
            .current_dir(if launch.identity.is_some() { Path::new("/") } else { self.folder.as_path() })
            .stdin(Stdio::piped())
            .stdout(output)
            .stderr(errors)
            .process_group(0);
        for (key, value) in &launch.env {
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
        }
        if let Some(identity) = launch.identity {
            command.uid(identity.uid).gid(identity.gid);
        }
        let mut child = command.spawn().map_err(spawn_error)?;
        let Some((group, mut gate)) = Pid::from_raw(child.id().cast_signed()).zip(child.stdin.take()) else {
            return Err(RigError::Refused(format!("{} has no process id or no input", launch.name)));
        };
        let process = Arc::new(Process::new(launch.name.clone(), group, log, child));
        self.line.send(&format!("watch {} {}", process.pid(), launch.exit_signal.map_or(0, Signal::as_raw)));
        gate.write_all(b"go\n").map_err(spawn_error)?;
        self.processes.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&process));
        Ok(process)
    }

    /// Tells the watchdog that an ended child is no longer its business: the id may come back as another process.
    pub fn forget(&self, process: &Process) {
        self.line.send(&format!("forget {}", process.pid()));
        self.processes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|known| known.pid() != process.pid());
    }
}

impl Drop for Sandbox {
    #[allow(clippy::disallowed_methods, reason = "nothing can be awaited in drop")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.keep();
        }
        self.line.close();
        // The watchdog ends the children, and this process has to reap them: else they would look alive to it.
        let processes = std::mem::take(&mut *self.processes.lock().unwrap_or_else(PoisonError::into_inner));
        let mut watchdog = self.watchdog.lock().unwrap_or_else(PoisonError::into_inner);
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            let ended =
                processes.iter().filter(|process| process.exit_status().is_some()).count() == processes.len();
            if ended && !matches!(watchdog.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Line {
    fn send(&self, line: &str) {
        if let Some(pipe) = self.pipe.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            // Fails only when the watchdog was killed by hand; then there is nobody left to tell.
            let _ = pipe.write_all(format!("{line}\n").as_bytes());
        }
    }

    fn keep(&self) {
        if !self.kept.swap(true, Ordering::SeqCst) {
            self.send("keep");
            eprintln!("rig: the logs are kept in {}", self.logs.display());
        }
    }

    fn close(&self) {
        self.pipe.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// A panic is a failing test: the logs of everything that runs now are worth keeping.
fn keep_on_panic(line: &Arc<Line>) {
    static LIVE: Mutex<Vec<Weak<Line>>> = Mutex::new(Vec::new());
    static HOOK: Once = Once::new();
    let mut live = LIVE.lock().unwrap_or_else(PoisonError::into_inner);
    live.retain(|line| line.strong_count() > 0);
    live.push(Arc::downgrade(line));
    HOOK.call_once(|| {
        let earlier = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            earlier(panic);
            for line in LIVE.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade) {
                line.keep();
            }
        }));
    });
}

fn unused_folder(label: &str, parent: &Path) -> Result<PathBuf, RigError> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = parent.join(format!("tenantry-{label}-{}-{number}", std::process::id()));
        match DirBuilder::new().mode(0o700).create(&folder) {
            Ok(()) => {
                // Open to walk through, whatever the umask: a server under another account has its own folder inside.
                std::fs::set_permissions(&folder, Permissions::from_mode(0o711))
                    .map_err(RigError::io("opening", &folder))?;
                return Ok(folder);
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(RigError::Io { what: "creating", path: folder, source }),
        }
    }
}

fn make_folder(path: &Path) -> Result<(), RigError> {
    DirBuilder::new().mode(0o700).create(path).map_err(RigError::io("creating", path))
}
