//! What stands on our line, and where it stands.

use super::Host;
use super::finding::{Finding, Severity};
use super::model::{Class, Who, class, is_break_glass, is_ours, is_passwordless};
use super::paths::{Search, search};
use super::stages::{NOBODY_ELSE, is_sshd};
use crate::{Code, Handler, Stack};

/// Arguments that the module does not know: it refuses then. And the one that opens.
pub(super) fn arguments(stack: &Stack, found: &mut Vec<Finding>) {
    let ours: Vec<_> = stack.handlers.iter().filter(|handler| is_ours(handler)).collect();
    for handler in &ours {
        let Some(module) = handler.module() else { continue };
        for arg in &module.args {
            match arg.as_str() {
                "debug" | "daemon_down=refuse" | "passwordless" => {}
                "daemon_down=ignore" => {
                    let text = "with daemon_down=ignore nobody is asked while the daemon is not running, whatever stopped it";
                    let next = format!(
                        "in {} take daemon_down=ignore away, and keep a break-glass account",
                        handler.place
                    );
                    found.push(
                        Finding::new(Severity::WouldOpen, "daemon-down-ignore", text, next)
                            .at(&handler.place),
                    );
                }
                socket if socket.starts_with("socket=/") => {}
                other => {
                    let text = format!("our module does not know \"{other}\", and refuses everybody");
                    let next = format!("in {} take \"{other}\" away", handler.place);
                    found.push(
                        Finding::new(Severity::WouldLockOut, "bad-argument", text, next).at(&handler.place),
                    );
                }
            }
        }
    }
    let asks_in_order = ours.windows(2).next();
    if let Some([first, second]) = asks_in_order {
        let text = format!("our module is called twice, here and in {}: people are asked twice", first.place);
        found.push(Finding::new(Severity::Advice, "twice", text, "take one of them out").at(&second.place));
    }
}

/// Where our line stands, and what it takes beside an approval.
pub(super) fn order(stack: &Stack, ours: usize, host: &Host<'_>, found: &mut Vec<Finding>) {
    let Some(handler) = stack.handlers.get(ours) else { return };
    let of_class = |wanted: Class| {
        stack
            .handlers
            .iter()
            .enumerate()
            .filter(move |(_, handler)| handler.module().is_some_and(|module| class(module) == wanted))
    };
    let alone = Who { password: false, others: false, ..NOBODY_ELSE };
    let opens = |who: Who| search(stack, &Search { who, has_module: host.has_module, known: &[] });
    let has_password = of_class(Class::Password).next().is_some();
    if let Some(below) = of_class(Class::Password).map(|(at, _)| at).find(|at| *at > ours)
        && !of_class(Class::Password).any(|(at, _)| at < ours)
        && !is_passwordless(handler)
        && let Some(below) = stack.handlers.get(below)
    {
        let text = format!(
            "our line stands above the password ({}): whoever knows a name makes its owner's phone ring, until it rings no more",
            below.place
        );
        let next = "put it, with the break-glass line, right behind the line that checks the password";
        found.push(Finding::new(Severity::WouldLockOut, "above-password", text, next).at(&handler.place));
    }
    let is_alone = opens(alone).is_some() && opens(Who { ours: Code::AUTH_ERR, ..alone }).is_none();
    if is_passwordless(handler) {
        found.extend(passwordless(stack, handler, is_alone, host));
    } else if is_alone {
        let finding = if has_password || !is_sshd(&stack.service) {
            let text = "an approval alone lets in, without a password";
            let next = "put our line, as \"requisite\", behind one that checks the password and is required, too; if that is \
                        meant, write \"passwordless\" behind our module, and into a rule of the policy";
            Finding::new(Severity::WouldOpen, "approval-alone", text, next)
        } else {
            let text = "no password is asked for: an approval alone lets in";
            let next = "set AuthenticationMethods publickey,keyboard-interactive in sshd_config, so that a key comes first";
            Finding::new(Severity::Advice, "approval-alone", text, next)
        };
        found.push(finding.at(&handler.place));
    }
    if opens(Who { break_glass: true, ours: Code::AUTHINFO_UNAVAIL, ..alone }).is_some()
        && opens(Who { ours: Code::AUTHINFO_UNAVAIL, ..alone }).is_none()
    {
        let at = stack.handlers.iter().find(|handler| is_break_glass(handler)).unwrap_or(handler);
        let text = "members of the break-glass group get in without a password";
        let next = "put the break-glass line right above our line, behind the password";
        found.push(Finding::new(Severity::WouldOpen, "break-glass-alone", text, next).at(&at.place));
    }
}

/// What is wrong with a line that says that no password goes before it.
fn passwordless(stack: &Stack, handler: &Handler, is_alone: bool, host: &Host<'_>) -> Option<Finding> {
    let is_ruled = host.passwordless.is_none_or(|services| services.contains(&stack.service));
    let finding = if (host.one_field)(&stack.service) {
        let text = "our line says passwordless, and this program cannot ask for the code that it takes: everybody is refused";
        let next = format!(
            "in /etc/pam.d/{service} write the lines that check the password (@include common-auth) in place of what brings this \
             line, then countersign enable {service}",
            service = stack.service
        );
        Finding::new(Severity::WouldLockOut, "passwordless-one-field", text, next)
    } else if !is_alone {
        let text = "our line says passwordless, and an approval alone does not let in here: whom no rule lets in without a \
                    password is refused all the same";
        let next = format!("in {} take passwordless away", handler.place);
        Finding::new(Severity::Advice, "passwordless-idle", text, next)
    } else if !is_ruled {
        let text = "our line says passwordless, and no rule of the policy does for this service: everybody is refused";
        let next = format!(
            "add a rule: when = {{ service = \"{}\", group = \"…\", remote = false }}, then = \"approve\", passwordless = true",
            stack.service
        );
        Finding::new(Severity::WouldLockOut, "passwordless-unruled", text, next)
    } else {
        return None;
    };
    Some(finding.at(&handler.place))
}
