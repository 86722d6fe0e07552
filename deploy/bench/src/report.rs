//! From the runs of every cell to one row each: medians, ratios, and whether the bar is met.

use crate::{
    bars::{self, Verb},
    load::Outcome,
    pulls::Pulls,
    servers::Kind,
};
use serde::Serialize;
use std::{collections::BTreeMap, fmt::Write};

/// Figures of one run of one cell.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Run {
    /// Operations a second (by bytes, where an operation is longer than a slice of the window).
    pub per_second: f64,
    /// Body bytes a second.
    pub bytes_per_second: f64,
    /// Median latency, milliseconds; absent when no operation was completed inside the window.
    pub p50_ms: Option<f64>,
    /// 99th percentile of latency, milliseconds.
    pub p99_ms: Option<f64>,
    /// The server's processor seconds for 10^9 body bytes.
    pub cpu_per_gb: f64,
    /// High-water mark of its resident memory, bytes.
    pub peak_bytes: u64,
}

impl Run {
    /// The figures of `outcome` for bodies of `size` bytes.
    pub fn of(outcome: &Outcome, size: u64) -> Self {
        let bytes = outcome.bytes as f64;
        let millis = |q| Some(outcome.latency.quantile(q)?.as_secs_f64() * 1e3);
        Self {
            per_second: bytes / size as f64 / outcome.seconds,
            bytes_per_second: bytes / outcome.seconds,
            p50_ms: millis(0.5),
            p99_ms: millis(0.99),
            cpu_per_gb: outcome.cpu_seconds / (bytes / 1e9),
            peak_bytes: outcome.peak_bytes,
        }
    }
}

/// One cell: the same work on every server.
#[derive(Serialize)]
pub struct Cell {
    /// What is done.
    pub verb: Verb,
    /// Bytes of a body.
    pub size: u64,
    /// Connections.
    pub connections: usize,
    /// Every run, in the order of the rounds.
    pub runs: BTreeMap<Kind, Vec<Run>>,
    /// Why a server has no (further) runs.
    pub failures: BTreeMap<Kind, String>,
}

impl Cell {
    /// Each figure's own median over the rounds; `None` if a run failed or none was made.
    pub fn median(&self, kind: Kind) -> Option<Run> {
        let runs = self.runs.get(&kind).filter(|_| !self.failures.contains_key(&kind))?;
        let middle = |figure: &dyn Fn(&Run) -> Option<f64>| {
            let mut values: Vec<f64> = runs.iter().filter_map(figure).collect();
            values.sort_by(f64::total_cmp);
            let upper = *values.get(values.len() / 2)?;
            let lower = values[(values.len() - 1) / 2];
            Some((lower + upper) / 2.0)
        };
        Some(Run {
            per_second: middle(&|run| Some(run.per_second))?,
            bytes_per_second: middle(&|run| Some(run.bytes_per_second))?,
            p50_ms: middle(&|run| run.p50_ms),
            p99_ms: middle(&|run| run.p99_ms),
            cpu_per_gb: middle(&|run| Some(run.cpu_per_gb))?,
            peak_bytes: middle(&|run| Some(run.peak_bytes as f64))? as u64,
        })
    }

    /// How many times `other`'s median throughput atoll's is.
    pub fn ratio(&self, other: Kind) -> Option<f64> {
        Some(self.median(Kind::Atoll)?.per_second / self.median(other)?.per_second)
    }

    fn name(&self) -> String {
        let verb = match self.verb {
            Verb::Get => "GET",
            Verb::Push => "push",
        };
        format!("{verb} {} × {}", format_size(self.size), self.connections)
    }

    /// The bar against `other`, as text, with whether it is met; `None` where nothing is asked or
    /// nothing was measured.
    fn verdict(&self, other: Kind) -> Option<(String, bool)> {
        let bar = bars::bar(self.verb, self.size);
        let least = match other {
            Kind::Atoll => None,
            Kind::Distribution => Some(bar.distribution),
            Kind::Nginx => bar.nginx,
        }?;
        let met = self.ratio(other)? >= least;
        Some((format!("{} ≥ {least}×", if met { "met" } else { "MISSED" }), met))
    }
}

