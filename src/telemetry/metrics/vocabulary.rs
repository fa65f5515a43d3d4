//! A family of metrics whose label has a closed set of values.
//!
//! It replaces the library's `Family`, which makes a series of any label value, unordered and behind a lock.

use std::fmt::{self, Debug};
use std::sync::Arc;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// One metric for each label value.
#[derive(Debug)]
pub(super) struct StaticFamily<M> {
    label: &'static str,
    all: Arc<[(&'static str, M)]>,
}

impl<M> StaticFamily<M> {
    pub(super) fn new(label: &'static str, words: impl IntoIterator<Item = &'static str>, new: impl Fn() -> M) -> Self {
        Self { label, all: words.into_iter().map(|word| (word, new())).collect() }
    }

    /// Applies `act` to the metric of a label value; does nothing if the value is not in the set.
    pub(super) fn of<T>(&self, word: &str, act: impl Fn(&M) -> T) {
        if let Some((_, metric)) = self.all.iter().find(|(known, _)| *known == word) {
            act(metric);
        }
    }
}

impl<M> Clone for StaticFamily<M> {
    fn clone(&self) -> Self {
        Self { label: self.label, all: self.all.clone() }
    }
}

impl<M: EncodeMetric + TypedMetric + Debug> EncodeMetric for StaticFamily<M> {
    fn encode(&self, mut encoder: MetricEncoder) -> fmt::Result {
        for (word, metric) in self.all.iter() {
            metric.encode(encoder.encode_family(&[(self.label, *word)])?)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        M::TYPE
    }
}
