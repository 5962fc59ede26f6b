//! What polkit is about to ask a password for. Its helper, where the PAM module runs, is told the account and nothing of the
//! action; a rule of polkit's own (`polkit/examples/40-countersign.rules`) tells it here a moment before. It is shown to the
//! person and decides nothing: which of several questions a password prompt belongs to, nobody knows. Nor does anybody know
//! when a dialog is closed: whoever runs programs as the user may keep one open for as long as they like.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use countersign_protocol::login::MAX_NAME;
use countersign_protocol::message::MAX_DETAIL;
use countersign_protocol::text::{clip, is_active};

/// The user that polkit's daemon runs as, on all systems that have one.
pub const DAEMON: &str = "polkitd";
/// For how long a question is listed: as long as a person may look at the password prompt first.
const LIFE: Duration = Duration::from_secs(5 * 60);
/// For how long it counts that one was forgotten that nobody had answered: its dialog may be open still.
const DOUBT: Duration = Duration::from_secs(24 * 60 * 60);
/// Most questions of one user that are listed: each has to have room on the phone. Beyond that the oldest is forgotten.
const MOST_OF_ONE: usize = 4;
/// Most users of whom something is remembered.
const MOST_USERS: usize = 512;
/// Longest name of an action in bytes.
pub const MAX_ACTION: usize = 128;
/// Whose word it is, for the person.
const SOURCE: &str = " (said by polkit's rule)";
/// Something was left out.
const MORE: &str = "…";

/// A question of polkit's.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Question {
    action: String,
    /// In words; empty where nobody has any.
    text: String,
    /// Whether the words go on.
    is_cut: bool,
    /// Boot clock.
    at: Duration,
}

/// What is known of one user's dialogs.
#[derive(Debug, Default)]
struct Dialogs {
    /// The latest is the last.
    listed: VecDeque<Question>,
    /// Until then (boot clock) there may be one that is not listed.
    doubt: Duration,
}

/// The questions that polkit has asked lately, by the user for whom something is to be done.
#[derive(Debug, Default)]
pub struct Questions(RefCell<Known>);

#[derive(Debug, Default)]
struct Known {
    of: HashMap<String, Dialogs>,
    /// Until then (boot clock) anybody may have a dialog that is not listed: there was no room for one.
    doubt: Duration,
}

impl Questions {
    /// Remembers a question. Asked once more it is the same one.
    ///
    /// # Errors
    /// Which part of it is unusable, or that too many users have been asked.
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
        let (text, most) = (text.trim(), MAX_DETAIL - SOURCE.len());
        let is_cut = text.len() > most;
        let text = match is_cut {
            true => format!("{}{MORE}", clip(text, most - MORE.len())),
            false => text.to_owned(),
        };
        let question = Question { action: action.to_owned(), text, is_cut, at: now };

        let mut known = self.0.borrow_mut();
        known.of.retain(|_, dialogs| dialogs.matter(now));
        // Nobody's questions go for another user's.
        if known.of.len() >= MOST_USERS && !known.of.contains_key(subject) {
            known.doubt = now + DOUBT;
            return Err("too many users are asked for passwords");
        }
        known.of.entry(subject.to_owned()).or_default().note(question);
        Ok(())
    }

    /// What is known of a prompt of this user's agent, as action and words. Where several questions are open or may be, all
    /// that are known are named, and none of them is said to be it.
    #[must_use]
    pub fn of(&self, subject: &str, now: Duration) -> (Option<String>, Option<String>) {
        let mut known = self.0.borrow_mut();
        let is_doubted = now < known.doubt;
        let Some(dialogs) = known.of.get_mut(subject) else { return (None, None) };
        dialogs.forget_old(now);
        let Some(latest) = dialogs.listed.back() else { return (None, None) };
        let number = dialogs.listed.len();
        let begin = match number {
            _ if is_doubted || now < dialogs.doubt => "one of several questions, among them: ".to_owned(),
            1 => {
                let text = format!("{}{SOURCE}", latest.text);
                return (Some(latest.action.clone()), Some(text.trim_start().to_owned()));
            }
            _ => format!("one of {number} open questions: "),
        };
        (None, Some(list(begin, dialogs.listed.iter().rev())))
    }

    /// Forgets the only question that there is, once a prompt was granted for which [`Self::of`] had said `shown`: the person
    /// has said yes to its words. One that has taken its place since stays.
    pub fn answered(&self, subject: &str, shown: (Option<&str>, Option<&str>), now: Duration) {
        let (action, words) = self.of(subject, now);
        let mut known = self.0.borrow_mut();
        let Some(dialogs) = known.of.get_mut(subject) else { return };
        if dialogs.listed.len() == 1 && (action.as_deref(), words.as_deref()) == shown {
            dialogs.listed.clear();
        }
    }
}

