//! What has been done so far.

use crate::output::{Outcome, Output};
use serde::Serialize;
use serde_json::json;

/// What became of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    Done,
    Already,
    Skipped,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Already => "already",
            Self::Skipped => "left out",
        }
    }
}

#[derive(Serialize)]
struct Step {
    step: &'static str,
    state: State,
    text: String,
}

/// The steps, told as they come.
pub(super) struct Report {
    out: Output,
    total: usize,
    steps: Vec<Step>,
}

impl Report {
    pub(super) fn new(total: usize, out: Output) -> Self {
        Self { out, total, steps: Vec::new() }
    }

    /// A step begins.
    pub(super) fn begin(&self, step: &'static str, title: &str) -> Outcome {
        if self.out.json {
            return self.out.object(&json!({ "event": "step", "step": step, "state": "begun" }));
        }
        self.out.lines(&format!("\n[{}/{}] {title}", self.steps.len() + 1, self.total))
    }

    /// It is over.
    pub(super) fn end(&mut self, step: &'static str, state: State, text: String) -> Outcome {
        if self.out.json {
            let event = json!({ "event": "step", "step": step, "state": state, "text": text });
            self.out.object(&event)?;
        } else {
            self.out.lines(&format!("      {}: {text}", state.word()))?;
        }
        self.steps.push(Step { step, state, text });
        Ok(())
    }

    /// Something that is good to know.
    pub(super) fn remark(&self, text: &str) -> Outcome {
        if self.out.json {
            return self.out.object(&json!({ "event": "remark", "text": text }));
        }
        self.out.lines(&format!("      {text}"))
    }

    /// All of it once more, and what comes next.
    pub(super) fn finish(&self, next: &[String]) -> Outcome {
        if self.out.json {
            return self.out.object(&json!({ "event": "finished", "steps": self.steps, "next": next }));
        }
        let mut text = "\nThis host is set up:\n".to_owned();
        for Step { step, state, text: what } in &self.steps {
            text.push_str(&format!("  {:<9} {step:<9} {what}\n", state.word()));
        }
        for (number, line) in next.iter().enumerate() {
            text.push_str(if number == 0 { "Next: " } else { "      " });
            text.push_str(line);
            text.push('\n');
        }
        self.out.lines(&text)
    }
}
