//! `countersign polkit-asks`: a rule of polkit's tells the daemon what a password is about to be asked for. polkit waits for
//! its end, so it is quick, and whatever goes wrong keeps nobody from anything.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use countersign_protocol::manage::{Call, Noted};
use countersign_protocol::message::MAX_DETAIL;
use countersign_protocol::text::clip;

use crate::manage_client::ManageClient;
use crate::output::Outcome;

/// Longest time for the daemon's answer.
const WAIT: Duration = Duration::from_secs(1);
/// Where packages describe their actions.
const ACTIONS: &str = "/usr/share/polkit-1/actions";
/// Longest description that is read; the longest that are known have 160 KiB, in fifty languages.
const MAX_FILE: u64 = 512 * 1024;
/// Most descriptions that are looked at.
const MOST: usize = 512;

pub(super) fn run(run: &Path, subject: &str, action: &str, text: &str) -> Outcome<ExitCode> {
    let text = match text.trim() {
        "" => described(Path::new(ACTIONS), action).unwrap_or_default(),
        text => text.to_owned(),
    };
    let call = Call::PolkitAsks {
        subject: subject.to_owned(),
        action: action.to_owned(),
        // More than is shown, so that what is cut is marked there.
        text: clip(&text, 2 * MAX_DETAIL).to_owned(),
    };
    let _: Noted = ManageClient::connect(run)?.call(&call, WAIT)?;
    Ok(ExitCode::SUCCESS)
}

/// What the package that defines an action says of it, in English; nothing where it is not found.
fn described(folder: &Path, action: &str) -> Option<String> {
    let entries = std::fs::read_dir(folder).ok()?.take(MOST).filter_map(Result::ok).map(|entry| entry.path());
    let mut files: Vec<_> = entries.filter(|path| path.extension() == Some(OsStr::new("policy"))).collect();
    files.sort();
    files.iter().find_map(|path| {
        let mut text = String::new();
        File::open(path).ok()?.take(MAX_FILE).read_to_string(&mut text).ok()?;
        message(&text, action)
    })
}

/// The message of an action in a description. These files are written by a machine or to one pattern, and what is read wrongly
/// is one line for a person: a parser for all of XML would be the larger risk.
fn message(text: &str, action: &str) -> Option<String> {
    let (_, after) = text.split_once(&format!("<action id=\"{action}\">"))?;
    let (own, _) = after.split_once("</action>")?;
    let message = own.split("<message").skip(1).find_map(|tag| {
        let (attributes, after) = tag.split_once('>')?;
        let (message, _) = after.split_once("</message>")?;
        (!attributes.contains("xml:lang")).then_some(message)
    })?;
    let words: Vec<&str> = message.split_whitespace().collect();
    let plain = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")]
        .iter()
        .fold(words.join(" "), |text, (name, sign)| text.replace(name, sign));
    // What stands for a detail that only the asking program knows would be read as it stands.
    (!plain.is_empty() && !plain.contains("$(")).then_some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = r#"<?xml version="1.0"?>
<policyconfig>
  <action id="org.example.install.all"><message>Install all</message></action>
  <action id="org.example.install">
    <description>Install</description>
    <message xml:lang="de">Installieren</message>
    <message gettext-domain="example">Authentication is required
      to install &quot;signed&quot; &amp;lt; software</message>
    <defaults><allow_any>auth_admin</allow_any></defaults>
  </action>
  <action id="org.example.open"><message>Open $(file)</message></action>
  <action id="org.example.none"><description>None</description></action>
</policyconfig>"#;

    #[test]
    fn an_action_has_the_words_of_its_package() {
        let words = "Authentication is required to install \"signed\" &lt; software";
        assert_eq!(message(POLICY, "org.example.install").as_deref(), Some(words));
        for other in ["org.example", "org.example.open", "org.example.none", "org.example.instal"] {
            assert_eq!(message(POLICY, other), None, "{other}");
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.policy"), [0xff, 0xfe]).unwrap();
        std::fs::write(folder.path().join("b.policy"), POLICY).unwrap();
        std::fs::write(folder.path().join("b.policy.dpkg-new"), POLICY.replace("org", "com")).unwrap();
        assert_eq!(described(folder.path(), "org.example.install").as_deref(), Some(words));
        assert_eq!(described(folder.path(), "com.example.install"), None);
        assert_eq!(described(&folder.path().join("none"), "org.example.install"), None);
    }
}