/// Everything one call of the bench measured.
#[derive(Default, Serialize)]
pub struct Report {
    /// The table's cells.
    pub cells: Vec<Cell>,
    /// Parallel slow pulls of each server.
    pub pulls: BTreeMap<Kind, Pulls>,
    /// What failed outside a cell.
    pub failures: Vec<String>,
}

impl Report {
    /// Bars missed and cells that failed.
    pub fn missed(&self) -> usize {
        let verdicts = self.cells.iter().flat_map(|cell| {
            [Kind::Distribution, Kind::Nginx].into_iter().filter_map(|other| cell.verdict(other))
        });
        let failed = self.cells.iter().map(|cell| cell.failures.len()).sum::<usize>();
        let over = self.pulls.get(&Kind::Atoll).is_some_and(is_over);
        verdicts.filter(|(_, met)| !met).count() + failed + usize::from(over) + self.failures.len()
    }

    /// The report as markdown.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        if !self.cells.is_empty() {
            self.write_figures(out)?;
            self.write_ratios(out)?;
        }
        if !self.pulls.is_empty() {
            self.write_pulls(out)?;
        }
        for failure in &self.failures {
            writeln!(out, "\nFAILED: {failure}")?;
        }
        Ok(())
    }

    fn write_figures(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "## Figures (medians of the rounds)\n")?;
        writeln!(out, "| cell | server | op/s | MB/s | p50 ms | p99 ms | CPU s/GB | peak MB |")?;
        writeln!(out, "|---|---|--:|--:|--:|--:|--:|--:|")?;
        for cell in &self.cells {
            for kind in cell.runs.keys() {
                write!(out, "| {} | {} ", cell.name(), kind.name())?;
                match cell.median(*kind) {
                    Some(run) => write_figures_of(out, &run)?,
                    None => {
                        let why = cell.failures.get(kind).map_or("no run", String::as_str);
                        writeln!(out, "| FAILED: {} | | | | | |", why.replace('|', "/"))?;
                    }
                }
            }
        }
        Ok(())
    }

    fn write_ratios(&self, out: &mut String) -> std::fmt::Result {
        for other in [Kind::Distribution, Kind::Nginx] {
            let both = |cell: &&Cell| cell.ratio(other).is_some();
            if !self.cells.iter().any(|cell| both(&cell)) {
                continue;
            }
            writeln!(out, "\n## atoll : {}\n", other.name())?;
            writeln!(out, "| cell | throughput | bar | p50 | p99 | CPU/GB | peak memory |")?;
            writeln!(out, "|---|--:|---|--:|--:|--:|--:|")?;
            for cell in self.cells.iter().filter(both) {
                write_ratios_of(out, cell, other)?;
            }
        }
        Ok(())
    }

    fn write_pulls(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "\n## Parallel slow pulls\n")?;
        writeln!(out, "| server | pulls | blob | seconds | before MB | peak MB | bar |")?;
        writeln!(out, "|---|--:|--:|--:|--:|--:|---|")?;
        for (kind, pulls) in &self.pulls {
            let verdict = match kind {
                Kind::Atoll if is_over(pulls) => "MISSED ≤ 400 MB",
                Kind::Atoll => "met ≤ 400 MB",
                _ => "",
            };
            writeln!(
                out,
                "| {} | {} | {} | {:.1} | {} | {} | {verdict} |",
                kind.name(),
                pulls.pulls,
                format_size(pulls.size),
                pulls.seconds,
                megabytes(pulls.before_bytes),
                megabytes(peak(pulls)),
            )?;
        }
        Ok(())
    }
}

fn peak(pulls: &Pulls) -> u64 {
    pulls.peak_bytes.max(pulls.sampled_peak_bytes)
}

