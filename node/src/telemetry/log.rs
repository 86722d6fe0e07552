//! Log lines on standard error: text for people, JSON for machines.

use std::io::IsTerminal;

use tracing_subscriber::{
    EnvFilter, Layer, fmt, layer::SubscriberExt, registry, util::SubscriberInitExt,
};

use crate::config::{Log, LogFormat};

/// Starts logging for the whole process. A second call changes nothing.
///
/// Lines are written where the event happens: a reader of standard error that stops reading stops
/// the node in the end, which supervisors and terminals do not do. A queue in between would lose
/// the last lines before a crash, the ones that matter.
pub fn start(settings: &Log) {
    // The configuration has checked the text against a part of what the filter understands.
    let filter = EnvFilter::new(settings.level.as_str());
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = if is_json(settings.format) {
        lines.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed()
    } else {
        lines.with_ansi(std::io::stderr().is_terminal()).boxed()
    };
    let _ = registry().with(filter).with(lines).try_init();
}

fn is_json(format: LogFormat) -> bool {
    match format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !std::io::stderr().is_terminal(),
    }
}
