//! What became of pushes, as counters. No names, keys or addresses are in them.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

/// By which pushes are counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Label {
    result: &'static str,
}

/// Why a push was given up without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dropped {
    /// Too much waits.
    Full,
    /// The request ended before anybody was rung.
    Superseded,
    /// Its time was over.
    Expired,
}

/// How an attempt's answer is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Answer {
    Delivered,
    /// The subscription is over.
    Gone,
    /// The service does not accept this server's key.
    Refused,
    TooLarge,
    /// Any other answer that will not change.
    Unexpected,
    /// Slower, please.
    Limited,
    /// The service has a fault, or gives no answer.
    Failed,
    /// The service's address is not public.
    NotPublic,
}

/// The counters.
#[derive(Debug, Clone, Default)]
pub(crate) struct Results {
    family: Family<Label, Counter>,
}

impl Results {
    pub(super) fn drop(&self, dropped: Dropped) {
        self.count(match dropped {
            Dropped::Full => "full",
            Dropped::Superseded => "superseded",
            Dropped::Expired => "expired",
        });
    }

    pub(super) fn answer(&self, answer: Answer) {
        self.count(match answer {
            Answer::Delivered => "delivered",
            Answer::Gone => "gone",
            Answer::Refused => "refused",
            Answer::TooLarge => "too_large",
            Answer::Unexpected => "unexpected",
            Answer::Limited => "limited",
            Answer::Failed => "failed",
            Answer::NotPublic => "not_public",
        });
    }

    fn count(&self, result: &'static str) {
        self.family.get_or_create(&Label { result }).inc();
    }

    /// Adds the counters to those that are shown.
    pub(crate) fn register(&self, registry: &mut prometheus_client::registry::Registry) {
        registry.register("pushes", "Web pushes by what became of them", self.family.clone());
    }

    #[cfg(test)]
    pub(super) fn of(&self, result: &'static str) -> u64 {
        self.family.get_or_create(&Label { result }).get()
    }
}
