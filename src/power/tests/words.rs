//! What tasks say, as it sounds: every sentence that a walk through all tasks comes upon, in one
//! list to be read.
//!
//! Where it is not as that list, the test says what is new and what is gone. The sentences as they
//! stand in the source, those of the rack among them, are in `tests/words`.

use super::walk::walk;
use super::world::secs;
use crate::model::{Control, OnSoftTimeout, Operation};
use crate::power::{Sequence, Settings};
use crate::time::Instant;
use std::collections::BTreeSet;

/// Takes down what a task says at this moment.
pub(super) fn listen(sequence: &Sequence, now: Instant, said: &mut BTreeSet<String>) {
    let mut say = |what: &str, text: &str| said.insert(format!("{what:<10} {}", plain(text)));
    match sequence.outcome() {
        Some(outcome) => {
            let knowledge = &sequence.knowledge;
            let tail = format!(": {}", knowledge.what_was_sent());
            // An answer that comes after the end changes what is known of an order.
            if let Some((head, _)) = outcome.text.split_once(&tail) {
                say(outcome.state.name(), without_trouble(head));
            }
            for remark in &knowledge.remarks {
                say("remark", remark);
            }
        }
        None => {
            let progress = sequence.progress(now);
            let phase = progress.phase.split(" (last: ").next();
            say("phase", phase.unwrap_or_default());
        }
    }
    for sent in sequence
        .sent()
        .iter()
        .filter(|sent| !sent.order.only_reads())
    {
        say("order", &sent.to_string());
    }
    for control in Control::ALL {
        if let Err(refusal) = sequence.may(control) {
            say("refusal", &format!("{control} refused: {}", refusal.reason));
        }
    }
}

/// Without the words of the BMC, which stand last: a refusal, and in brackets what the last order
/// met.
fn without_trouble(text: &str) -> &str {
    let mut text = text.split(", last refused: ").next().unwrap_or_default();
    while text.ends_with(')') {
        let mut open = 0;
        let bracket = text.char_indices().rev().find(|(_, letter)| {
            open += i32::from(*letter == ')') - i32::from(*letter == '(');
            open == 0
        });
        let Some((place, _)) = bracket else { break };
        text = text[..place].trim_end();
    }
    text
}

/// With every number as N, so that a sentence is one whenever it is said.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        if !letter.is_ascii_digit() {
            plain.push(letter);
            continue;
        }
        let number = |letter: &char| letter.is_ascii_digit() || *letter == '.' || *letter == ':';
        while letters.next_if(number).is_some() {}
        plain.push('N');
    }
    plain
}

#[test]
fn every_sentence_of_a_task_is_in_the_list_and_was_read() {
    let hard = Settings {
        repeat_soft_after: Some(secs(30)),
        hard_after: Some(secs(90)),
        on_soft_timeout: OnSoftTimeout::HardPowerOff,
        ..Settings::default()
    };
    let late = Settings {
        patience: secs(20),
        from_request: true,
        on_soft_timeout: OnSoftTimeout::HardPowerOff,
        ..Settings::default()
    };
    let kept_on = Settings {
        never_off: true,
        on_if_off: true,
        ..Settings::default()
    };
    let mut said = BTreeSet::new();
    for operation in Operation::ALL {
        for settings in [&Settings::default(), &hard, &late, &kept_on] {
            said.append(&mut walk(operation, settings).said);
        }
    }
    let found: String = said.iter().map(|line| format!("{line}\n")).collect();
    crate::golden::compare("src/power/tests/said.txt", &found, "as an operator would");
}
