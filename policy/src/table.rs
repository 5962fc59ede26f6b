//! Reading a TOML table key by key, collecting every fault on the way.

use super::Fault;
use std::ops::Range;
use toml::de::{DeTable, DeValue};

/// How alike two words have to be for one to be offered in place of the other.
const ALIKE: f64 = 0.75;

/// A table of which every key has to be asked for once.
pub(super) struct Table<'a, 'i> {
    table: &'a DeTable<'i>,
    name: &'static str,
    known: Vec<&'static str>,
}

/// A value and its place.
pub(super) struct Value<'a, 'i> {
    pub(super) key: &'static str,
    pub(super) value: &'a DeValue<'i>,
    pub(super) span: Range<usize>,
}

impl<'a, 'i> Table<'a, 'i> {
    pub(super) fn new(table: &'a DeTable<'i>, name: &'static str) -> Self {
        Self { table, name, known: Vec::new() }
    }

    /// The key's value; from now on the key is known.
    pub(super) fn get(&mut self, key: &'static str) -> Option<Value<'a, 'i>> {
        self.known.push(key);
        let (_, value) = self.table.iter().find(|(name, _)| name.get_ref() == key)?;
        Some(Value { key, value: value.get_ref(), span: value.span() })
    }

    /// Whether the key is there, known or not.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.keys().any(|name| name.get_ref() == key)
    }

    /// A fault for every key that nobody asked for. `elsewhere` says where else there are keys, and
    /// which.
    pub(super) fn finish(self, elsewhere: &[(&str, &[&str])], faults: &mut Vec<Fault>) {
        for name in self.table.keys().filter(|name| !self.known.contains(&name.get_ref().as_ref())) {
            let at_home = elsewhere.iter().find(|(_, keys)| keys.contains(&name.get_ref().as_ref()));
            let hint = match at_home {
                Some((place, _)) => format!("; it belongs {place}"),
                None => hint(name.get_ref(), &self.known),
            };
            faults.push(Fault::at(
                name.span(),
                format!("\"{}\" is no key of {}{hint}", name.get_ref(), self.name),
            ));
        }
    }
}

impl<'a, 'i> Value<'a, 'i> {
    /// A fault at the value.
    pub(super) fn fault(&self, text: impl Into<String>) -> Fault {
        Fault::at(self.span.clone(), text)
    }

    /// A text.
    pub(super) fn text(&self) -> Result<&'a str, Fault> {
        self.value.as_str().ok_or_else(|| {
            self.fault(format!("\"{}\" has to be a text in quotes, not {}", self.key, kind(self.value)))
        })
    }

    /// True or false.
    pub(super) fn flag(&self) -> Result<bool, Fault> {
        self.value.as_bool().ok_or_else(|| {
            self.fault(format!("\"{}\" has to be true or false, not {}", self.key, kind(self.value)))
        })
    }

    /// The items of a list, or the value itself where it is none.
    pub(super) fn items(&self) -> impl Iterator<Item = Self> {
        let (key, array) = (self.key, self.value.as_array());
        let alone = array.is_none().then(|| Self { key, value: self.value, span: self.span.clone() });
        let items = array.into_iter().flat_map(|array| array.iter());
        items.map(move |item| Self { key, value: item.get_ref(), span: item.span() }).chain(alone)
    }

    /// One of some words.
    pub(super) fn word<T: Copy>(&self, words: &[(&'static str, T)]) -> Result<T, Fault> {
        let text = self.text()?;
        words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning).ok_or_else(|| {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.fault(format!("\"{text}\" is no value of \"{}\"{}", self.key, hint(text, &words)))
        })
    }

    /// A list of different words; all faults in it.
    pub(super) fn words<T: Copy + PartialEq>(
        &self,
        words: &[(&'static str, T)],
    ) -> Result<Vec<T>, Vec<Fault>> {
        let Some(array) = self.value.as_array() else {
            return Err(vec![self.fault(format!(
                "\"{}\" has to be a list, not {}",
                self.key,
                kind(self.value)
            ))]);
        };
        let (mut list, mut faults) = (Vec::new(), Vec::new());
        for item in array.iter() {
            let item = Value { key: self.key, value: item.get_ref(), span: item.span() };
            match item.word(words) {
                Ok(word) if list.contains(&word) => faults.push(item.fault("this stands in the list twice")),
                Ok(word) => list.push(word),
                Err(fault) => faults.push(fault),
            }
        }
        if faults.is_empty() { Ok(list) } else { Err(faults) }
    }

    /// A table.
    pub(super) fn table(&self, name: &'static str) -> Result<Table<'a, 'i>, Fault> {
        self.value.as_table().map(|table| Table::new(table, name)).ok_or_else(|| {
            self.fault(format!("\"{}\" has to be a table, not {}", self.key, kind(self.value)))
        })
    }
}

/// What a value is, for a person.
pub(super) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// The word that was meant, or all there are.
fn hint(text: &str, words: &[&str]) -> String {
    let (mut best, mut closest) = (ALIKE, None);
    for word in words {
        let alike = strsim::jaro_winkler(text, word);
        if alike > best {
            (best, closest) = (alike, Some(word));
        }
    }
    match closest {
        Some(word) => format!("; did you mean \"{word}\"?"),
        None => format!("; there is {}", words.join(", ")),
    }
}
