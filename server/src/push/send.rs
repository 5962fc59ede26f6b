//! One attempt: encrypted, posted, and what the answer means.

use super::encrypt::encrypt;
use super::queue::{Attempt, Ended, MAX_QUIET, Message};
use super::results::Answer;
use super::{Subscription, address::NotPublic};
use crate::app::App;
use crate::directory::{KeyId, Peer};
use crate::envelope::{Frame, RequestId};
use crate::messages::{Kind, Version};
use crate::registry;
use base64ct::{Base64, Encoding};
use countersign_protocol::digest;
use countersign_protocol::message::Sealed;
use reqwest::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{RequestBuilder, StatusCode};
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// Longest time of an attempt.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);
/// Version of what is encrypted.
const FORMAT: u8 = 1;
/// Bytes of a topic: as hex digits they are the 32 characters that RFC 8030 allows.
const TOPIC: usize = 16;
/// How long a push service may keep a notice for a device that is off: three days.
const NOTICE_LIFE: u64 = 259_200;

/// Tries to push a message.
pub(super) async fn send(app: &App, attempt: &Attempt, subscription: &Arc<Subscription>) -> (Answer, Ended) {
    let Some(request) = request(app, attempt, subscription) else {
        // Nothing that came through `envelope::check` is like that.
        tracing::error!("a message cannot be made into a push");
        return (Answer::Unexpected, Ended::Failed);
    };
    match request.send().await {
        Ok(response) => {
            let after = retry_after(response.headers(), SystemTime::now());
            answered(app, attempt.key.device, subscription, response.status(), after).await
        }
        Err(error) => unanswered(app, subscription.service(), &error.without_url()),
    }
}

fn request(app: &App, attempt: &Attempt, subscription: &Subscription) -> Option<RequestBuilder> {
    let Attempt { key, message, .. } = attempt;
    let host = app.registry.id(key.host)?;
    let body = encrypt(subscription.keys(), &plaintext(&message.frame)?)?;
    let endpoint = subscription.endpoint();
    let origin = endpoint.origin().ascii_serialization();
    let urgency = if message.version == Version::Notice { "normal" } else { "high" };
    let request = app
        .push
        .http
        .post(endpoint.clone())
        .header(AUTHORIZATION, app.push.vapid.authorization(&origin, registry::now()))
        .header(CONTENT_ENCODING, "aes128gcm")
        .header(CONTENT_TYPE, "application/octet-stream")
        .header("ttl", life(message, Instant::now()))
        .header("urgency", urgency)
        .header("topic", topic(host, key.kind, key.id))
        .timeout(TIMEOUT)
        .body(body);
    Some(request)
}

/// Of the same topic a push service keeps only the latest. All hosts of a device share its subscription
/// and each draws its ids, so that none can displace another's push the topic names the host as well.
fn topic(host: KeyId, kind: Kind, id: RequestId) -> String {
    let class = match kind {
        Kind::Request => 1,
        Kind::Notice => 2,
    };
    let digest = digest::sha256(&[&host.0[..], &[class], &id].concat());
    digest::hex(&digest[..TOPIC])
}

/// What the device's service worker gets: a version, the envelope with its length, the sealed part as
/// raw bytes (as text it would not fit).
fn plaintext(frame: &Frame) -> Option<Vec<u8>> {
    let Sealed { envelope, sealed } = serde_json::from_str(frame.data()?).ok()?;
    let sealed = Base64::decode_vec(&sealed).ok()?;
    let mut bytes = vec![FORMAT];
    bytes.extend_from_slice(&u16::try_from(envelope.len()).ok()?.to_be_bytes());
    bytes.extend_from_slice(envelope.as_bytes());
    bytes.extend_from_slice(&sealed);
    Some(bytes)
}

/// For how many seconds a push service may keep a message.
fn life(message: &Message, now: Instant) -> u64 {
    match message.version {
        Version::Request | Version::Closed => {
            let left = message.until.saturating_duration_since(now);
            left.as_secs() + u64::from(left.subsec_nanos() > 0)
        }
        Version::Notice => NOTICE_LIFE,
    }
}

async fn answered(
    app: &App,
    device: Peer,
    subscription: &Arc<Subscription>,
    status: StatusCode,
    after: Option<Duration>,
) -> (Answer, Ended) {
    let service = subscription.service();
    match status.as_u16() {
        200..=299 => (Answer::Delivered, Ended::Delivered),
        404 | 410 => {
            forget(app, device, subscription, status).await;
            (Answer::Gone, Ended::Failed)
        }
        401 | 403 => {
            app.push.warn(service, Answer::Refused, || {
                format!(
                    "push service {service} does not accept this server's key ({status}): devices that subscribed \
                     before the database was made anew have to be set up again; a service may also want a real \
                     contact in [push]"
                )
            });
            (Answer::Refused, Ended::Failed)
        }
        413 => {
            app.push.warn(service, Answer::TooLarge, || {
                format!(
                    "push service {service} does not take 4096 bytes ({status}): its devices are not rung"
                )
            });
            (Answer::TooLarge, Ended::Failed)
        }
        429 => {
            tracing::debug!("push service {service} wants fewer pushes ({status})");
            (Answer::Limited, Ended::Again { after, maybe: false, down: false })
        }
        408 | 425 | 500..=599 => {
            tracing::debug!("push service {service} has a fault ({status})");
            // These speak for another server, which may have taken it.
            let maybe = matches!(status.as_u16(), 500 | 502 | 504);
            (Answer::Failed, Ended::Again { after, maybe, down: true })
        }
        _ => {
            app.push.warn(service, Answer::Unexpected, || {
                format!("push service {service} answers {status}: the device was not rung")
            });
            (Answer::Unexpected, Ended::Failed)
        }
    }
}

