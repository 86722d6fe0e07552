//! What a person sees while bytes move: bars on a terminal, a line for each finished blob elsewhere,
//! nothing when only the result is wanted. All of it goes to standard error; the result alone goes
//! to standard output.

use std::{io::IsTerminal as _, sync::Arc, time::Duration};

use atoll_client::Digest;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::{arguments::Printing, terminal};
use crate::{cli::Output, human};

/// How often bars move by themselves, so that a stalled one is told from a hung program.
const TICK: Duration = Duration::from_millis(200);
/// Bars of single blobs that a screen has room for; further ones count in the total only.
const BARS_MAX: usize = 8;

/// What is shown.
#[derive(Clone)]
pub struct Progress(Arc<Kind>);

enum Kind {
    Bars { all: MultiProgress, total: ProgressBar, blobs: std::sync::Mutex<usize> },
    Lines,
    Nothing,
}

/// One blob on its way.
pub struct Item {
    progress: Progress,
    label: String,
    size: u64,
    seen: Arc<std::sync::atomic::AtomicU64>,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Shows the way of `total` bytes.
    pub fn new(printing: Printing, total: u64) -> Progress {
        let silent = printing.quiet || printing.output == Output::Json;
        if silent {
            return Progress(Arc::new(Kind::Nothing));
        }
        if !std::io::stderr().is_terminal() {
            return Progress(Arc::new(Kind::Lines));
        }
        let all = MultiProgress::new();
        let bar = all.add(ProgressBar::new(total));
        bar.set_style(style("total {wide_bar} {binary_bytes:>11} of {binary_total_bytes:<11} {binary_bytes_per_sec:>13} {eta:>4}"));
        bar.enable_steady_tick(TICK);
        Progress(Arc::new(Kind::Bars { all, total: bar, blobs: std::sync::Mutex::new(0) }))
    }

    /// Begins a blob.
    pub fn begin(&self, digest: &Digest, size: u64) -> Item {
        let label = human::digest(&digest.to_string());
        let bar = match &*self.0 {
            Kind::Bars { all, total, blobs } => blobs.lock().ok().and_then(|mut blobs| {
                *blobs += 1;
                (*blobs <= BARS_MAX).then(|| {
                    let bar = all.insert_before(total, ProgressBar::new(size));
                    bar.set_style(style(
                        "{msg} {wide_bar} {binary_bytes:>11} of {binary_total_bytes:<11}",
                    ));
                    bar.set_message(label.clone());
                    bar
                })
            }),
            Kind::Lines | Kind::Nothing => None,
        };
        Item { progress: self.clone(), label, size, seen: Arc::default(), bar }
    }
}

impl Drop for Kind {
    /// Takes everything away again, before a result or a complaint is printed.
    fn drop(&mut self) {
        if let Kind::Bars { all, total, .. } = self {
            total.finish_and_clear();
            let _ = all.clear();
        }
    }
}

impl Item {
    /// What the library tells how far it is. It may go back.
    pub fn watcher(&self) -> atoll_client::Progress {
        let (seen, bar, progress) = (self.seen.clone(), self.bar.clone(), self.progress.clone());
        Arc::new(move |bytes| {
            let before = seen.swap(bytes, std::sync::atomic::Ordering::Relaxed);
            if let Some(bar) = &bar {
                bar.set_position(bytes);
            }
            if let Kind::Bars { total, .. } = &*progress.0 {
                total.inc(bytes.saturating_sub(before));
                total.dec(before.saturating_sub(bytes));
            }
        })
    }

    /// The blob is where it should be; `how` says what was done for that.
    pub fn done(self, how: &str) {
        (self.watcher())(self.size);
        match &*self.progress.0 {
            Kind::Bars { blobs, .. } => {
                if let Some(bar) = self.bar {
                    bar.finish_and_clear();
                    if let Ok(mut blobs) = blobs.lock() {
                        *blobs = blobs.saturating_sub(1);
                    }
                }
            }
            Kind::Lines => eprintln!("{}  {:>10}  {how}", self.label, human::bytes(self.size)),
            Kind::Nothing => {}
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    let template = if terminal::is_coloured() {
        template.replace("{wide_bar}", "{wide_bar:.cyan/blue}")
    } else {
        template.to_owned()
    };
    // A template that makes no sense is a mistake of this file; the plain bar says the same.
    ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
