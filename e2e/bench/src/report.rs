//! Figures, as a page for people and a list for programs.

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;

use super::Outcome;

/// One figure.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
    budget: Option<String>,
    ok: Option<bool>,
    baseline: Option<String>,
    ratio: Option<f64>,
    note: Option<String>,
}

/// Which way a budget bounds a figure.
#[derive(Debug, Clone, Copy)]
pub enum Budget {
    /// The figure must not be above.
    AtMost(f64),
    /// The figure must not be below.
    AtLeast(f64),
}

/// The figures of one benchmark.
#[derive(Debug)]
pub struct Report {
    bench: &'static str,
    title: &'static str,
    method: String,
    figures: Vec<Figure>,
    /// What a figure's name must have in it to be taken.
    only: Option<String>,
}

impl Report {
    /// An empty report.
    pub fn new(bench: &'static str, title: &'static str, method: impl Into<String>) -> Self {
        Self { bench, title, method: method.into(), figures: Vec::new(), only: None }
    }

    /// Takes only figures that have `part` in their name, and then keeps none of them: [`Self::write`] writes nothing.
    pub fn only(mut self, part: Option<&str>) -> Self {
        self.only = part.map(str::to_owned);
        self
    }

    /// Whether figures with this in their name are to be taken.
    pub fn wants(&self, name: &str) -> bool {
        self.only.as_deref().is_none_or(|part| name.contains(part))
    }

    /// Adds a figure.
    pub fn add(&mut self, name: impl Into<String>, value: f64, unit: &'static str) -> &mut Figure {
        let name = name.into();
        eprintln!("  {name}: {} {unit}", rounded(value));
        let at = self.figures.len();
        let (budget, ok, baseline, ratio, note) = Default::default();
        self.figures.push(Figure { name, value, unit, budget, ok, baseline, ratio, note });
        &mut self.figures[at]
    }

    /// Writes `docs/benchmarks/{bench}.md` and merges the figures into `target/bench/results.json`; yields the page.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, repository: &Path) -> Outcome<String> {
        if self.only.is_some() {
            return Ok(self.page());
        }
        let page = repository.join("docs/benchmarks").join(format!("{}.md", self.bench));
        std::fs::write(&page, self.page())?;
        let results = repository.join("target/bench/results.json");
        std::fs::create_dir_all(repository.join("target/bench"))?;
        let mut all: Vec<serde_json::Value> = match std::fs::read_to_string(&results) {
            Ok(text) => serde_json::from_str(&text)?,
            Err(_) => Vec::new(),
        };
        let mine: Vec<&str> = self.figures.iter().map(|figure| figure.name.as_str()).collect();
        all.retain(|old| !old["name"].as_str().is_some_and(|name| mine.contains(&name)));
        for figure in &self.figures {
            all.push(serde_json::to_value(figure)?);
        }
        std::fs::write(&results, serde_json::to_string_pretty(&all)?)?;
        Ok(self.page())
    }

    fn page(&self) -> String {
        let mut page = format!("# {}\n\n{}\n\n{}\n\n", self.title, machine(), self.method);
        page.push_str(
            "| figure | value | budget | holds | baseline | ratio |\n|---|---:|---|---|---|---:|\n",
        );
        for figure in &self.figures {
            let holds = figure.ok.map_or("", |ok| if ok { "yes" } else { "**no**" });
            let _infallible = writeln!(
                page,
                "| {}{} | {} {} | {} | {holds} | {} | {} |",
                figure.name,
                figure.note.as_deref().map(|note| format!(" ({note})")).unwrap_or_default(),
                rounded(figure.value),
                figure.unit,
                figure.budget.as_deref().unwrap_or(""),
                figure.baseline.as_deref().unwrap_or(""),
                figure.ratio.map(rounded).unwrap_or_default(),
            );
        }
        page
    }
}

impl Figure {
    /// States the budget.
    pub fn within(&mut self, budget: Budget) -> &mut Self {
        let (text, ok) = match budget {
            Budget::AtMost(most) => (format!("<= {}", rounded(most)), self.value <= most),
            Budget::AtLeast(least) => (format!(">= {}", rounded(least)), self.value >= least),
        };
        self.budget = Some(text);
        self.ok = Some(ok);
        self
    }

    /// States what the figure is compared with, in the same unit.
    pub fn against(&mut self, what: &str, value: f64) -> &mut Self {
        self.baseline = Some(format!("{what}: {} {}", rounded(value), self.unit));
        self.ratio = Some(self.value / value);
        self
    }

    /// States under what circumstances the figure came about.
    pub fn noted(&mut self, note: impl Into<String>) -> &mut Self {
        self.note = Some(note.into());
        self
    }
}

/// The `q`-quantile of `samples` by the nearest rank; 0 for none.
pub fn quantile(samples: &[f64], q: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (q * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).or(sorted.last()).copied().unwrap_or_default()
}

fn rounded(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let model = std::fs::read_to_string("/proc/cpuinfo").ok();
    let model =
        model.as_deref().and_then(|text| text.lines().find_map(|line| line.strip_prefix("model name\t: ")));
    let date = std::process::Command::new("date").args(["-u", "+%Y-%m-%d"]).output();
    let date =
        date.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    let build =
        if cfg!(debug_assertions) { "**Debug build: the figures say nothing.**" } else { "Release build" };
    format!(
        "Measured {date} on {cores} cores ({}), everything on the one machine, which is shared and noisy: trust ratios \
         more than figures. {build}, fsync on in etcd and PostgreSQL.",
        model.unwrap_or("model unknown")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_take_the_nearest_rank() {
        let samples: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!((quantile(&samples, 0.5), quantile(&samples, 0.99)), (50.0, 99.0));
        assert_eq!(quantile(&[], 0.5), 0.0);
    }

    #[test]
    fn a_missed_budget_is_said_so() {
        let mut report = Report::new("sample", "Sample", "method");
        report.add("speed", 5.0, "op/s").within(Budget::AtLeast(10.0)).against("peer", 2.5);
        let page = report.page();
        assert!(page.contains("| speed | 5.00 op/s | >= 10.0 | **no** | peer: 2.50 op/s | 2.00 |"), "{page}");
    }
}
