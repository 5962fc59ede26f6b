//! From the configuration's text to its types, or to all its faults.

mod lease;
mod offline;
mod passwordless;
mod rule;
#[cfg(test)]
mod tests;
mod values;
mod when;

use std::ops::Range;
use std::path::PathBuf;

use toml::de::DeTable;

use super::table::{Table, Value};
use super::{Config, Fault, Hook, Rule};

/// Keys outside of tables, and the tables.
const KEYS: &[&str] = &["server", "server_ca", "app", "geoip", "host_name", "hook", "rule", "default"];
/// Most rules, of all files together.
const MAX_RULES: usize = 500;

/// Reads a configuration of one file.
///
/// # Errors
/// All faults, in the order of their places.
pub fn read(source: &str) -> Result<Config, Vec<Fault>> {
    read_all(&[("the file", source)]).map_err(|faults| faults.into_iter().map(|(_, fault)| fault).collect())
}

/// Reads a configuration of several files, each with its name, as one. Rules stand in the order of the
/// files; everything else stands in one of them.
///
/// # Errors
/// All faults in the order of their places, each with the number of its file.
pub(super) fn read_all(files: &[(&str, &str)]) -> Result<Config, Vec<(usize, Fault)>> {
    let mut all = Vec::new();
    let mut drafts = Vec::new();
    for (number, (_, source)) in files.iter().enumerate() {
        let mut faults = Vec::new();
        let (document, errors) = DeTable::parse_recoverable(source);
        if errors.is_empty() {
            drafts.push((number, Draft::read(document.get_ref(), &mut faults)));
        } else {
            // What does not parse has no keys to judge.
            let text = |message: &str| message.lines().collect::<Vec<_>>().join("; ");
            faults.extend(errors.iter().map(|e| Fault { span: e.span(), text: text(e.message()) }));
        }
        all.extend(faults.into_iter().map(|fault| (number, fault)));
    }
    let whole = drafts.len() == files.len();
    let config = Draft::join(drafts, files, whole, &mut all);
    match config {
        Some(config) if all.is_empty() => Ok(config),
        _ => {
            all.sort_by_key(|(file, fault)| (*file, fault.span.as_ref().map(|span| span.start)));
            Err(all)
        }
    }
}

/// What one file says.
#[derive(Default)]
struct Draft {
    server: Option<Placed<String>>,
    /// Whether it has the key, be its value as it may.
    names_server: bool,
    server_ca: Option<Placed<PathBuf>>,
    app: Option<Placed<String>>,
    geoip: Option<Placed<PathBuf>>,
    host_name: Option<Placed<String>>,
    hook: Option<Placed<Hook>>,
    default: Option<Placed<rule::Draft>>,
    rules: Vec<rule::Draft>,
}

/// A value, and where it stands.
type Placed<T> = (T, Range<usize>);

impl Draft {
    fn read(document: &DeTable<'_>, faults: &mut Vec<Fault>) -> Self {
        let mut top = Table::new(document, "the configuration");
        let server = top.get("server");
        let draft = Self {
            names_server: server.is_some(),
            server: placed(server, values::origin, faults),
            server_ca: placed(top.get("server_ca"), values::path, faults),
            app: placed(top.get("app"), values::origin, faults),
            geoip: placed(top.get("geoip"), values::path, faults),
            host_name: placed(top.get("host_name"), values::name, faults),
            hook: placed(top.get("hook"), values::hook, faults),
            default: top.get("default").map(|value| (rule::Draft::default(&value, faults), value.span)),
            rules: top.get("rule").map(|value| rules(&value, faults)).unwrap_or_default(),
        };
        top.finish(&[("under [default]", rule::KEYS), ("in the \"when\" of a rule", when::KEYS)], faults);
        draft
    }

