//! One scrape: sources write their numbers under the names of their families.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet},
    metrics::MetricType,
};

use super::{
    family::{Family, Kind},
    histogram::Histogram,
};

/// A part of the node that is asked for its numbers at every scrape.
pub trait Source: Send + Sync + 'static {
    /// Writes the numbers. A family is written once in a scrape.
    fn scrape(&self, scrape: &mut Scrape<'_>);
}

impl<F: Fn(&mut Scrape<'_>) + Send + Sync + 'static> Source for F {
    fn scrape(&self, scrape: &mut Scrape<'_>) {
        self(scrape);
    }
}

/// The text of one scrape, as one source sees it.
pub struct Scrape<'a> {
    encoder: DescriptorEncoder<'a>,
    result: fmt::Result,
}

impl Scrape<'_> {
    /// Writes the only number of a family.
    pub fn value(&mut self, family: &Family, value: u64) {
        self.write(family, |metric| number(metric, family.kind, value));
    }

    /// Writes the only number of a family that counts in fractions.
    pub fn fraction(&mut self, family: &Family, value: f64) {
        self.write(family, |mut metric| match family.kind {
            Kind::Gauge => metric.encode_gauge(&value),
            _ => metric.encode_counter::<NoLabelSet, f64, f64>(&value, None),
        });
    }

    /// Writes the numbers of a family, one for each set of labels.
    pub fn labelled<const N: usize>(
        &mut self,
        family: &Family,
        values: impl IntoIterator<Item = ([(&'static str, &'static str); N], u64)>,
    ) {
        self.write(family, |mut metric| {
            for (labels, value) in values {
                number(metric.encode_family(&labels)?, family.kind, value)?;
            }
            Ok(())
        });
    }

    /// Writes the histograms of a family, one for each set of labels.
    pub fn histograms<'h, const N: usize>(
        &mut self,
        family: &Family,
        histograms: impl IntoIterator<Item = ([(&'static str, &'static str); N], &'h Histogram)>,
    ) {
        self.write(family, |mut metric| {
            for (labels, histogram) in histograms {
                let seen = histogram.snapshot();
                let mut metric = metric.encode_family(&labels)?;
                metric.encode_histogram::<NoLabelSet>(seen.sum, seen.count, &seen.buckets, None)?;
            }
            Ok(())
        });
    }

    fn write(&mut self, family: &Family, write: impl FnOnce(MetricEncoder<'_>) -> fmt::Result) {
        let kind = match family.kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
            Kind::Histogram => MetricType::Histogram,
        };
        let encoder = self.encoder.encode_descriptor(family.name, family.help, None, kind);
        let written = encoder.and_then(write);
        self.result = self.result.and(written);
    }
}

fn number(mut metric: MetricEncoder<'_>, kind: Kind, value: u64) -> fmt::Result {
    match kind {
        Kind::Gauge => metric.encode_gauge(&value),
        Kind::Counter | Kind::Histogram => {
            metric.encode_counter::<NoLabelSet, u64, f64>(&value, None)
        }
    }
}

/// A source as the exposition library wants it.
pub(super) struct Collected<S>(pub(super) S);

impl<S> fmt::Debug for Collected<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Source")
    }
}

impl<S: Source> Collector for Collected<S> {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut scrape = Scrape { encoder, result: Ok(()) };
        self.0.scrape(&mut scrape);
        scrape.result
    }
}
