//! A family of metrics over a closed vocabulary.
//!
//! In place of the library's `Family`, which makes a series of whatever label it is given, in no order and behind a lock.

use std::fmt::{self, Debug};
use std::sync::Arc;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// One metric for each word.
#[derive(Debug)]
pub(super) struct Closed<M> {
    label: &'static str,
    all: Arc<[(&'static str, M)]>,
}

impl<M> Closed<M> {
    pub(super) fn new(label: &'static str, words: impl IntoIterator<Item = &'static str>, new: impl Fn() -> M) -> Self {
        Self { label, all: words.into_iter().map(|word| (word, new())).collect() }
    }

    /// Does something to the metric of a word; nothing if it is not one of the vocabulary.
    pub(super) fn of<T>(&self, word: &str, act: impl Fn(&M) -> T) {
        if let Some((_, metric)) = self.all.iter().find(|(known, _)| *known == word) {
            act(metric);
        }
    }
}

impl<M> Clone for Closed<M> {
    fn clone(&self) -> Self {
        Self { label: self.label, all: self.all.clone() }
    }
}

impl<M: EncodeMetric + TypedMetric + Debug> EncodeMetric for Closed<M> {
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
