//! The log of the simulated nodes: every line on standard error, every ERROR remembered.
//!
//! An ERROR says that someone must look. So one that no injected fault explains fails the run.

use std::{
    fmt::{self, Write as _},
    sync::{Mutex, OnceLock, PoisonError},
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span,
    subscriber::Interest,
};

use crate::{cluster, trace};

static ERRORS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Starts to listen. Once per process, which is once per run.
pub fn install() {
    tracing::subscriber::set_global_default(Lines).expect("a process runs one simulation");
}

/// The part of the code whose DEBUG events are told, too: `SIM_DEBUG=atoll_node::background`.
fn debugged() -> Option<&'static str> {
    static DEBUGGED: OnceLock<Option<String>> = OnceLock::new();
    DEBUGGED.get_or_init(|| std::env::var("SIM_DEBUG").ok()).as_deref()
}

/// The ERROR events since the last call.
pub fn take_errors() -> Vec<String> {
    std::mem::take(&mut *ERRORS.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Events alone: the simulator enters a span with every poll of a task, and nobody reads them.
struct Lines;

impl Subscriber for Lines {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        match self.enabled(metadata) {
            true => Interest::always(),
            false => Interest::never(),
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let most = match metadata.target() {
            target if debugged().is_some_and(|part| target.starts_with(part)) => Level::DEBUG,
            target if target.starts_with("atoll") => Level::INFO,
            _ => Level::WARN,
        };
        metadata.is_event() && *metadata.level() <= most
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(if debugged().is_some() { LevelFilter::DEBUG } else { LevelFilter::INFO })
    }

    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        let mut text = Text::default();
        event.record(&mut text);
        let Text { message, fields } = text;
        let line = format!("{} {}: {message}{fields}", metadata.level(), metadata.target());
        eprintln!("{} {} {line}", trace::stamp(), cluster::here());
        if *metadata.level() == Level::ERROR {
            ERRORS.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
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
