//! Network function Storage: the system event log (IPMI v2.0 rev 1.1 §31).

use super::{
    CANNOT_RETURN, FIELD_INVALID, INVALID_COMMAND, LENGTH_INVALID, NOT_PRESENT, OUT_OF_RANGE,
    RESERVATION_CANCELLED, Reply,
};
use crate::sim::bmc::Bmc;
use crate::sim::wire::{Reader, Request};
use crate::time::Instant;

const INFO: (u8, u8) = (0x0A, 0x40);
const RESERVE: (u8, u8) = (0x0A, 0x42);
const GET_ENTRY: (u8, u8) = (0x0A, 0x43);
pub(super) const ADD_ENTRY: (u8, u8) = (0x0A, 0x44);
pub(super) const DELETE_ENTRY: (u8, u8) = (0x0A, 0x46);
pub(super) const CLEAR: (u8, u8) = (0x0A, 0x47);
const GET_TIME: (u8, u8) = (0x0A, 0x48);
pub(super) const SET_TIME: (u8, u8) = (0x0A, 0x49);

pub(super) fn answer(bmc: &mut Bmc, request: &Request<'_>, now: Instant) -> Reply {
    let mood = bmc.mood.log;
    let log = &mut bmc.host.event_log;
    log.finish_erasing(now);
    let mut reader = Reader::new(request.data);
    match (request.net_fn, request.command) {
        INFO => Ok(log.info()),
        RESERVE => Ok(log.reserve().to_le_bytes().to_vec()),
        GET_ENTRY => {
            let reservation = reader.word().ok_or(LENGTH_INVALID)?;
            let id = reader.word().ok_or(LENGTH_INVALID)?;
            let offset = usize::from(reader.byte().ok_or(LENGTH_INVALID)?);
            let count = usize::from(reader.byte().ok_or(LENGTH_INVALID)?);
            // A part of a record needs a reservation, a whole one does not.
            if offset != 0 && !log.is_reserved(reservation) {
                return Err(RESERVATION_CANCELLED);
            }
            if mood
                .most_bytes
                .is_some_and(|most| count > usize::from(most))
            {
                return Err(CANNOT_RETURN);
            }
            let (mut next, record) = log.get(id).ok_or(NOT_PRESENT)?;
            if let (true, 0xFFFF, Some((_, first))) = (mood.ring, next, log.get(0)) {
                next = u16::from_le_bytes([first[0], first[1]]);
            }
            let end = if count == 0xFF { 16 } else { offset + count };
            let part = record.get(offset..end).ok_or(OUT_OF_RANGE)?;
            let mut reply = next.to_le_bytes().to_vec();
            reply.extend(part);
            reply.extend(std::iter::repeat_n(0xA5, mood.trailing_bytes));
            Ok(reply)
        }
        ADD_ENTRY => {
            let record = reader.array().ok_or(LENGTH_INVALID)?;
            Ok(log.add(record, now).to_le_bytes().to_vec())
        }
        DELETE_ENTRY => {
            let reservation = reader.word().ok_or(LENGTH_INVALID)?;
            let id = reader.word().ok_or(LENGTH_INVALID)?;
            if reservation != 0 && !log.is_reserved(reservation) {
                return Err(RESERVATION_CANCELLED);
            }
            let deleted = log.delete(id, now).ok_or(NOT_PRESENT)?;
            Ok(deleted.to_le_bytes().to_vec())
        }
        CLEAR => {
            let reservation = reader.word().ok_or(LENGTH_INVALID)?;
            let word: [u8; 3] = reader.array().ok_or(LENGTH_INVALID)?;
            let action = reader.byte().ok_or(LENGTH_INVALID)?;
            if word != *b"CLR" {
                return Err(FIELD_INVALID);
            }
            if !log.is_reserved(reservation) {
                return Err(RESERVATION_CANCELLED);
            }
            match action {
                0xAA if mood.keeps_entries => {}
                0xAA => {
                    log.begin_erasing(now + mood.erasing_takes, now);
                    if mood.notes_clearing {
                        log.note_clearing(now);
                    }
                }
                0x00 => {}
                _ => return Err(FIELD_INVALID),
            }
            // Erasure completed, or in progress.
            Ok(vec![u8::from(!log.is_erasing())])
        }
        GET_TIME => Ok(log.clock(now).to_le_bytes().to_vec()),
        SET_TIME => {
            let time = reader.double().ok_or(LENGTH_INVALID)?;
            log.set_clock(time, now);
            Ok(Vec::new())
        }
        _ => Err(INVALID_COMMAND),
    }
}
