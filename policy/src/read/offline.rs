//! `offline`: the factors that may be typed while the server is away, and the date until which none is needed.

use std::ops::Range;

use toml::de::DeValue;

use super::values;
use crate::table::{Table, Value, kind};
use crate::{Factor, Fault, When};

/// What a rule needs before it may let people in without any factor.
const HOW: &str = "\"allow_until\" lets in without any factor: it stands in a rule of its own, whose \"when\" has \
                   \"remote = false\" and names every user, without patterns";

/// What is allowed while the server is away.
#[derive(Debug, Clone, Default)]
pub(super) struct Offline {
    /// Factors that may be typed.
    pub(super) factors: Vec<Factor>,
    /// The first second from which on nobody is let in without a factor, and where that stands.
    pub(super) allow_until: Option<(u64, Range<usize>)>,
}

impl Offline {
    /// Reads the list; all faults in it.
    pub(super) fn read(value: &Value<'_, '_>, words: &[(&'static str, Factor)]) -> Result<Self, Vec<Fault>> {
        if value.value.as_array().is_none() {
            let text = format!("\"{}\" has to be a list, not {}", value.key, kind(value.value));
            return Err(vec![value.fault(text)]);
        }
        let (mut read, mut faults) = (Self::default(), Vec::new());
        for item in value.items() {
            let twice = || item.fault("this stands in the list twice");
            if let DeValue::Table(table) = item.value {
                match allow_until(Table::new(table, "an item of \"offline\""), &item) {
                    Ok(_) if read.allow_until.is_some() => faults.push(twice()),
                    Ok(date) => read.allow_until = Some((date, item.span.clone())),
                    Err(fault) => faults.push(fault),
                }
                continue;
            }
            match item.word(words) {
                Ok(word) if read.factors.contains(&word) => faults.push(twice()),
                Ok(word) => read.factors.push(word),
                Err(fault) => faults.push(fault),
            }
        }
        if faults.is_empty() { Ok(read) } else { Err(faults) }
    }

    /// What is wrong with letting in, in a rule with these conditions; in `[default]` with none.
    pub(super) fn fault(&self, when: Option<&When>) -> Option<Fault> {
        let (_, place) = self.allow_until.as_ref()?;
        let is_narrow = when.is_some_and(|when| when.names_local_users().is_some());
        (!is_narrow).then(|| Fault::at(place.clone(), HOW))
    }
}

fn allow_until(mut table: Table<'_, '_>, item: &Value<'_, '_>) -> Result<u64, Fault> {
    let date = table.get("allow_until");
    let mut unknown = Vec::new();
    table.finish(&[], &mut unknown);
    match (unknown.pop(), date) {
        (Some(fault), _) => Err(fault),
        (None, Some(date)) => values::midnight(&date),
        (None, None) => Err(item.fault("write { allow_until = 2027-03-01 }")),
    }
}
