//! `passwordless`: an approval with its code lets in, though no password went before. What such a rule may be.

use crate::{Factor, When, services};

/// Which logins it may be for.
pub(super) const HOW: &str = "\"passwordless\" lets in with the phone alone: it stands in a rule of its own, whose \"when\" \
                              has \"remote = false\", names each \"service\" (a greeter's, the console's, a locker's) \
                              and each \"user\", without patterns, or a \"group\"";
/// What stands in front of what it wants beside it.
pub(super) const BESIDE: &str = "\"passwordless\" has nothing weaker beside it";

/// Whether a rule is for some people in front of some seats.
pub(super) fn is_narrow(when: &When) -> bool {
    let services = when.service.as_ref().and_then(|services| services.names());
    let for_some = when.group.is_some() || when.user.as_ref().is_some_and(|users| users.names().is_some());
    when.remote == Some(false)
        && for_some
        && services.is_some_and(|names| names.iter().all(|name| services::is_seat(name)))
}

/// Whether one of these is too weak to be the only thing that is asked for: an authenticator's six digits can be guessed at,
/// and a lease is nobody's answer.
pub(super) fn too_weak<'a>(mut factors: impl Iterator<Item = &'a Factor>) -> bool {
    factors.any(|factor| matches!(factor, Factor::Totp | Factor::Lease))
}

#[cfg(test)]
mod tests {
    use crate::{Confirm, Factor, Rule, Unenrolled, WithoutPrompt, read};

    const WHEN: &str = "service = [\"lightdm\", \"xsecurelock\"], group = \"ward\", remote = false";

    fn rule(when: &str, rest: &str) -> Result<Rule, String> {
        let text = format!(
            "server = \"https://push.example.com\"\n[default]\nconfirm = \"tap\"\ncodes = [\"totp\"]\n\
             offline = [\"lease\", \"totp\"]\nlease = \"8h\"\n\
             approvals = {{ from = [\"@oncall\"], needed = 1 }}\n\
             [[rule]]\nname = \"ward\"\nthen = \"approve\"\nwhen = {{ {when} }}\npasswordless = true\n{rest}"
        );
        match read(&text) {
            Ok(config) => Ok(config.rules[0].clone()),
            Err(faults) => Err(faults.iter().map(|fault| fault.text.clone()).collect::<Vec<_>>().join("\n")),
        }
    }

    #[test]
    fn it_inherits_nothing_that_is_weaker_than_the_code() {
        let rule = rule(WHEN, "").unwrap();
        assert!(rule.passwordless && rule.codes.is_empty() && rule.offline.is_empty());
        assert_eq!((rule.confirm, rule.without_prompt), (Confirm::Code, WithoutPrompt::Refuse));
        assert_eq!((rule.lease, rule.unenrolled, rule.approvals), (None, Unenrolled::Deny, None));
    }

    #[test]
    fn it_is_for_some_people_in_front_of_named_seats() {
        for when in [
            "service = \"login\", user = [\"alice\", \"bob\"], remote = false",
            "service = \"kde\", group = [\"ward\", \"!guests\"], user = \"ward-*\", remote = false",
        ] {
            assert!(rule(when, "").is_ok(), "{when}");
        }
        for when in [
            "",
            "service = \"lightdm\", group = \"ward\"",
            "service = \"lightdm\", group = \"ward\", remote = true",
            "service = \"lightdm\", remote = false",
            "service = \"lightdm\", user = \"*\", remote = false",
            "service = \"lightdm\", user = \"ward-*\", remote = false",
            "service = \"lightdm\", user = [\"*\", \"!root\"], remote = false",
            "service = \"light*\", group = \"ward\", remote = false",
            "service = [\"lightdm\", \"!sudo\"], group = \"ward\", remote = false",
            "service = \"sshd\", group = \"ward\", remote = false",
            "service = [\"lightdm\", \"sudo\"], group = \"ward\", remote = false",
            "service = \"polkit-1\", group = \"ward\", remote = false",
            "group = \"ward\", remote = false",
        ] {
            let told = rule(when, "").unwrap_err();
            assert!(told.starts_with("\"passwordless\" lets in with the phone alone"), "{when}: {told}");
        }
    }

    #[test]
    fn nothing_weaker_stands_beside_it() {
        let fine = "codes = [\"recovery\"]\noffline = [\"phone-code\"]\nlease = \"none\"\nconfirm = \"code\"\n\
                    without_prompt = \"refuse\"\nunenrolled = \"deny\"\napprovals = \"self\"\nwait = \"2m\"\n";
        let read = rule(WHEN, fine).unwrap();
        assert_eq!((read.codes, read.offline), (vec![Factor::Recovery], vec![Factor::PhoneCode]));
        for (weak, want) in [
            ("confirm = \"tap\"", "\"confirm\" is \"code\""),
            ("without_prompt = \"tap\"", "\"without_prompt\" is \"refuse\""),
            ("codes = [\"totp\"]", "\"recovery\" and \"phone-code\" alone"),
            ("offline = [\"lease\"]", "\"recovery\" and \"phone-code\" alone"),
            ("lease = \"1h\"", "no \"lease\""),
            ("unenrolled = { skip_until = 2999-01-01 }", "\"unenrolled\" is \"deny\""),
            ("approvals = { from = [\"bob\"], needed = 1 }", "\"approvals\" is \"self\""),
        ] {
            let told = rule(WHEN, weak).unwrap_err();
            assert!(told.contains(want) && !told.contains('\n'), "{weak}: {told}");
        }
        for then in ["skip", "observe", "deny"] {
            let text = format!(
                "server = \"https://push.example.com\"\n[[rule]]\nname = \"w\"\nwhen = {{ {WHEN} }}\n\
                 then = \"{then}\"\npasswordless = true\n"
            );
            assert!(crate::read(&text).unwrap_err()[0].text.contains("\"then\" is \"approve\""), "{then}");
        }
        let allowed = rule(
            "service = \"login\", user = \"alice\", remote = false",
            "offline = [{ allow_until = 2999-01-01 }]",
        );
        assert!(allowed.unwrap_err().contains("\"recovery\" and \"phone-code\" alone"));
    }

    #[test]
    fn it_is_no_default_and_false_is_nothing() {
        let server = "server = \"https://push.example.com\"\n";
        assert!(read(&format!("{server}[default]\npasswordless = true\n")).is_err());
        let config = read(&format!(
            "{server}[default]\npasswordless = false\n[[rule]]\nname = \"a\"\nthen = \"approve\"\npasswordless = false\n"
        ));
        assert!(!config.unwrap().rules[0].passwordless);
        assert!(read(&format!("{server}[default]\npasswordless = \"yes\"\n")).is_err());
    }
}
