use std::time::{Duration, Instant};

/// One line on standard error.
pub fn note(text: &str) {
    eprintln!("rig: {text}");
}

/// A step that takes long: a line at its start, a sign of life every half minute, a line with its time at the end.
/// Several may be on their way at the same time, so each line names its step.
pub struct Progress {
    step: String,
    start: Instant,
    reported: Instant,
}

impl Progress {
    const SIGN_OF_LIFE: Duration = Duration::from_secs(30);

    pub fn start(step: &str, expect: &str) -> Self {
        note(&format!("{step} (once, about {expect}) ..."));
        Self { step: step.to_owned(), start: Instant::now(), reported: Instant::now() }
    }

    pub fn tick(&mut self) {
        if self.reported.elapsed() >= Self::SIGN_OF_LIFE {
            self.reported = Instant::now();
            note(&format!("{} ... {} s", self.step, self.start.elapsed().as_secs()));
        }
    }

    pub fn done(self) {
        note(&format!("{}: done in {:.1} s", self.step, self.start.elapsed().as_secs_f64()));
    }
}
