//! Messages of the control stream.

use super::*;
use crate::wire::message::MAX_MESSAGE_LEN;

proptest! {
    #[test]
    fn every_message_comes_back(message in message(), behind in list(any::<u8>(), 0..9)) {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        let len = bytes.len();
        bytes.extend(&behind);
        let mut rest = bytes.as_slice();
        prop_assert_eq!(Message::take(&mut rest), Ok(Some(Some(message))));
        prop_assert_eq!(rest, &bytes[len..]);
    }

    #[test]
    fn a_message_that_has_not_wholly_come_is_waited_for(message in message()) {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        for len in 0..bytes.len() {
            let mut rest = &bytes[..len];
            prop_assert_eq!(Message::take(&mut rest), Ok(None));
            prop_assert_eq!(rest.len(), len);
        }
    }

    #[test]
    fn a_message_cut_or_prolonged_is_malformed(message in message()) {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        let (kind, body) = (bytes[0], content(&bytes));
        let longer = [body, &[0]].concat();
        let cuts = (0..body.len()).map(|len| &body[..len]);
        for wrong in cuts.chain([longer.as_slice()]) {
            let len = u16::try_from(wrong.len()).unwrap().to_be_bytes();
            let encoded = [&[kind], len.as_slice(), wrong].concat();
            let taken = Message::take(&mut encoded.as_slice());
            prop_assert_eq!(taken, Err(DecodeError::Malformed(kind)));
        }
    }

    #[test]
    fn what_is_read_of_a_message_is_what_was_written(
        kind in 0_u8..0x0c, body in list(any::<u8>(), 0..100),
    ) {
        let len = u16::try_from(body.len()).unwrap().to_be_bytes();
        let encoded = [&[kind], len.as_slice(), &body].concat();
        if let Ok(Some(Some(message))) = Message::take(&mut encoded.as_slice()) {
            let mut again = Vec::new();
            message.encode(&mut again);
            prop_assert_eq!(again, encoded);
        }
    }
}

#[test]
fn overlong_numbers_are_malformed() {
    for message in [
        Message::OfferEnd { files: 300 },
        Message::Answer { through: 0 },
        Message::Hold { file: FileIndex(9) },
        Message::Want {
            file: FileIndex(u32::MAX),
        },
    ] {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        for long in overlong(content(&bytes)) {
            let encoded = [&[bytes[0], 0, long.len() as u8], long.as_slice()].concat();
            let taken = Message::take(&mut encoded.as_slice());
            assert_eq!(taken, Err(DecodeError::Malformed(bytes[0])), "{encoded:?}");
        }
    }
}

#[test]
fn unknown_messages_are_skipped_only_where_they_may_be() {
    let take = |kind: u8| Message::take(&mut [kind, 0, 1, 9].as_slice());
    assert_eq!(take(0), Err(DecodeError::Unknown(0)));
    for kind in 0x0b..0x80 {
        assert_eq!(take(kind), Err(DecodeError::Unknown(kind)));
    }
    for kind in 0x80..=0xff {
        assert_eq!(take(kind), Ok(Some(None)));
    }
}

#[test]
fn the_largest_message_fits_its_length_field() {
    let mut entry = WireEntry {
        name: Vec::new(),
        kind: EntryKind::File,
        size: 0,
        modified: None,
        mode: None,
        identity: None,
    };
    // Besides the name: three bytes of its length, five options and numbers, one count, one index.
    entry.name = vec![b'x'; MAX_MESSAGE_LEN - 10];
    let offer = Message::Offer {
        first: FileIndex(0),
        entries: vec![entry],
    };
    let mut bytes = Vec::new();
    offer.encode(&mut bytes);
    assert_eq!(content(&bytes).len(), MAX_MESSAGE_LEN);
    assert_eq!(Message::take(&mut bytes.as_slice()), Ok(Some(Some(offer))));
}

#[test]
fn a_failure_with_more_words_than_allowed_is_malformed() {
    let abandon = |len: usize| {
        let failure = Failure {
            code: ErrorCode::SOURCE_CHANGED,
            message: "m".repeat(len),
        };
        let mut bytes = Vec::new();
        let file = FileIndex(0);
        Message::Abandon { file, failure }.encode(&mut bytes);
        Message::take(&mut bytes.as_slice()).is_ok()
    };
    assert!(abandon(MAX_MESSAGE));
    assert!(!abandon(MAX_MESSAGE + 1));
}