impl Dialogs {
    fn note(&mut self, question: Question) {
        self.forget_old(question.at);
        let is_same = |known: &Question| (&known.action, &known.text) == (&question.action, &question.text);
        let number = self.listed.len();
        self.listed.retain(|known| !is_same(known));
        if self.listed.len() < number && question.is_cut {
            // The part that was left out may be another.
            self.doubt = question.at + DOUBT;
        }
        if self.listed.len() >= MOST_OF_ONE {
            self.listed.pop_front();
            self.doubt = question.at + DOUBT;
        }
        self.listed.push_back(question);
    }

    /// What nobody has answered for long is listed no more. It may be answered all the same.
    fn forget_old(&mut self, now: Duration) {
        while let Some(oldest) = self.listed.front().filter(|oldest| now >= oldest.at + LIFE) {
            self.doubt = self.doubt.max(oldest.at + LIFE + DOUBT);
            self.listed.pop_front();
        }
    }

    /// Whether anything would be another if this were not remembered.
    fn matter(&mut self, now: Duration) -> bool {
        self.forget_old(now);
        !self.listed.is_empty() || now < self.doubt
    }
}

/// Names several. Where not all has room, each has its part of it, and their words count more than the actions' names.
fn list<'a>(begin: String, questions: impl Iterator<Item = &'a Question> + Clone) -> String {
    const BETWEEN: &str = "; ";
    let number = questions.clone().count();
    let room = (MAX_DETAIL - SOURCE.len() - begin.len()).saturating_sub(BETWEEN.len() * (number - 1));
    let whole = |question: &Question| match question.text.as_str() {
        "" => question.action.clone(),
        text => format!("{} ({text})", question.action),
    };
    let mut all: Vec<String> = questions.clone().map(whole).collect();
    if all.iter().map(String::len).sum::<usize>() > room {
        all =
            questions.map(|one| if one.text.is_empty() { &one.action } else { &one.text }.clone()).collect();
        // What short ones leave over is the others'.
        let fits = |most: &usize| all.iter().map(|one| one.len().min(*most)).sum::<usize>() <= room;
        let most = (0..=room).rev().find(fits).unwrap_or_default();
        for one in all.iter_mut().filter(|one| one.len() > most) {
            *one = format!("{}{MORE}", clip(one, most.saturating_sub(MORE.len())));
        }
    }
    begin + &all.join(BETWEEN) + SOURCE
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
        granted(&questions, NOW + LIFE);
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
        granted(&questions, NOW);
        assert_eq!(questions.of("alice", NOW).0, None);
    }

    #[test]
    fn what_was_answered_is_over() {
        let questions = Questions::default();
        questions.note("alice", EXEC, "run id", NOW).unwrap();
        questions.note("bob", EXEC, "run id", NOW).unwrap();
        granted(&questions, NOW);
        assert_eq!(questions.of("alice", NOW), (None, None));
        assert!(questions.of("bob", NOW).0.is_some());
    }

    #[test]
    fn one_that_has_come_since_was_not_answered() {
        let questions = Questions::default();
        questions.note("alice", EXEC, "run id", NOW).unwrap();
        let (action, words) = questions.of("alice", NOW);
        let shown = (action.as_deref(), words.as_deref());
        questions.answered("alice", shown, NOW);
        questions.note("alice", EXEC, "run evil", NOW).unwrap();
        questions.answered("alice", shown, NOW);
        assert_eq!(questions.of("alice", NOW).0.as_deref(), Some(EXEC));
    }

    #[test]
    fn long_words_are_marked_as_cut_and_may_hide_another() {
        let questions = Questions::default();
        let long = format!("run env A={}", "x".repeat(MAX_DETAIL));
        questions.note("alice", EXEC, &format!("{long} true"), NOW).unwrap();
        let (action, words) = questions.of("alice", NOW);
        assert_eq!(action.as_deref(), Some(EXEC));
        let words = words.unwrap();
        assert!(words.len() <= MAX_DETAIL && words.ends_with(&format!("x{MORE}{SOURCE}")), "{words}");
        questions.note("alice", EXEC, &format!("{long} evil"), NOW).unwrap();
        assert!(doubted(&questions, NOW).starts_with("one of several questions"));
    }

    /// A prompt of alice's is granted that was shown what is known now.
    fn granted(questions: &Questions, now: Duration) {
        let (action, words) = questions.of("alice", now);
        questions.answered("alice", (action.as_deref(), words.as_deref()), now);
    }

    /// What the phone shows where none may be said to be it.
    fn doubted(questions: &Questions, now: Duration) -> String {
        let (action, text) = questions.of("alice", now);
        assert_eq!(action, None, "{text:?}");
        let text = text.unwrap();
        assert!(text.len() <= MAX_DETAIL && text.ends_with(SOURCE), "{text}");
        text
    }

    #[test]
    fn after_one_that_nobody_answered_no_other_is_said_to_be_it_for_a_day() {
        let questions = Questions::default();
        questions.note("alice", EXEC, "run evil", NOW).unwrap();
        let later = NOW + LIFE;
        questions.note("alice", "a.harmless", "look", later).unwrap();
        let among = format!("one of several questions, among them: a.harmless (look){SOURCE}");
        assert_eq!(doubted(&questions, later), among);
        // A grant may have been the forgotten one's. The one that was shown with it is over.
        granted(&questions, later);
        assert_eq!(questions.of("alice", later), (None, None));
        questions.note("alice", "a.harmless", "look", later).unwrap();
        assert_eq!(doubted(&questions, later), among);
        granted(&questions, later);
        let end = NOW + LIFE + DOUBT;
        questions.note("alice", "a.harmless", "look", end - Duration::from_secs(1)).unwrap();
        assert_eq!(doubted(&questions, end - Duration::from_secs(1)), among);
        assert_eq!(questions.of("alice", end).0.as_deref(), Some("a.harmless"));
        // Of nobody else there is any doubt.
        questions.note("bob", EXEC, "run id", later).unwrap();
        assert_eq!(questions.of("bob", later).0.as_deref(), Some(EXEC));
    }

    #[test]
    fn one_that_later_ones_have_pushed_out_is_one_of_several() {
        let questions = Questions::default();
        questions.note("alice", EXEC, "run evil", NOW).unwrap();
        for number in 0..MOST_OF_ONE {
            questions.note("alice", "a.harmless", &format!("look {number}"), NOW).unwrap();
        }
        let text = doubted(&questions, NOW);
        assert!(text.starts_with("one of several questions, among them: "), "{text}");
        assert!((0..MOST_OF_ONE).all(|number| text.contains(&format!("look {number}"))), "{text}");
        // Also when all that are listed are over.
        let later = NOW + LIFE;
        questions.note("alice", "a.b", "", later).unwrap();
        assert!(doubted(&questions, later).starts_with("one of several questions, among them: a.b"));
    }

    #[test]
    fn a_long_one_leaves_the_others_their_room() {
        let words = "Authentication is needed to run `/usr/bin/evil' as the super user";
        for number in 1..MOST_OF_ONE {
            let questions = Questions::default();
            questions.note("alice", EXEC, words, NOW).unwrap();
            for other in 0..number {
                questions.note("alice", EXEC, &format!("{other}{}", "é".repeat(400)), NOW).unwrap();
            }
            let text = doubted(&questions, NOW);
            assert!(text.contains(&words[..48]), "{text}");
            assert!((0..number).all(|other| text.contains(&format!("{other}é"))), "{text}");
            assert!(text.matches(MORE).count() >= number, "{text}");
        }
        // What has no words has its name, and nothing is cut that has room.
        let questions = Questions::default();
        questions.note("alice", "a.b", "", NOW).unwrap();
        questions.note("alice", EXEC, &"x".repeat(400), NOW).unwrap();
        let text = doubted(&questions, NOW);
        assert!(text.len() > MAX_DETAIL - 3 && text.contains("x…; a.b ("), "{text}");
    }

    #[test]
    fn others_take_nobodys_questions_away() {
        let questions = Questions::default();
        questions.note("alice", EXEC, "run evil", NOW).unwrap();
        for number in 1..MOST_USERS {
            for action in 0..2 * MOST_OF_ONE {
                questions.note(&format!("user{number}"), &format!("a.{action}"), "x", NOW).unwrap();
            }
        }
        assert_eq!(questions.of("alice", NOW).0.as_deref(), Some(EXEC));
        // Where one cannot be remembered, nobody's is the only one; those who are known are heard as before.
        assert!(questions.note("bob", EXEC, "run evil", NOW).is_err());
        assert_eq!(questions.of("bob", NOW), (None, None));
        assert!(doubted(&questions, NOW).contains("run evil"));
        questions.note("alice", "a.b", "look", NOW).unwrap();
        assert!(doubted(&questions, NOW).contains("run evil"));
        // In the end there is room again.
        let end = NOW + LIFE + DOUBT;
        questions.note("bob", EXEC, "run id", end).unwrap();
        assert_eq!(questions.of("bob", end).0.as_deref(), Some(EXEC));
        assert_eq!(questions.0.borrow().of.len(), 1);
    }

    #[test]
    fn texts_and_names_are_limited() {
        let questions = Questions::default();
        questions.note("alice", EXEC, &"x".repeat(1_000), NOW).unwrap();
        let text = questions.of("alice", NOW).1.unwrap();
        assert!(text.len() <= MAX_DETAIL && text.ends_with(SOURCE), "{text}");
        for (subject, action) in
            [("", EXEC), ("alice", ""), ("alice", "a b"), ("alice", "a\n"), (&"u".repeat(257), EXEC)]
        {
            assert!(questions.note(subject, action, "", NOW).is_err(), "{subject:?} {action:?}");
        }
        assert!(questions.note("alice", &"a".repeat(MAX_ACTION + 1), "", NOW).is_err());
    }
}
