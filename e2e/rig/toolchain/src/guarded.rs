use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};

/// A child that cannot outlive this process, nor can its own children: `guard.sh` ends them all, also after Ctrl-C or SIGKILL.
///
/// Dropping the value ends them, too. The child has nothing on its standard input.
#[derive(Debug)]
pub struct Guarded {
    child: Child,
    /// Its closing is what ends the child.
    _line: Option<ChildStdin>,
}

impl Guarded {
    /// Starts the command with its arguments, environment and folder; where its output goes is said separately, since a
    /// `Command` does not tell.
    ///
    /// # Errors
    /// There is no shell, or no process can be made.
    pub fn spawn(command: &Command, output: Stdio, errors: Stdio) -> io::Result<Self> {
        let mut guard = Command::new("/bin/sh");
        guard
            .args(["-c", include_str!("guard.sh"), "tenantry-guard"])
            .arg(command.get_program())
            .args(command.get_args())
            .stdin(Stdio::piped())
            .stdout(output)
            .stderr(errors)
            .process_group(0);
        if let Some(folder) = command.get_current_dir() {
            guard.current_dir(folder);
        }
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => guard.env(key, value),
                None => guard.env_remove(key),
            };
        }
        let mut child = guard.spawn()?;
        let line = child.stdin.take();
        Ok(Self { child, _line: line })
    }

    /// How the child ended; `None` while it runs.
    ///
    /// # Errors
    /// The system does not say.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Waits until the child has ended.
    ///
    /// # Errors
    /// The system does not say.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::{Duration, Instant};

    use super::*;

    fn start(script: &str) -> Guarded {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).env("GREETING", "hello").current_dir("/");
        Guarded::spawn(&command, Stdio::null(), Stdio::null()).unwrap()
    }

    /// Gone, or a zombie that nobody has reaped yet.
    fn has_ended(pid: &str) -> bool {
        std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| {
            stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))
        })
    }

    fn within_seconds<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(start.elapsed() < Duration::from_secs(10), "not in time: {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    #[test]
    fn passes_on_the_exit_code_and_what_was_set() {
        assert!(start(r#"test "$GREETING" = hello && test "$PWD" = /"#).wait().unwrap().success());
        assert_eq!(start("exit 7").wait().unwrap().code(), Some(7));
    }

    #[test]
    fn grandchildren_end_with_it() {
        let report = std::env::temp_dir().join(format!("tenantry-guarded-{}", std::process::id()));
        let guarded =
            start(&format!("sleep 600 & echo $! >{0}.partial; mv {0}.partial {0}; wait", report.display()));
        let pid = within_seconds("the grandchild starts", || std::fs::read_to_string(&report).ok());
        let pid = pid.trim();
        assert!(Path::new("/proc").join(pid).exists() && !has_ended(pid));
        drop(guarded);
        within_seconds("the grandchild ends", || has_ended(pid).then_some(()));
        std::fs::remove_file(&report).unwrap();
    }
}