/// Forgets a subscription that its push service does not know (any more).
async fn forget(app: &App, device: Peer, subscription: &Arc<Subscription>, status: StatusCode) {
    let Some(id) = app.registry.id(device) else { return };
    let service = subscription.service();
    match app.registry.unsubscribe(id, Some(Arc::clone(subscription))).await {
        Ok(true) => {
            app.push.forget(device);
            tracing::info!("device {id} is no longer rung: push service {service} has ended it ({status})");
        }
        Ok(false) => {}
        Err(error) => tracing::error!("{error}"),
    }
}

fn unanswered(app: &App, service: &Arc<str>, error: &reqwest::Error) -> (Answer, Ended) {
    if causes(error).any(|cause| cause.is::<NotPublic>()) {
        app.push.warn(service, Answer::NotPublic, || {
            format!("push service {service} is not called: {NotPublic}")
        });
        return (Answer::NotPublic, Ended::Failed);
    }
    let why = if error.is_timeout() {
        "it does not answer in time".to_owned()
    } else {
        causes(error).last().map_or_else(|| error.to_string(), ToString::to_string)
    };
    app.push.warn(service, Answer::Failed, || {
        format!("push service {service} is not reached: {why}; pushes are tried again")
    });
    (Answer::Failed, Ended::Again { after: None, maybe: !error.is_connect(), down: true })
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (**error).source())
}

/// How long a service wants to be left alone, by seconds or a date; it may say anything.
pub(crate) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let after = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(now).ok()?,
    };
    Some(after.min(MAX_QUIET))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::tests::{frame, sealed};
    use countersign_protocol::message::MessageType;
    use std::time::UNIX_EPOCH;

    #[test]
    fn the_plaintext_is_the_envelope_and_the_raw_sealed_part() {
        let sealed = sealed(MessageType::Request, 7, 9);
        let plain = plaintext(&frame(MessageType::Request, 7, 9)).unwrap();
        let length = sealed.envelope.len();
        assert_eq!(plain[..3], [1, (length >> 8) as u8, length as u8]);
        assert_eq!(plain[3..3 + length], *sealed.envelope.as_bytes());
        assert_eq!(plain[3 + length..], Base64::decode_vec(&sealed.sealed).unwrap());
    }

    #[test]
    fn every_message_fits_into_a_push() {
        use super::super::encrypt::MAX_PLAINTEXT;
        use countersign_protocol::message::{MAX_ENVELOPE, PADDED};
        const { assert!(3 + MAX_ENVELOPE + 32 + PADDED + 16 <= MAX_PLAINTEXT) };
    }

    #[test]
    fn a_topic_is_of_one_host_and_register() {
        let (host, other) = (KeyId([3; 32]), KeyId([4; 32]));
        let request = topic(host, Version::Request.kind(), [7; 16]);
        assert_eq!(request, "7ffdcabfd5e259a9f3366003741b09a5");
        assert_eq!(topic(host, Version::Closed.kind(), [7; 16]), request);
        assert_ne!(topic(host, Version::Notice.kind(), [7; 16]), request);
        assert_ne!(topic(other, Kind::Request, [7; 16]), request);
        assert_ne!(topic(host, Kind::Request, [8; 16]), request);
    }

    #[test]
    fn a_pause_is_seconds_or_a_date() {
        let now = UNIX_EPOCH + Duration::from_secs(784_111_777);
        let read = |text: &str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);
            retry_after(&headers, now).map(|after| after.as_secs())
        };
        assert_eq!(read("120"), Some(120));
        assert_eq!(read("Sun, 06 Nov 1994 08:50:37 GMT"), Some(60));
        for far in [&*u64::MAX.to_string(), "3601", "Fri, 31 Dec 9999 23:59:59 GMT"] {
            assert_eq!(read(far), Some(MAX_QUIET.as_secs()), "{far}");
        }
        for none in ["", "-1", "soon", "99999999999999999999999", "Sun, 06 Nov 1994 08:48:37 GMT"] {
            assert_eq!(read(none), None, "{none}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn a_service_keeps_a_message_no_longer_than_it_is_of_use() {
        let now = Instant::now();
        let message = |version, left| Message {
            version,
            frame: frame(MessageType::Request, 1, 1),
            until: now + Duration::from_millis(left),
        };
        assert_eq!(life(&message(Version::Request, 60_000), now), 60);
        assert_eq!(life(&message(Version::Request, 1), now), 1);
        assert_eq!(life(&message(Version::Notice, 1), now), NOTICE_LIFE);
    }
}
