//! What polkit is about to ask a password for. Its helper, where the PAM module runs, is told the account and nothing of the
//! action; a rule of polkit's own (`polkit/examples/40-countersign.rules`) tells it here a moment before. It is shown to the
//! person and decides nothing: which of several questions a password prompt belongs to, nobody knows.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::Duration;

use countersign_protocol::login::MAX_NAME;
use countersign_protocol::message::MAX_DETAIL;
use countersign_protocol::text::{clip, is_active};

/// The user that polkit's daemon runs as, on all systems that have one.
pub const DAEMON: &str = "polkitd";
/// For how long a question is remembered: as long as a person may look at the password prompt first.
const LIFE: Duration = Duration::from_secs(5 * 60);
/// Most questions of one user that are remembered; beyond that the oldest goes.
const MOST_OF_ONE: usize = 8;
/// Most questions of all users that are remembered; beyond that the oldest goes.
const MOST: usize = 128;
/// Longest name of an action in bytes.
pub const MAX_ACTION: usize = 128;
/// Whose word it is, for the person.
const SOURCE: &str = " (said by polkit's rule)";

/// A question of polkit's.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Question {
    /// The user for whom something is to be done.
    subject: String,
    action: String,
    /// In words; empty where nobody has any.
    text: String,
    /// Boot clock.
    at: Duration,
}

/// The questions that polkit has asked lately.
#[derive(Debug, Default)]
pub struct Questions(RefCell<VecDeque<Question>>);

impl Questions {
    /// Remembers a question. Asked once more it is the same one.
    ///
    /// # Errors
    /// Which part of it is unusable.
    pub fn note(&self, subject: &str, action: &str, text: &str, now: Duration) -> Result<(), &'static str> {
        if !(1..=MAX_NAME).contains(&subject.len()) {
            return Err("a user's name has 1 to 256 bytes");
        }
        let is_one = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        if !(1..=MAX_ACTION).contains(&action.len()) || !action.bytes().all(is_one) {
            return Err("an action has 1 to 128 letters, digits, dots, dashes and underscores");
        }
        // What acts on a screen stands for more bytes in a message than it is worth.
        let text: String = text.chars().map(|c| if is_active(c) { ' ' } else { c }).collect();
        let text = clip(text.trim(), MAX_DETAIL - SOURCE.len()).to_owned();
        let question = Question { subject: subject.to_owned(), action: action.to_owned(), text, at: now };

        let mut all = self.0.borrow_mut();
        all.retain(|known| known.is_fresh(now) && !known.is_same(&question));
        let of_one = all.iter().filter(|known| known.subject == subject).count();
        if of_one >= MOST_OF_ONE
            && let Some(oldest) = all.iter().position(|known| known.subject == subject)
        {
            all.remove(oldest);
        }
        if all.len() >= MOST {
            all.pop_front();
        }
        all.push_back(question);
        Ok(())
    }

    /// What is known of a prompt of this user's agent, as action and words. Where several questions are open, all are
    /// named and none of them is said to be it.
    #[must_use]
    pub fn of(&self, subject: &str, now: Duration) -> (Option<String>, Option<String>) {
        let all = self.0.borrow();
        let mut open = all.iter().rev().filter(|known| known.subject == subject && known.is_fresh(now));
        let Some(latest) = open.next() else { return (None, None) };
        let others: Vec<&Question> = open.collect();
        if others.is_empty() {
            let text = format!("{}{SOURCE}", latest.text);
            return (Some(latest.action.clone()), Some(text.trim_start().to_owned()));
        }
        let mut text = format!("one of {} open questions", others.len() + 1);
        for (number, question) in [latest].into_iter().chain(others).enumerate() {
            text.push_str(if number == 0 { ": " } else { "; " });
            text.push_str(&question.action);
            if !question.text.is_empty() {
                text.push_str(&format!(" ({})", question.text));
            }
        }
        (None, Some(cut(text)))
    }

    /// Forgets the question that a granted prompt has answered, if it is known which one that was.
    pub fn answered(&self, subject: &str, now: Duration) {
        let mut all = self.0.borrow_mut();
        all.retain(|known| known.is_fresh(now));
        if all.iter().filter(|known| known.subject == subject).count() == 1 {
            all.retain(|known| known.subject != subject);
        }
    }
}

