//! What a log says of its bytes, whatever became of them.

use super::super::tests::put;
use super::*;

/// The changes of transaction `number`.
fn changes(number: u64) -> Vec<Write> {
    let table = Table::Tasks;
    let key = format!("gone{number}");
    vec![
        put(
            table,
            &number.to_string(),
            &"x".repeat(number as usize % 50),
        ),
        Write::Delete { table, key },
    ]
}

/// A log with these transactions.
fn log(numbers: impl IntoIterator<Item = u64>) -> Vec<u8> {
    let records = numbers.into_iter();
    let bytes = records.flat_map(|number| Encoded::new(number, &changes(number)).blocks().to_vec());
    let mut bytes: Vec<u8> = bytes.collect();
    bytes.resize(bytes.len() + 100, 0);
    bytes
}

/// The last transaction that it has beyond these, where they are as they were written.
fn last(bytes: &[u8], counted: u64) -> Option<u64> {
    match rest_of(bytes, counted, FORMAT) {
        Rest::Changes(found, last) => {
            let expected: Vec<Write> = (counted + 1..=last).flat_map(changes).collect();
            assert_eq!(found, expected);
            Some(last)
        }
        Rest::Nothing => None,
        Rest::Foreign => panic!("it is of this journal"),
    }
}

#[test]
fn what_the_journal_has_not_is_found_and_what_it_has_is_passed_over() {
    let bytes = log(7..=12);
    assert_eq!(last(&bytes, 6), Some(12));
    assert_eq!(last(&bytes, 12), None);
    assert_eq!(last(&bytes, 40), None);
    assert_eq!(last(&[], 0), None);
    assert_eq!(last(&[0; 4096], 0), None);
}

#[test]
fn records_of_an_earlier_round_that_stand_behind_the_newest_are_not_taken_for_more() {
    // All of one length, so that an old one begins where the new one ends.
    let alike = |number| {
        Encoded::new(number, &[put(Table::Tasks, "k", "v")])
            .blocks()
            .to_vec()
    };
    let mut bytes: Vec<u8> = (1..=9).flat_map(alike).collect();
    let new = alike(10);
    bytes[..new.len()].copy_from_slice(&new);
    let newest = |counted| match rest_of(&bytes, counted, FORMAT) {
        Rest::Changes(changes, last) => Some((changes.len(), last)),
        Rest::Nothing => None,
        Rest::Foreign => panic!("it is of this journal"),
    };
    assert_eq!(newest(9), Some((1, 10)));
    assert_eq!(newest(10), None);
}

#[test]
fn a_log_of_another_journal_of_another_time_or_of_another_format_is_foreign() {
    let is_foreign = |bytes: &[u8], counted, format| {
        let rest = rest_of(bytes, counted, format);
        matches!(rest, Rest::Foreign)
    };
    assert!(is_foreign(&log(7..=12), 5, FORMAT), "6 is missing");
    assert!(is_foreign(&log(7..=12), 0, FORMAT));
    assert!(
        is_foreign(&log(7..=12), 9, FORMAT),
        "no journal stands in the middle of its log"
    );
    // Whole, and in words that a newer program has.
    let body = [0xFF; 40];
    let mut bytes = 40_u32.to_le_bytes().to_vec();
    bytes.extend(sum(&body).to_le_bytes());
    bytes.extend(body);
    assert!(is_foreign(&bytes, 0, FORMAT));
    assert!(is_foreign(&log(7..=12), 6, FORMAT - 1));
    assert!(
        !is_foreign(&log(7..=12), 12, FORMAT - 1),
        "nothing is wanted of it"
    );
}

#[test]
fn of_a_log_that_is_cut_or_damaged_anywhere_what_stands_before_is_whole() {
    let bytes = log(1..=9);
    // Each record, without the zeros behind it.
    let mut records = Vec::new();
    for number in 1..=9 {
        let begin = records.len() * BLOCK;
        let body = u32::from_le_bytes(bytes[begin..begin + 4].try_into().unwrap());
        records.push((number, begin..begin + HEAD + body as usize));
    }
    let whole = |at| Some(records.iter().filter(|(_, of)| of.end <= at).count() as u64);
    let whole = |at| whole(at).filter(|whole| *whole > 0);
    let hit = |at| records.iter().find(|(_, of)| of.contains(&at));
    for at in (0..9 * BLOCK).filter(|at| at % BLOCK < 200 || at % 61 == 0) {
        assert_eq!(last(&bytes[..at], 0), whole(at), "cut at {at}");
        let mut torn = bytes.clone();
        torn[at..].fill(0);
        // Zeros may be what stood there.
        assert!(last(&torn, 0) >= whole(at), "zeros from {at} on");
        let left = match hit(at) {
            Some((number, _)) => Some(number - 1).filter(|left| *left > 0),
            None => Some(9),
        };
        for flipped in [0x01, 0x80] {
            let mut damaged = bytes.clone();
            damaged[at] ^= flipped;
            assert_eq!(last(&damaged, 0), left, "byte {at}");
        }
    }
}

#[test]
fn what_is_written_is_whole_blocks_that_lie_as_the_disk_wants_them() {
    for length in [0, 1, 3000, 4080, 4096, 9000, 100_000] {
        let encoded = Encoded::new(1, &[put(Table::Tasks, "k", &"v".repeat(length))]);
        let blocks = encoded.blocks();
        assert_eq!(
            (blocks.len() % BLOCK, blocks.as_ptr().align_offset(BLOCK)),
            (0, 0)
        );
        assert!((length..length + BLOCK + 100).contains(&blocks.len()));
        assert_eq!(last_of(blocks), Some(1));
    }
}

fn last_of(bytes: &[u8]) -> Option<u64> {
    match rest_of(bytes, 0, FORMAT) {
        Rest::Changes(_, last) => Some(last),
        Rest::Nothing | Rest::Foreign => None,
    }
}