    /// All files as one. `whole` says that each could be read: else what is missing may stand in one that
    /// could not.
    fn join(
        drafts: Vec<(usize, Self)>,
        files: &[(&str, &str)],
        whole: bool,
        faults: &mut Vec<(usize, Fault)>,
    ) -> Option<Config> {
        let mut once = Once { files, faults };
        let (mut server, mut server_ca, mut app, mut host_name, mut default) = (None, None, None, None, None);
        let names_server = drafts.iter().any(|(_, draft)| draft.names_server);
        let mut hook = None;
        let mut geoip = None;
        let mut rules = Vec::new();
        for (number, draft) in drafts {
            once.take("server", number, &mut server, draft.server);
            once.take("server_ca", number, &mut server_ca, draft.server_ca);
            once.take("app", number, &mut app, draft.app);
            once.take("geoip", number, &mut geoip, draft.geoip);
            once.take("host_name", number, &mut host_name, draft.host_name);
            once.take("hook", number, &mut hook, draft.hook);
            once.take("[default]", number, &mut default, draft.default);
            rules.extend(draft.rules.into_iter().map(|rule| (number, rule)));
        }
        if !names_server && whole {
            let text = "there is no \"server\"; add: server = \"https://push.example.com\"";
            faults.push((files.len().saturating_sub(1), Fault::whole(text)));
        }
        let default = default.map_or_else(rule::built_in, |(_, draft)| draft.over(&rule::built_in()));
        let rules = named(rules, &default, faults);
        Some(Config {
            server: server?.1,
            server_ca: server_ca.map(|(_, value)| value),
            app: app.map(|(_, value)| value),
            geoip: geoip.map(|(_, value)| value),
            host_name: host_name.map(|(_, value)| value),
            hook: hook.map(|(_, value)| value),
            rules,
            default,
        })
    }
}

/// Sees to it that what has one value stands in one file.
struct Once<'a> {
    files: &'a [(&'a str, &'a str)],
    faults: &'a mut Vec<(usize, Fault)>,
}

impl Once<'_> {
    fn take<T>(
        &mut self,
        key: &str,
        number: usize,
        place: &mut Option<(usize, T)>,
        value: Option<Placed<T>>,
    ) {
        let Some((value, span)) = value else { return };
        match place {
            None => *place = Some((number, value)),
            Some((first, _)) => {
                let first = self.files.get(*first).map_or("another file", |(name, _)| *name);
                let key = key.trim_matches(['[', ']']);
                self.faults.push((number, Fault::at(span, format!("\"{key}\" is set in {first} already"))));
            }
        }
    }
}

/// The rules, each with a name of its own.
fn named(drafts: Vec<(usize, rule::Draft)>, default: &Rule, faults: &mut Vec<(usize, Fault)>) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    for (number, draft) in drafts {
        if rules.len() == MAX_RULES {
            faults.push((number, Fault::at(draft.span, format!("there are more than {MAX_RULES} rules"))));
            break;
        }
        if let Some((name, span)) = &draft.name
            && (*name == default.name || rules.iter().any(|rule| rule.name == *name))
        {
            let text = format!("a rule called \"{name}\" is there already; logs could not tell them apart");
            faults.push((number, Fault::at(span.clone(), text)));
        }
        rules.push(draft.over(default));
    }
    rules
}

fn rules(value: &Value<'_, '_>, faults: &mut Vec<Fault>) -> Vec<rule::Draft> {
    if value.value.as_array().is_none() {
        faults.push(value.fault("rules are written [[rule]], in two brackets"));
        return Vec::new();
    }
    value.items().map(|item| rule::Draft::rule(&item, faults)).collect()
}

fn placed<'a, 'i, T>(
    value: Option<Value<'a, 'i>>,
    read: impl FnOnce(&Value<'a, 'i>) -> Result<T, Fault>,
    faults: &mut Vec<Fault>,
) -> Option<Placed<T>> {
    let value = value?;
    Some((taken(read(&value), faults)?, value.span))
}

fn taken<T>(value: Result<T, Fault>, faults: &mut Vec<Fault>) -> Option<T> {
    value.map_err(|fault| faults.push(fault)).ok()
}