impl Question {
    fn is_fresh(&self, now: Duration) -> bool {
        now < self.at + LIFE
    }

    fn is_same(&self, other: &Self) -> bool {
        (&self.subject, &self.action, &self.text) == (&other.subject, &other.action, &other.text)
    }
}

/// A text that names several, and says so where it had to leave some out.
fn cut(text: String) -> String {
    const MORE: &str = "…";
    let room = MAX_DETAIL - SOURCE.len();
    let kept = if text.len() <= room { text } else { format!("{}{MORE}", clip(&text, room - MORE.len())) };
    kept + SOURCE
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_000);
    const EXEC: &str = "org.freedesktop.policykit.exec";

    #[test]
    fn one_question_is_named_with_its_source() {
        let questions = Questions::default();
        assert_eq!(questions.of("alice", NOW), (None, None));
        questions.note("alice", EXEC, "run \u{1b}[1mid", NOW).unwrap();
        let (action, text) = questions.of("alice", NOW);
        assert_eq!(action.as_deref(), Some(EXEC));
        assert_eq!(text.as_deref(), Some("run  [1mid (said by polkit's rule)"));
        assert_eq!(questions.of("bob", NOW), (None, None));
        assert_eq!(questions.of("alice", NOW + LIFE), (None, None), "too long ago");
        questions.note("bob", "a.b", "", NOW).unwrap();
        assert_eq!(questions.of("bob", NOW).1.as_deref(), Some("(said by polkit's rule)"));
    }

    #[test]
    fn the_same_once_more_is_one_question_and_another_makes_it_unknown_which() {
        let questions = Questions::default();
        for _ in 0..3 {
            questions.note("alice", EXEC, "run id", NOW).unwrap();
        }
        assert_eq!(questions.of("alice", NOW).0.as_deref(), Some(EXEC));
        questions.note("alice", EXEC, "run rm", NOW).unwrap();
        let (action, text) = questions.of("alice", NOW);
        assert_eq!(action, None);
        let all =
            format!("one of 2 open questions: {EXEC} (run rm); {EXEC} (run id) (said by polkit's rule)");
        assert_eq!(text, Some(all));
        // Nobody knows which one was answered.
        questions.answered("alice", NOW);
        assert_eq!(questions.of("alice", NOW).0, None);
    }

    #[test]
    fn what_was_answered_is_over() {
        let questions = Questions::default();
        questions.note("alice", EXEC, "run id", NOW).unwrap();
        questions.note("bob", EXEC, "run id", NOW).unwrap();
        questions.answered("alice", NOW);
        assert_eq!(questions.of("alice", NOW), (None, None));
        assert!(questions.of("bob", NOW).0.is_some());
    }

    #[test]
    fn texts_and_numbers_are_limited() {
        let questions = Questions::default();
        for number in 0..2 * MOST_OF_ONE {
            questions.note("alice", EXEC, &format!("{number} {}", "é".repeat(400)), NOW).unwrap();
        }
        assert_eq!(questions.0.borrow().len(), MOST_OF_ONE);
        let text = questions.of("alice", NOW).1.unwrap();
        assert!(
            text.len() <= MAX_DETAIL && text.starts_with("one of 8 open") && text.contains('…'),
            "{text}"
        );
        for number in 0..2 * MOST {
            questions.note(&format!("user{number}"), EXEC, &"x".repeat(1_000), NOW).unwrap();
        }
        assert_eq!(questions.0.borrow().len(), MOST);
        let last = questions.of(&format!("user{}", 2 * MOST - 1), NOW).1.unwrap();
        assert!(last.len() <= MAX_DETAIL && last.ends_with(SOURCE), "{last}");
        for (subject, action) in
            [("", EXEC), ("alice", ""), ("alice", "a b"), ("alice", "a\n"), (&"u".repeat(257), EXEC)]
        {
            assert!(questions.note(subject, action, "", NOW).is_err(), "{subject:?} {action:?}");
        }
        assert!(questions.note("alice", &"a".repeat(MAX_ACTION + 1), "", NOW).is_err());
    }
}
