//! What the demo prints: a line a step, with what came of it and how long it took.

use std::error::Error;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Writes the story down, step by step.
pub struct Narrator<W> {
    out: W,
    colours: bool,
    started: Instant,
    steps: usize,
}

const STEP_WIDTH: usize = 58;

impl Narrator<std::io::Stdout> {
    /// Tells the story on standard output, in colour where a person reads it.
    pub fn on_stdout() -> Self {
        let out = std::io::stdout();
        let colours = out.is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self::new(out, colours)
    }
}

impl<W: Write> Narrator<W> {
    /// Tells the story on `out`.
    pub fn new(out: W, colours: bool) -> Self {
        Self { out, colours, started: Instant::now(), steps: 0 }
    }

    /// Begins a chapter.
    pub fn chapter(&mut self, title: &str) -> std::io::Result<()> {
        let title = self.paint("1", title);
        writeln!(self.out, "\n{title}")
    }

    /// Tells one step: does `work`, then prints what it yields.
    ///
    /// # Errors
    /// What `work` failed with, after it was printed.
    pub async fn step<E: Into<Box<dyn Error>>>(
        &mut self,
        what: &str,
        work: impl Future<Output = Result<String, E>>,
    ) -> Result<(), Box<dyn Error>> {
        let began = Instant::now();
        let outcome = work.await;
        self.steps += 1;
        let took = format!("{:>9}", seconds(began.elapsed()));
        let (mark, detail) = match &outcome {
            Ok(detail) => (self.paint("32", "✓"), detail.as_str()),
            Err(_) => (self.paint("31", "✗"), ""),
        };
        let took = self.paint("2", &took);
        let detail = self.paint("36", detail);
        writeln!(self.out, "  {mark} {what:<STEP_WIDTH$} {took}   {detail}")?;
        self.out.flush()?;
        outcome.map(|_| ()).map_err(Into::into)
    }

    /// Ends the story well.
    pub fn the_end(&mut self) -> std::io::Result<()> {
        let line = format!("{} steps, all as told, in {}.", self.steps, seconds(self.started.elapsed()));
        let line = self.paint("1;32", &line);
        writeln!(self.out, "\n{line}")
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colours && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

fn seconds(duration: Duration) -> String {
    match duration.as_millis() {
        ms if ms < 1000 => format!("{ms} ms"),
        ms => format!("{}.{:02} s", ms / 1000, ms % 1000 / 10),
    }
}

#[cfg(test)]
mod tests {
    use tenantry_e2e::Unexpected;

    use super::*;

    #[tokio::test]
    async fn a_step_is_one_line_and_a_failure_ends_the_story() {
        let mut out = Vec::new();
        let mut narrator = Narrator::new(&mut out, false);
        narrator.step("works", async { Ok::<_, Unexpected>("42".to_owned()) }).await.unwrap();
        let failed = narrator.step("fails", async { Err(Unexpected("why".to_owned())) }).await;
        assert_eq!(failed.unwrap_err().to_string(), "why");
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].starts_with("  ✓ works") && lines[0].ends_with("42"), "{text}");
        assert!(lines[1].starts_with("  ✗ fails"), "{text}");
    }

    #[test]
    fn times_read_well() {
        assert_eq!(seconds(Duration::from_millis(7)), "7 ms");
        assert_eq!(seconds(Duration::from_millis(1234)), "1.23 s");
    }
}
