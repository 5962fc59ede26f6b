//! Decisions that come a second time, too late, or much too often.

use super::*;
use crate::login::request::OpenRequest;
use crate::login::state::Event;
use countersign_protocol::message::{Confirm, Decision};

/// A request that the daemon knows, and no login around it.
struct Known {
    lab: Lab,
    phone: TestDevice,
    request: Rc<OpenRequest>,
}

impl Known {
    async fn new() -> Self {
        let (lab, phone) = (Lab::new(), TestDevice::new());
        lab.pair(USER, &phone).await;
        let request = lab.request(USER, Confirm::Code, Duration::from_secs(60));
        lab.app.logins.keep(&request);
        Self { lab, phone, request }
    }

    async fn hears(&self, device: &TestDevice, answer: Answer, counter: u64) {
        let decision = Decision { counter, ..TestDevice::decision(&self.request, answer) };
        let sealed = device.seal(&self.lab, &self.request, &device.sign(&decision));
        self.lab.app.logins.decision(&self.lab.app, &sealed).await;
    }

    /// Outcomes of the late decisions in the audit.
    fn late(&self) -> Vec<String> {
        let mut records = self.lab.audit();
        records.retain(|record| record.event == "late-decision");
        records.into_iter().filter_map(|record| record.outcome).collect()
    }
}

#[tokio::test]
async fn one_device_is_written_down_once_for_each_late_no() {
    let known = Known::new().await;
    known.request.happens(Event::HangUp);
    for counter in 1..100 {
        for answer in [Answer::Approve, Answer::Deny, Answer::Report] {
            known.hears(&known.phone, answer, counter).await;
        }
    }
    assert_eq!(known.late(), ["denied", "reported"]);
    assert_eq!(known.request.state(), State::Withdrawn);
}

#[tokio::test]
async fn what_one_device_says_too_often_hides_nothing_of_another() {
    let (mut known, tablet) = (Known::new().await, TestDevice::new());
    known.lab.pair(USER, &tablet).await;
    known.request = known.lab.request(USER, Confirm::Code, Duration::from_secs(60));
    known.lab.app.logins.keep(&known.request);
    known.request.happens(Event::HangUp);
    for counter in 1..20 {
        known.hears(&known.phone, Answer::Deny, counter).await;
    }
    known.hears(&tablet, Answer::Deny, 1).await;
    known.hears(&tablet, Answer::Report, 2).await;
    assert_eq!(known.late(), ["denied", "denied", "reported"]);
}
