//! What the daemon says, in the bus's types.

use countersign_protocol::manage::Status;
use serde::Serialize;
use serde_json::Value;
use std::collections::HashMap;
use zbus::Variant;

/// `a{sv}`.
pub(super) type Dict = HashMap<String, Variant<'static>>;

/// An object: texts, yes or no, whole numbers and lists of texts. What is none of these is left out, as is what is not there.
pub(super) fn dict(object: &impl Serialize) -> Dict {
    let Ok(Value::Object(object)) = serde_json::to_value(object) else { return Dict::new() };
    object.into_iter().filter_map(|(key, value)| Some((key, variant(value)?))).collect()
}

/// Each as [`dict`].
pub(super) fn dicts(objects: &[impl Serialize]) -> Vec<Dict> {
    objects.iter().map(dict).collect()
}

fn variant(value: Value) -> Option<Variant<'static>> {
    match value {
        Value::String(text) => Some(Variant::from(text)),
        Value::Bool(yes) => Some(Variant::from(yes)),
        Value::Number(number) => number.as_u64().map(Variant::from),
        Value::Array(list) => {
            let texts: Option<Vec<String>> = list
                .into_iter()
                .map(|one| if let Value::String(text) = one { Some(text) } else { None })
                .collect();
            texts.map(Variant::from)
        }
        Value::Null | Value::Object(_) => None,
    }
}

/// A name of one of the protocol's enumerations.
pub(super) fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => word,
        _ => String::new(),
    }
}

/// The properties, by their names.
pub(super) fn properties(status: &Status) -> Vec<(&'static str, Variant<'static>)> {
    vec![
        ("Version", Variant::from(status.version.clone())),
        ("Host", Variant::from(status.host.clone())),
        ("HostKey", Variant::from(status.host_key.clone())),
        ("Server", Variant::from(status.server.clone())),
        ("Connected", Variant::from(status.connected)),
        ("Trouble", Variant::from(status.trouble.clone().unwrap_or_default())),
        ("Waiting", Variant::from(status.waiting)),
        ("Devices", Variant::from(status.devices)),
        ("ConfigFaults", Variant::from(status.config_faults.clone())),
        ("ApproverFaults", Variant::from(status.approver_faults.clone())),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_becomes_a_dictionary_of_simple_things() {
        let object = serde_json::json!({
            "text": "a", "yes": true, "number": 7, "list": ["a", "b"], "none": null, "object": {"a": 1}, "negative": -1,
        });
        let dict = dict(&object);
        assert_eq!(dict.len(), 4, "{dict:?}");
        assert_eq!(dict["text"], Variant::from("a"));
        assert_eq!(dict["number"], Variant::U64(7));
        assert_eq!(dict["list"], Variant::from(vec!["a".to_owned(), "b".to_owned()]));
    }

    #[test]
    fn every_property_is_described_with_its_type() {
        let status = Status {
            version: String::new(),
            host: String::new(),
            host_key: String::new(),
            server: String::new(),
            connected: true,
            trouble: None,
            waiting: 0,
            devices: 0,
            config_faults: Vec::new(),
            config_changed: false,
            approver_faults: Vec::new(),
        };
        let all = properties(&status);
        for (name, value) in &all {
            let line =
                format!("<property name=\"{name}\" type=\"{}\" access=\"read\"/>", value.value_signature());
            assert!(super::super::INTROSPECTION.contains(&line), "{line}");
        }
        assert_eq!(super::super::INTROSPECTION.matches("<property ").count(), all.len());
    }
}
