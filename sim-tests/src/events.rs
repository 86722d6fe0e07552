//! The log of the simulated nodes: every line on standard error, every ERROR remembered.
//!
//! An ERROR says that someone must look. So one that no injected fault explains fails the run.

use std::{
    fmt::{self, Write as _},
    sync::{Mutex, PoisonError},
};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt},
};

use crate::{cluster, trace};

static ERRORS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Starts to listen. Once per process, which is once per run.
pub fn install() {
    let layer = Lines.with_filter(LevelFilter::INFO);
    let subscriber = tracing_subscriber::registry().with(layer);
    tracing::subscriber::set_global_default(subscriber).expect("a process runs one simulation");
}

/// The ERROR events since the last call.
pub fn take_errors() -> Vec<String> {
    std::mem::take(&mut *ERRORS.lock().unwrap_or_else(PoisonError::into_inner))
}

struct Lines;

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        if *metadata.level() == Level::INFO && !metadata.target().starts_with("atoll") {
            return;
        }
        let mut text = Text::default();
        event.record(&mut text);
        let Text { message, fields } = text;
        let line = format!("{} {}: {message}{fields}", metadata.level(), metadata.target());
        eprintln!("{} {} {line}", trace::stamp(), cluster::here());
        if *metadata.level() == Level::ERROR {
            ERRORS.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    }
}

#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}