fn is_over(pulls: &Pulls) -> bool {
    peak(pulls) > bars::PULLS_PEAK_BYTES_MAX
}

fn write_figures_of(out: &mut String, run: &Run) -> std::fmt::Result {
    let millis = |value: Option<f64>| value.map_or_else(|| "–".into(), |ms| format!("{ms:.3}"));
    writeln!(
        out,
        "| {:.1} | {:.0} | {} | {} | {:.2} | {} |",
        run.per_second,
        run.bytes_per_second / 1e6,
        millis(run.p50_ms),
        millis(run.p99_ms),
        run.cpu_per_gb,
        megabytes(run.peak_bytes),
    )
}

fn write_ratios_of(out: &mut String, cell: &Cell, other: Kind) -> std::fmt::Result {
    let (Some(ours), Some(theirs)) = (cell.median(Kind::Atoll), cell.median(other)) else {
        return Ok(());
    };
    let optional = |ours: Option<f64>, theirs: Option<f64>| {
        ours.zip(theirs).map_or_else(|| "–".into(), |(a, b)| format!("{:.2}×", a / b))
    };
    writeln!(
        out,
        "| {} | {:.2}× | {} | {} | {} | {:.2}× | {:.2}× |",
        cell.name(),
        ours.per_second / theirs.per_second,
        cell.verdict(other).map_or_else(String::new, |(text, _)| text),
        optional(ours.p50_ms, theirs.p50_ms),
        optional(ours.p99_ms, theirs.p99_ms),
        ours.cpu_per_gb / theirs.cpu_per_gb,
        ours.peak_bytes as f64 / theirs.peak_bytes as f64,
    )
}

fn megabytes(bytes: u64) -> u64 {
    bytes.div_ceil(1_000_000)
}

/// `64 KiB`, `1 MiB`, `100 B`.
pub fn format_size(bytes: u64) -> String {
    match bytes {
        0 => "0 B".into(),
        _ if bytes.is_multiple_of(1 << 20) => format!("{} MiB", bytes >> 20),
        _ if bytes.is_multiple_of(1 << 10) => format!("{} KiB", bytes >> 10),
        _ => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(per_second: f64) -> Run {
        Run {
            per_second,
            bytes_per_second: per_second * 1024.0,
            p50_ms: Some(1.0),
            p99_ms: None,
            cpu_per_gb: 1.0,
            peak_bytes: 1,
        }
    }

    fn cell(atoll: &[f64], distribution: &[f64]) -> Cell {
        let runs = |figures: &[f64]| figures.iter().copied().map(run).collect::<Vec<_>>();
        Cell {
            verb: Verb::Get,
            size: 1024,
            connections: 1,
            runs: [(Kind::Atoll, runs(atoll)), (Kind::Distribution, runs(distribution))].into(),
            failures: BTreeMap::new(),
        }
    }

    #[test]
    fn medians_decide_the_verdict() {
        let cell = cell(&[100.0, 150.0, 900.0], &[10.0, 1.0, 90.0]);
        assert_eq!(cell.ratio(Kind::Distribution), Some(15.0));
        assert_eq!(cell.verdict(Kind::Distribution), Some(("met ≥ 15×".into(), true)));
        assert_eq!(cell.verdict(Kind::Nginx), None);
    }

    #[test]
    fn a_failed_run_voids_the_cell_and_counts_as_missed() {
        let mut cell = cell(&[100.0], &[1.0]);
        cell.failures.insert(Kind::Atoll, "GET was answered 500".into());
        assert_eq!(cell.ratio(Kind::Distribution), None);
        let report = Report { cells: vec![cell], ..Report::default() };
        assert_eq!(report.missed(), 1);
        assert!(report.markdown().contains("FAILED: GET was answered 500"));
    }

    #[test]
    fn sizes_read_as_people_write_them() {
        assert_eq!(format_size(65536), "64 KiB");
        assert_eq!(format_size(64 << 20), "64 MiB");
        assert_eq!(format_size(100), "100 B");
    }
}
