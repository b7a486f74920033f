use super::*;
use crate::{
    channel::samples::{ALL_KINDS, flood_message, sample_message},
    message::MessageKind,
};

#[test]
fn subjects_are_ascii_of_at_most_99_characters_and_the_text_is_bounded() {
    for message in ALL_KINDS.map(sample_message).into_iter().chain([flood_message()]) {
        let (subject, text) = render(&message);
        assert!(!subject.is_empty() && subject.len() <= 99, "{subject}");
        assert!(subject.bytes().all(|b| (b' '..=b'~').contains(&b)), "{subject}");
        assert!(text.len() <= MAX_MESSAGE_BYTES, "{}", text.len());
    }
}

#[test]
fn names_are_right_in_the_text() {
    let (subject, text) = render(&sample_message(MessageKind::Resolved));
    insta::assert_snapshot!(format!("{subject}\n\n{text}"), @"
    Lomash W?od & S?hne: resolved: bestellungen-gr??e is good again

    Lomash Wöod & Söhne: resolved: bestellungen-größe is good again

    bestellungen-größe (production): resolved
      What is wrong:   the newest good point is 26h old, 24h are allowed
      Lasted:          2h 15m
      From, until:     2026-11-21 06:15 UTC – 2026-11-21 08:30 UTC
      At risk:         1d 2h of data: 108% of the 1d allowed
      Last good point: orders-daily-202611200200 at eu-west-1

    Holdfast, 2026-11-21 08:30 UTC, lomash-resolved-202611210830
    ");
}

#[test]
fn what_aws_refuses_for_a_while_is_tried_again_and_what_it_denies_is_not() {
    use shared::aws::{OperationError, OperationErrorKind};
    let table = [
        (OperationErrorKind::Unreachable, None, false),
        (OperationErrorKind::Quota, None, false),
        (OperationErrorKind::Refused, Some("TooManyRequestsException"), false),
        (OperationErrorKind::Refused, Some("SendingPausedException"), false),
        (OperationErrorKind::Refused, Some("MessageRejected"), true),
        (OperationErrorKind::Denied, Some("AuthorizationError"), true),
        (OperationErrorKind::Missing, Some("NotFound"), true),
    ];
    for (kind, code, permanent) in table {
        let mut e = OperationError::with_hint(kind, "publish", "why", "fix");
        e.code = code.map(str::to_owned);
        let refused = DeliveryError::from_aws(&e);
        assert_eq!(refused.permanent, permanent, "{kind:?} {code:?}");
        assert_eq!(refused.why, "publish: why; fix");
    }
}
